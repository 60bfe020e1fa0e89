"""Writes leaderboards and figures from the records below a results folder.

python -m benchmark.report
python -m benchmark.report --check      (fails if the tables differ from what the records say)
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmark import figures, leaderboard, metrics, readme, record
from benchmark import groups as grouping
from benchmark.cli import parse
from benchmark.errors import UserError, command
from benchmark.files import atomic_write, make_folder
from benchmark.groups import Group

README = Path(__file__).parent.parent / "README.md"


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """Records in, leaderboards and figures out."""

    results: Path = Path("results")
    """Folder with runs/; leaderboards/ and figures/ are written beside it."""
    check: bool = False
    """Write nothing; fail if a leaderboard is not what the records say."""


def groups_of(results: Path) -> tuple[dict[str, list[Group]], list[str]]:
    """Groups by environment, and a line for every record that was left out."""
    loaded, skipped = record.read_all(results)
    current = [run for run in loaded if run.record.metric_version == metrics.VERSION]
    old = [
        f"{run.folder}: metric version {run.record.metric_version}, now {metrics.VERSION}"
        for run in loaded
        if run not in current
    ]
    by_env: dict[str, list[Group]] = {}
    for one in grouping.group(current):
        by_env.setdefault(one.env, []).append(one)
    return by_env, skipped + old


def tables(by_env: dict[str, list[Group]], skipped: list[str]) -> dict[str, str]:
    """Texts of all leaderboard files by name."""
    texts = {}
    for env, some in sorted(by_env.items()):
        texts[f"{env}.md"] = leaderboard.markdown(env, some)
        texts[f"{env}.csv"] = leaderboard.csv_text(some)
    if skipped:
        texts["SKIPPED.md"] = "# Records that were left out\n\n" + "".join(f"- {line}\n" for line in skipped)
    return texts


def rebuild(results: Path) -> dict[str, list[Group]]:
    """Rewrites leaderboards and figures; returns the groups that they show, by environment."""
    by_env, skipped = groups_of(results)
    folder = make_folder(results / "leaderboards")
    texts = tables(by_env, skipped)
    for name, text in texts.items():
        atomic_write(folder / name, text.encode())
    for old in [*folder.glob("*.md"), *folder.glob("*.csv")]:
        if old.name not in texts:
            old.unlink()
    pictures = make_folder(results / "figures")
    drawn = {
        f"{one.key}-{name}.png": data
        for some in by_env.values()
        for one in some
        for name, data in figures.all_figures(one).items()
    }
    for name, data in drawn.items():
        atomic_write(pictures / name, data)
    for old in pictures.glob("*.png"):
        if old.name not in drawn:
            old.unlink()
    if (shown := _readme(results, by_env)) is not None:
        atomic_write(README, shown.encode())
    for line in skipped:
        print(f"left out: {line}", file=sys.stderr)
    return by_env


def _readme(results: Path, by_env: dict[str, list[Group]]) -> str | None:
    """What README.md should say, if these are the results it shows."""
    shown = readme.quickstart_group(by_env)
    if shown is None or results.resolve() != README.parent / "results" or not README.is_file():
        return None
    return readme.with_block(README.read_text(), shown, results)


def check(results: Path) -> None:
    """Raises ``UserError`` if a table differs from the records or a figure is missing."""
    by_env, skipped = groups_of(results)
    for name, text in tables(by_env, skipped).items():
        path = results / "leaderboards" / name
        if not path.is_file() or path.read_text() != text:
            raise UserError(f"{path} is not what the records say; run: python -m benchmark.report --results {results}")
    if _readme(results, by_env) not in (None, README.read_text() if README.is_file() else None):
        raise UserError(f"{README} does not show what the records say; run: python -m benchmark.report")
    for some in by_env.values():
        for one in some:
            for name in ("error_by_step", "quality_against_cost"):
                if figures.complete(one) and not (results / "figures" / f"{one.key}-{name}.png").is_file():
                    raise UserError(f"figure {one.key}-{name}.png is missing; run: python -m benchmark.report")


def print_row(loaded: record.Loaded) -> None:
    """The table of the group that a record belongs to, as it stands now."""
    results = loaded.folder.parents[3]
    by_env, _ = groups_of(results)
    for one in by_env.get(loaded.record.env, []):
        if any(run.folder == loaded.folder for runs in one.runs.values() for run in runs):
            print_group(one)


SHOWN = (
    "generation_mse", "imagination_reward_accuracy", "final_frame_mse", "wrong_context_mse", "reconstruction_mse",
    "inference_reward_accuracy", "door_outcome_accuracy",
)  # fmt: skip


def print_group(one: Group) -> None:
    """A group's main scores on the terminal; the files have all of them."""
    header, *rows = leaderboard.score_rows(one, SHOWN)
    shown = Table(title=f"{one.env}, {leaderboard.budget_words(one)}, {one.scored_episodes} test episodes", box=SIMPLE)
    for name in header:
        shown.add_column(name, overflow="fold")
    for row in rows:
        shown.add_row(*(text.replace("*", "").replace(" [", "\n[", 1) for text in row))
    console = Console(width=None if sys.stdout.isatty() else 140, markup=False)
    console.print(shown)


@command
def main(arguments: list[str]) -> None:
    options = parse(ReportOptions, arguments, "python -m benchmark.report")
    if not options.results.is_dir():
        raise UserError(f"no folder {options.results}; give --results or run python -m benchmark.run first")
    if options.check:
        check(options.results)
        print(f"{options.results}: leaderboards are what the records say")
        return
    by_env = rebuild(options.results)
    for some in by_env.values():
        for one in some:
            print_group(one)
    print(f"written: {options.results / 'leaderboards'}, {options.results / 'figures'}")


if __name__ == "__main__":
    main()
