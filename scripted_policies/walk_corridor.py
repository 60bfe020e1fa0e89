"""Distracting Memory: see both ends of the hallway, come back to the middle, and go to one of the squares.

As the published episode shows it (S4WM, arXiv 2307.02064, Figure 8): the U-turns are two right turns at the right end
and two left turns at the left end.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat

import numpy as np
from minigrid.core.actions import Actions

from envs.distracting_memory import DistractingMemoryEnv, choose_end


def walk_corridor(env: DistractingMemoryEnv, rng: np.random.Generator) -> Iterator[int]:
    """The actions of an episode from its first frame on. ``rng`` decides between the upper and the lower square."""
    end = choose_end(rng)
    left_end, middle, right_end = 1, env.corridor.start_x, env.corridor.end_x
    yield from repeat(Actions.forward, right_end - middle)
    yield from (Actions.right, Actions.right)
    yield from repeat(Actions.forward, right_end - left_end)
    yield from (Actions.left, Actions.left)
    yield from repeat(Actions.forward, middle - left_end)
    # The context ends here, where it began.
    yield from repeat(Actions.forward, right_end - middle)
    yield Actions.left if end == 0 else Actions.right
    yield Actions.forward
