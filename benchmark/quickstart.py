"""The first comparison that a newcomer sees: the main backbones on a small corridor, under one budget.

    python -m benchmark.quickstart
    python -m benchmark.quickstart --seeds 0 --backbones s4wm my_module:MyConfig

On a CPU two runs go side by side with one thread each; on a GPU one at a time.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import backbones
from benchmark import baseline_records, flags, machine
from benchmark.cli import parse
from benchmark.errors import UserError, command, user_input
from benchmark.grid import cells_of, run_cells
from benchmark.presets import QUICKSTART_ENV
from benchmark.report import groups_of, print_group, rebuild
from benchmark.run import open_dataset

MAIN_BACKBONES = ("s4wm", "rssm_tbtt", "tssm_xl", "mts3")


@dataclass(frozen=True, kw_only=True)
class QuickstartOptions:
    """Train, score and rank the main backbones and the baselines on a small task."""

    backbones: tuple[str, ...] = MAIN_BACKBONES
    """Names, or module:Config of your own."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each seed trains every backbone once."""
    env: str = QUICKSTART_ENV
    preset: str = "quickstart"
    results: Path = Path("results")
    parallel: int = 0
    """Runs at once; all cores on a CPU, one on a GPU, if 0."""


@command
def main(arguments: list[str]) -> None:
    options = parse(QuickstartOptions, arguments, "python -m benchmark.quickstart")
    began = time.monotonic()
    for name in options.backbones:
        with user_input():
            backbones.find(name)
    config = flags.resolve(options.backbones[0], options.env, options.preset)
    dataset = open_dataset(config, None)
    baseline_records.ensure(dataset, config, options.results)
    parallel = options.parallel or (1 if machine.device("auto").type == "cuda" else os.cpu_count() or 1)
    cells = cells_of(options.backbones, options.seeds, options.env, options.preset, options.results)
    failed = run_cells(cells, parallel, threads=max(1, (os.cpu_count() or 1) // parallel))
    rebuild(options.results)
    by_env, _ = groups_of(options.results)
    for one in by_env.get(options.env, []):
        if one.preset == options.preset and one.dataset_digest == dataset.digest:
            print_group(one)
            print(f"Pictures: {options.results / 'figures'}/{one.key}-*.png")
    print(f"Leaderboard: {options.results / 'leaderboards' / options.env}.md")
    print(f"{len(cells) - len(failed)} of {len(cells)} runs in {(time.monotonic() - began) / 60:.1f} minutes")
    for cell in failed:
        print(f"\n{cell.name} failed:\n" + "\n".join(cell.tail or []), file=sys.stderr)
    if failed:
        raise UserError(f"{len(failed)} runs failed; run the same command again to continue them")


if __name__ == "__main__":
    main()
