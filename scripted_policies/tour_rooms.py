"""Two tours of all rooms, in the same order; see ``envs.rooms.tour`` for how it walks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from envs.rooms import tour


def tour_rooms(env: Any, rng: np.random.Generator) -> Iterator[int]:
    """Actions of a whole episode of a ``RoomsEnv`` that was just reset."""
    yield from tour.policy(env, rng)
