"""The map of a 3D world from above."""

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="textures are decoded by mujoco")
pytest.importorskip("numba", reason="the analytic renderer needs numba")

import envs
from envs.rooms import analytic, floor_map
from envs.rooms.analytic import Surfaces, surfaces, visible_area
from envs.rooms.floor_map import draw_map, visible_polygon, wall_colours
from envs.rooms.layouts import EAST, JAMB, LAYOUTS, NORTH, SOUTH, WEST, layout
from envs.rooms.scene import JAMB_TEXTURE, NO_OBJECT, OBJECT_COLOURS, sample_scene, sample_start

pytestmark = pytest.mark.mujoco
PLANS = pytest.mark.parametrize("plan", LAYOUTS.values(), ids=list(LAYOUTS))
INTO_WALL = {EAST: (0.25, 0.0), NORTH: (0.0, 0.25), WEST: (-0.25, 0.0), SOUTH: (0.0, -0.25)}


def pixel(picture, plan, x, y):
    """The pixel of a place, in an independent way: the map is the rooms and a margin, not distorted."""
    left, right = (pick(getattr(room, end) for room in plan.rooms) for pick, end in ((min, "left"), (max, "right")))
    scale = picture.shape[1] / (right - left + 2 * floor_map._MARGIN)
    top = max(room.top for room in plan.rooms)
    return int((top + floor_map._MARGIN - y) * scale), int((x - left + floor_map._MARGIN) * scale)


def colour_at(picture, plan, x, y):
    return tuple(picture[pixel(picture, plan, x, y)].tolist())


def episode(plan, seed=0):
    rng = np.random.default_rng(seed)
    scene = sample_scene(plan, rng)
    return scene, sample_start(plan, scene, rng)


def bare(plan, scene):
    """The rooms without objects."""
    found = surfaces(plan, scene)
    return Surfaces(found.faces, found.face_texture, np.zeros_like(found.spheres))


@PLANS
def test_walls_have_the_colours_of_the_episode_and_doors_are_open(plan):
    scene, pose = episode(plan)
    picture = draw_map(plan.free, surfaces(plan, scene), pose[None], 900)
    colours = [tuple(colour) for colour in wall_colours().tolist()]
    for index, room in enumerate(plan.rooms):
        (x, y), doors = room.centre, [d for d in plan.doors if index in (d.room, d.other)]
        for side, (dx, dy) in INTO_WALL.items():
            middle = {EAST: (room.right, y), NORTH: (x, room.top), WEST: (room.left, y), SOUTH: (x, room.bottom)}[side]
            wall = middle[0] + dx, middle[1] + dy
            if not any(door.passage.contains(*wall, margin=-0.6) for door in doors):
                assert colour_at(picture, plan, *wall) == colours[scene.wall_texture[4 * index + side]], (index, side)
    for door in plan.doors:
        x, y = door.passage.centre
        assert colour_at(picture, plan, x, y) in (floor_map._FLOOR, floor_map._VIEW)
        aside = (0, 0.75) if door.side in (EAST, WEST) else (0.75, 0)
        assert colour_at(picture, plan, x + aside[0], y + aside[1]) == colours[JAMB_TEXTURE]


@PLANS
def test_objects_are_where_they_are(plan):
    scene, pose = episode(plan, seed=3)
    picture = draw_map(plan.free, surfaces(plan, scene), pose[None], 900)
    without = draw_map(plan.free, bare(plan, scene), pose[None], 900)
    for (x, y), colour in zip(scene.object_xy.tolist(), scene.object_colour, strict=True):
        if colour != NO_OBJECT:
            expected = np.round(255 * OBJECT_COLOURS[colour])
            assert np.abs(np.array(colour_at(picture, plan, x, y)) - expected).max() <= 1
            assert colour_at(without, plan, x, y) in (floor_map._FLOOR, floor_map._VIEW)


@PLANS
@pytest.mark.parametrize("width", [250, 900])
def test_the_agent_is_where_its_pose_is_and_looks_ahead(plan, width):
    for seed in range(5):
        scene, pose = episode(plan, seed)
        picture = draw_map(plan.free, bare(plan, scene), pose[None], width)
        assert picture.shape[1] <= width
        x, y, heading = pose.tolist()
        row, column = pixel(picture, plan, x, y)
        dark = np.argwhere(picture.max(-1) < 60)
        assert np.abs(dark.mean(0) - (row, column)).max() < 3.5, "the arrow's middle is at the pose"
        along = (dark - dark.mean(0)) @ (-np.sin(heading), np.cos(heading))
        assert along.max() > -along.min(), "the tip is ahead"
        there = x + 1.5 * np.cos(heading), y + 1.5 * np.sin(heading)
        behind = x - 1.5 * np.cos(heading), y - 1.5 * np.sin(heading)
        if plan.room_at(*there) >= 0:
            assert colour_at(picture, plan, *there) == floor_map._VIEW
        if plan.room_at(*behind) >= 0:
            assert colour_at(picture, plan, *behind) == floor_map._FLOOR


@PLANS
def test_the_view_on_the_map_is_what_the_camera_sees(plan):
    """The walls at which the shaded part ends are those that have pixels in the frame."""
    rng = np.random.default_rng(5)
    scene = sample_scene(plan, rng)
    rooms = bare(plan, scene)
    poses = np.stack([sample_start(plan, scene, rng) for _ in range(40)])
    walls = rooms.faces[plan.face_side >= JAMB].astype(float)
    for pose, area in zip(poses, visible_area(rooms, poses), strict=True):
        ends = visible_polygon(rooms.faces, pose)[1:]
        offset, edge = ends[:, None] - walls[:, :2], walls[:, 3:5]
        length = np.hypot(*edge.T)
        along = (offset * edge).sum(-1) / length**2
        apart = np.abs(offset[..., 0] * edge[:, 1] - offset[..., 1] * edge[:, 0]) / length
        rays = ((apart < 1e-6) & (along > -1e-6) & (along < 1 + 1e-6)).sum(0)
        assert rays.sum() >= len(ends), "every ray ends at a wall"
        assert (rays[area[: len(walls)] > 4 * 50] > 0).all()
        assert (area[: len(walls)][rays > 10] > 0).all()


def test_the_way_is_drawn_but_not_across_a_teleport():
    plan = layout("two_rooms")
    scene, _ = episode(plan)
    x, y = plan.rooms[0].centre
    north = np.pi / 2
    walked = np.array([(x - 3, y - 2, north), (x + 3, y - 2, north), (x + 3, y + 2, north)])
    steps = np.concatenate([np.linspace(a, b, 20) for a, b in zip(walked, walked[1:], strict=False)]).astype(np.float32)
    jump = walked.astype(np.float32)
    for path, colour in ((steps, floor_map._PATH), (jump, floor_map._FLOOR)):
        picture = draw_map(plan.free, bare(plan, scene), path, 900)
        assert colour_at(picture, plan, x - 2.9, y - 2) == colour
    picture = draw_map(plan.free, bare(plan, scene), steps, 900)
    assert colour_at(picture, plan, x + 3, y) == floor_map._RECENT_PATH
    assert colour_at(picture, plan, x - 3, y + 2) == floor_map._FLOOR


def test_the_wanted_object_has_a_ring():
    plan = layout("two_rooms")
    scene, pose = episode(plan)
    found = surfaces(plan, scene)
    plain, marked = (draw_map(plan.free, found, pose[None], 900, wanted) for wanted in (None, 2))
    changed = np.argwhere((plain != marked).any(-1))
    row, column = pixel(plain, plan, *scene.object_xy[2].tolist())
    assert len(changed) > 50
    distance = np.hypot(*(changed - (row, column)).T) / floor_map.LARGEST_SCALE
    assert 0.5 < distance.min() < distance.max() < 1.3


def test_rooms_draw_their_episode():
    world = envs.make("two_rooms_teleport", render_mode="rgb_array")
    assert envs.make("two_rooms").render() is None
    world.reset(seed=4)
    start = world.top_down()
    path = [world.pose]
    for action in [1] * 3 + [2] * 3:
        world.step(action)
        path.append(world.pose)
    expected = draw_map(world.layout.free, analytic.surfaces(world.layout, world.scene), np.stack(path), 900)
    assert np.array_equal(world.render(), expected)
    assert not np.array_equal(start, expected)
    world.reset(seed=4)
    assert np.array_equal(world.render(), start), "a new episode has a new way"


def test_memory_maze_draws_its_targets():
    pytest.importorskip("labmaze", reason="Memory Maze needs the mujoco extra")
    world = envs.make("memory_maze_9x9", render_mode="rgb_array")
    world.reset(seed=3)
    picture = world.render()
    size = (picture.shape[1] / floor_map.LARGEST_SCALE - 2 * floor_map._MARGIN) / 2
    places = world.observations()["targets_pos"]
    columns = np.flatnonzero(world.layout.any(0))
    assert size == pytest.approx(columns.max() - columns.min() + 1, abs=0.1)
    rows = np.flatnonzero(world.layout.any(1))
    for (x, y), sphere in zip(places.tolist(), world.surfaces.spheres, strict=True):
        column = int((2 * (x - columns.min()) + floor_map._MARGIN) * floor_map.LARGEST_SCALE)
        row = int((2 * (rows.max() + 1 - y) + floor_map._MARGIN) * floor_map.LARGEST_SCALE)
        assert np.abs(picture[row, column] - np.round(255 * sphere[4:])).max() <= 1
    # Another wanted target: only rings change.
    world.task._current_target_ix = (world.target + 1) % 3
    changed = (world.render() != picture).any(-1)
    assert 100 < changed.sum() < 0.05 * changed.size
