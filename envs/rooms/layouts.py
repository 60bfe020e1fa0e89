"""Fixed floor plans: rooms on a grid of 2 m cells, joined in a ring by narrow doors.

```
two_rooms               four_rooms                  ten_rooms
+---------+---------+   +-----------+-----------+   +-----+-----+-----+-----+-----+
|         |         |   |                       |   |           |           |     |
|    0         1    |   |     0     |     1     |   |  0  |  1  |  2  |  3  |  4  |
|         |         |   |           |           |   |     |           |           |
+---------+---------+   +--  -------+-------  --+   +-  --+-----+-----+-----+--  -+
                        |           |           |   |           |           |     |
                        |     3     |     2     |   |  9  |  8  |  7  |  6  |  5  |
                        |                       |   |     |           |           |
                        +-----------+-----------+   +-----+-----+-----+-----+-----+
```

Walls are one cell thick and doors 1 m wide. So a line of sight through a door stays within 27 degrees of its axis,
and consecutive doors are perpendicular or shifted so far that none passes two doors: from inside a room its
neighbours can be seen in part, rooms behind them never. (Tested by rendering.)

Axes: x to the right, y up, metres, the origin in the middle of the plan. The sides of a room are numbered east, north,
west, south.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float32, Int64

CELL = 2.0
"""Metres, as in Memory Maze: a wall texture spans one cell."""
WALL_HEIGHT = 1.5
DOOR_WIDTH = 1.0
EAST, NORTH, WEST, SOUTH = range(4)
JAMB, FLOOR = -1, -2
"""Values of ``Layout.face_side`` for faces that belong to no side of a room."""


@dataclass(frozen=True)
class Rectangle:
    """Axis-aligned, metres."""

    left: float
    bottom: float
    right: float
    top: float

    @property
    def centre(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.bottom + self.top) / 2

    def contains(self, x: float, y: float, margin: float = 0.0) -> bool:
        """Is ``(x, y)`` inside, at least ``margin`` from every edge?"""
        across = self.left + margin <= x <= self.right - margin
        return bool(across and self.bottom + margin <= y <= self.top - margin)


@dataclass(frozen=True)
class Door:
    """A passage through the wall between two rooms. ``side`` is the side of ``room`` that it leaves by."""

    room: int
    other: int
    side: int
    passage: Rectangle

    def threshold(self, room: int, distance: float) -> tuple[float, float]:
        """The point on the axis of the door, ``distance`` metres inside ``room``."""
        x, y = self.passage.centre
        outwards = 1 if room == self.other else -1
        reach = outwards * (CELL / 2 + distance) * (1 if self.side in (EAST, NORTH) else -1)
        return (x + reach, y) if self.side in (EAST, WEST) else (x, y + reach)


@dataclass(frozen=True)
class Layout:
    """A floor plan. ``rooms[i + 1]`` follows ``rooms[i]`` on a tour; ``doors[i]`` leads from the one to the other."""

    name: str
    cells: tuple[int, int]
    rooms: tuple[Rectangle, ...]
    doors: tuple[Door, ...]

    @property
    def half_extent(self) -> tuple[float, float]:
        return self.cells[0] * CELL / 2, self.cells[1] * CELL / 2

    @property
    def free(self) -> tuple[Rectangle, ...]:
        """Where one can walk: rooms and doors."""
        return self.rooms + tuple(door.passage for door in self.doors)

    @property
    def side_count(self) -> int:
        return 4 * len(self.rooms)

    def room_at(self, x: float, y: float) -> int:
        """Index of the room that contains the point; -1 inside a door or a wall."""
        for index, room in enumerate(self.rooms):
            if room.contains(x, y):
                return index
        return -1

    def door_between(self, room: int, other: int) -> Door:
        """The door that joins two rooms; ``ValueError`` if they have none."""
        for door in self.doors:
            if {door.room, door.other} == {room, other}:
                return door
        raise ValueError(f"no door between rooms {room} and {other} of {self.name}; neighbours on the tour have one")

    @cached_property
    def solid(self) -> tuple[Rectangle, ...]:
        """Disjoint rectangles that fill everything outside rooms and doors: what the walker bumps into."""
        free = self.free
        width, height = self.half_extent
        xs = sorted({-width, width} | {x for r in free for x in (r.left, r.right)})
        solids: list[Rectangle] = []
        for left, right in zip(xs, xs[1:], strict=False):
            # Within a strip between neighbouring x the plan is a stack of intervals: keep the gaps.
            spans = sorted((r.bottom, r.top) for r in free if r.left <= left and right <= r.right)
            edges = [-height, *(y for span in spans for y in span), height]
            solids += [
                Rectangle(left, low, right, high)
                for low, high in zip(edges[::2], edges[1::2], strict=True)
                if high - low > 1e-9
            ]
        return tuple(solids)

    @cached_property
    def _wall_faces(self) -> list[tuple[tuple[float, float], tuple[float, float], int]]:
        """``(start, end, side)`` in the plan. Seen from where it faces, a face runs from left (start) to right."""
        found = []
        for index, room in enumerate(self.rooms):
            corners = {
                EAST: ((room.right, room.top), (room.right, room.bottom)),
                NORTH: ((room.left, room.top), (room.right, room.top)),
                WEST: ((room.left, room.bottom), (room.left, room.top)),
                SOUTH: ((room.right, room.bottom), (room.left, room.bottom)),
            }
            for side, (start, end) in corners.items():
                gaps = [d.passage for d in self.doors if (d.room, d.side) == (index, side)]
                gaps += [d.passage for d in self.doors if (d.other, (d.side + 2) % 4) == (index, side)]
                along = 1 if side in (EAST, WEST) else 0
                ends = sorted(x for g in gaps for x in ((g.bottom, g.top) if along else (g.left, g.right)))
                stops = [start[along], *(ends if start[along] < end[along] else ends[::-1]), end[along]]
                for a, b in zip(stops[::2], stops[1::2], strict=True):
                    place = ((start[0], a), (start[0], b)) if along else ((a, start[1]), (b, start[1]))
                    found.append((*place, 4 * index + side))
        for door in self.doors:
            p = door.passage
            if door.side in (EAST, WEST):
                found += [((p.left, p.top), (p.right, p.top), JAMB), ((p.right, p.bottom), (p.left, p.bottom), JAMB)]
            else:
                found += [((p.right, p.top), (p.right, p.bottom), JAMB), ((p.left, p.bottom), (p.left, p.top), JAMB)]
        return found

    @cached_property
    def face_side(self) -> Int64[np.ndarray, " faces"]:
        """Side ``4 * room + side`` that each face is part of; ``JAMB`` inside doors; ``FLOOR`` for the last face."""
        return np.array([side for _, _, side in self._wall_faces] + [FLOOR], dtype=np.int64)

    @cached_property
    def faces(self) -> Float32[np.ndarray, "faces 11"]:
        """Rectangles as the renderers take them: top-left corner, edge to the right, edge down, texture repeats.

        Metres; a texture is repeated once a cell in both directions.
        """
        rows = []
        for (x0, y0), (x1, y1), _ in self._wall_faces:
            length = abs(x1 - x0) + abs(y1 - y0)
            repeats = (length / CELL, WALL_HEIGHT / CELL)
            rows.append((x0, y0, WALL_HEIGHT, x1 - x0, y1 - y0, 0.0, 0.0, 0.0, -WALL_HEIGHT, *repeats))
        width, height = self.half_extent
        floor = (-width, height, 0.0, 2 * width, 0.0, 0.0, 0.0, -2 * height, 0.0, *map(float, self.cells))
        return np.array([*rows, floor], dtype=np.float32)


def _layout(name: str, cells: tuple[int, int], rooms: list[tuple[int, int, int]], doors: list[float]) -> Layout:
    """``rooms``: left, bottom, size in cells. ``doors[i]``: where the door to the next is, cells along its wall."""
    shift_x, shift_y = cells[0] / 2, cells[1] / 2
    places = tuple(
        Rectangle(*(CELL * v for v in (x - shift_x, y - shift_y, x + size - shift_x, y + size - shift_y)))
        for x, y, size in rooms
    )
    made = []
    for index, offset in enumerate(doors):
        other = (index + 1) % len(rooms)
        a, b = places[index], places[other]
        (ax, ay), (bx, by) = a.centre, b.centre
        half = DOOR_WIDTH / 2
        if abs(bx - ax) > abs(by - ay):
            middle = a.bottom + CELL * offset
            side = EAST if bx > ax else WEST
            passage = Rectangle(min(a.right, b.right), middle - half, max(a.left, b.left), middle + half)
        else:
            middle = a.left + CELL * offset
            side = NORTH if by > ay else SOUTH
            passage = Rectangle(middle - half, min(a.top, b.top), middle + half, max(a.bottom, b.bottom))
        made.append(Door(index, other, side, passage))
    return Layout(name, cells, places, tuple(made))


# The nearest that a door may come to a corner with room for the walker; see the sight lines above.
_NEAR, _FAR = 0.45, 2.55

LAYOUTS = {
    layout.name: layout
    for layout in (
        _layout("two_rooms", (13, 7), [(1, 1, 5), (7, 1, 5)], [3.5]),
        _layout("four_rooms", (13, 13), [(1, 7, 5), (7, 7, 5), (7, 1, 5), (1, 1, 5)], [4.0, 4.0, 1.0, 1.0]),
        _layout(
            "ten_rooms",
            (21, 9),
            [(1 + 4 * i, 5, 3) for i in range(5)] + [(17 - 4 * i, 1, 3) for i in range(5)],
            [_FAR, _NEAR, _FAR, _NEAR, _FAR, _NEAR, _FAR, _NEAR, _FAR, _NEAR],
        ),
    )
}


def layout(name: str) -> Layout:
    """The floor plan called ``name``; ``ValueError`` if there is none."""
    if name not in LAYOUTS:
        raise ValueError(f"unknown layout {name!r}; allowed: {', '.join(LAYOUTS)}")
    return LAYOUTS[name]
