"""The published grid as data: which environments, backbones and presets make each table of the paper.

python -m benchmark.suite                     lists the cells of every table, and which are done
python -m benchmark.suite --table table2 --run
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import envs
from benchmark import compare, presets, record
from benchmark.cli import parse
from benchmark.errors import UserError, command

PUBLISHED = ("rssm_tbtt", "tssm_xl", "s4wm")
WITH_MTS3 = (*PUBLISHED, "mts3")


@dataclass(frozen=True)
class TableOfPaper:
    """Cells of one table of arXiv 2307.02064, with ``mts3`` beside them where it applies."""

    title: str
    envs: tuple[str, ...]
    backbones: tuple[str, ...] = WITH_MTS3


TABLES = {
    "table1": TableOfPaper("Long-term imagination in rooms", ("two_rooms", "four_rooms", "ten_rooms")),
    "figure6": TableOfPaper(
        "Recall after teleport", ("two_rooms_teleport", "four_rooms_teleport", "ten_rooms_teleport")
    ),
    "table2": TableOfPaper("Reward prediction", tuple(f"distracting_memory_{width}" for width in (100, 200, 400))),
    "table3": TableOfPaper("Memory-based reasoning", tuple(f"multi_doors_keys_{keys}" for keys in (3, 5, 7))),
    "table4": TableOfPaper(
        "Variants of S4WM", ("four_rooms", "ten_rooms"), ("s4wm", "s4wm_full_posterior", "s4wm_no_mlp")
    ),
    "table5": TableOfPaper("Cache of TSSM-XL", ("four_rooms",), ("tssm_xl", "tssm_xl_256", "tssm_xl_512")),
}


@dataclass(frozen=True, kw_only=True)
class SuiteOptions:
    """List or run the cells of the paper's tables."""

    table: str | None = None
    """One of them; all if not given."""
    preset: str = "standard"
    """'paper' for the published budgets."""
    seeds: tuple[int, ...] = (0, 1, 2)
    run: bool = False
    """Run what is missing instead of listing it."""
    results: Path = Path("results")


def done(loaded: list[record.Loaded], env: str, backbone: str, preset: str) -> list[int]:
    """Seeds of a cell that have a record."""
    same = (run.record for run in loaded if (run.record.env, run.record.backbone) == (env, backbone))
    return sorted({found.seed for found in same if found.preset == preset and not found.variant})


@command
def main(arguments: list[str]) -> None:
    options = parse(SuiteOptions, arguments, "python -m benchmark.suite")
    if options.table is not None and options.table not in TABLES:
        near = get_close_matches(options.table, TABLES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UserError(f"unknown table {options.table!r}{hint} Allowed: {', '.join(TABLES)}")
    presets.find(options.preset, envs.spec(TABLES["table2"].envs[0]))
    loaded = [] if options.run else record.read_all(options.results)[0]
    for name in [options.table] if options.table else TABLES:
        table = TABLES[name]
        print(f"{name}: {table.title}, preset {options.preset}")
        for env in table.envs:
            if options.run:
                seeds = [str(seed) for seed in options.seeds]
                where = ["--results", str(options.results), "--preset", options.preset]
                compare.main(["--env", env, "--backbones", *table.backbones, "--seeds", *seeds, *where])
                continue
            for backbone in table.backbones:
                found = done(loaded, env, backbone, options.preset)
                print(f"  {env:24} {backbone:22} seeds done: {', '.join(map(str, found)) or 'none'}")


if __name__ == "__main__":
    main()
