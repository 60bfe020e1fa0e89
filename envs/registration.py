"""Registers the environments with Gymnasium, when ``envs`` is imported or through the entry point of this package.

Classes are named, not imported: a Gymnasium that loads entry points does so while it is itself being imported.
"""

from __future__ import annotations

from typing import Any

_ROOMS = "envs.rooms.environment:RoomsEnv"
_TELEPORT = {"teleport": True}
_MEMORY_MAZE = "envs.memory_maze.environment:MemoryMazeEnv"

ENTRY_POINTS: dict[str, tuple[str, dict[str, Any]]] = {
    "WMBench/DistractingMemory-v0": ("envs.distracting_memory:DistractingMemoryEnv", {"width": 100}),
    "WMBench/MultiDoorsKeys-v0": ("envs.multi_doors_keys:MultiDoorsKeysEnv", {"keys": 3}),
    "WMBench/TwoRooms-v0": (_ROOMS, {"name": "two_rooms", "steps": 500, "context_steps": 300}),
    "WMBench/FourRooms-v0": (_ROOMS, {"name": "four_rooms", "steps": 1000, "context_steps": 500}),
    "WMBench/TenRooms-v0": (_ROOMS, {"name": "ten_rooms", "steps": 2000, "context_steps": 1100}),
    "WMBench/TwoRoomsTeleport-v0": (_ROOMS, {"name": "two_rooms", "steps": 450, "context_steps": 300, **_TELEPORT}),
    "WMBench/FourRoomsTeleport-v0": (_ROOMS, {"name": "four_rooms", "steps": 750, "context_steps": 500, **_TELEPORT}),
    "WMBench/TenRoomsTeleport-v0": (_ROOMS, {"name": "ten_rooms", "steps": 1650, "context_steps": 1100, **_TELEPORT}),
    "WMBench/MemoryMaze9x9-v0": (_MEMORY_MAZE, {"size": 9}),
    "WMBench/MemoryMaze11x11-v0": (_MEMORY_MAZE, {"size": 11}),
    "WMBench/MemoryMaze13x13-v0": (_MEMORY_MAZE, {"size": 13}),
    "WMBench/MemoryMaze15x15-v0": (_MEMORY_MAZE, {"size": 15}),
}
"""Gymnasium id -> class, and arguments for who gives none."""


def register() -> None:
    """Make the ids of ``ENTRY_POINTS`` known to ``gymnasium.make``. Does nothing for those already known."""
    from gymnasium.envs import registration

    for gym_id, (entry_point, kwargs) in ENTRY_POINTS.items():
        if gym_id not in registration.registry:
            registration.register(gym_id, entry_point=entry_point, kwargs=kwargs)
