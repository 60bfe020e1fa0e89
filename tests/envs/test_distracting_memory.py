"""Distracting Memory: map, rewards, memory demand, options, statistics."""

from collections import defaultdict

import numpy as np
import pytest

import envs
from envs.corridor import CUE_CELLS, Corridor, draw_maps
from envs.episode import episode_seeds
from envs.tiles import CONTENTS, EMPTY, MIDDLE, PALETTE, WALL

PICTURE_14 = [  # c cue, e square at the end, d distractor
    "##############",
    "#..........#.#",
    "#####......#e#",
    "#...########.#",
    "#...dddd.....#",
    "#..c########.#",
    "#####......#e#",
    "#..........#.#",
    "##############",
]
LEFT, RIGHT, FORWARD = 0, 1, 2


def simulate(name, count, **options):
    env = envs.spec(name, **options)
    return env, envs.simulate(env, [episode_seeds(0, "train", index) for index in range(count)])


def maps(count, **options):
    corridor = Corridor(**{"width": 14} | options)
    return corridor, draw_maps(corridor, np.random.default_rng(0).random((count, corridor.uniforms)))


def test_the_map_is_the_published_one():
    _, drawn = maps(50, distractor_density=1)
    symbol = {EMPTY: ".", WALL: "#"}
    for contents in drawn.contents:
        rows = ["".join(symbol.get(content, "s") for content in row) for row in contents.tolist()]
        assert rows == [row.replace("c", "s").replace("e", "s").replace("d", "s") for row in PICTURE_14]


def test_longer_hallways_only_stretch_the_middle():
    short, long = (maps(1, width=width, distractor_density=0)[1].contents[0] == WALL for width in (14, 100))
    assert np.array_equal(long[:, :8], short[:, :8])
    assert np.array_equal(long[:, -6:], short[:, -6:])
    assert (long[:, 8:-6] == long[:, 8:9]).all()


def test_squares_keep_the_rules():
    _, drawn = maps(2000)
    assert ((drawn.ends == drawn.cue[:, None]).sum(1) == 1).all(), "just one end has the colour of the cue"
    assert {CONTENTS[content].color for content in np.unique(drawn.contents[:, 4, 4:8])} == {None, *PALETTE}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("end", [0, 1])
def test_reward_is_for_the_matching_end_alone(seed, end):
    world = envs.make("distracting_memory_14")
    world.reset(seed=seed)
    x, y = 12, (2, 6)[end]
    matches = world.grid.get(x, y).color == world.grid.get(3, 5).color
    for action in [FORWARD] * 6 + [(LEFT, RIGHT)[end]]:
        _, reward, terminated, truncated, _ = world.step(action)
        assert (reward, terminated, truncated) == (0, False, False)
    _, reward, terminated, truncated, _ = world.step(FORWARD)
    assert (reward, terminated, truncated) == (float(matches), True, False)
    assert world.facts["reached"] == ("upper", "lower")[end]


def test_endless_walks_are_cut_off():
    world = envs.make("distracting_memory_14", max_steps=3)
    world.reset(seed=0)
    assert [world.step(LEFT)[3] for _ in range(3)] == [False, False, True]


@pytest.mark.parametrize("width", [14, 16, 100])
def test_what_must_be_remembered_is_out_of_sight(width):
    env, episodes = simulate(f"distracting_memory_{width}", 20, distractor_density=0)
    for episode in episodes:
        # Without distractors, squares are in sight three times: the ends, the cue, the end that is walked to.
        colored = np.array([content.color is not None for content in CONTENTS])
        sight = colored[episode.state["tiles"] % len(CONTENTS)].any(axis=1)
        edges = np.flatnonzero(np.diff(sight.astype(int)))
        ends_gone, _, cue_gone, ends_back = edges[-4:]
        last = env.length - 1
        assert sight[last]
        assert last - cue_gone == width - 5
        assert last - ends_gone == 2 * width - 4
        assert ends_gone < cue_gone < env.context_length <= ends_back
        assert f"{width - 5} steps" in env.memory
        assert f"{2 * width - 4} steps" in env.memory


def test_the_policy_looks_at_both_ends_and_stops_at_one():
    env, episodes = simulate("distracting_memory_16", 30)
    for episode in episodes:
        assert episode.previous_action[-2] in (LEFT, RIGHT)
        assert episode.previous_action[-1] == FORWARD
        facts = episode.facts
        assert episode.reward[-1] == float(facts[facts["reached"]] == facts["cue"])
        assert not episode.reward[:-1].any()
        # The agent is back where the episode began when the query begins.
        first, middle = episode.state["tiles"][[0, env.context_length - 1]]
        assert np.array_equal(np.delete(first, MIDDLE), np.delete(middle, MIDDLE))


def table_lookup_accuracy(keys, answers):
    """Of who knows, for everything that can be seen, the most frequent answer in the first half of the episodes."""
    half = len(keys) // 2
    seen = defaultdict(list)
    for key, answer in zip(keys[:half], answers[:half], strict=True):
        seen[key].append(answer)
    guesses = [float(np.mean(seen[key]) > 0.5) if key in seen else 0.0 for key in keys[half:]]
    return np.mean(np.array(guesses) == answers[half:])


def test_the_last_50_frames_do_not_tell_the_reward():
    # Distractors are drawn apart from everything else. Without them a table can hold all that there is to see.
    _, episodes = simulate("distracting_memory_100", 4000, distractor_density=0)
    answers = np.array([episode.reward[-1] for episode in episodes])

    def last(frames):
        return [episode.state["tiles"][-frames:].tobytes() for episode in episodes]

    assert len(set(last(50))) == 4 * 3 * 2
    standard_error = 0.5 / np.sqrt(len(episodes) / 2)
    assert abs(table_lookup_accuracy(last(50), answers) - 0.5) < 4 * standard_error
    # The cue is last seen 95 steps before the last frame.
    assert abs(table_lookup_accuracy(last(95), answers) - 0.5) < 4 * standard_error
    assert table_lookup_accuracy(last(96), answers) == 1


def test_choices_are_balanced_and_independent():
    _, episodes = simulate("distracting_memory_14", 6000)
    reward = np.array([episode.reward[-1] for episode in episodes])
    upper = np.array([episode.facts["reached"] == "upper" for episode in episodes])
    match_is_upper = np.array([episode.facts["upper"] == episode.facts["cue"] for episode in episodes])
    pairs = [f"{episode.facts['upper']} {episode.facts['lower']}" for episode in episodes]
    for share in (reward.mean(), upper.mean(), match_is_upper.mean(), (upper == match_is_upper).mean()):
        assert abs(share - 0.5) < 4 * 0.5 / np.sqrt(len(episodes))
    counts = np.unique(pairs, return_counts=True)[1]
    assert len(counts) == 4 * 3
    assert abs(counts / len(pairs) - 1 / 12).max() < 4 * np.sqrt(1 / 12 * 11 / 12 / len(pairs))


@pytest.mark.parametrize("density", [0, 0.2, 0.5, 1])
def test_distractor_density(density):
    corridor, drawn = maps(1000, width=30, distractor_density=density)
    filled = drawn.contents[:, 4, 4 : 30 - 6] != EMPTY
    assert filled.shape == (1000, corridor.distractor_count)
    assert abs(filled.mean() - density) <= 4 * np.sqrt(density * (1 - density) / filled.size)
    assert (drawn.contents[:, 4, 30 - 6 : 30 - 2] == EMPTY).all(), "the last cells of the hallway stay free"


def test_options_reach_the_environment_and_the_manifest():
    options = {"distractor_density": 1.0, "distractor_colors": ["blue"], "cue_position": [1, 3]}
    env = envs.spec("distracting_memory_16", **options)
    assert {**env.gym_kwargs, "distractor_colors": ["blue"], "cue_position": [1, 3]} == {"width": 16, **options}
    world = envs.make(env.name, **env.gym_kwargs)
    world.reset(seed=0)
    assert {world.grid.get(x, 4).color for x in range(4, 10)} == {"blue"}
    assert world.grid.get(1, 3).color in PALETTE
    assert world.grid.get(3, 5) is None


def test_cue_position_may_be_random():
    _, drawn = maps(600, cue_position=None)
    found = defaultdict(int)
    for contents in drawn.contents:
        (cell,) = [(x, y) for x, y in CUE_CELLS if contents[y, x] != EMPTY]
        found[cell] += 1
    assert found.keys() == set(CUE_CELLS)
    assert min(found.values()) > 60


@pytest.mark.parametrize(
    ("option", "value", "fragment"),
    [
        ("distractor_density", 1.5, "between 0 and 1"),
        ("distractor_density", -0.1, "between 0 and 1"),
        ("distractor_colors", ("grey",), "at least one of"),
        ("distractor_colors", (), "at least one of"),
        ("cue_position", (2, 4), "give one of (1, 3)"),
        ("cue_position", (9, 9), "give one of (1, 3)"),
    ],
)
def test_bad_options_are_explained(option, value, fragment):
    with pytest.raises(ValueError) as error:
        envs.spec("distracting_memory_16", **{option: value})
    assert option in str(error.value)
    assert str(value) in str(error.value)
    assert fragment in str(error.value)
