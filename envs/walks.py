"""Walks over a map without stepping an environment: where actions lead when nothing is in the way, and what is seen."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int, UInt8
from minigrid.core.actions import Actions

from envs.centered_view import MARGIN
from envs.tiles import VIEW, WALL

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


def pad_maps(contents: UInt8[np.ndarray, "B height width"]) -> UInt8[np.ndarray, "B height+4 width+4"]:
    """Maps with as much wall around them as the view can reach."""
    return np.pad(contents, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)), constant_values=WALL)


def cells_in_view(xs: Int[np.ndarray, " T"], ys: Int[np.ndarray, " T"], width: int) -> Int[np.ndarray, "T 25"]:
    """Which cells of a padded, flattened map ``width`` cells wide (unpadded) are seen, row by row."""
    offset = np.arange(VIEW)
    rows = ys[:, None, None] + offset[:, None]
    columns = xs[:, None, None] + offset
    return (rows * (width + 2 * MARGIN) + columns).reshape(len(xs), VIEW * VIEW)
