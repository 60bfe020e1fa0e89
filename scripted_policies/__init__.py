"""Scripted policies: generator functions ``policy(env, rng)`` that yield the actions of an episode.

A policy reads like the walk that it performs. It may look at the environment's state, since it is no agent to be
measured: it is how the data came about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from scripted_policies.tour_rooms import tour_rooms
from scripted_policies.try_doors import try_doors
from scripted_policies.visit_targets import visit_targets
from scripted_policies.walk_corridor import walk_corridor

POLICIES: dict[str, Callable[[Any, np.random.Generator], Iterator[int]]] = {
    "walk_corridor": walk_corridor,
    "try_doors": try_doors,
    "tour_rooms": tour_rooms,
    "visit_targets": visit_targets,
}
"""By ``EnvSpec.policy``."""
