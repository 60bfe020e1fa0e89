"""What is random in an episode of the rooms: colours of wall sides, objects, where the agent starts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

from envs.rooms.layouts import DOOR_WIDTH, Layout

WALL_TEXTURES = ("blue", "cerise", "green_bright", "green", "purple", "red_bright", "red", "yellow")
"""Memory Maze's wall textures (labmaze ``style_01``), in its order."""
FLOOR_TEXTURES = ("blue", "blue_bright")
"""Memory Maze's floor textures (labmaze ``style_01``)."""
JAMB_TEXTURE = WALL_TEXTURES.index("yellow")
FLOOR_TEXTURE = len(WALL_TEXTURES) + FLOOR_TEXTURES.index("blue_bright")

OBJECT_COLOURS = np.array(
    [(170, 38, 30), (99, 170, 88), (39, 140, 217), (93, 105, 199), (220, 193, 59), (220, 128, 107)], np.float32
) / np.float32(220)
"""Memory Maze's target colours: red, green, blue, purple, yellow, salmon. ``(6, 3)`` in [0, 1]."""
OBJECT_RADIUS = 0.6
MAX_OBJECTS = 2
"""Objects of a room: one or two."""
NO_OBJECT = 255

_OBJECT_TO_WALL = 1.1
_OBJECT_TO_OBJECT = 2.2
_OBJECT_TO_THRESHOLD = 1.7
_START_TO_WALL = 0.8


@dataclass(frozen=True)
class Scene:
    """wall_texture ``(4 * rooms,)``: index into ``WALL_TEXTURES`` of each side.
    object_xy ``(2 * rooms, 2)``: metres; two places a room.
    object_colour ``(2 * rooms,)``: index into ``OBJECT_COLOURS``, ``NO_OBJECT`` where a place is empty.
    """

    wall_texture: UInt8[np.ndarray, " sides"]
    object_xy: Float32[np.ndarray, "objects 2"]
    object_colour: UInt8[np.ndarray, " objects"]

    def arrays(self) -> dict[str, np.ndarray]:
        """As stored in ``Trajectory.scene``; ``Scene(**arrays)`` is the inverse."""
        return {
            "wall_texture": self.wall_texture,
            "object_xy": self.object_xy,
            "object_colour": self.object_colour,
        }

    def objects_in(self, room: int) -> list[int]:
        """Places of this room that hold an object."""
        places = range(MAX_OBJECTS * room, MAX_OBJECTS * (room + 1))
        return [place for place in places if self.object_colour[place] != NO_OBJECT]


def _place(layout: Layout, room: int, taken: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """A random point of the room away from walls, from ways through doors and from other objects."""
    bounds = layout.rooms[room]
    doors = [d.threshold(room, 0.5) for d in layout.doors if room in (d.room, d.other)]
    while True:
        x = rng.uniform(bounds.left + _OBJECT_TO_WALL, bounds.right - _OBJECT_TO_WALL)
        y = rng.uniform(bounds.bottom + _OBJECT_TO_WALL, bounds.top - _OBJECT_TO_WALL)
        clear_of_doors = all(np.hypot(x - a, y - b) > _OBJECT_TO_THRESHOLD for a, b in doors)
        if clear_of_doors and all(np.hypot(x - a, y - b) > _OBJECT_TO_OBJECT for a, b in taken):
            return np.array([x, y], np.float32)


def sample_scene(layout: Layout, rng: np.random.Generator) -> Scene:
    """Colours and objects of a new episode. The sides of one room differ in colour, and so do its objects."""
    assert DOOR_WIDTH < 2 * _OBJECT_TO_THRESHOLD
    rooms = len(layout.rooms)
    walls = np.concatenate([rng.permutation(len(WALL_TEXTURES))[:4] for _ in range(rooms)]).astype(np.uint8)
    xy = np.zeros((MAX_OBJECTS * rooms, 2), np.float32)
    colour = np.full(MAX_OBJECTS * rooms, NO_OBJECT, np.uint8)
    for room in range(rooms):
        count = int(rng.integers(1, MAX_OBJECTS + 1))
        colours = rng.permutation(len(OBJECT_COLOURS))[:count]
        taken: list[np.ndarray] = []
        for k in range(count):
            place = MAX_OBJECTS * room + k
            xy[place] = _place(layout, room, taken, rng)
            taken.append(xy[place])
            colour[place] = colours[k]
    return Scene(walls, xy, colour)


def sample_start(layout: Layout, scene: Scene, rng: np.random.Generator) -> Float32[np.ndarray, 3]:
    """Pose ``(x, y, heading)`` in a random room, clear of walls and objects; heading in radians from the x axis."""
    room = int(rng.integers(len(layout.rooms)))
    bounds = layout.rooms[room]
    objects = scene.object_xy[scene.objects_in(room)]
    while True:
        x = rng.uniform(bounds.left + _START_TO_WALL, bounds.right - _START_TO_WALL)
        y = rng.uniform(bounds.bottom + _START_TO_WALL, bounds.top - _START_TO_WALL)
        if all(np.hypot(*(objects - (x, y)).T) > 2 * OBJECT_RADIUS):
            return np.array([x, y, rng.uniform(-np.pi, np.pi)], np.float32)
