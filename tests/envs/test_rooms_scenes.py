"""Floor plans, what is random in them, and what can be seen from where. No OpenGL."""

import numpy as np
import pytest

from envs.rooms.layouts import DOOR_WIDTH, FLOOR, JAMB, LAYOUTS, WALL_HEIGHT, layout
from envs.rooms.scene import MAX_OBJECTS, NO_OBJECT, Scene, sample_scene, sample_start

PLANS = pytest.mark.parametrize("plan", LAYOUTS.values(), ids=list(LAYOUTS))


def area(rectangle):
    return (rectangle.right - rectangle.left) * (rectangle.top - rectangle.bottom)


def test_unknown_layout_is_refused():
    with pytest.raises(ValueError, match="five_rooms.*two_rooms"):
        layout("five_rooms")


@PLANS
def test_rooms_doors_and_solids_tile_the_plan(plan):
    pieces = [*plan.rooms, *(door.passage for door in plan.doors), *plan.solid]
    width, height = plan.half_extent
    assert sum(map(area, pieces)) == pytest.approx(4 * width * height)
    rng = np.random.default_rng(0)
    for x, y in rng.uniform((-width, -height), (width, height), (500, 2)):
        assert sum(piece.contains(x, y) for piece in pieces) == 1


@PLANS
def test_doors_join_neighbours_on_the_tour(plan):
    for index, door in enumerate(plan.doors):
        assert (door.room, door.other) == (index, (index + 1) % len(plan.rooms))
        for room in (door.room, door.other):
            assert plan.room_at(*door.threshold(room, 0.1)) == room
        assert plan.room_at(*door.passage.centre) == -1
        assert plan.door_between(door.other, door.room) in plan.doors
        assert sorted((door.passage.right - door.passage.left, door.passage.top - door.passage.bottom)) == [
            pytest.approx(DOOR_WIDTH),
            pytest.approx(2.0),
        ]
    with pytest.raises(ValueError, match="no door"):
        plan.door_between(0, 0)


@PLANS
def test_faces_look_into_free_space_and_cover_every_wall(plan):
    """In front of a wall face there is a room or a passage, behind it there is a wall."""
    right, down = plan.faces[:, 3:6], plan.faces[:, 6:9]
    middle = plan.faces[:, :3] + (right + down) / 2
    normal = np.cross(down, right)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    free = [*plan.rooms, *(door.passage for door in plan.doors)]
    for side, centre, direction in zip(plan.face_side, middle, normal, strict=True):
        if side == FLOOR:
            assert direction[2] == 1
            continue
        front, back = centre + 0.01 * direction, centre - 0.01 * direction
        assert any(piece.contains(*front[:2].tolist()) for piece in free)
        assert any(piece.contains(*back[:2].tolist()) for piece in plan.solid)
        if side >= 0:
            assert plan.room_at(*front[:2].tolist()) == side // 4
    # Perimeters of rooms less doors, and both jambs of every door.
    lengths = np.abs(right[:-1]).sum(1)
    perimeter = sum(2 * (room.right - room.left + room.top - room.bottom) for room in plan.rooms)
    doors = len(plan.doors) * DOOR_WIDTH
    assert lengths[plan.face_side[:-1] >= 0].sum() == pytest.approx(perimeter - 2 * doors, rel=1e-5)
    assert (plan.face_side == JAMB).sum() == 2 * len(plan.doors)
    assert np.allclose(down[:-1, 2], -WALL_HEIGHT)


@PLANS
def test_scenes(plan):
    rng = np.random.default_rng(0)
    counts = set()
    for _ in range(20):
        scene = sample_scene(plan, rng)
        assert Scene(**scene.arrays()) == scene or all(
            np.array_equal(a, b) for a, b in zip(scene.arrays().values(), vars(scene).values(), strict=True)
        )
        walls = scene.wall_texture.reshape(-1, 4)
        assert all(len(set(sides)) == 4 for sides in walls.tolist()), "the sides of a room differ"
        for index, room in enumerate(plan.rooms):
            objects = scene.objects_in(index)
            counts.add(len(objects))
            colours = scene.object_colour[MAX_OBJECTS * index : MAX_OBJECTS * (index + 1)]
            assert len(set(colours.tolist())) == 2, "the objects of a room differ"
            assert all(room.contains(*scene.object_xy[place].tolist(), margin=1.0) for place in objects)
        pose = sample_start(plan, scene, rng)
        room = plan.room_at(float(pose[0]), float(pose[1]))
        assert room >= 0
        distances = np.hypot(*(scene.object_xy[scene.object_colour != NO_OBJECT] - pose[:2]).T)
        assert distances.min() > 0.6
    assert counts == {1, 2}


@pytest.mark.mujoco
@PLANS
def test_rooms_behind_the_neighbours_cannot_be_seen(plan):
    pytest.importorskip("numba", reason="the analytic renderer needs numba")
    pytest.importorskip("mujoco", reason="textures are decoded by mujoco")
    from envs.rooms.analytic import surfaces, visible_area

    rng = np.random.default_rng(1)
    scene = sample_scene(plan, rng)
    poses = []
    for bounds in plan.rooms:
        # The walker's radius keeps it 0.2 m from walls.
        low, high = (bounds.left + 0.2, bounds.bottom + 0.2), (bounds.right - 0.2, bounds.top - 0.2)
        poses.append(np.column_stack([rng.uniform(low, high, (500, 2)), rng.uniform(-np.pi, np.pi, 500)]))
    poses = np.concatenate(poses).astype(np.float32)
    seen = visible_area(surfaces(plan, scene), poses)
    room_of = np.append(np.where(plan.face_side >= 0, plan.face_side // 4, -1), np.arange(len(scene.object_xy)) // 2)
    own = neighbours = 0
    for pose, areas in zip(poses, seen, strict=True):
        here = plan.room_at(float(pose[0]), float(pose[1]))
        count = len(plan.rooms)
        allowed = {here, (here + 1) % count, (here - 1) % count, -1}
        # A quarter pixel may shine through where two faces meet.
        assert areas[~np.isin(room_of, list(allowed))].max(initial=0) <= 1, (
            f"from {pose} one sees a room that is not next door"
        )
        own += areas[room_of == here].sum()
        neighbours += areas[np.isin(room_of, list(allowed - {here, -1}))].sum()
    assert 0 < neighbours < 0.15 * own, "a neighbour shows through its door, but the view is of one's own room"
