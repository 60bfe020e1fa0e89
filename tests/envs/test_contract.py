"""What every environment promises, over the registry."""

import json
from importlib.metadata import entry_points

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import envs
from envs.episode import SPLITS, episode_seeds
from envs.registration import ENTRY_POINTS, register
from scripted_policies import POLICIES

PUBLISHED_LENGTHS = {  # S4WM, Tables 2 and 3: context | query
    "distracting_memory_100": (199, 51),
    "distracting_memory_200": (399, 101),
    "distracting_memory_400": (799, 201),
    "multi_doors_keys_3": (76, 174),
    "multi_doors_keys_5": (170, 380),
    "multi_doors_keys_7": (296, 654),
}
SMALL = ("distracting_memory_16", "multi_doors_keys_2")


def names():
    """All names; of the 3D ones, which take seconds an episode, only the shortest is for every day."""
    found = []
    for name in envs.names():
        env = envs.spec(name)
        solid = envs.tile_atlas(env) is None
        slow = solid and env.length > 500
        found.append(pytest.param(name, marks=[pytest.mark.mujoco] * solid + [pytest.mark.slow] * slow))
    return found


def seeds(count, seed=0, split="train"):
    return [episode_seeds(seed, split, index) for index in range(count)]


def equal(one, other):
    arrays = zip(
        [one.previous_action, one.reward, *one.state.values(), *one.scene.values()],
        [other.previous_action, other.reward, *other.state.values(), *other.scene.values()],
        strict=True,
    )
    return one.facts == other.facts and all(np.array_equal(a, b) for a, b in arrays)


@pytest.mark.parametrize("name", names())
def test_episodes_fit_the_spec(name):
    env = envs.spec(name)
    assert env.name == name
    assert env.policy in POLICIES
    for episode in envs.simulate(env, seeds(2)):
        assert episode.length == env.length == len(episode.previous_action)
        assert all(len(state) == env.length for state in episode.state.values())
        assert episode.previous_action[0] == -1
        assert episode.reward[0] == 0
        assert 0 <= episode.previous_action[1:].min() <= episode.previous_action.max() < env.action_count
        assert env.has_reward or not episode.reward.any()
        assert json.loads(json.dumps(episode.facts)) == episode.facts
        frames = envs.render(env, episode)
        assert frames.shape == (env.length, *env.image_shape)
        assert frames.dtype == np.uint8


@pytest.mark.parametrize("name", names())
def test_an_episode_depends_on_its_seeds_alone(name):
    env = envs.spec(name)
    first, second = envs.simulate(env, seeds(2))
    assert not equal(first, second)
    assert equal(envs.simulate(env, seeds(2)[1:])[0], second), "neighbours in a batch changed an episode"


@pytest.mark.parametrize("name", names())
def test_renderer_is_named(name):
    info = envs.renderer_info(envs.spec(name))
    assert json.loads(json.dumps(info)) == info
    assert info["name"]


@pytest.mark.parametrize("name", PUBLISHED_LENGTHS)
def test_lengths_are_the_published_ones(name):
    env = envs.spec(name)
    assert (env.context_length, env.query_length) == PUBLISHED_LENGTHS[name]


@pytest.mark.parametrize("name", SMALL)
def test_a_slice_of_a_trajectory_renders_to_a_slice_of_the_frames(name):
    env = envs.spec(name)
    episode = envs.simulate(env, seeds(1))[0]
    piece = type(episode)(
        state={key: value[5:9] for key, value in episode.state.items()},
        previous_action=episode.previous_action[5:9],
        reward=episode.reward[5:9],
    )
    assert np.array_equal(envs.render(env, piece), envs.render(env, episode)[5:9])


@pytest.mark.parametrize("name", SMALL)
def test_no_seeds_no_episodes(name):
    assert envs.simulate(envs.spec(name), []) == []


def ids():
    """All Gymnasium ids; of the mazes, which take ten seconds and more, only the smallest is for every day."""
    found = []
    for gym_id in ENTRY_POINTS:
        maze, solid = "Maze" in gym_id, "Maze" in gym_id or "Rooms" in gym_id
        slow = maze and "9x9" not in gym_id
        found.append(pytest.param(gym_id, marks=[pytest.mark.mujoco] * solid + [pytest.mark.slow] * slow))
    return found


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("gym_id", ids())
def test_gymnasium_accepts_the_environment(gym_id):
    world = gymnasium.make(f"envs:{gym_id}", render_mode="rgb_array")
    check_env(world.unwrapped)
    frame, _ = world.reset(seed=0)
    picture = world.render()
    assert picture.shape[1] > frame.shape[1], "the whole map, not the view"
    assert np.array_equal(picture, world.unwrapped.render())
    for action in (0, 2):  # a turn in any environment
        world.step(action)
    assert not np.array_equal(world.render(), picture)
    world.close()


@pytest.mark.parametrize("name", SMALL)
def test_spaces(name):
    world = envs.make(name)
    assert world.observation_space == gymnasium.spaces.Box(0, 255, (40, 40, 3), np.uint8)
    assert world.action_space == gymnasium.spaces.Discrete(7)


def test_environments_are_registered():
    (entry_point,) = entry_points(group="gymnasium.envs", name="WMBench")
    assert entry_point.load() is register
    assert gymnasium.make("envs:WMBench/DistractingMemory-v0", width=20).unwrapped.width == 20
    assert {envs.spec(name).gym_id for name in SMALL} <= ENTRY_POINTS.keys() <= gymnasium.registry.keys()


@pytest.mark.filterwarnings("error")
def test_registering_twice_is_quiet():
    register()


@pytest.mark.parametrize(
    ("name", "fragments"),
    [
        ("distracting_memory_15", ["15", "even", "distracting_memory_16"]),
        ("distracting_memory_12", ["12", "at least 14", "distracting_memory_14"]),
        ("distracting_memory_-4", ["-4", "at least 14", "distracting_memory_14"]),
        ("multi_doors_keys_1", ["1", "at least 2", "multi_doors_keys_3"]),
        ("distracting_memry_16", ["distracting_memry_16", "did you mean 'distracting_memory_16'"]),
        ("chess", ["unknown environment 'chess'", "distracting_memory_100", "multi_doors_keys_3"]),
        ("", ["unknown environment ''"]),
    ],
)
def test_bad_names_are_explained(name, fragments):
    with pytest.raises(ValueError) as error:
        envs.spec(name)
    for fragment in fragments:
        assert fragment in str(error.value)


@pytest.mark.parametrize("name", SMALL)
def test_unknown_options_are_refused(name):
    with pytest.raises(ValueError, match="no option 'colour'"):
        envs.spec(name, colour="red")


def test_splits_never_share_an_episode():
    every = [episode_seeds(seed, split, index) for seed in (0, 1) for split in SPLITS for index in range(200)]
    assert len(set(every)) == len(every)
    with pytest.raises(ValueError, match="unknown split 'dev'; allowed: train, val, test"):
        episode_seeds(0, "dev", 0)
    with pytest.raises(ValueError, match="the seed is -1 .* neither may be negative"):
        episode_seeds(-1, "train", 0)
