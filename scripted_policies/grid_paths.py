"""Short ways over a MiniGrid map, for policies that walk it step by step."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat

from minigrid.core.actions import Actions
from minigrid.minigrid_env import MiniGridEnv

from envs.centered_view import DOWN, LEFT, RIGHT, UP


def face(env: MiniGridEnv, direction: int) -> Iterator[int]:
    """Turn to a direction the short way round; to the right if both are equally long."""
    quarter_turns = (direction - env.agent_dir) % 4
    if quarter_turns == 3:
        yield Actions.left
    else:
        yield from repeat(Actions.right, quarter_turns)


def go_to_column(env: MiniGridEnv, x: int) -> Iterator[int]:
    """Walk along the row to column ``x``; no turn where the agent is there already."""
    distance = x - int(env.agent_pos[0])
    if distance:
        yield from face(env, RIGHT if distance > 0 else LEFT)
        yield from repeat(Actions.forward, abs(distance))


def go_to_row(env: MiniGridEnv, y: int) -> Iterator[int]:
    """Walk along the column to row ``y``; no turn where the agent is there already."""
    distance = y - int(env.agent_pos[1])
    if distance:
        yield from face(env, DOWN if distance > 0 else UP)
        yield from repeat(Actions.forward, abs(distance))
