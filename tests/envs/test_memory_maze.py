"""Memory Maze through our interface, against Memory Maze itself (run in a process of its own)."""

import itertools
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="Memory Maze needs the mujoco extra")
pytest.importorskip("labmaze", reason="Memory Maze needs the mujoco extra")

import envs
from envs.memory_maze.environment import MemoryMazeEnv
from envs.memory_maze.frames import draw_border, observations, render
from envs.memory_maze.upstream import load_tasks
from envs.memory_maze.walk import NOISE, policy, shortest_path
from envs.rooms.gl_context import GLUnavailableError, ensure_context
from envs.rooms.gl_renderer import GLRenderer
from envs.rooms.probe import psnr
from envs.rooms.tour import FORWARD, FORWARD_LEFT, FORWARD_RIGHT, LEFT, RIGHT

pytestmark = pytest.mark.mujoco
SEED, STEPS = 3, 400
"""A maze in which the policy touches its target within so many steps."""

UPSTREAM = textwrap.dedent(
    """
    import sys
    import gymnasium, numpy as np
    for part in ("", ".envs", ".envs.registration"):
        sys.modules["gym" + part] = sys.modules["gymnasium" + part]
    from memory_maze import tasks
    seed, actions, out = int(sys.argv[1]), np.load(sys.argv[2]), sys.argv[3]
    env = tasks.memory_maze_9x9(seed=seed, global_observables=True)
    inner = env
    while hasattr(inner, "env"):
        inner = inner.env
    steps = [env.reset()]
    qpos = [inner.physics.data.qpos.copy()]
    names = ("image", "agent_pos", "agent_dir", "targets_pos", "targets_vec", "maze_layout")
    seen = {name: [np.array(steps[0].observation[name])] for name in names}
    reward = [0.0]
    for action in actions:
        step = env.step(action)
        qpos.append(inner.physics.data.qpos.copy())
        reward.append(step.reward)
        for name in names:
            seen[name].append(np.array(step.observation[name]))
    np.savez(out, qpos=qpos, reward=reward, **seen)
    """
)


@pytest.fixture(scope="module")
def backend():
    try:
        return ensure_context()
    except GLUnavailableError as error:
        pytest.skip(f"upstream cannot run without OpenGL: {error}")


@pytest.fixture(scope="module")
def ours(backend):
    """A walk in our environment, drawn by MuJoCo: frames, joint positions, rewards, observations, actions."""
    world = MemoryMazeEnv(9, renderer="mujoco")
    frame, info = world.reset(seed=SEED)
    walk = {
        "frames": [frame],
        "qpos": [world.data.qpos.copy()],
        "reward": [0.0],
        "info": [info],
        "actions": [],
        "world": world,
    }
    for action in itertools.islice(policy(world, np.random.default_rng(SEED)), STEPS):
        frame, reward, *_, info = world.step(action)
        walk["frames"].append(frame)
        walk["qpos"].append(world.data.qpos.copy())
        walk["reward"].append(reward)
        walk["info"].append(info)
        walk["actions"].append(action)
    return walk


@pytest.fixture(scope="module")
def upstream(ours, backend, tmp_path_factory):
    """The same actions in Memory Maze itself."""
    folder = tmp_path_factory.mktemp("upstream")
    np.save(folder / "actions.npy", np.array(ours["actions"]))
    command = [sys.executable, "-c", UPSTREAM, str(SEED), str(folder / "actions.npy"), str(folder / "out.npz")]
    environment = os.environ | {"MUJOCO_GL": backend, "PYOPENGL_PLATFORM": backend}
    subprocess.run(command, check=True, env=environment, capture_output=True, timeout=300)
    return np.load(folder / "out.npz")


def test_stepping_is_bit_identical_with_upstream(ours, upstream):
    assert len(ours["qpos"]) == STEPS + 1
    assert np.array_equal(np.array(ours["qpos"]), upstream["qpos"])
    assert np.array_equal(ours["reward"], upstream["reward"])
    assert sum(ours["reward"]) > 0, "the walk should touch a target, or rewards are not tested"


def test_mujoco_frames_are_upstreams_to_the_pixel(ours, upstream):
    assert np.array_equal(np.array(ours["frames"]), upstream["image"])


def test_observations_are_upstreams(ours, upstream):
    for name in ("agent_pos", "agent_dir", "targets_pos", "targets_vec"):
        mine = np.stack([info[name] for info in ours["info"]])
        assert np.allclose(mine, upstream[name], atol=1e-4), name
    assert np.array_equal(ours["info"][0]["maze_layout"], upstream["maze_layout"][0])


def test_analytic_frames_are_close(ours):
    env = envs.spec("memory_maze_9x9")
    (episode,) = envs.simulate(env, [(SEED, SEED)])
    assert episode.previous_action[1 : STEPS + 1].tolist() == ours["actions"]
    assert np.flatnonzero(episode.state["touched"][: STEPS + 1]).tolist() == np.flatnonzero(ours["reward"]).tolist()
    frames = envs.render(env, episode)[: STEPS + 1]
    # The same poses, which have no height: the promise of the renderer.
    poses = episode.state["pose"][: STEPS + 1]
    reference = GLRenderer(ours["world"].model, "walker/egocentric").render(poses)
    colours = episode.scene["spheres"][episode.state["target"][: STEPS + 1], 4:]
    reference = draw_border(reference, colours)
    assert psnr(frames, reference) >= 49
    assert min(map(psnr, frames, reference)) >= 38
    # Against what upstream shows, which moves by up to 3 mm in height when the ball touches a wall.
    live = np.array(list(map(psnr, frames, np.array(ours["frames"]))))
    assert np.median(live) >= 49
    assert (live >= 38).mean() >= 0.98
    found = observations(episode)
    assert np.allclose(found["targets_vec"][:5], [info["targets_vec"] for info in ours["info"][:5]], atol=1e-4)
    assert found["maze_layout"].shape == (9, 9)
    part = type(episode)(
        state={key: value[7:11] for key, value in episode.state.items()},
        previous_action=episode.previous_action[7:11],
        reward=episode.reward[7:11],
        scene=episode.scene,
    )
    assert np.array_equal(render(part), frames[7:11])


def test_episodes_begin_in_silence(caplog):
    MemoryMazeEnv(9).reset_state(seed=0)
    assert not caplog.records


def test_gym_is_not_left_behind():
    before = os.environ.get("MUJOCO_GL")
    assert load_tasks().memory_maze_15x15
    assert "gym" not in sys.modules or sys.modules["gym"].__name__ == "gym"
    assert os.environ.get("MUJOCO_GL") == before


def test_stepping_equals_simulation():
    """What comes with a frame is of its moment, is the caller's own, and equals what is derived from stored poses."""
    env = envs.spec("memory_maze_9x9")
    world = envs.make(env.name)
    _, info = world.reset(seed=3)
    infos = [info]
    for action in itertools.islice(policy(world, np.random.default_rng(5)), 40):
        infos.append(world.step(action)[-1])
    (episode,) = envs.simulate(env, [(3, 5)])
    stored = observations(episode)
    shapes = {"maze_layout": (9, 9), "agent_pos": (2,), "agent_dir": (2,), "targets_pos": (3, 2), "targets_vec": (3, 2)}
    for name, shape in shapes.items():
        assert all(found[name].shape == shape for found in infos)
        still = name in ("maze_layout", "targets_pos")
        expected = [stored[name]] * 41 if still else stored[name][:41]
        assert np.array_equal(np.stack([found[name] for found in infos]), expected), name
    assert [found["target"] for found in infos] == episode.state["target"][:41].tolist()
    assert np.array_equal(np.stack([found["pose"] for found in infos]), episode.state["pose"][:41])
    infos[0]["maze_layout"][:] = 7
    assert world.layout.max() == 1


class Ghost:
    """Stands in for a maze with nothing but a place: walks where it is told, a quarter cell a step, through nothing."""

    size, layout = 5, np.ones((5, 5), np.uint8)

    def __init__(self):
        self.pose = np.zeros(3, np.float32)

    def advance(self, action):
        x, y, heading = self.pose
        heading += {LEFT: 0.3, FORWARD_LEFT: 0.3, RIGHT: -0.3, FORWARD_RIGHT: -0.3}.get(action, 0)
        stride = 0.5 if action in (FORWARD, FORWARD_LEFT, FORWARD_RIGHT) else 0
        self.pose = np.array([x + stride * np.cos(heading), y + stride * np.sin(heading), heading], np.float32)


def walk_noisily(monkeypatch, noise, steps, seed=0):
    """Actions of the policy, and those that would have led towards the point it was walking to."""
    from envs.memory_maze import walk

    monkeypatch.setattr(walk, "NOISE", noise)
    asked, towards = [], walk._towards

    def overheard(env, goal):
        asked.append(goal)
        return towards(env, goal)

    monkeypatch.setattr(walk, "_towards", overheard)
    ghost, actions = Ghost(), []
    for action in itertools.islice(policy(ghost, np.random.default_rng(seed)), steps):
        actions.append(action)
        ghost.advance(action)
    monkeypatch.undo()
    return actions, asked


def test_action_noise(monkeypatch):
    """A tenth of the decisions begin 1 to 4 random actions: of 4000 steps a fifth, which are uniform."""
    straight, asked = walk_noisily(monkeypatch, 0.0, 4000)
    assert len(asked) == 4000, "without noise every action leads towards the point"
    assert len(set(asked)) == 25, "all cells are visited"
    assert 0 not in straight, "who walks does not stand still"
    noisy, asked = walk_noisily(monkeypatch, NOISE, 4000)
    share = 1 - len(asked) / 4000
    # Decisions are noise with probability p and then take 2.5 steps in the mean.
    assert share == pytest.approx(2.5 * NOISE / (1 - NOISE + 2.5 * NOISE), abs=0.03)
    assert noisy.count(0) / 4000 == pytest.approx(share / 6, abs=0.015), "standing still is nothing but noise"
    wild, asked = walk_noisily(monkeypatch, 1.0, 4000)
    assert not asked
    assert np.bincount(wild, minlength=6) / 4000 == pytest.approx(np.full(6, 1 / 6), abs=0.04)


def test_the_walk_explores_the_maze():
    (episode,) = envs.simulate(envs.spec("memory_maze_9x9"), [(SEED, SEED)])
    cells = observations(episode)["agent_pos"].astype(int)
    layout = episode.scene["maze_layout"]
    assert layout[cells[:, 1], cells[:, 0]].all(), "the agent is in open cells"
    assert len(np.unique(cells, axis=0)) > 0.5 * layout.sum()
    assert 0.05 < (episode.previous_action[1:] == 0).mean() * 6 < 0.4


def test_shortest_path():
    cells = np.array([[1, 1, 1], [0, 0, 1], [1, 1, 1]], np.uint8)
    assert shortest_path(cells, (0, 0), (0, 2)) == [(1, 0), (2, 0), (2, 1), (2, 2), (1, 2), (0, 2)]
    assert shortest_path(cells, (1, 0), (1, 0)) == []
    walled = np.array([[1, 0, 1]], np.uint8)
    assert shortest_path(walled, (0, 0), (2, 0)) == []


@pytest.mark.parametrize("name", ["memory_maze_10x10", "memory_maze_9x11"])
def test_sizes_that_do_not_exist_are_refused(name):
    with pytest.raises(ValueError, match="memory_maze_9x9, "):
        envs.spec(name)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="size 10.*9, 11, 13, 15"):
        MemoryMazeEnv(10)
    with pytest.raises(ValueError, match="pov.*analytic, mujoco"):
        MemoryMazeEnv(9, renderer="pov")
