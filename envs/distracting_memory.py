"""Distracting Memory: is the square that is reached of the colour that was seen at the other end of the hallway?

The task of S4WM (arXiv 2307.02064, section 5.5 and Table 2), family ``distracting_memory_<width>``. Geometry, script
and lengths follow the published episode exactly; what one episode cannot show is an option of ``envs.corridor``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Float32, Int, Int64, UInt8
from minigrid.core.actions import Actions

from envs.ages import cell_ages
from envs.centered_view import RIGHT, CenteredViewEnv
from envs.corridor import CUE_CELLS, ENDS, HALLWAY_Y, HEIGHT, Corridor, CorridorMaps, draw_maps
from envs.episode import Trajectory
from envs.spec import EnvSpec
from envs.tiles import (
    FRAME_SHAPE,
    MIDDLE,
    PALETTE,
    VIEW,
    WALL,
    make_grid,
    render_tiles,
    renderer_info,
    tile_atlas,
    with_agent,
)
from envs.walks import poses, seen_from

__all__ = [
    "NAMES",
    "OPTIONS",
    "DistractingMemoryEnv",
    "parse",
    "render",
    "renderer_info",
    "simulate",
    "tile_atlas",
    "vary",
]

NAMES = ("distracting_memory_16", "distracting_memory_100", "distracting_memory_200", "distracting_memory_400")
OPTIONS = ("distractor_density", "distractor_colors", "cue_position")


def parse(name: str) -> EnvSpec | None:
    """The spec of ``distracting_memory_<width>``; ``ValueError`` if the width is odd or below 14."""
    match = re.fullmatch(r"distracting_memory_(-?[1-9]\d*|0)", name)
    return _spec(name, Corridor(width=int(match[1]))) if match else None


def vary(env: EnvSpec, **options: Any) -> EnvSpec:
    """The same task with other values for what the published episode leaves open (fields of ``Corridor``)."""
    return _spec(env.name, Corridor(**(env.gym_kwargs | options)))


def _spec(name: str, corridor: Corridor) -> EnvSpec:
    width = corridor.width
    cue_x = max(x for x, _ in CUE_CELLS) if corridor.cue_position is None else corridor.cue_position[0]
    return EnvSpec(
        name=name,
        family="distracting_memory",
        gym_id="WMBench/DistractingMemory-v0",
        gym_kwargs=asdict(corridor),
        image_shape=FRAME_SHAPE,
        action_names=tuple(action.name for action in Actions),
        context_length=2 * width - 1,
        query_length=width // 2 + 1,
        has_reward=True,
        policy="walk_corridor",
        memory=(
            f"The colour of the cue, out of sight for {width - 2 - cue_x} steps before the reward; to imagine the "
            f"reward, also the squares at the end, last seen in the context {2 * width - 4} steps before it."
        ),
        paper_episodes={"train": 8000, "val": 1000, "test": 1000},
        default_episodes={"train": 8000, "val": 1000, "test": 1000},
        metrics=("error_by_age",),
    )


class DistractingMemoryEnv(CenteredViewEnv):
    """
    ## Description
    A hallway with a small room at its left end and a junction at its right end. A square lies in the room, the cue;
    two squares of different colours lie beyond the junction, one of them of the cue's colour. Squares of random
    colours in the hallway distract. The agent starts in the middle of the hallway, facing right.

    ## Action Space
    ``Discrete(7)``, MiniGrid's actions. 0 left, 1 right and 2 forward move the agent, the others do nothing here.

    ## Observation Space
    ``(40, 40, 3)`` uint8: the 5 x 5 tiles around the agent (``envs.centered_view``).

    ## Rewards
    1 on the step on to the cell beside the square of the cue's colour, else 0.

    ## Termination
    The agent stands beside one of the two squares. The episode is cut off after ``max_steps``.

    ## Arguments
    Those of ``envs.corridor.Corridor``: ``width`` and the options; ``max_steps`` (4 x width if none).
    """

    def __init__(
        self, width: int, *, max_steps: int | None = None, render_mode: str | None = None, **options: Any
    ) -> None:
        self.corridor = Corridor(width=width, **options)
        super().__init__(
            mission="go to the square of the colour that lies in the room",
            width=width,
            height=HEIGHT,
            max_steps=4 * width if max_steps is None else max_steps,
            render_mode=render_mode,
        )

    def _gen_grid(self, width: int, height: int) -> None:
        self._maps = draw_maps(self.corridor, self.np_random.random((1, self.corridor.uniforms)))
        self.grid = make_grid(self._maps.contents[0])
        self.agent_pos = (self.corridor.start_x, HALLWAY_Y)
        self.agent_dir = RIGHT

    def step(  # type: ignore[override]  # observations are images, not MiniGrid's dictionaries
        self, action: Any
    ) -> tuple[UInt8[np.ndarray, "40 40 3"], float, bool, bool, dict[str, Any]]:
        observation, _, _, truncated, info = super().step(action)
        end = self._reached_end()
        reward = 0.0 if end is None else _rewards(self._maps, np.array([end])).item()
        return observation, reward, end is not None, truncated, info

    @property
    def facts(self) -> dict[str, Any]:
        return _facts(self._maps, 0, self._reached_end())

    def _reached_end(self) -> int | None:
        """Index into ``ENDS``."""
        x, y = self.agent_pos
        beside = {HALLWAY_Y - 1: 0, HALLWAY_Y + 1: 1}
        return beside.get(y) if x == self.corridor.end_x else None


def _rewards(maps: CorridorMaps, ends: Int[np.ndarray, " B"]) -> Float32[np.ndarray, " B"]:
    reached = np.take_along_axis(maps.ends, ends[:, None], axis=1)[:, 0]
    return (reached == maps.cue).astype(np.float32)


def _facts(maps: CorridorMaps, row: int, end: int | None) -> dict[str, Any]:
    colors = {end: PALETTE[color] for end, color in zip(ENDS, maps.ends[row], strict=True)}
    return {"cue": PALETTE[maps.cue[row]], **colors, "reached": None if end is None else ENDS[end]}


def choose_end(rng: np.random.Generator) -> int:
    """The scripted policy's only choice, an index into ``ENDS``: which square it will go to."""
    return int(rng.random() * len(ENDS))


def script(width: int, end: int) -> Int64[np.ndarray, " steps"]:
    """Actions of an episode: to the right end, to the left end, back to the middle (here the query begins), and to
    the upper or lower square."""
    forward, half = [Actions.forward], width // 2 - 1
    context = forward * half + [Actions.right] * 2 + forward * (width - 3) + [Actions.left] * 2 + forward * (half - 1)
    query = forward * half + [(Actions.left, Actions.right)[end]] + forward
    return np.array(context + query, np.int64)


def simulate(env: EnvSpec, seeds: Sequence[tuple[int, int]]) -> list[Trajectory]:
    """Episodes of the scripted policy from pairs ``(env_seed, policy_seed)``, as one batch of arrays.

    The agent walks one of two fixed ways, so all frames of an episode are one gather from its map.
    """
    corridor = Corridor(**env.gym_kwargs)
    drawn = [np.random.default_rng(env_seed).random(corridor.uniforms) for env_seed, _ in seeds]
    maps = draw_maps(corridor, np.array(drawn).reshape(-1, corridor.uniforms))
    ends = np.array([choose_end(np.random.default_rng(policy_seed)) for _, policy_seed in seeds], int)

    tiles = np.empty((len(seeds), env.length, VIEW * VIEW), np.uint8)
    previous_action = np.full((len(ENDS), env.length), -1, np.int64)
    for end in range(len(ENDS)):
        previous_action[end, 1:] = script(corridor.width, end)
        xs, ys, directions = poses(previous_action[end, 1:], corridor.start_x, HALLWAY_Y, RIGHT)
        rows = ends == end
        tiles[rows] = seen_from(maps.contents[rows], xs, ys, outside=WALL)
        middle = tiles[rows, :, MIDDLE]
        tiles[rows, :, MIDDLE] = with_agent(middle, directions.astype(np.uint8))
    reward = np.zeros((len(seeds), env.length), np.float32)
    reward[:, -1] = _rewards(maps, ends)
    return [
        Trajectory(
            state={"tiles": tiles[row]},
            previous_action=previous_action[end].copy(),
            reward=reward[row],
            facts=_facts(maps, row, int(end)),
        )
        for row, end in enumerate(ends)
    ]


def render(env: EnvSpec, trajectory: Trajectory) -> UInt8[np.ndarray, "T 40 40 3"]:
    """Frames of a trajectory, equal to the environment's observations pixel for pixel."""
    return render_tiles(tile_atlas(env), trajectory.state["tiles"])


def content_age(env: EnvSpec, trajectory: Trajectory) -> Int64[np.ndarray, "T 5 5"]:
    """For each tile of each query frame, steps since its cell was last in view in the context; 0 if it never was."""
    corridor = Corridor(**env.gym_kwargs)
    xs, ys, _ = poses(trajectory.previous_action[1:], corridor.start_x, HALLWAY_Y, RIGHT)
    return cell_ages(xs, ys, env.context_length)
