"""How old a memory must be, against a direct search through the frames."""

from __future__ import annotations

import numpy as np
import pytest

import envs
from envs.episode import episode_seeds

WIDTH = 20


def test_end_squares_and_distractors_have_their_true_age() -> None:
    """Distracting Memory: the agent's tile gives the position, so cells can be followed by hand."""
    env = envs.spec(f"distracting_memory_{WIDTH}")
    episode = envs.simulate(env, [episode_seeds(0, "test", 0)])[0]
    age = envs.content_age(env, episode)
    assert age.shape == (env.length, 5, 5)
    assert not age[: env.context_length].any()
    # The end squares come into view again W/2-4 steps into the query; when the reward falls due they are 2W-4 old.
    first = env.context_length + WIDTH // 2 - 4
    assert age[first, 0, 4] == age[first, 4, 4] == 2 * WIDTH - 8
    assert age[-1, :, 2].max() == 2 * WIDTH - 4
    # The cells around the start were passed at the very end of the context.
    assert (age[env.context_length, 2, :4] <= 3).all()


@pytest.mark.parametrize("name", ["distracting_memory_14", "multi_doors_keys_3"])
def test_every_age_points_to_a_frame_that_showed_the_cell(name: str) -> None:
    env = envs.spec(name)
    episode = envs.simulate(env, [episode_seeds(0, "test", 1)])[0]
    age = envs.content_age(env, episode)
    world = envs.make(name)
    world.reset(seed=episode_seeds(0, "test", 1)[0])
    places = [tuple(map(int, world.agent_pos))]
    for action in episode.previous_action[1:]:
        world.step(int(action))
        places.append(tuple(map(int, world.agent_pos)))
    rng = np.random.default_rng(0)
    for t in rng.integers(env.context_length, env.length, 60):
        for row, column in rng.integers(0, 5, (5, 2)):
            x, y = places[t][0] + column - 2, places[t][1] + row - 2
            shows = [s for s in range(env.context_length) if max(abs(places[s][0] - x), abs(places[s][1] - y)) <= 2]
            assert age[t, row, column] == (t - max(shows) if shows else 0)
