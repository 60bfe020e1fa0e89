"""Figures about what is remembered: error by the age of content, doors by keys used, recall after a teleport."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark import groups as grouping
from benchmark.groups import Group
from benchmark.leaderboard import budget_words
from benchmark.metrics import METRICS
from benchmark.open_loop import RECALL_GIVEN
from benchmark.palette import CROWD, Style, style
from benchmark.watchers import DoorOutcomes, ErrorByAge

FEW_PATCHES = 30


def _complete(one: Group, file: str) -> list[str]:
    return sorted(n for n in one.runs if not one.incomplete(n) and all(file in r.record.files for r in one.runs[n]))


def _curve(
    axes: Axes, look: Style, name: str, x: Sequence[int], middle: np.ndarray, seeds: np.ndarray, crowded: bool
) -> None:
    """A line over ``x`` and, unless it would be one of too many, the band of the range of ``seeds`` ``(seeds, x)``."""
    axes.plot(x, middle, marker=look.marker, label=name, **look.line())
    if len(seeds) > 1 and not crowded:
        axes.fill_between(x, seeds.min(0), seeds.max(0), color=look.color, alpha=0.16, lw=0)


def _band(names: list[str]) -> str:
    return "" if len(names) > CROWD else "; band: range over seeds"


def _finish(figure: Figure, title: str) -> Figure:
    (axes,) = figure.axes
    axes.set_title(title, fontsize=9, loc="left")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8)
    return figure


def error_by_age(one: Group) -> Figure | None:
    """Mean squared error of a patch by how long ago its content was last in view before the query."""
    names = _complete(one, ErrorByAge.FILE)
    if not names:
        return None
    figure, axes = plt.subplots(figsize=(7.2, 3.8))
    for name in names:
        look = style(name, names)
        tables = [run.table(ErrorByAge.FILE).set_index("age_from") for run in one.runs[name]]
        ages = [age for age in tables[0].index if age > 0]
        errors = np.array([[t["squared_error"][age] / t["patches"][age] for age in ages] for t in tables])
        middle = np.exp(np.log(np.maximum(errors, 1e-9)).mean(0))
        _curve(axes, look, name, ages, middle, errors, len(names) > CROWD)
        rare = [age for age in ages if tables[0]["patches"][age] < FEW_PATCHES]
        axes.plot(rare, middle[[ages.index(age) for age in rare]], "o", mfc="white", color=look.color)
    axes.set_xscale("log", base=2)
    axes.set_xticks(ages, [str(age) for age in ages])
    axes.set_yscale("log")
    axes.set_xlabel("Steps since the content was last in view (lower end of the bin)")
    axes.set_ylabel("Squared error per patch")
    return _finish(figure, f"{one.env}: error by age ({budget_words(one)}{_band(names)})")


def doors_by_keys_used(one: Group) -> Figure | None:
    """Share of right door outcomes, balanced over both, as more keys have been used up."""
    names = _complete(one, DoorOutcomes.FILE)
    if not names:
        return None
    figure, axes = plt.subplots(figsize=(6.4, 3.6))
    for name in names:
        look = style(name, names)
        curves = []
        for run in one.runs[name]:
            both = run.table(DoorOutcomes.FILE).groupby(["keys_used", "outcome"])["correct"].mean().unstack()
            curves.append(both.mean(axis=1, skipna=False).dropna())
        used = sorted(set.intersection(*(set(curve.index) for curve in curves)))
        values = np.array([[curve[k] for k in used] for curve in curves])
        _curve(axes, look, name, used, 100 * values.mean(0), 100 * values, len(names) > CROWD)
    axes.axhline(50, color="#585858", linestyle=(0, (1, 3)))
    axes.set_ylim(0, 102)
    axes.set_xlabel("Keys used up before the try")
    axes.set_ylabel("Door outcomes right, %, balanced")
    return _finish(figure, f"{one.env} ({budget_words(one)}{_band(names)})")


def recall_after_teleport(one: Group) -> Figure | None:
    """Error of imagining the past again, by how many frames of it were given (Figure 6 of arXiv 2307.02064)."""
    cells = {given: grouping.cells(one, METRICS[f"recall_{given}_mse"]).intervals for given in RECALL_GIVEN}
    names = [name for name in sorted(one.runs) if all(name in found for found in cells.values())]
    if not names:
        return None
    figure, axes = plt.subplots(figsize=(6.4, 3.6))
    for name in names:
        look = style(name, names)
        found = [cells[given][name] for given in RECALL_GIVEN]
        spread = [[cell.value - cell.low for cell in found], [cell.high - cell.value for cell in found]]
        values = [cell.value for cell in found]
        axes.errorbar(RECALL_GIVEN, values, yerr=spread, marker=look.marker, label=name, **look.line())
    axes.set_yscale("log")
    axes.set_xlabel("Observations given after the teleport")
    axes.set_ylabel("Recall MSE (95 % interval)")
    return _finish(figure, f"{one.env} ({budget_words(one)})")
