"""The recipe for intervals and ranks, against hand computation and by simulated coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmark.statistics import difference, holm, interval, moments, pool, rank_sets


def lognormal_cell(rng: np.random.Generator, seeds: int, episodes: np.ndarray, seed_sd: float = 0.1) -> np.ndarray:
    seed_part = rng.normal(0, seed_sd, (seeds, 1))
    noise = rng.normal(0, 0.3, (seeds, len(episodes)))
    return np.exp(seed_part + episodes + noise - 0.3**2 / 2)


def test_moments_by_hand() -> None:
    x = np.array([[1.0, 3.0], [2.0, 10.0]])
    cell = moments(x, "log")
    assert cell.center == pytest.approx((np.log(2) + np.log(6)) / 2)
    assert cell.seed_variance == pytest.approx(np.log(3) ** 2 / 2)
    y = np.array([[0.5, 1.5], [1 / 3, 5 / 3]])
    np.testing.assert_allclose(cell.per_episode, y.mean(0))
    assert cell.episode_variance == pytest.approx(y.mean(0).var(ddof=1) / 2)
    residual = y - y.mean(1, keepdims=True) - y.mean(0) + y.mean()
    assert cell.interaction_variance == pytest.approx((residual**2).sum() / 1 / 4)


def test_one_seed_without_others_is_an_episodes_only_t_interval() -> None:
    x = np.random.default_rng(0).normal(5, 1, (1, 40))
    cell = moments(x, "identity")
    found = interval(cell, pool([cell]), "identity")
    expected = stats.t.interval(0.95, 39, loc=x.mean(), scale=x.std(ddof=1) / np.sqrt(40))
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.note == "episodes only"


def test_one_seed_borrows_the_spread_of_others() -> None:
    rng = np.random.default_rng(1)
    episodes = rng.normal(0, 0.1, 100)
    alone = moments(lognormal_cell(rng, 1, episodes), "log")
    others = [moments(lognormal_cell(rng, 5, episodes, 0.5), "log")]
    narrow = interval(alone, pool([alone]), "log")
    wide = interval(alone, pool([alone, *others]), "log")
    assert wide.note == "seed spread borrowed"
    assert np.log(wide.high / wide.low) > 3 * np.log(narrow.high / narrow.low)


def test_all_correct_is_not_certainty() -> None:
    cell = moments(np.ones((3, 500)), "logit")
    found = interval(cell, pool([cell]), "logit")
    assert found.value == 1.0
    assert 0.98 < found.low < 0.9995


def test_spread_of_others_does_not_swamp_a_share_near_one() -> None:
    """Seeds of another row vary by a few points: 99.9 % must not become "0 to 100 %"."""
    rng = np.random.default_rng(0)
    good = moments((rng.random((3, 500)) < 0.999).astype(float), "logit")
    shaky = moments((rng.random((3, 500)) < np.array([[0.94], [0.97], [0.99]])).astype(float), "logit")
    found = interval(good, pool([good, shaky]), "logit")
    assert 0.9 < found.low < 0.99 and found.high <= 1


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_coverage_is_nominal(seeds: int) -> None:
    """95 % intervals for new seeds and new episodes, five backbones in the cell, cover between 92.5 and 98.5 %."""
    rng = np.random.default_rng(seeds)
    hits = total = 0
    for _ in range(250):
        episodes = rng.normal(0, 0.6, 80)
        cells = [moments(lognormal_cell(rng, seeds, episodes), "log") for _ in range(5)]
        pooled = pool(cells)
        truth = np.exp(0.6**2 / 2)  # mean over episodes of a seed at its geometric centre
        for cell in cells:
            found = interval(cell, pooled, "log")
            hits += found.low <= truth <= found.high
            total += 1
    assert 0.925 <= hits / total <= 0.985


def test_false_separations_are_rare_and_true_ones_found() -> None:
    rng = np.random.default_rng(7)
    false = found = 0
    for _ in range(100):
        episodes = rng.normal(0, 0.6, 60)
        equal = {str(k): moments(lognormal_cell(rng, 3, episodes), "log") for k in range(5)}
        ranks = rank_sets(equal, higher_is_better=False)
        assert ranks is not None
        false += any(r != (1, 5) for r in ranks.values())
        equal["0"] = moments(lognormal_cell(rng, 3, episodes) / 4, "log")
        better = rank_sets(equal, higher_is_better=False)
        assert better is not None
        found += better["0"] == (1, 1)
    assert false <= 10
    assert found >= 95


def test_direction_of_ranks() -> None:
    rng = np.random.default_rng(3)
    low = (rng.random((3, 400)) < 0.5).astype(float)
    high = (rng.random((3, 400)) < 0.95).astype(float)
    cells = {"low": moments(low, "logit"), "high": moments(high, "logit")}
    assert rank_sets(cells, higher_is_better=True) == {"low": (2, 2), "high": (1, 1)}
    assert rank_sets(cells, higher_is_better=False) == {"low": (1, 1), "high": (2, 2)}


def test_single_seeds_are_not_ranked() -> None:
    cells = {name: moments(np.random.default_rng(0).random((1, 50)), "identity") for name in "ab"}
    assert rank_sets(cells, True) is None


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_difference_is_antisymmetric() -> None:
    rng = np.random.default_rng(5)
    a, b = (moments(lognormal_cell(rng, 3, np.zeros(50)), "log") for _ in range(2))
    ab, ba = difference(a, b, pool([a, b])), difference(b, a, pool([a, b]))
    assert ab.estimate == pytest.approx(-ba.estimate)
    assert ab.p == pytest.approx(ba.p)
