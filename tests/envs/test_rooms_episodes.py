"""Episodes of the rooms: lengths, order of rooms, everything shown, physics, teleport, age of content."""

import dataclasses
import itertools

import gymnasium
import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the rooms need the mujoco extra")
pytest.importorskip("numba", reason="the rooms need the mujoco extra")

import envs
from envs import rooms
from envs.rooms import LENGTHS
from envs.rooms.layouts import layout
from envs.rooms.scene import NO_OBJECT, OBJECT_COLOURS, Scene
from envs.rooms.seen import rooms_content_age, unseen
from envs.rooms.teleport import TELEPORT, frame_index, start_count, view
from envs.rooms.tour import FORWARD, FORWARD_LEFT, FORWARD_RIGHT, path_in_room, steer
from scripted_policies import POLICIES

pytestmark = pytest.mark.mujoco
TELEPORTS = [f"{name}_teleport" for name in LENGTHS]


def check_tour(name, episode):
    """Everything that the issue asks of an episode."""
    env, plan, scene = envs.spec(name), layout(name), Scene(**episode.scene)
    poses, count = episode.state["pose"], len(layout(name).rooms)
    assert episode.length == len(poses) == env.length
    rooms = [plan.room_at(float(x), float(y)) for x, y, _ in poses]
    order = [room for room, _ in itertools.groupby(room for room in rooms if room >= 0)]
    assert order == [(order[0] + i) % count for i in range(2 * count + 1)]
    # Each tour ends where it began, at the boundary and at the end.
    assert rooms[env.context_length - 1] == rooms[-1] == order[0]
    assert unseen(plan, scene, poses[: env.context_length]) == []
    forward = np.isin(episode.previous_action[1:], [FORWARD, FORWARD_LEFT, FORWARD_RIGHT])
    still = forward & (np.hypot(*np.diff(poses[:, :2], axis=0).T) < 0.05)
    assert not np.convolve(still, np.ones(3), "valid").max() >= 3, "stuck on a wall"


@pytest.mark.parametrize("name", LENGTHS)
def test_tours(name):
    for episode in envs.simulate(envs.spec(name), [(1, 2), (3, 4)]):
        check_tour(name, episode)


@pytest.mark.slow
@pytest.mark.parametrize("name", LENGTHS)
def test_100_tours(name):
    for episode in envs.simulate(envs.spec(name), [(seed, 1000 + seed) for seed in range(100)]):
        check_tour(name, episode)


def test_objects_are_seen_in_pixels():
    """Independent of the visibility buffer: some context frame has an object's hue where it should be seen."""
    env = envs.spec("two_rooms")
    (episode,) = envs.simulate(env, [(5, 6)])
    frames = envs.render(env, episode)[: env.context_length].astype(float)
    scene = Scene(**episode.scene)
    for colour in set(scene.object_colour.tolist()) - {NO_OBJECT}:
        hue = OBJECT_COLOURS[colour] / np.linalg.norm(OBJECT_COLOURS[colour])
        along = frames @ hue
        length = np.linalg.norm(frames, axis=-1)
        # Exactly this hue, at any brightness: textured walls do not have it over so many pixels.
        matching = (along > 0.9995 * length) & (length > 60)
        assert matching.sum((1, 2)).max() > 40


def test_unseen_names_what_is_missing():
    env = envs.spec("two_rooms")
    (episode,) = envs.simulate(env, [(1, 2)])
    plan, scene = layout("two_rooms"), Scene(**episode.scene)
    one_look = episode.state["pose"][:1]
    missing = unseen(plan, scene, one_look)
    assert any(thing.startswith("side") for thing in missing)
    assert any(thing.startswith("object") for thing in missing)


def step_through(name, env_seed, policy_seed):
    """The episode as anybody would make it: the Gymnasium environment and its policy, step by step."""
    env = envs.spec(name)
    world = envs.make(name)
    frame, info = world.reset(seed=env_seed)
    frames, poses, actions = [frame], [info["pose"]], [-1]
    truncated = False
    for action in POLICIES[env.policy](world, np.random.default_rng(policy_seed)):
        frame, reward, terminated, truncated, info = world.step(action)
        assert (reward, terminated) == (0, False)
        frames.append(frame)
        poses.append(info["pose"])
        actions.append(action)
    assert truncated
    return np.stack(frames), np.stack(poses), np.array(actions)


@pytest.mark.parametrize("name", ["two_rooms", "two_rooms_teleport"])
def test_simulation_equals_stepping(name):
    """With teleport this also shows that physics, put back into its past, repeats itself to the bit."""
    env = envs.spec(name)
    (episode,) = envs.simulate(env, [(9, 10)])
    assert episode.facts["attempt"] == 0
    frames, poses, actions = step_through(name, 9, 10)
    assert np.array_equal(poses, episode.state["pose"])
    assert np.array_equal(actions, episode.previous_action)
    assert np.array_equal(frames, envs.render(env, episode))


@pytest.mark.parametrize("name", TELEPORTS)
def test_teleport_frames_are_the_original_ones(name):
    env = envs.spec(name)
    (episode,) = envs.simulate(env, [(1, 2)])
    start = episode.facts["teleport_to"]
    context, query = env.context_length, env.query_length
    assert query == context // 2
    assert 0 <= start <= context - query
    assert episode.length == context + query
    assert np.array_equal(episode.state["pose"][context:], episode.state["pose"][start : start + query])
    assert episode.previous_action[context] == TELEPORT == env.action_count - 1
    repeated = slice(start + 1, start + query)
    assert np.array_equal(episode.previous_action[context + 1 :], episode.previous_action[repeated])
    assert TELEPORT not in episode.previous_action[:context]
    base = envs.spec(name.removesuffix("_teleport"))
    (ordinary,) = envs.simulate(base, [(1, 2)])
    assert np.array_equal(view(ordinary, context, start).state["pose"], episode.state["pose"])


def test_teleport_starts_vary_and_must_fit():
    env = envs.spec("two_rooms_teleport")
    starts = [episode.facts["teleport_to"] for episode in envs.simulate(env, [(seed, 0) for seed in range(4)])]
    assert len(set(starts)) > 1
    assert start_count(301) == 152
    assert frame_index(301, 151)[-1] == 300
    with pytest.raises(ValueError, match="152.*0..151"):
        frame_index(301, 152)


def test_teleport_out_of_turn_is_a_noop():
    worlds = envs.make("two_rooms_teleport"), envs.make("two_rooms_teleport")
    poses = []
    for world, idle in zip(worlds, (0, TELEPORT), strict=True):
        world.reset_state(seed=0)
        for action in [1, 1, idle, 2, idle]:
            world.advance(action)
        poses.append(world.pose)
    assert np.array_equal(*poses)
    for time in range(5, 300):
        worlds[0].advance([1, 2][time % 2])
    moved = worlds[0].pose
    worlds[0].advance(TELEPORT)
    assert not np.allclose(worlds[0].pose, moved, atol=0.2), "right after the context it is no noop"


@pytest.mark.parametrize(("name", "action"), [("two_rooms", 6), ("two_rooms", -1), ("two_rooms_teleport", 7)])
def test_unknown_actions_are_refused(name, action):
    world = envs.make(name)
    world.reset(seed=0)
    with pytest.raises(ValueError, match=f"unknown action {action}; allowed: 0 noop, 1 forward"):
        world.step(action)


def test_an_episode_that_shows_too_little_is_walked_again(monkeypatch):
    from envs.rooms import seen

    env = envs.spec("two_rooms")
    (first,) = envs.simulate(env, [(1, 2)])
    calls = []

    def fussy(plan, scene, poses):
        calls.append(poses)
        return ["side 0"] if len(calls) < 3 else []

    monkeypatch.setattr(seen, "unseen", fussy)
    (again,) = envs.simulate(env, [(1, 2)])
    assert again.facts["attempt"] == 2
    assert np.array_equal(again.scene["wall_texture"], first.scene["wall_texture"])
    assert not np.array_equal(again.previous_action, first.previous_action)
    monkeypatch.setattr(seen, "unseen", lambda *_: ["side 0"])
    monkeypatch.setattr(rooms, "MOST_ATTEMPTS", 2)
    with pytest.raises(RuntimeError, match="none of 2 tours"):
        envs.simulate(env, [(1, 2)])


def test_age_counts_back_to_the_last_view():
    """Look at one wall, then away from it for five steps, then at it again."""
    plan = layout("two_rooms")
    env = envs.spec("two_rooms")
    (episode,) = envs.simulate(env, [(1, 2)])
    scene = Scene(**episode.scene)
    x, y = plan.rooms[0].centre
    north, south = (np.array([x, y, angle], np.float32) for angle in (np.pi / 2, -np.pi / 2))
    poses = np.stack([north] + [south] * 5 + [north, south, south])
    age = rooms_content_age(plan, scene, poses, context_length=6)
    assert np.isnan(age[:6]).all()
    # The east and west walls are in view either way, so an age is between the two extremes.
    assert 1 < age[6] <= 6
    assert age[7] < age[6]
    only = rooms_content_age(plan, scene, np.stack([north] + [south] * 3 + [north]), context_length=1)
    assert only[4] == 4, "all that is seen was last seen at time 0"
    assert only[1] <= 1 or np.isnan(only[1])


def test_ages_of_a_tour_are_long():
    env = envs.spec("four_rooms")
    (episode,) = envs.simulate(env, [(1, 2)])
    age = rooms_content_age(layout("four_rooms"), Scene(**episode.scene), episode.state["pose"], env.context_length)
    query = age[env.context_length :]
    assert np.nanmedian(query) > 200
    assert np.nanmax(query) < env.length


def test_walker_is_memory_mazes():
    """Every number of the moving parts, against a model that Memory Maze itself made."""
    from envs.memory_maze.upstream import make
    from envs.rooms.model import build

    upstream = make(9, 0)  # frees its model when it goes
    ours, theirs = build("four_rooms"), upstream.physics.model.ptr
    assert [ours.joint(i).name.strip("/") for i in range(ours.njnt)] == [
        theirs.joint(i).name.strip("/") for i in range(theirs.njnt)
    ]
    for field in ("dof_damping", "dof_armature", "jnt_type", "jnt_axis", "jnt_stiffness", "jnt_limited", "qpos0"):
        assert np.array_equal(getattr(ours, field), getattr(theirs, field)), field
    for field in ("actuator_gear", "actuator_ctrlrange", "actuator_biasprm", "actuator_gainprm", "actuator_biastype"):
        assert np.array_equal(getattr(ours, field), getattr(theirs, field)), field
    for body in ("head_body", "egocentric_camera", "torso"):
        a, b = ours.body(f"walker/{body}"), theirs.body(f"walker/{body}")
        for field in ("mass", "inertia", "ipos", "iquat", "pos", "quat"):
            assert np.array_equal(getattr(a, field), getattr(b, field)), (body, field)
    for geom in ("head", "face", "neck", "shell"):
        a, b = ours.geom(f"walker/{geom}"), theirs.geom(f"walker/{geom}")
        for field in ("type", "size", "pos", "friction", "condim", "contype", "conaffinity", "solref", "solimp"):
            assert np.array_equal(getattr(a, field), getattr(b, field)), (geom, field)
    a, b = ours.cam("walker/egocentric"), theirs.cam("walker/egocentric")
    assert np.array_equal(a.fovy, b.fovy)
    for field in ("timestep", "cone", "noslip_iterations", "noslip_tolerance", "integrator", "solver", "iterations"):
        assert getattr(ours.opt, field) == getattr(theirs.opt, field), field
    assert np.array_equal(ours.opt.gravity, theirs.opt.gravity)
    for light in ("ambient", "diffuse", "specular"):
        assert np.array_equal(getattr(ours.vis.headlight, light), getattr(theirs.vis.headlight, light))


def test_names():
    assert envs.spec("four_rooms").gym_kwargs["renderer"] == "analytic"
    assert envs.spec("four_rooms_mujoco").gym_kwargs["renderer"] == "mujoco"
    assert envs.spec("ten_rooms_teleport").action_names[-1] == "teleport"
    assert {name: (envs.spec(name).context_length, envs.spec(name).query_length) for name in LENGTHS} == LENGTHS
    with pytest.raises(ValueError, match="four_rooms"):
        envs.spec("four_room")
    with pytest.raises(ValueError, match="pov"):
        envs.make("two_rooms", renderer="pov")
    with pytest.raises(ValueError, match="unknown layout 'five_rooms'; allowed: two_rooms, four_rooms, ten_rooms"):
        gymnasium.make("envs:WMBench/TwoRooms-v0", name="five_rooms")
    assert dataclasses.replace(envs.spec("two_rooms"), name="x").family == "rooms"


def test_steering():
    assert steer(np.zeros(3), (1.0, 0.0)) == FORWARD
    assert steer(np.zeros(3), (2.0, 1.0)) == FORWARD_LEFT
    assert steer(np.array([0, 0, np.pi]), (-2.0, 1.0)) == FORWARD_RIGHT


def test_paths_go_around_objects():
    room = layout("four_rooms").rooms[0]
    x, y = room.centre
    start, goal = (x - 3, y), (x + 3, y)
    assert path_in_room(room, [], start, goal) == [goal]
    path = [start, *path_in_room(room, [(x, y)], start, goal)]
    assert path[-1] == goal
    assert len(path) > 2
    for a, b in itertools.pairwise(path):
        points = np.linspace(a, b, 50)
        assert np.hypot(*(points - (x, y)).T).min() > 0.9
    length = sum(np.hypot(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(path))
    assert length < 7.5
