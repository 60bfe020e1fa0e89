"""Tiles: what a cell of a 2D world can show, one byte each, and an atlas of how MiniGrid draws them.

A tile id is ``content + len(CONTENTS) * agent`` with ``agent`` 0 where there is none and 1 + direction where the agent
stands on the cell (directions: 0 right, 1 down, 2 left, 3 up). A frame is 5 x 5 tiles, row by row, so 25 bytes hold
what takes 4,800 as pixels. The atlas is drawn by the installed MiniGrid when it is first asked for and compared with
the picture that this benchmark was published with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from minigrid.core.constants import COLOR_TO_IDX, COLORS, OBJECT_TO_IDX
from minigrid.core.grid import Grid
from minigrid.core.world_object import Door, Key, Wall, WorldObj
from minigrid.utils.rendering import fill_coords, point_in_rect

from envs.spec import EnvSpec

VIEW = 5
"""Tiles along a side of the agent's view."""
MIDDLE = VIEW * VIEW // 2
"""Where the agent is among the tiles of a frame."""
TILE = 8
"""Pixels along a side of a tile."""
FRAME_SHAPE = (VIEW * TILE, VIEW * TILE, 3)
ATLAS_SHA256 = "22aa063df7f5faa8290a61ccd557f76018076ae6b89392b9b9aacb7af9dfb855"
"""Of the atlas as MiniGrid 3.2 draws it."""
FRAMES_AT_ONCE = 512
"""Frames gathered in one go. Bounds the table of indices (0.8 MB); the speed hardly depends on it."""


class Square(WorldObj):
    """A square of full colour that can be walked over.

    MiniGrid keeps drawn tiles in one cache for the whole process, by the code of the object. A stock floor has the
    same type but half the brightness, so a square's code differs from it in the state, which a floor does not use.
    """

    STATE = 1

    def __init__(self, color: str):
        super().__init__("floor", color)

    def can_overlap(self) -> bool:
        return True

    def encode(self) -> tuple[int, int, int]:
        return (OBJECT_TO_IDX[self.type], COLOR_TO_IDX[self.color], self.STATE)

    def render(self, r: np.ndarray) -> np.ndarray:
        # The rectangle of a floor: it leaves the grid line at the top and at the left.
        return fill_coords(r, point_in_rect(0.031, 1, 0.031, 1), COLORS[self.color])


class Content(NamedTuple):
    """What a cell holds, whether or not the agent is there. Empty cells and walls have no colour of their own."""

    kind: str
    color: str | None = None


PALETTE = ("green", "blue", "purple", "yellow")
"""Those of MiniGrid's colours that things have. Red is the agent's, and a grey square would look like a wall."""
COLORED_KINDS = ("square", "locked_door", "open_door", "key")
CONTENTS = (
    Content("empty"),
    Content("wall"),
    *(Content(kind, color) for kind in COLORED_KINDS for color in PALETTE),
)
CONTENT_ID = {content: index for index, content in enumerate(CONTENTS)}
EMPTY, WALL = CONTENT_ID[Content("empty")], CONTENT_ID[Content("wall")]


def content_ids(kind: str, colors: tuple[str, ...] = PALETTE) -> UInt8[np.ndarray, " colors"]:
    """Content ids of one kind in several colours."""
    return np.array([CONTENT_ID[Content(kind, color)] for color in colors], np.uint8)


def make_object(content: int) -> WorldObj | None:
    """MiniGrid's object for a content id; none for an empty cell."""
    makers: dict[str, Callable[..., WorldObj | None]] = {
        "empty": lambda _: None,
        "wall": lambda _: Wall(),
        "square": Square,
        "locked_door": partial(Door, is_locked=True),
        "open_door": partial(Door, is_open=True),
        "key": Key,
    }
    kind, color = CONTENTS[content]
    return makers[kind](color)


@cache
def _content_by_code() -> dict[tuple[int, int, int], int]:
    objects = ((index, make_object(index)) for index in range(len(CONTENTS)))
    return {obj.encode(): index for index, obj in objects if obj is not None}


def content_of(obj: WorldObj | None) -> int:
    """Content id of an object, the inverse of ``make_object``."""
    return EMPTY if obj is None else _content_by_code()[obj.encode()]


def make_grid(contents: UInt8[np.ndarray, "height width"]) -> Grid:
    """A MiniGrid grid from a map of content ids."""
    height, width = contents.shape
    grid = Grid(width, height)
    grid.grid = [make_object(int(content)) for content in contents.flat]
    return grid


def with_agent(content: Any, direction: Any) -> Any:
    """Tile id of a cell on which the agent stands; numbers or arrays."""
    return content + len(CONTENTS) * (1 + direction)


def check_atlas(atlas: UInt8[np.ndarray, "tiles 8 8 3"]) -> None:
    """``ValueError`` if this is not the published atlas."""
    found = hashlib.sha256(atlas.tobytes()).hexdigest()
    if found != ATLAS_SHA256:
        raise ValueError(
            f"MiniGrid {version('minigrid')} draws other tiles (sha256 {found[:12]}) than the benchmark was published "
            f"with (sha256 {ATLAS_SHA256[:12]}), so frames and scores would not be comparable. Install the version of "
            "constraints.txt: pip install -c constraints.txt minigrid"
        )


@cache
def _atlas() -> UInt8[np.ndarray, "tiles 8 8 3"]:
    agents = (None, 0, 1, 2, 3)
    drawn = [
        Grid.render_tile(make_object(content), agent, False, TILE)
        for agent in agents
        for content in range(len(CONTENTS))
    ]
    # MiniGrid assigns its float tiles to a uint8 image, which drops the fraction. So does this.
    atlas = np.stack(drawn).astype(np.uint8)
    check_atlas(atlas)
    atlas.flags.writeable = False
    return atlas


def tile_atlas(env: EnvSpec) -> UInt8[np.ndarray, "tiles 8 8 3"]:
    """Every tile as MiniGrid draws it, by tile id; read-only, the same for all 2D environments.

    Raises ``ValueError`` if the environment is not made of tiles, or if the installed MiniGrid draws them differently
    from the one that the benchmark was published with.
    """
    if env.image_shape != FRAME_SHAPE:
        raise ValueError(
            f"{env.name} has frames of {env.image_shape} that are not made of tiles; only environments with frames of "
            f"{FRAME_SHAPE} have an atlas"
        )
    return _atlas()


def render_tiles(
    atlas: UInt8[np.ndarray, "tiles 8 8 3"], tiles: UInt8[np.ndarray, "T 25"]
) -> UInt8[np.ndarray, "T 40 40 3"]:
    """Frames from tile ids, by gathering rows of pixels."""
    assert tiles.max(initial=0) < len(atlas), "tile ids of another atlas"
    rows = np.ascontiguousarray(atlas).reshape(-1).view(f"V{TILE * 3}")  # row r of tile i at TILE * i + r
    frames = np.empty((len(tiles), VIEW, TILE, VIEW), rows.dtype)
    first = tiles.reshape(len(tiles), VIEW, 1, VIEW).astype(np.intp) * TILE
    below = np.arange(TILE)[:, None]
    for start in range(0, len(tiles), FRAMES_AT_ONCE):
        piece = slice(start, start + FRAMES_AT_ONCE)
        # No index is out of range; "clip" lets numpy write to `out` directly.
        np.take(rows, first[piece] + below, out=frames[piece], mode="clip")
    return frames.view(np.uint8).reshape(len(tiles), *FRAME_SHAPE)


def renderer_info(env: EnvSpec) -> dict[str, str]:
    """What manifests keep of the renderer. Raises ``ValueError`` as ``tile_atlas`` does."""
    fingerprint = hashlib.sha256(tile_atlas(env).tobytes()).hexdigest()
    return {"name": "minigrid_tiles", "atlas_sha256": fingerprint, "minigrid": version("minigrid")}
