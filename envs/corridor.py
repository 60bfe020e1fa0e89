"""The map of Distracting Memory: its measures, and how a random one is drawn.

Geometry recovered from the one published episode (S4WM, arXiv 2307.02064, section 5.5, Figures 2 and 8): MiniGrid's
memory map stretched to a long hallway, with squares for objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int, UInt8

from envs.tiles import EMPTY, PALETTE, WALL, content_ids

HEIGHT = 9
HALLWAY_Y = 4
MIN_WIDTH = 14
ENDS = ("upper", "lower")
END_Y = (2, 6)
"""Rows of the squares at the end."""
CUE_CELLS = tuple((x, y) for y in (3, 5) for x in (1, 2, 3))
"""Cells of the start room where a cue may lie: those off the way of the agent."""
FIRST_DISTRACTOR_X = 4


@dataclass(frozen=True, kw_only=True)
class Corridor:
    """What a corridor is drawn from. The defaults of all but the width are read off one episode.

    Raises ``ValueError`` for values out of range.
    """

    width: int
    """Cells from outer wall to outer wall; even, 14 or more."""
    distractor_density: float | int = 0.5
    """Probability of a distractor in each cell of the hallway (47 of 90 in the published episode)."""
    distractor_colors: Sequence[str] = PALETTE
    """Drawn from uniformly."""
    cue_position: Sequence[int] | None = (3, 5)
    """Cell of the cue; none for a random one of the six cells of the room that are off the agent's way."""

    def __post_init__(self) -> None:
        # Lists, which JSON makes of tuples, are welcome.
        object.__setattr__(self, "distractor_colors", tuple(self.distractor_colors))
        if self.cue_position is not None:
            object.__setattr__(self, "cue_position", tuple(self.cue_position))
        if self.width < MIN_WIDTH or self.width % 2:
            near = max(MIN_WIDTH, self.width + self.width % 2)
            raise ValueError(
                f"the width of a corridor is {self.width}; it must be even and at least {MIN_WIDTH}. Take "
                f"distracting_memory_{near}"
            )
        if not 0 <= self.distractor_density <= 1:
            raise ValueError(f"distractor_density is {self.distractor_density}; it must be between 0 and 1")
        unknown = [color for color in self.distractor_colors if color not in PALETTE]
        if unknown or not self.distractor_colors:
            raise ValueError(
                f"distractor_colors is {self.distractor_colors}; give at least one of {', '.join(PALETTE)}"
            )
        if self.cue_position is not None and self.cue_position not in CUE_CELLS:
            raise ValueError(
                f"cue_position is {self.cue_position}; give one of {', '.join(map(str, CUE_CELLS))}, or None for a "
                "random one of them"
            )

    @property
    def start_x(self) -> int:
        """Where the agent starts, in the middle of the hallway."""
        return self.width // 2 - 1

    @property
    def end_x(self) -> int:
        """Column beyond the hallway, with the two squares."""
        return self.width - 2

    @property
    def distractor_count(self) -> int:
        """Cells of the hallway that may hold a distractor: x = 4 .. width - 7."""
        return self.width - 10

    @property
    def uniforms(self) -> int:
        """Random numbers that a map takes."""
        return 4 + 2 * self.distractor_count


@dataclass(frozen=True)
class CorridorMaps:
    """``B`` drawn maps.

    contents: ids of ``envs.tiles.CONTENTS`` by cell.
    cue: colour of the cue, an index into ``PALETTE``.
    ends: colours of the upper and the lower square at the end.
    """

    contents: UInt8[np.ndarray, "B 9 width"]
    cue: Int[np.ndarray, " B"]
    ends: Int[np.ndarray, "B 2"]


def empty_map(corridor: Corridor) -> UInt8[np.ndarray, "9 width"]:
    """Walls and nothing else."""
    contents = np.full((HEIGHT, corridor.width), EMPTY, np.uint8)
    contents[[0, -1], :] = WALL
    contents[:, [0, -1]] = WALL
    contents[[HALLWAY_Y - 2, HALLWAY_Y + 2], 1:5] = WALL  # start room
    contents[[HALLWAY_Y - 1, HALLWAY_Y + 1], 4 : corridor.width - 3] = WALL  # its doorway, and the hallway
    contents[:, corridor.width - 3] = WALL  # junction
    contents[HALLWAY_Y, corridor.width - 3] = EMPTY
    return contents


def draw_maps(corridor: Corridor, uniforms: Float64[np.ndarray, "B uniforms"]) -> CorridorMaps:
    """Maps from random numbers in [0, 1), ``corridor.uniforms`` a map.

    All choices of a map come from one call of its generator, so that a batch of maps is drawn as one array.
    """
    colors = len(PALETTE)
    squares = content_ids("square")
    head, filled, tint = np.split(uniforms, [4, 4 + corridor.distractor_count], axis=1)
    cue = (head[:, 0] * colors).astype(int)
    other = (cue + 1 + (head[:, 1] * (colors - 1)).astype(int)) % colors
    match_is_upper = head[:, 2] < 0.5
    ends = np.where(match_is_upper, [cue, other], [other, cue]).T

    contents = np.repeat(empty_map(corridor)[None], len(uniforms), axis=0)
    distractors = content_ids("square", tuple(corridor.distractor_colors))
    drawn = distractors[(tint * len(distractors)).astype(int)]
    hallway = slice(FIRST_DISTRACTOR_X, FIRST_DISTRACTOR_X + corridor.distractor_count)
    contents[:, HALLWAY_Y, hallway] = np.where(filled < corridor.distractor_density, drawn, EMPTY)
    contents[:, END_Y, corridor.end_x] = squares[ends]
    cells = np.array([corridor.cue_position] if corridor.cue_position else CUE_CELLS)
    cue_x, cue_y = cells[(head[:, 3] * len(cells)).astype(int)].T
    contents[np.arange(len(uniforms)), cue_y, cue_x] = squares[cue]
    return CorridorMaps(contents, cue, ends)
