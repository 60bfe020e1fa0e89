"""Walks over a map without stepping an environment: where actions lead when nothing is in the way, and what is seen."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int, Shaped
from minigrid.core.actions import Actions

from envs.centered_view import MARGIN
from envs.tiles import VIEW

STEP_X = np.array([1, 0, -1, 0])
STEP_Y = np.array([0, 1, 0, -1])
"""A step forward, by direction."""


def poses(
    actions: Int[np.ndarray, " steps"], x: int, y: int, direction: int
) -> tuple[Int[np.ndarray, " T"], Int[np.ndarray, " T"], Int[np.ndarray, " T"]]:
    """Column, row and direction of the agent in each of the ``steps + 1`` frames.

    Every ``forward`` must lead to a cell that can be entered; walls are not looked at.
    """
    turns = (actions == Actions.right).astype(int) - (actions == Actions.left)
    directions = np.cumsum(np.concatenate([[direction], turns])) % 4
    ahead = actions == Actions.forward
    xs = np.cumsum(np.concatenate([[x], ahead * STEP_X[directions[:-1]]]))
    ys = np.cumsum(np.concatenate([[y], ahead * STEP_Y[directions[:-1]]]))
    return xs, ys, directions


def seen_from(
    maps: Shaped[np.ndarray, "*maps height width"],
    xs: Int[np.ndarray, " T"],
    ys: Int[np.ndarray, " T"],
    outside: int,
) -> Shaped[np.ndarray, "*maps T 25"]:
    """The cells in view of each pose, row by row; ``outside`` stands for those beyond the map."""
    *several, rows, columns = maps.shape
    height, width = rows + 2 * MARGIN, columns + 2 * MARGIN
    padded = np.full((*several, height, width), outside, maps.dtype)
    padded[..., MARGIN:-MARGIN, MARGIN:-MARGIN] = maps
    around = (np.arange(VIEW)[:, None] * width + np.arange(VIEW)).ravel()
    cells = (ys * width + xs)[:, None] + around
    return padded.reshape(*several, height * width)[..., cells]
