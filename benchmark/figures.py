"""Figures from records: error by imagined step, filmstrip, quality against cost, speed and memory."""

from __future__ import annotations

import io
import textwrap
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from scipy import stats

from benchmark import groups as grouping
from benchmark import memory_figures, record, strips
from benchmark.groups import Group
from benchmark.leaderboard import budget_words
from benchmark.metrics import HEADLINE, METRICS
from benchmark.palette import BASELINE, CROWD, style
from benchmark.statistics import Interval

LOOK: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "savefig.bbox": "tight",
    "savefig.dpi": 160,
    "svg.hashsalt": "wmbench",
}


def all_figures(one: Group) -> dict[str, bytes]:
    """PNG files of a group by the end of their name. Those without data are left out."""
    made: dict[str, Figure | None] = {}
    with plt.rc_context(LOOK):
        made["error_by_step"] = error_by_step(one)
        made["filmstrip"] = filmstrip(one)
        made["quality_against_cost"] = quality_against_cost(one)
        made["speed_and_memory"] = speed_and_memory(one)
        made["error_by_age"] = memory_figures.error_by_age(one)
        made["doors_by_keys_used"] = memory_figures.doors_by_keys_used(one)
        made["recall_after_teleport"] = memory_figures.recall_after_teleport(one)
        files = {}
        for name, figure in made.items():
            if figure is not None:
                buffer = io.BytesIO()
                figure.savefig(buffer, format="png", metadata={"Software": None})
                plt.close(figure)
                files[name] = buffer.getvalue()
    return files


def complete(one: Group) -> list[str]:
    return sorted(name for name in one.runs if not one.incomplete(name))


def curves(runs: list[record.Loaded], column: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and ``(seeds, steps)`` of a per-step column, where it is defined."""
    tables = [run.table(record.PER_STEP) for run in runs]
    known = tables[0][tables[0][column].notna()]
    return known["step"].to_numpy(), np.stack([table.loc[known.index, column].to_numpy() for table in tables])


def error_by_step(one: Group) -> Figure | None:
    """Geometric mean over seeds with a pointwise 95 % t band; one seed is dashed and has no band. In a crowd nobody has
    one."""
    names = complete(one)
    if not names:
        return None
    figure, axes = plt.subplots(figsize=(7.2, 3.8))
    ends: list[tuple[float, str]] = []
    first = 0
    for name in names:
        steps, errors = curves(one.runs[name], "generation")
        first = int(steps[0])
        logs = np.log(np.maximum(errors, 1e-8))
        middle = logs.mean(0)
        look = style(name, names)
        line = look.line() if len(errors) > 1 else look.line() | {"linestyle": (0, (4, 2)), "markerfacecolor": "white"}
        axes.plot(
            steps - first, np.exp(middle), marker=look.marker, markevery=max(1, len(steps) // 6), label=name, **line
        )
        if len(errors) > 1 and len(names) <= CROWD:
            half = stats.t.ppf(0.975, len(errors) - 1) * logs.std(0, ddof=1) / np.sqrt(len(errors))
            axes.fill_between(
                steps - first, np.exp(middle - half), np.exp(middle + half), color=look.color, alpha=0.16, lw=0
            )
        ends.append((float(np.exp(middle[-1])), name))
    floor = min(float(np.min(line.get_ydata())) for line in axes.lines) / 3
    for place, (name, runs) in enumerate(sorted(one.beside.items())):
        steps, errors = curves(runs[:1], "generation")
        values = np.where(errors[0] > floor, errors[0], np.nan)  # an oracle may be right to the pixel
        axes.plot(steps - first, values, **BASELINE.line())
        known = np.flatnonzero(np.isfinite(values))
        if len(known):
            at = known[min(len(known) - 1, len(known) * place // max(1, len(one.beside)))]
            words: Any = {"fontsize": 7, "va": "bottom", "xytext": (2, 3), "textcoords": "offset points"}
            axes.annotate(name, (steps[at] - first, values[at]), **words)
    axes.set_yscale("log")
    axes.set_ylim(bottom=floor)
    axes.set_xlabel(f"Imagined step (context of {first} frames ends at 0)")
    axes.set_ylabel("Squared error per frame")
    axes.set_title(f"{one.env}: generation error by step ({budget_words(one)})", fontsize=9, loc="left")
    _legend_beside(axes, ends)
    return figure


def _legend_beside(axes: Axes, ends: list[tuple[float, str]]) -> None:
    """A legend in the order in which the curves end, from top to bottom."""
    handles, labels = axes.get_legend_handles_labels()
    order = [name for _, name in sorted(ends, reverse=True)]
    pairs = sorted(zip(handles, labels, strict=True), key=lambda pair: order.index(pair[1]))
    axes.legend(*zip(*pairs, strict=True), loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8)


def filmstrip(one: Group) -> Figure | None:
    """Truth above each backbone, at the same steps of the same test episodes, first seed of each."""
    with_strip = {name: one.runs[name][0] for name in complete(one) if one.runs[name][0].record.strip}
    if not with_strip:
        return None
    cuts = {
        name: strips.cut(run.folder / record.STRIP, run.record.strip)
        for name, run in with_strip.items()
        if run.record.strip
    }
    strip = next(iter(with_strip.values())).record.strip
    assert strip is not None
    episodes, steps = 1 if len(cuts) > CROWD else len(strip.episodes), len(strip.steps)
    rows = [("truth", next(iter(cuts.values()))[:, 0]), *((name, made[:, 1]) for name, made in cuts.items())]
    height = 0.76 * episodes * len(rows) + 0.6
    figure, grid = plt.subplots(episodes * len(rows), steps, figsize=(0.72 * steps + 1.2, height), squeeze=False)
    figure.subplots_adjust(wspace=0.04, hspace=0.04, top=1 - 0.6 / height, bottom=0)
    for e in range(episodes):
        for r, (name, frames) in enumerate(rows):
            for t in range(steps):
                axes = grid[e * len(rows) + r][t]
                axes.imshow(frames[e, t], interpolation="nearest")
                axes.set_xticks([])
                axes.set_yticks([])
                axes.grid(False)
                for side in axes.spines.values():
                    side.set_visible(r == 0)
                if t == 0:
                    axes.set_ylabel(textwrap.fill(name, 30), rotation=0, ha="right", va="center", fontsize=8)
                if e == r == 0:
                    axes.set_title(f"step {strip.steps[t]}", fontsize=8)
    which = (
        f"episodes {strip.episodes} (median and worst decile"
        if episodes > 1
        else f"episode {strip.episodes[0]} (median"
    )
    note = f"{one.env}: test {which} of the mean-frame error), one sample each"
    figure.suptitle(note, fontsize=8, y=1.0, x=0.12, ha="left")
    return figure


def quality_against_cost(one: Group) -> Figure | None:
    """Generation MSE against training seconds, against imagination speed, and (validation) against frames seen."""
    every = grouping.cells(one, METRICS[HEADLINE]).intervals
    names = [name for name in complete(one) if name in every]
    if not names:
        return None
    figure, panels = plt.subplots(1, 3, figsize=(11.5, 3.6), sharey=True)
    _quality_points(panels[0], one, names, every, "spent", "train_seconds")
    panels[0].set_xlabel(f"Training seconds ({one_device(one)})", fontsize=7)
    _quality_points(panels[1], one, names, every, "cost", "imagine_frames_per_second")
    panels[1].set_xlabel(f"Imagined frames per second ({one_device(one)})", fontsize=7)
    for name in names:
        look = style(name, names)
        tables = [run.table(record.CURVE) for run in one.runs[name]]
        known = [curve[curve["validation"].notna()] for curve in tables if "validation" in curve]
        if len(names) > CROWD:  # curves may end at unlike frames, so the first seed stands for all
            known = known[:1]
        for curve in known:
            panels[2].plot(curve["frames"], curve["validation"], marker=look.marker, ms=3, lw=1, **look.line())
    seeds = "the first seed" if len(names) > CROWD else "a line a seed"
    panels[2].set_xlabel(f"Training frames (validation error, {seeds})", fontsize=7)
    panels[2].xaxis.set_major_locator(MaxNLocator(4))
    panels[2].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    panels[2].tick_params(axis="x", labelsize=7)
    for axes in panels:
        axes.set_yscale("log")
        for name, found in every.items():
            if name in one.beside:
                axes.axhline(found.value, **BASELINE.line())
                axes.annotate(name, (0.01, found.value), xycoords=("axes fraction", "data"), fontsize=7, va="bottom")
    panels[0].set_ylabel("Generation MSE (95 % interval)")
    if len(names) > CROWD:
        order = sorted(names, key=lambda name: -every[name].value)
        handles = [Line2D([], [], marker=style(n, names).marker, label=n, **style(n, names).line()) for n in order]
        panels[2].legend(handles=handles, loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8)
    figure.suptitle(f"{one.env}: quality against cost ({budget_words(one)})", fontsize=9)
    return figure


def _quality_points(axes: Axes, one: Group, names: list[str], every: dict[str, Interval], where: str, key: str) -> None:
    for name in names:
        found, look = every[name], style(name, names)
        values = [getattr(run.record, where).get(key) for run in one.runs[name]]
        known = [float(value) for value in values if value]
        if not known:
            continue
        middle = float(np.median(known))
        spread_y = [[found.value - found.low], [found.high - found.value]]
        spread_x = [[middle - min(known)], [max(known) - middle]]
        point: Any = {"fmt": look.marker or "o", "color": look.color, "ms": 7, "lw": 1.2}
        axes.errorbar(middle, found.value, yerr=spread_y, xerr=spread_x, **point)
        if len(names) <= CROWD:
            label: Any = {"textcoords": "offset points", "xytext": (7, 5), "fontsize": 8, "color": "#222222"}
            axes.annotate(name, (middle, found.value), **label)
    plain_log_axis(axes)


def plain_log_axis(axes: Axes) -> None:
    """A logarithmic x axis over at least a factor of nine, with ticks at 1, 2, 5 in plain numbers."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    middle, half = np.sqrt(low * high), max(np.sqrt(high / low) * 1.15, 3.0)
    axes.set_xlim(middle / half, middle * half)
    decades = 10.0 ** np.arange(np.floor(np.log10(middle / half)), np.log10(middle * half) + 1)
    ticks = [tick for tick in np.outer(decades, (1, 2, 5)).ravel() if middle / half <= tick <= middle * half]
    axes.xaxis.set_major_locator(FixedLocator(ticks if len(ticks) <= 4 else ticks[:: -(-len(ticks) // 4)]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.tick_params(axis="x", labelsize=7)


def one_device(one: Group) -> str:
    devices = sorted({run.record.device for runs in one.runs.values() for run in runs})
    return devices[0] if len(devices) == 1 else f"{len(devices)} devices, see the table"


def speed_and_memory(one: Group) -> Figure | None:
    """Dots with min, median and max over runs; the quality stands beside the name."""
    names = complete(one)
    if not names:
        return None
    memory = (
        "peak_gpu_memory_gib"
        if any(one.runs[n][0].record.cost.get("peak_gpu_memory_gib") for n in names)
        else "peak_resident_gib"
    )
    panels = {
        "train_frames_per_second": "Training frames/s",
        "imagine_frames_per_second": "Imagined frames/s",
        memory: "Peak GPU memory, GiB" if "gpu" in memory else "Peak resident size, GiB",
    }
    quality = grouping.cells(one, METRICS[HEADLINE]).intervals
    figure, row = plt.subplots(1, len(panels) + 1, figsize=(10.5, 0.42 * len(names) + 1.3), sharey=True)
    for place, name in enumerate(names):
        look = style(name, names)
        for axes, key in zip(row, panels, strict=False):
            values = [run.record.cost.get(key) for run in one.runs[name]]
            known = sorted(float(value) for value in values if value)
            if known:
                axes.plot([known[0], known[-1]], [place, place], color=look.color, lw=1.5)
                axes.plot(np.median(known), place, look.marker or "o", color=look.color)
        row[-1].plot(one.runs[name][0].record.state_bytes, place, look.marker or "o", color=look.color)
    for axes, label in zip(row, [*panels.values(), "State bytes per episode"], strict=True):
        plain_log_axis(axes)
        axes.set_xlabel(label, fontsize=8)
    row[0].set_yticks(
        range(len(names)), [f"{n}  (MSE {quality[n].value:.3g})" if n in quality else n for n in names], fontsize=8
    )
    row[0].set_ylim(-0.6, len(names) - 0.4)
    figure.suptitle(f"{one.env}: speed and memory on {one_device(one)}", fontsize=9, y=1.02)
    return figure
