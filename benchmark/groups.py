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
    budget: dict[str, float | int | None]
    dataset_digest: str
    dataset_episodes: dict[str, int]
    scored_episodes: int
    runs: dict[str, list[record.Loaded]] = field(default_factory=dict)
    beside: dict[str, record.Loaded] = field(default_factory=dict)
    """Rows that had no such budget: baselines, and models that were trained elsewhere. They take no rank."""

    @property
    def key(self) -> str:
        limits = "-".join(f"{value}-{name}" for name, value in self.budget.items() if value is not None)
        data = f"{self.dataset_digest[:8]}-test{self.scored_episodes}"
        return f"{self.env}-{self.preset or 'imported'}-{limits or 'no-budget'}-{data}"

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
        if found.kind == "backbone":
            one = groups.setdefault(
                (*_data(found), found.preset, json.dumps(found.budget, sort_keys=True)), _empty(found)
            )
            one.runs.setdefault(found.label, []).append(run)
    compared = {key[:3] for key in groups}
    for run in loaded:  # models trained elsewhere may be all that there is
        if run.record.kind == "imported" and _data(run.record) not in compared:
            groups.setdefault((*_data(run.record), "", ""), _empty(run.record))
    for key, one in groups.items():
        for runs in one.runs.values():
            runs.sort(key=lambda run: (run.record.seed, run.record.run_id))
        for run in loaded:
            if run.record.kind != "backbone" and _data(run.record) == key[:3]:
                one.beside[run.record.label] = run
    return sorted(groups.values(), key=lambda one: one.key)


def _data(found: record.RunRecord) -> tuple[str, str, int]:
    return found.env, found.dataset_digest, found.scored_episodes


def _empty(found: record.RunRecord) -> Group:
    return Group(
        found.env, found.preset, found.budget, found.dataset_digest, found.dataset_episodes, found.scored_episodes
    )


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
    for name, run in one.beside.items():
        values = matrix([run], metric)
        if values is not None:
            fixed = run.record.kind == "baseline"
            intervals[name] = interval(moments(values, metric.scale), pooled, metric.scale, deterministic=fixed)
    return Cells(intervals, rank_sets(found, metric.better == "higher"))
