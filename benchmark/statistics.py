"""Intervals and ranks for scores of several seeds on shared test episodes.

``x[s, e]`` is the score of seed ``s`` on test episode ``e``; all seeds and backbones share the episodes, so seeds and
episodes are crossed, not nested. Intervals are t intervals whose seed variance is the larger of a backbone's own and
the one pooled over the backbones of the table: percentile bootstraps over seeds cover far too little with few seeds.
Errors are averaged on a log scale (interval "times or divided by"), accuracies are moved to logits by the delta method.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

from benchmark.metrics import Scale

LEVEL = 0.95


@dataclass(frozen=True)
class Moments:
    """What a cell contributes: the seed scores on the scale of analysis, and two variances."""

    center: float
    seeds: int
    episodes: int
    seed_variance: float
    """Sample variance over seeds; 0 for one seed."""
    episode_variance: float
    """Variance of the mean due to the choice of episodes (V_b)."""
    interaction_variance: float
    """V_i, which V_b counts once too often."""
    per_episode: np.ndarray
    """c_e, for paired differences."""


@dataclass(frozen=True)
class Interval:
    """A cell of a leaderboard in natural units, with its 95 % interval for new seeds and new episodes."""

    value: float
    low: float
    high: float
    seeds: int
    note: str = ""
    """How the spread over seeds was found, if not from the backbone's own seeds."""


@dataclass(frozen=True)
class Pool:
    """Seed variance pooled over the backbones of a table."""

    variance: float
    degrees: int


def moments(x: np.ndarray, scale: Scale) -> Moments:
    """``x`` is ``(seeds, episodes)``."""
    seeds, episodes = x.shape
    means = x.mean(1)
    if scale == "log":
        safe = np.maximum(means, np.finfo(float).tiny)
        per_seed, y = np.log(safe), x / safe[:, None]
    else:
        per_seed, y = means, x
    per_episode = y.mean(0)
    episode_variance = per_episode.var(ddof=1) / episodes
    if scale == "logit" and episode_variance == 0:  # 500 of 500 is not certainty
        share = (episodes * means.mean() + 0.5) / (episodes + 1)
        episode_variance = share * (1 - share) / episodes
    interaction = 0.0
    if seeds > 1:
        residual = y - y.mean(1, keepdims=True) - per_episode + y.mean()
        interaction = np.square(residual).sum() / ((seeds - 1) * (episodes - 1)) / (seeds * episodes)
    own = float(per_seed.var(ddof=1)) if seeds > 1 else 0.0
    return Moments(
        float(per_seed.mean()), seeds, episodes, own, float(episode_variance), float(interaction), per_episode
    )


def pool(cells: list[Moments]) -> Pool:
    """Pooled seed variance; 0 degrees of freedom if no backbone has two seeds."""
    degrees = sum(cell.seeds - 1 for cell in cells)
    total = sum((cell.seeds - 1) * cell.seed_variance for cell in cells)
    return Pool(total / degrees if degrees else 0.0, degrees)


def interval(cell: Moments, pooled: Pool, scale: Scale, deterministic: bool = False) -> Interval:
    """The mean and its interval. A deterministic baseline has no seed term."""
    seed_variance = 0.0 if deterministic else max(cell.seed_variance, pooled.variance)
    variance, degrees = _total(
        seed_variance / cell.seeds, cell.episode_variance, cell.interaction_variance, pooled, cell
    )
    half = float(stats.t.ppf((1 + LEVEL) / 2, degrees)) * np.sqrt(variance)
    note = ""
    if not deterministic and cell.seeds == 1:
        note = "seed spread borrowed" if pooled.degrees else "episodes only"
    if scale == "log":
        low, value, high = np.exp([cell.center - half, cell.center, cell.center + half])
    elif scale == "logit":
        value = cell.center
        low, high = _share_interval(cell, half)
    else:
        low, value, high = cell.center - half, cell.center, cell.center + half
    return Interval(float(value), float(low), float(high), cell.seeds, note)


def _total(seed_term: float, episode: float, interaction: float, pooled: Pool, cell: Moments) -> tuple[float, float]:
    variance = max(seed_term + episode - interaction, seed_term, episode)
    degrees = max(pooled.degrees, 1)
    spread = seed_term**2 / degrees + episode**2 / (cell.episodes - 1)
    effective = variance**2 / spread if spread else cell.episodes - 1
    return float(variance), float(max(degrees if seed_term else 0, effective))


def _share_interval(cell: Moments, half: float) -> tuple[float, float]:
    """Delta method on the logit scale. Near 0 and 1 it explodes where the variance comes from seeds; there the plain
    interval bounds it, unless the binomial one over episodes is wider still."""
    n = cell.episodes
    share = (n * cell.center + 0.5) / (n + 1)
    low, high = _logistic(_logit(share) + np.array([-1, 1]) * half / (share * (1 - share)))
    right = n * cell.center
    tail = (1 - LEVEL) / 2
    exact_low = float(stats.beta.ppf(tail, right, n - right + 1)) if right > 0 else 0.0
    exact_high = float(stats.beta.ppf(1 - tail, right + 1, n - right)) if right < n else 1.0
    return max(low, min(cell.center - half, exact_low)), min(high, max(cell.center + half, exact_high))


def _logit(share: float) -> float:
    return float(np.log(share / (1 - share)))


def _logistic(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-value))


@dataclass(frozen=True)
class Difference:
    """A - B on the scale of analysis (a log ratio for errors), with its p value."""

    estimate: float
    standard_error: float
    degrees: float
    p: float


def difference(a: Moments, b: Moments, pooled: Pool) -> Difference:
    """Paired over episodes; seeds of different backbones are independent."""
    variance_a = max(a.seed_variance, pooled.variance) / a.seeds
    variance_b = max(b.seed_variance, pooled.variance) / b.seeds
    episode = float((a.per_episode - b.per_episode).var(ddof=1)) / a.episodes
    interaction = a.interaction_variance + b.interaction_variance
    variance, degrees = _total(variance_a + variance_b, episode, interaction, pooled, a)
    estimate = a.center - b.center
    error = float(np.sqrt(variance))
    p = float(2 * stats.t.sf(abs(estimate) / error, degrees)) if error else float(estimate == 0)
    return Difference(estimate, error, degrees, p)


def holm(p_values: list[float]) -> list[float]:
    """Adjusted p values of Holm's step-down procedure."""
    order = np.argsort(p_values)
    adjusted = np.empty(len(p_values))
    worst = 0.0
    for place, index in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = worst
    return adjusted.tolist()


def rank_sets(cells: dict[str, Moments], higher_is_better: bool) -> dict[str, tuple[int, int]] | None:
    """``(lowest, highest)`` possible rank of each backbone: 1 + number significantly better, K - number significantly
    worse, after Holm over all pairs at 5 %. ``None`` if no backbone has two seeds: nothing can be ranked then."""
    pooled = pool(list(cells.values()))
    if not pooled.degrees or len(cells) < 2:
        return None
    pairs = list(combinations(cells, 2))
    differences = [difference(cells[a], cells[b], pooled) for a, b in pairs]
    adjusted = holm([d.p for d in differences])
    better = {name: 0 for name in cells}
    worse = {name: 0 for name in cells}
    for (a, b), found, p in zip(pairs, differences, adjusted, strict=True):
        if p < 1 - LEVEL:
            winner, loser = (a, b) if (found.estimate > 0) == higher_is_better else (b, a)
            better[loser] += 1
            worse[winner] += 1
    return {name: (1 + better[name], len(cells) - worse[name]) for name in cells}
