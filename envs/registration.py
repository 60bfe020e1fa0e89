"""Registers the environments with Gymnasium, when ``envs`` is imported or through the entry point of this package.

Classes are named, not imported: a Gymnasium that loads entry points does so while it is itself being imported.
"""

from __future__ import annotations

from typing import Any

ENTRY_POINTS: dict[str, tuple[str, dict[str, Any]]] = {
    "WMBench/DistractingMemory-v0": ("envs.distracting_memory:DistractingMemoryEnv", {"width": 100}),
    "WMBench/MultiDoorsKeys-v0": ("envs.multi_doors_keys:MultiDoorsKeysEnv", {"keys": 3}),
}
"""Gymnasium id -> class, and arguments for who gives none."""


def register() -> None:
    """Make the ids of ``ENTRY_POINTS`` known to ``gymnasium.make``. Does nothing for those already known."""
    from gymnasium.envs import registration

    for gym_id, (entry_point, kwargs) in ENTRY_POINTS.items():
        if gym_id not in registration.registry:
            registration.register(gym_id, entry_point=entry_point, kwargs=kwargs)
