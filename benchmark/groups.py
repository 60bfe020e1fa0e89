"""Records that may be compared: same environment, same data, same budget, same metrics, same test episodes."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from benchmark import metrics, record
from benchmark.files import canonical_json, sha256
from benchmark.statistics import Interval, interval, moments, pool, rank_sets


@dataclass
class Group:
    """One table of a leaderboard. ``runs[backbone]`` is sorted by seed."""

    env: str
    preset: str
    budget: dict[str, float | int | None]
    dataset_digest: str
    dataset_episodes: dict[str, int]
    scored_episodes: int
    rules_hash: str
    """Of budget, validation and scoring; tells apart tables whose names would be the same."""
    runs: dict[str, list[record.Loaded]] = field(default_factory=dict)
    beside: dict[str, list[record.Loaded]] = field(default_factory=dict)
    """Rows that had no such budget: baselines, and models that were trained elsewhere. They take no rank."""

    @property
    def key(self) -> str:
        limits = "-".join(f"{value}-{name}" for name, value in self.budget.items() if value is not None)
        data = f"{self.dataset_digest[:8]}-test{self.scored_episodes}-{self.rules_hash}"
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
        own = [run.record.seed for run in runs]
        if len(own) > len(set(own)):
            return f"seed {next(seed for seed in own if own.count(seed) > 1)} stands there twice"
        if set(own) != set(self.seeds):
            return f"incomplete {len(own)}/{len(self.seeds)} seeds"
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
                (*_data(found), found.preset, json.dumps(found.rules, sort_keys=True)), _empty(found)
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
                baseline = run.record.kind == "baseline"
                name = run.record.label if baseline else f"{run.record.label} (trained elsewhere)"
                one.beside.setdefault(name, []).append(run)
    return sorted(groups.values(), key=lambda one: one.key)


def _data(found: record.RunRecord) -> tuple[str, str, int]:
    return found.env, found.dataset_digest, found.scored_episodes


def _empty(found: record.RunRecord) -> Group:
    data = (found.dataset_digest, found.dataset_episodes, found.scored_episodes)
    rules = sha256(canonical_json(found.rules))[:4]
    return Group(found.env, found.preset, found.budget, *data, rules)


def scores(runs: list[record.Loaded], metric: metrics.Metric) -> pd.DataFrame | None:
    """Seeds by episodes; ``None`` where the metric does not apply, or not to the same episodes for all seeds."""
    rows = [metric.values(run.table(record.PER_EPISODE).set_index("episode")) for run in runs]
    if any(len(row) < 2 or not row.index.equals(rows[0].index) for row in rows):
        return None
    return pd.DataFrame(np.stack([row.to_numpy() for row in rows]), columns=rows[0].index)


def cells(one: Group, metric: metrics.Metric) -> Cells:
    """Intervals of complete rows and of baselines; all over the same episodes, those that most rows have."""
    tables = {name: scores(runs, metric) for name, runs in one.runs.items() if not one.incomplete(name)}
    tables |= {name: scores(runs, metric) for name, runs in one.beside.items()}
    known = {name: table for name, table in tables.items() if table is not None}
    if not known:
        return Cells({}, None)
    counts = Counter(tuple(table.columns) for table in known.values())
    episodes = counts.most_common(1)[0][0]
    found = {
        name: moments(table.to_numpy(), metric.scale)
        for name, table in known.items()
        if tuple(table.columns) == episodes and np.isfinite(table.to_numpy()).all()
    }
    ranked = {name: cell for name, cell in found.items() if name in one.runs}
    pooled = pool(list(ranked.values()))
    fixed = {name for name, runs in one.beside.items() if runs[0].record.kind == "baseline"}
    intervals = {name: interval(cell, pooled, metric.scale, name in fixed) for name, cell in found.items()}
    return Cells(intervals, rank_sets(ranked, metric.better == "higher"))
