"""Multi Doors Keys: look at every key and door, then collect the keys and try doors with them.

What is visited, in which order, is ``envs.doors_keys_plan``; here is how the agent walks it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat

import numpy as np
from minigrid.core.actions import Actions

from envs.centered_view import DOWN, UP
from envs.doors_keys_map import CORRIDOR_Y, DOOR_Y, GAP_Y, column_x
from envs.doors_keys_plan import LOOK, TAKE, Stop, context_length, draw_plan
from envs.multi_doors_keys import MultiDoorsKeysEnv
from scripted_policies.grid_paths import face, go_to_column, go_to_row


def try_doors(env: MultiDoorsKeysEnv, rng: np.random.Generator) -> Iterator[int]:
    """The actions of an episode from its first frame on, with more at the end than it takes. ``rng`` draws the plan."""
    plan = draw_plan(env.keys, rng)
    for stop in plan.context:
        yield from _visit(env, stop)
    yield from repeat(Actions.done, context_length(env.keys) - 1 - env.step_count)
    for stop in plan.query:
        yield from _visit(env, stop)


def _visit(env: MultiDoorsKeysEnv, stop: Stop) -> Iterator[int]:
    """From the last stop to this one; the agent stays there until the next."""
    yield from go_to_row(env, CORRIDOR_Y)
    yield from go_to_column(env, column_x(stop.column))
    if stop.kind in (LOOK, TAKE):
        yield from face(env, DOWN)
        yield from go_to_row(env, GAP_Y)
        if stop.kind == TAKE:
            yield Actions.pickup
    else:
        yield from face(env, UP)
        yield from go_to_row(env, DOOR_Y + 1)
        yield Actions.toggle
