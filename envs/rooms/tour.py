"""The tour of the rooms: how to steer, and what to do in each room until it is time for the next.

A tour is a generator of actions that asks for the pose when it needs it, so that it reads like the walk it performs.
In each room: turn once around (so every wall side has been in view), walk up to every object, wander. The next room is
entered early enough to be inside when its turn comes. Walking keeps clear of walls and objects: walls are sticky.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from envs.rooms.layouts import Layout, Rectangle
from envs.rooms.scene import OBJECT_RADIUS, Scene
from envs.rooms.teleport import TELEPORT

Point = tuple[float, float]
PoseSource = Callable[[], np.ndarray]

NOOP, FORWARD, LEFT, RIGHT, FORWARD_LEFT, FORWARD_RIGHT = range(6)
STRIDE = 0.5
"""Metres of a step forward at full speed (measured: 0.4995)."""
_AHEAD, _ASIDE = np.deg2rad(12.0), np.deg2rad(40.0)
_ARRIVED = 0.45
_WALL_CLEARANCE = 0.75
_OBJECT_CLEARANCE = OBJECT_RADIUS + 0.45
_LOOK_DISTANCE = 1.7
_LEAVE_SLACK = 25
"""Steps by which a tour plans to be early in the next room."""
_BEFORE_DOOR = 0.8
_LONGEST_DETOUR = 12.0
"""Metres; more than any way around two objects is longer than the straight line."""


def steer(pose: np.ndarray, target: Point) -> int:
    """The action that brings ``pose`` ``(x, y, heading)`` nearer to a point with nothing in between."""
    error = _bearing(pose, target)
    if abs(error) < _AHEAD:
        return FORWARD
    if abs(error) < _ASIDE:
        return FORWARD_LEFT if error > 0 else FORWARD_RIGHT
    return LEFT if error > 0 else RIGHT


def _bearing(pose: np.ndarray, target: Point) -> float:
    """Radians from straight ahead to the target, positive to the left."""
    angle = np.arctan2(target[1] - pose[1], target[0] - pose[0]) - pose[2]
    return float((angle + np.pi) % (2 * np.pi) - np.pi)


def _distance(a: Point, b: Point) -> float:
    return math.hypot(a[0] - b[0], a[1] - b[1])


def _clear(a: Point, b: Point, obstacles: Sequence[Point]) -> bool:
    """Does the segment keep its distance from all obstacles, as far as its first end does?"""
    dx, dy = b[0] - a[0], b[1] - a[1]
    square = dx * dx + dy * dy
    for x, y in obstacles:
        along = 0.0 if square == 0 else min(max(((x - a[0]) * dx + (y - a[1]) * dy) / square, 0.0), 1.0)
        nearest = math.hypot(a[0] + along * dx - x, a[1] + along * dy - y)
        # Who stands too near (next to an object just looked at) may leave, but not come nearer.
        if nearest < min(_OBJECT_CLEARANCE, 0.98 * math.hypot(a[0] - x, a[1] - y)):
            return False
    return True


def path_in_room(room: Rectangle, obstacles: Sequence[Point], start: Point, goal: Point) -> list[Point]:
    """Shortest way, as points after ``start``, around obstacles on a graph of points around them."""
    if _clear(start, goal, obstacles):
        return [goal]
    angles = [k * math.pi / 6 for k in range(12)]
    ring = 1.25 * _OBJECT_CLEARANCE
    around = [(x + ring * math.cos(a), y + ring * math.sin(a)) for x, y in obstacles for a in angles]
    nodes = [start, *(p for p in around if room.contains(*p, 0.5)), goal]
    best = {0: 0.0}
    queue: list[tuple[float, int, list[int]]] = [(0.0, 0, [])]
    while queue:
        cost, node, path = heapq.heappop(queue)
        if node == len(nodes) - 1:
            return [nodes[i] for i in path]
        for other in range(1, len(nodes)):
            further = cost + _distance(nodes[node], nodes[other])
            if further < best.get(other, np.inf) and _clear(nodes[node], nodes[other], obstacles):
                best[other] = further
                heapq.heappush(queue, (further, other, [*path, other]))
    return [goal]


class _Tour:
    """One walk: where the agent is, what time it is, and the rooms' furniture."""

    def __init__(self, layout: Layout, scene: Scene, pose: PoseSource, rng: np.random.Generator) -> None:
        self.layout, self.scene, self.pose, self.rng = layout, scene, pose, rng
        self.time = 0

    def here(self) -> Point:
        x, y, _ = self.pose()
        return float(x), float(y)

    def obstacles(self, room: int) -> list[Point]:
        return [(float(x), float(y)) for x, y in self.scene.object_xy[self.scene.objects_in(room)]]

    def act(self, action: int) -> Iterator[int]:
        self.time += 1
        yield action

    def turn_around(self, until: int) -> Iterator[int]:
        """A full turn on the spot and a bit more, to a random side."""
        action = LEFT if self.rng.random() < 0.5 else RIGHT
        turned, last = 0.0, self.pose()[2]
        while turned < 2 * np.pi and self.time < until:
            yield from self.act(action)
            heading = self.pose()[2]
            turned += abs(float((heading - last + np.pi) % (2 * np.pi) - np.pi))
            last = heading

    def walk(self, room: int, goal: Point, until: int) -> Iterator[int]:
        """To a point of the room, around its objects; gives up at ``until``."""
        way = path_in_room(self.layout.rooms[room], self.obstacles(room), self.here(), goal)
        for point in way:
            yield from self.straight(point, until)

    def straight(self, point: Point, until: int, arrived: float = _ARRIVED) -> Iterator[int]:
        while self.time < until and _distance(self.here(), point) > arrived:
            yield from self.act(steer(self.pose(), point))

    def face(self, point: Point, until: int) -> Iterator[int]:
        while self.time < until and abs(_bearing(self.pose(), point)) > _AHEAD:
            yield from self.act(LEFT if _bearing(self.pose(), point) > 0 else RIGHT)

    def look_at(self, room: int, place: int, until: int) -> Iterator[int]:
        """Walk up to an object and face it."""
        bounds = self.layout.rooms[room]
        x, y = (float(v) for v in self.scene.object_xy[place])
        angles = [k * math.pi / 8 for k in range(16)]
        stands = [(x + _LOOK_DISTANCE * math.cos(a), y + _LOOK_DISTANCE * math.sin(a)) for a in angles]
        others = self.obstacles(room)
        usable = [
            stand
            for stand in stands
            if bounds.contains(*stand, _WALL_CLEARANCE) and all(_distance(stand, o) > _OBJECT_CLEARANCE for o in others)
        ]
        if usable:
            stand = min(usable, key=lambda point: _distance(self.here(), point))
            if _distance(self.here(), (x, y)) > _LOOK_DISTANCE + _ARRIVED:
                yield from self.walk(room, stand, until)
        yield from self.face((x, y), until)

    def must_leave(self, room: int, following: int, until: int) -> bool:
        """Is what remains no more than the way into the next room takes, with some steps to spare?"""
        door, here = self.layout.door_between(room, following), self.here()
        out, beyond = door.threshold(room, _BEFORE_DOOR), door.threshold(following, _BEFORE_DOOR)
        allowed = (until - self.time - _LEAVE_SLACK) * STRIDE / 1.05
        if allowed > _distance(here, out) + _distance(out, beyond) + _LONGEST_DETOUR:
            return False
        way = [here, *path_in_room(self.layout.rooms[room], self.obstacles(room), here, out), beyond]
        return allowed <= sum(_distance(a, b) for a, b in zip(way, way[1:], strict=False))

    def wander(self, room: int, following: int | None, until: int) -> Iterator[int]:
        """Random walks in the room while there is time for the way to the next."""
        bounds = self.layout.rooms[room]
        while self.time < until:
            x = self.rng.uniform(bounds.left + 1.0, bounds.right - 1.0)
            y = self.rng.uniform(bounds.bottom + 1.0, bounds.top - 1.0)
            if any(_distance((x, y), o) < 1.2 * _OBJECT_CLEARANCE for o in self.obstacles(room)):
                continue
            for action in self.walk(room, (x, y), until):
                yield action
                if following is not None and self.must_leave(room, following, until):
                    return

    def leave(self, room: int, following: int) -> Iterator[int]:
        """Through the door, along its axis."""
        door = self.layout.door_between(room, following)
        forever = self.time + 10_000
        yield from self.walk(room, door.threshold(room, _BEFORE_DOOR), forever)
        axis = door.threshold(room, 0.1)
        yield from self.face(axis, forever)
        yield from self.straight(axis, forever, arrived=0.3)
        yield from self.straight(door.threshold(following, _BEFORE_DOOR), forever)

    def visit(self, room: int, following: int, until: int) -> Iterator[int]:
        """A stay in a room that ends in the following one, at about ``until``."""

        def in_time(actions: Iterator[int]) -> Iterator[int]:
            for action in actions:
                yield action
                if self.must_leave(room, following, until):
                    return

        yield from in_time(self.turn_around(until))
        for place in self.scene.objects_in(room):
            yield from in_time(self.look_at(room, place, until))
        if not self.must_leave(room, following, until):
            yield from self.wander(room, following, until)
        yield from self.leave(room, following)


def policy(env: Any, rng: np.random.Generator) -> Iterator[int]:
    """Actions of a whole episode of a ``RoomsEnv`` that was just reset; with teleport, the past again at the end."""
    query_steps = env.steps - env.context_steps
    actions = tour(env.layout, env.scene, lambda: env.pose, env.context_steps, query_steps, rng)
    if not env.teleport:
        yield from actions
        return
    past = []
    for action in itertools.islice(actions, env.context_steps):
        past.append(action)
        yield action
    yield TELEPORT
    yield from past[env.return_to : env.return_to + query_steps - 1]


def tour(
    layout: Layout, scene: Scene, pose: PoseSource, context_steps: int, query_steps: int, rng: np.random.Generator
) -> Iterator[int]:
    """Actions of two tours through all rooms and back to the first, ``context_steps + query_steps`` in all.

    ``pose()`` gives the present ``(x, y, heading)``. The time of a tour is divided evenly among its rooms.
    """
    walk = _Tour(layout, scene, pose, rng)
    first = layout.room_at(*walk.here())
    assert first >= 0, "an episode starts inside a room"
    count = len(layout.rooms)
    end = context_steps + query_steps

    def whole() -> Iterator[int]:
        for begin, steps in ((0, context_steps), (context_steps, query_steps)):
            for visit in range(count):
                room, following = (first + visit) % count, (first + visit + 1) % count
                yield from walk.visit(room, following, begin + round(steps * (visit + 1) / count))
        yield from walk.wander(first, None, end)

    for action in whole():
        yield action
        if walk.time >= end:
            return
