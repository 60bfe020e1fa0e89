"""Random points of a maze, one after the other, under action noise; see ``envs.memory_maze.walk`` for how it walks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from envs.memory_maze import walk


def visit_targets(env: Any, rng: np.random.Generator) -> Iterator[int]:
    """Actions of a ``MemoryMazeEnv`` that was just reset, as many as are asked for."""
    yield from walk.policy(env, rng)
