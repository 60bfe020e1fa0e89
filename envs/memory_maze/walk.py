"""A walk to random points of the maze under action noise: how Memory Maze's own datasets were made, by description."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8

from envs.memory_maze.maze import to_cells
from envs.rooms.physics import ACTION_NAMES
from envs.rooms.tour import steer

Cell = tuple[int, int]

NOISE = 0.1
"""Probability that a step begins a random action, held for 1 to 4 steps."""
_LONGEST_NOISE = 4
_PATIENCE = 60
"""Steps after which a point that was not reached is given up for another."""
_ARRIVED = 0.3
"""Cells."""


def shortest_path(cells: UInt8[np.ndarray, "rows columns"], start: Cell, goal: Cell) -> list[Cell]:
    """Cells ``(x, y)`` from the one after ``start`` to ``goal``, by breadth-first search; empty if there is no way."""
    before: dict[Cell, Cell] = {goal: goal}
    queue = deque([goal])
    while queue and start not in before:
        x, y = queue.popleft()
        for step in ((x - 1, y), (x + 1, y), (x, y - 1), (x, y + 1)):
            inside = 0 <= step[0] < cells.shape[1] and 0 <= step[1] < cells.shape[0]
            if inside and cells[step[1], step[0]] and step not in before:
                before[step] = (x, y)
                queue.append(step)
    path, place = [], start
    while place in before and place != goal:
        place = before[place]
        path.append(place)
    return path


def _towards(env: Any, goal: Cell) -> int:
    """The action that walks on to a cell: to the middle of the next one on the way."""
    x, y, heading = env.pose
    place = to_cells(np.array([x, y]), env.size)
    here = (int(place[0]), int(place[1]))
    path = shortest_path(env.layout, here, goal)
    target = path[0] if path else goal
    return steer(np.array([*place, heading]), (target[0] + 0.5, target[1] + 0.5))


def policy(env: Any, rng: np.random.Generator) -> Iterator[int]:
    """Actions of a ``MemoryMazeEnv`` that was just reset, without end. The wanted target plays no part."""
    ys, xs = np.nonzero(env.layout)
    while True:
        index = int(rng.integers(len(xs)))
        goal = (int(xs[index]), int(ys[index]))
        patience = _PATIENCE
        while patience > 0:
            place = to_cells(env.pose[:2], env.size)
            if np.hypot(place[0] - goal[0] - 0.5, place[1] - goal[1] - 0.5) < _ARRIVED:
                break
            if rng.random() < NOISE:
                action = int(rng.integers(len(ACTION_NAMES)))
                held = int(rng.integers(1, _LONGEST_NOISE + 1))
            else:
                action, held = _towards(env, goal), 1
            for _ in range(held):
                yield action
            patience -= held
