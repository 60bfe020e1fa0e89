"""Multi Doors Keys: will this door open, with the keys that have been taken and used so far?

The task of S4WM (arXiv 2307.02064, section 5.6 and Table 3), family ``multi_doors_keys_<number of keys>``. Map and
mechanics are in ``envs.doors_keys_map``, the script in ``envs.doors_keys_plan``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8
from minigrid.core.actions import Actions
from minigrid.core.world_object import Door, Key

from envs.ages import cell_ages
from envs.centered_view import RIGHT, CenteredViewEnv
from envs.doors_keys_locks import OPENED, STAYED_LOCKED, Locks
from envs.doors_keys_map import (
    CORRIDOR_Y,
    DOOR_Y,
    HEIGHT,
    KEY_Y,
    PITCH,
    DoorsKeysMap,
    column_x,
    draw_map,
    start_column,
    width_of,
)
from envs.doors_keys_plan import TAKE, TRY, Plan, context_length, draw_plan, query_length, script
from envs.episode import Trajectory
from envs.spec import EnvSpec
from envs.tiles import (
    EMPTY,
    FRAME_SHAPE,
    MIDDLE,
    VIEW,
    WALL,
    content_ids,
    make_grid,
    render_tiles,
    renderer_info,
    tile_atlas,
    with_agent,
)
from envs.walks import poses, seen_from

__all__ = [
    "DOOR_TILE",
    "NAMES",
    "MultiDoorsKeysEnv",
    "outcome_tiles",
    "parse",
    "render",
    "renderer_info",
    "simulate",
    "tile_atlas",
]

NAMES = ("multi_doors_keys_3", "multi_doors_keys_5", "multi_doors_keys_7")

DOOR_TILE = MIDDLE - VIEW
"""The door that is being tried, among the tiles of a frame: the one above the agent."""


def outcome_tiles(doors: UInt8[np.ndarray, " doors"]) -> UInt8[np.ndarray, "doors 2"]:
    """Ids of the locked and of the open door that have the colours of these door tiles."""
    pairs = np.stack([content_ids("locked_door"), content_ids("open_door")], axis=1)
    of_color = (doors[:, None, None] == pairs).any(axis=2)
    assert of_color.any(axis=1).all(), "not a door"
    return pairs[of_color.argmax(axis=1)]


def parse(name: str) -> EnvSpec | None:
    """The spec of ``multi_doors_keys_<K>``; ``ValueError`` if K is below 2."""
    match = re.fullmatch(r"multi_doors_keys_(-?[1-9]\d*|0)", name)
    if match is None:
        return None
    keys = _checked(int(match[1]))
    query = query_length(keys)
    return EnvSpec(
        name=name,
        family="multi_doors_keys",
        gym_id="WMBench/MultiDoorsKeys-v0",
        gym_kwargs={"keys": keys},
        image_shape=FRAME_SHAPE,
        action_names=tuple(action.name for action in Actions),
        context_length=context_length(keys),
        query_length=query,
        has_reward=False,
        policy="try_doors",
        memory=(
            f"Colour and place of {keys} doors and {keys} keys, which keys have been taken and which doors opened "
            f"since: for up to {query} steps, changed by every key taken and every door opened."
        ),
        paper_episodes={"train": 8000, "val": 1000, "test": 1000},
        default_episodes={"train": 8000, "val": 1000, "test": 1000},
        metrics=("door_outcomes", "error_by_age"),
    )


def _checked(keys: int) -> int:
    if keys < 2:
        raise ValueError(f"the number of keys is {keys}; it must be at least 2. Take multi_doors_keys_3")
    return keys


class MultiDoorsKeysEnv(CenteredViewEnv):
    """
    ## Description
    A corridor with locked doors along its upper side and, opposite each door, a gap with a key behind it. Keys have
    the colours of the doors, in another order; several may have the same. The agent starts in the middle, facing
    right. What it carries cannot be seen.

    ## Action Space
    ``Discrete(7)``, MiniGrid's actions. 0 left, 1 right, 2 forward. 3 pickup takes the key in front, 5 toggle tries
    the door in front. 4 drop and 6 done do nothing.
    Any number of keys can be carried. A locked door opens if a key of its colour is carried, and the key is gone.
    Doors stay open: toggling an open one does nothing.

    ## Observation Space
    ``(40, 40, 3)`` uint8: the 5 x 5 tiles around the agent (``envs.centered_view``).

    ## Rewards
    Always 0.

    ## Termination
    Never; the episode is cut off after ``max_steps``.

    ## Arguments
    ``keys``, 2 or more; ``max_steps``, as long as the scripted episode if none.
    """

    def __init__(self, keys: int, *, max_steps: int | None = None, render_mode: str | None = None) -> None:
        self.keys = _checked(keys)
        super().__init__(
            mission="open the doors",
            width=width_of(keys),
            height=HEIGHT,
            max_steps=context_length(keys) + query_length(keys) - 1 if max_steps is None else max_steps,
            render_mode=render_mode,
        )

    def _gen_grid(self, width: int, height: int) -> None:
        drawn = draw_map(self.np_random.random((2, self.keys)))
        self.grid = make_grid(drawn.contents)
        self.agent_pos = (column_x(start_column(self.keys)), CORRIDOR_Y)
        self.agent_dir = RIGHT
        self._locks = Locks(drawn)

    def step(  # type: ignore[override]  # observations are images, not MiniGrid's dictionaries
        self, action: Any
    ) -> tuple[UInt8[np.ndarray, "40 40 3"], float, bool, bool, dict[str, Any]]:
        x, y = map(int, self.front_pos)
        front = self.grid.get(x, y)
        if action == Actions.pickup and isinstance(front, Key):
            self._locks.take_key(x // PITCH)
            self.grid.set(x, y, None)
        elif action == Actions.toggle and isinstance(front, Door):
            # The frame that this step leads to is the first to show what came of it.
            outcome = self._locks.try_door(x // PITCH, self.step_count + 1)
            front.is_open = outcome != STAYED_LOCKED
            front.is_locked = not front.is_open
        # By MiniGrid's own rules there is one object in the hand, it can be dropped, and toggling shuts open doors.
        if action in (Actions.pickup, Actions.drop, Actions.toggle):
            action = Actions.done
        observation, _, terminated, truncated, info = super().step(action)
        return observation, 0.0, terminated, truncated, info

    @property
    def facts(self) -> dict[str, Any]:
        return self._locks.facts()


def simulate(env: EnvSpec, seeds: Sequence[tuple[int, int]]) -> list[Trajectory]:
    """Episodes of the scripted policy from pairs ``(env_seed, policy_seed)``, each as a few arrays over time."""
    keys = env.gym_kwargs["keys"]
    episodes = []
    for env_seed, policy_seed in seeds:
        drawn = draw_map(np.random.default_rng(env_seed).random((2, keys)))
        plan = draw_plan(keys, np.random.default_rng(policy_seed))
        episodes.append(_simulate_plan(env, drawn, plan))
    return episodes


def _simulate_plan(env: EnvSpec, drawn: DoorsKeysMap, plan: Plan) -> Trajectory:
    keys = env.gym_kwargs["keys"]
    actions, stops = script(keys, plan)
    locks = Locks(drawn)
    # No cell changes more than once: a key is taken or a door is opened.
    after, changed_at = drawn.contents.copy(), np.full(drawn.contents.shape, env.length)
    open_doors = content_ids("open_door")[drawn.door_colors]
    for stop, step in stops:
        x = column_x(stop.column)
        if stop.kind == TAKE:
            locks.take_key(stop.column)
            after[KEY_Y, x], changed_at[KEY_Y, x] = EMPTY, step
        elif stop.kind == TRY and locks.try_door(stop.column, step) == OPENED:
            after[DOOR_Y, x], changed_at[DOOR_Y, x] = open_doors[stop.column], step

    xs, ys, directions = poses(actions, column_x(start_column(keys)), CORRIDOR_Y, RIGHT)
    before, then = seen_from(np.stack([drawn.contents, after]), xs, ys, outside=WALL)
    changed = seen_from(changed_at, xs, ys, outside=env.length) <= np.arange(env.length)[:, None]
    tiles = np.where(changed, then, before)
    tiles[:, MIDDLE] = with_agent(tiles[:, MIDDLE], directions.astype(np.uint8))
    return Trajectory(
        state={"tiles": tiles},
        previous_action=np.concatenate([[-1], actions]),
        reward=np.zeros(env.length, np.float32),
        facts=locks.facts(),
    )


def render(env: EnvSpec, trajectory: Trajectory) -> UInt8[np.ndarray, "T 40 40 3"]:
    """Frames of a trajectory, equal to the environment's observations pixel for pixel."""
    return render_tiles(tile_atlas(env), trajectory.state["tiles"])


def content_age(env: EnvSpec, trajectory: Trajectory) -> Int64[np.ndarray, "T 5 5"]:
    """For each tile of each query frame, steps since its cell was last in view in the context; 0 if it never was."""
    start = column_x(start_column(env.gym_kwargs["keys"]))
    xs, ys, _ = poses(trajectory.previous_action[1:], start, CORRIDOR_Y, RIGHT)
    return cell_ages(xs, ys, env.context_length)
