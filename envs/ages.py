"""How long ago a place was last in view: the age that a memory of it must have."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from envs.tiles import VIEW


def cell_ages(xs: Int[np.ndarray, " T"], ys: Int[np.ndarray, " T"], context_length: int) -> Int[np.ndarray, "T 5 5"]:
    """Steps since each cell in view was last in view during the context; 0 if it never was.

    ``xs``, ``ys``: column and row of the agent in each frame. In the context itself the age is 0 throughout.
    """
    columns, rows = xs - xs.min(), ys - ys.min()
    last = np.full((rows.max() + VIEW, columns.max() + VIEW), -1)
    for t in range(context_length):
        last[rows[t] : rows[t] + VIEW, columns[t] : columns[t] + VIEW] = t
    around_y = rows[:, None, None] + np.arange(VIEW)[:, None]
    around_x = columns[:, None, None] + np.arange(VIEW)
    seen = last[around_y, around_x]
    age = np.where(seen >= 0, np.arange(len(xs))[:, None, None] - seen, 0)
    age[:context_length] = 0
    return age
