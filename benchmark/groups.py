"""Records that may be compared: same environment, same data, same budget, same metrics, same test episodes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np

from benchmark import metrics, record
from benchmark.statistics import Interval, Moments, interval, moments, pool, rank_sets


@dataclass
class Group:
    """One table of a leaderboard. ``runs[backbone]`` is sorted by seed."""

    env: str
    preset: str
    budget: dict[str, float | None]
    dataset_digest: str
    dataset_episodes: dict[str, int]
    scored_episodes: int
    runs: dict[str, list[record.Loaded]] = field(default_factory=dict)
    baselines: dict[str, record.Loaded] = field(default_factory=dict)

    @property
    def key(self) -> str:
        limits = "-".join(f"{value:g}-{name}" for name, value in self.budget.items() if value is not None)
        return f"{self.env}-{self.preset}-{limits or 'no-budget'}-{self.dataset_digest[:8]}-test{self.scored_episodes}"

    @property
    def seeds(self) -> list[int]:
        return sorted({run.record.seed for runs in self.runs.values() for run in runs})

    def incomplete(self, backbone: str) -> str:
        """Why a row has no numbers that could be compared; empty if it is complete."""
        runs = self.runs[backbone]
        failed = [run for run in runs if run.record.status != "completed"]
        if failed:
            return f"{len(failed)} of {len(runs)} {failed[0].record.status}"
        if len(runs) < len(self.seeds):
            return f"incomplete {len(runs)}/{len(self.seeds)} seeds"
        return ""


@dataclass(frozen=True)
class Cells:
    """A metric of a group: an interval a row, and rank sets of the backbones where there are two seeds."""

    intervals: dict[str, Interval]
    ranks: dict[str, tuple[int, int]] | None


def group(loaded: list[record.Loaded]) -> list[Group]:
    """Sorts records into groups. Records of another metric version are left out by the caller."""
    groups: dict[tuple, Group] = {}
    for run in loaded:
        found = run.record
        if found.kind == "baseline":
            continue
        shared = (found.env, found.dataset_digest, found.scored_episodes, found.preset)
        key = (*shared, json.dumps(found.budget, sort_keys=True))
        if key not in groups:
            groups[key] = Group(
                found.env,
                found.preset,
                found.budget,
                found.dataset_digest,
                found.dataset_episodes,
                found.scored_episodes,
            )
        groups[key].runs.setdefault(found.label, []).append(run)
    for one in groups.values():
        for runs in one.runs.values():
            runs.sort(key=lambda run: (run.record.seed, run.record.run_id))
        for run in loaded:
            found = run.record
            same = (found.env, found.dataset_digest, found.scored_episodes)
            if found.kind == "baseline" and same == (one.env, one.dataset_digest, one.scored_episodes):
                one.baselines[found.backbone] = run
    return sorted(groups.values(), key=lambda one: one.key)


def matrix(runs: list[record.Loaded], metric: metrics.Metric) -> np.ndarray | None:
    """``(seeds, episodes)``; ``None`` where the metric does not apply."""
    rows = [metric.values(run.table(record.PER_EPISODE)) for run in runs]
    if any(len(row) < 2 for row in rows) or len({len(row) for row in rows}) > 1:
        return None
    return np.stack(rows)


def cells(one: Group, metric: metrics.Metric) -> Cells:
    """Intervals of complete rows and of baselines."""
    found: dict[str, Moments] = {}
    for backbone, runs in one.runs.items():
        if not one.incomplete(backbone) and (values := matrix(runs, metric)) is not None:
            found[backbone] = moments(values, metric.scale)
    pooled = pool(list(found.values()))
    intervals = {name: interval(cell, pooled, metric.scale) for name, cell in found.items()}
    for name, run in one.baselines.items():
        values = matrix([run], metric)
        if values is not None:
            intervals[name] = interval(moments(values, metric.scale), pooled, metric.scale, deterministic=True)
    return Cells(intervals, rank_sets(found, metric.better == "higher"))
