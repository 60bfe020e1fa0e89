"""Leaderboards from records: Markdown for people, CSV for programs. Nobody edits what this file writes."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable

import numpy as np

import envs
from benchmark import groups as grouping
from benchmark.groups import Cells, Group
from benchmark.metrics import HEADLINE, METRICS, Metric, psnr
from benchmark.statistics import Interval

COSTS = {
    "train_frames_per_second": "Training frames/s",
    "train_episodes_per_second": "Training episodes/s",
    "imagine_frames_per_second": "Imagined frames/s",
    "imagine_latent_frames_per_second": "without decoding",
    "peak_gpu_memory_gib": "Peak GPU memory, GiB",
    "peak_resident_gib": "Peak resident size, GiB",
}

HOW_TO_READ = """\
Each number is followed by its 95 % interval for new seeds and new test episodes ("episodes only": one seed, so the
interval knows nothing of other seeds; "seed spread borrowed": from the other rows); errors are geometric means over
seeds, accuracies arithmetic ones. The rank is a set: 1 plus the number of backbones that are significantly better, up
to the number that are not significantly worse (paired over test episodes, Holm-corrected within the column). A row
with a missing or failed seed shows no number. Error is squared error summed over pixels and channels of images in
[0, 1]. Speeds belong to their device and are not compared across devices.
"""


def number(value: float | None) -> str:
    """Three significant digits."""
    if value is None:
        return "-"
    if value == 0 or not np.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - int(np.floor(np.log10(abs(value)))))
    return f"{value:,.{digits}f}"


def cell_text(found: Interval | None, metric: Metric) -> str:
    """A number with its interval; percent for shares."""
    if found is None:
        return "-"
    if metric.scale == "logit":
        text = f"{100 * found.value:.1f} % [{100 * found.low:.1f}, {100 * found.high:.1f}]"
    else:
        text = f"{number(found.value)} [{number(found.low)}, {number(found.high)}]"
    return text


def budget_words(one: Group) -> str:
    limits = [f"{value:,} {name}" for name, value in one.budget.items() if value is not None]
    if not limits:
        return "models trained elsewhere"
    return f"preset `{one.preset}`, budget " + " or ".join(limits)


def used_metrics(one: Group, names: Iterable[str] = tuple(METRICS)) -> dict[str, Cells]:
    """Metrics that apply to at least one row."""
    every = {name: grouping.cells(one, METRICS[name]) for name in names}
    return {name: cells for name, cells in every.items() if cells.intervals}


def ordered(one: Group, cells: dict[str, Cells]) -> list[str]:
    """Backbones by the first metric; rows without numbers last, in the order of names."""
    first = next(iter(cells.values())).intervals if cells else {}
    return sorted(one.runs, key=lambda name: (name not in first, first[name].value if name in first else 0.0, name))


def rank_text(ranks: dict[str, tuple[int, int]] | None, name: str) -> str:
    if ranks is None or name not in ranks:
        return ""
    low, high = ranks[name]
    return f"{low}" if low == high else f"{low}-{high}"


def seeds_text(one: Group, name: str, cells: dict[str, Cells]) -> str:
    """Number of seeds, and how the spread over seeds was found if not from these seeds."""
    notes = {found.intervals[name].note for found in cells.values() if name in found.intervals} - {""}
    if len({run.record.code_digest for run in one.runs[name]}) > 1:
        notes.add("of different code")
    return ", ".join([str(len(one.runs[name])), *sorted(notes)])


def score_rows(one: Group, names: Iterable[str] = tuple(METRICS)) -> list[list[str]]:
    """Header and rows of the table of scores."""
    cells = used_metrics(one, names)
    headline = next(iter(cells.values())).ranks if cells else None
    rows = [["Rank", "Backbone", "Seeds", *(METRICS[name].label for name in cells)]]
    elements = image_elements(one.env)
    if elements and HEADLINE in cells:
        rows[0].append("Generation PSNR, dB")
    for name in ordered(one, cells):
        problem = one.incomplete(name)
        texts = [cell_text(found.intervals.get(name), METRICS[metric]) for metric, found in cells.items()]
        if problem and texts:
            texts[0] = problem
        rank = rank_text(headline, name)
        shown = f"**{name}**" if headline and headline.get(name, (2, 2))[0] == 1 else name
        rows.append([rank, shown, seeds_text(one, name, cells), *texts])
    for name in sorted(one.beside):
        texts = [cell_text(found.intervals.get(name), METRICS[metric]) for metric, found in cells.items()]
        rows.append(["", f"*{name}*", "", *texts])
    if len(rows[0]) > len(cells) + 3:
        for row, name in zip(rows[1:], [*ordered(one, cells), *sorted(one.beside)], strict=True):
            found = cells[HEADLINE].intervals.get(name)
            row.append(f"{psnr(found.value, elements):.1f}" if found else "-")
    return rows


def image_elements(env: str) -> int:
    """Values of a frame; 0 for an environment that is not ours."""
    try:
        return math.prod(envs.spec(env).image_shape)
    except ValueError:
        return 0


def cost_rows(one: Group) -> list[list[str]]:
    """Header and rows of the table of costs: medians over the runs of one backbone on one device."""
    rows = [["Backbone", "Device", "Parameters", "State bytes", *COSTS.values(), "Training seconds"]]
    for name in sorted(one.runs):
        for device in sorted({run.record.device for run in one.runs[name]}):
            runs = [run.record for run in one.runs[name] if run.record.device == device]
            costs = [number(_median(run.cost.get(key) for run in runs)) for key in COSTS]
            seconds = number(_median(run.spent.get("train_seconds") for run in runs))
            rows.append([name, device, f"{runs[0].parameters:,}", f"{runs[0].state_bytes:,}", *costs, seconds])
    return rows


def _median(values: Iterable[object]) -> float | None:
    known = [float(value) for value in values if isinstance(value, int | float)]
    return float(np.median(known)) if known else None


def table(rows: list[list[str]]) -> str:
    """A Markdown table; columns in which no row has anything are left out."""
    keep = [i for i in range(len(rows[0])) if any(row[i] not in ("", "-") for row in rows[1:])]
    escaped = [[row[i].replace("|", "\\|") for i in keep] for row in rows]
    lines = ["| " + " | ".join(row) + " |" for row in escaped]
    return "\n".join([lines[0], "|" + " --- |" * len(keep), *lines[1:]])


def markdown(env: str, some: list[Group]) -> str:
    """The leaderboard of one environment."""
    try:
        memory = envs.spec(env).memory
    except ValueError:
        memory = "Observations of a dataset that was brought along."
    parts = [f"# {env}\n\n{memory}\n\n{HOW_TO_READ}"]
    for one in some:
        episodes = ", ".join(f"{count:,} {split}" for split, count in one.dataset_episodes.items())
        parts.append(
            f"## {budget_words(one)}\n\nDataset `{one.dataset_digest[:8]}` ({episodes} episodes), "
            f"{one.scored_episodes:,} test episodes scored, seeds {', '.join(map(str, one.seeds))}.\n\n"
            f"{table(score_rows(one))}\n\n{table(cost_rows(one))}\n"
        )
    return "\n".join(parts)


def csv_text(some: list[Group]) -> str:
    """One line a (group, row, metric), with intervals and ranks."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    columns = "group env preset backbone kind metric unit value low high seeds rank_low rank_high status"
    writer.writerow(columns.split(" "))  # noqa: SIM905  one line reads better
    for one in some:
        for metric, found in used_metrics(one).items():
            for name in [*ordered(one, {metric: found}), *sorted(one.beside)]:
                kind = "backbone" if name in one.runs else one.beside[name][0].record.kind
                status = one.incomplete(name) or "completed" if kind == "backbone" else ""
                cell = found.intervals.get(name)
                numbers = [repr(cell.value), repr(cell.low), repr(cell.high)] if cell else ["", "", ""]
                ranks = (found.ranks or {}).get(name, ("", ""))
                seeds = len(one.runs[name]) if kind == "backbone" else ""
                label = "'" + name if name[:1] in "=+-@" else name
                row = [
                    one.key,
                    one.env,
                    one.preset,
                    label,
                    kind,
                    metric,
                    METRICS[metric].unit,
                    *numbers,
                    seeds,
                    *ranks,
                    status,
                ]
                writer.writerow(row)
    return buffer.getvalue()
