"""Environment and policy, stepped, against the vectorised episodes: every frame, action, reward and fact."""

import numpy as np
import pytest

import envs
from envs.episode import episode_seeds
from scripted_policies.rollout import roll_out


def compare(name, count, **options):
    env = envs.spec(name, **options)
    seeds = [episode_seeds(1, "test", index) for index in range(count)]
    for pair, fast in zip(seeds, envs.simulate(env, seeds), strict=True):
        slow, frames = roll_out(env, *pair)
        assert np.array_equal(slow.state["tiles"], fast.state["tiles"])
        assert np.array_equal(slow.previous_action, fast.previous_action)
        assert np.array_equal(slow.reward, fast.reward)
        assert slow.facts == fast.facts
        assert (frames != envs.render(env, fast)).sum() == 0
        assert slow.length == env.length


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("distracting_memory_14", 40),
        ("distracting_memory_16", 40),
        ("distracting_memory_100", 8),
        ("multi_doors_keys_2", 20),
        ("multi_doors_keys_3", 20),
        ("multi_doors_keys_4", 8),
        ("multi_doors_keys_7", 4),
    ],
)
def test_stepped_and_vectorised_episodes_are_equal(name, count):
    compare(name, count)


def test_they_are_equal_with_options():
    compare("distracting_memory_16", 20, distractor_density=0.9, distractor_colors=("purple",), cue_position=None)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in envs.names() if envs.tile_atlas(envs.spec(name)) is not None])
def test_200_episodes_are_equal(name):
    compare(name, 200)
