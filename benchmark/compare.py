"""Several backbones and seeds under one budget, then their leaderboard. With no flags: the quickstart.

    python -m benchmark.compare
    python -m benchmark.compare --seeds 0 --backbones s4wm my_module:MyConfig
    python -m benchmark.compare --seeds 100 --vary model.training.learning-rate=1e-3,3e-3 --results results/sweeps/rate

On a CPU as many runs as cores go side by side with one thread each; on a GPU one at a time. A grid of values
(``--vary``) is the same for every backbone, so that nobody gets more search than others.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import backbones
from benchmark import baseline_records, flags, machine
from benchmark.cli import parse
from benchmark.errors import UserError, command, user_input
from benchmark.grid import cells_of, run_cells
from benchmark.presets import QUICKSTART_ENV
from benchmark.report import print_group, rebuild
from benchmark.run import open_dataset

MAIN_BACKBONES = ("s4wm", "rssm_tbtt", "tssm_xl", "mts3")


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Train, score and rank backbones and baselines under one budget."""

    backbones: tuple[str, ...] = MAIN_BACKBONES
    """Names, or module:Config of your own."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each seed trains every backbone once."""
    env: str = QUICKSTART_ENV
    preset: str = "quickstart"
    vary: tuple[str, ...] = ()
    """Flags of benchmark.run with several values each, such as model.training.learning-rate=1e-3,3e-3."""
    results: Path = Path("results")
    parallel: int = 0
    """Runs at once; all cores on a CPU, one on a GPU, if 0."""


def variations(vary: Sequence[str]) -> list[list[str]]:
    """All combinations of the values, as flags. Raises ``UserError`` for what is not ``flag=a,b``."""
    lists = []
    for text in vary:
        flag, equals, values = text.partition("=")
        if not equals or not flag or not all(values.split(",")):
            raise UserError(f"--vary {text!r} is not understood; give flag=value,value")
        lists.append([[f"--{flag}", value] for value in values.split(",")])
    return [[word for pair in combination for word in pair] for combination in itertools.product(*lists)]


@command
def main(arguments: list[str]) -> None:
    options = parse(CompareOptions, arguments, "python -m benchmark.compare")
    began = time.monotonic()
    if not options.backbones or not options.seeds:
        raise UserError("nothing to compare: give at least one of --backbones and one of --seeds")
    if options.parallel < 0 or min(options.seeds) < 0 or len(set(options.seeds)) < len(options.seeds):
        raise UserError(f"parallel {options.parallel}, seeds {options.seeds}: none may be negative, no seed twice")
    for name in options.backbones:
        with user_input():
            backbones.find(name)
    config = flags.resolve(options.backbones[0], options.env, options.preset)
    dataset = open_dataset(config, None)
    baseline_records.ensure(dataset, config, options.results)
    parallel = options.parallel or (1 if machine.device("auto").type == "cuda" else machine.cores())
    cells = [
        cell
        for extra in variations(options.vary)
        for cell in cells_of(options.backbones, options.seeds, options.env, options.preset, options.results, extra)
    ]
    failed = run_cells(cells, parallel, threads=max(1, machine.cores() // parallel))
    by_env = rebuild(options.results)
    for one in by_env.get(options.env, []):
        if one.preset == options.preset and one.dataset_digest == dataset.digest:
            print_group(one)
            print(f"Pictures: {options.results / 'figures'}/{one.key}-*.png")
    print(f"Leaderboard: {options.results / 'leaderboards' / options.env}.md")
    done = sum(cell.state == "done" for cell in cells)
    print(f"{done} of {len(cells)} runs in {(time.monotonic() - began) / 60:.1f} minutes")
    for cell in failed:
        print(f"\n{cell.name} failed:\n" + "\n".join(cell.tail or []), file=sys.stderr)
    if failed:
        raise UserError(f"{len(failed)} runs failed; run the same command again to continue them")


if __name__ == "__main__":
    main()
