"""Runs a grid of cells (backbone x seed) of one environment, several at once, each in a process of its own.

A cell that is done already is not run again; one that fails is reported and does not stop the others.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

_PROGRESS = re.compile(r"^train .*?: (\d+) %, about (\d+) s left(.*)$")
TAIL_LINES = 15


@dataclass
class Cell:
    """One run, and what is known of it while it goes on."""

    backbone: str
    seed: int
    arguments: list[str]
    state: str = "waiting"
    detail: str = ""
    tail: list[str] | None = None
    seconds: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.backbone} seed {self.seed}"


def cells_of(
    backbones: Sequence[str], seeds: Sequence[int], env: str, preset: str, results: Path, extra: Sequence[str] = ()
) -> list[Cell]:
    """Seeds outermost, so that a complete comparison of one seed comes first."""
    fixed = ["--env", env, "--preset", preset, "--results", str(results), "--no-report", *extra]
    return [
        Cell(backbone, seed, ["--backbone", backbone, "--seed", str(seed), *fixed])
        for seed in seeds
        for backbone in backbones
    ]


def run_cells(cells: list[Cell], parallel: int, threads: int) -> list[Cell]:
    """Runs all cells with ``parallel`` processes of ``threads`` threads each; returns those that were not done."""
    waiting = list(cells)
    lock = threading.Lock()

    def worker() -> None:
        while True:
            with lock:
                if not waiting:
                    return
                cell = waiting.pop(0)
            _run(cell, threads)

    workers = [threading.Thread(target=worker, daemon=True) for _ in range(min(parallel, len(cells)))]
    for thread in workers:
        thread.start()
    _show(cells, workers)
    return [cell for cell in cells if cell.state != "done"]


def _run(cell: Cell, threads: int) -> None:
    plug_in = ":" in cell.backbone  # the user named code of his own, which may lie in this folder
    command = [sys.executable, *([] if plug_in else ["-P"]), "-m", "benchmark.run", *cell.arguments]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "WMBENCH_PROGRESS_SECONDS": "2"}
    cell.state, began = "starting", time.monotonic()
    lines: list[str] = []
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    for line in process.stderr:
        if found := _PROGRESS.match(line):
            cell.state, cell.detail = "training", f"{found[1]} %, about {found[2]} s left{found[3]}"
        elif line.startswith("scoring"):
            cell.state, cell.detail = "scoring", ""
        else:
            lines = [*lines[-TAIL_LINES:], line.rstrip()]
    cell.seconds = time.monotonic() - began
    cell.state = "done" if process.wait() == 0 else "failed"
    cell.detail, cell.tail = f"{cell.seconds:.0f} s", lines


def _show(cells: list[Cell], workers: list[threading.Thread]) -> None:
    """A live table on a terminal, a line every twenty seconds elsewhere."""
    console = Console(stderr=True)
    if console.is_terminal:
        with Live(console=console, refresh_per_second=2) as live:
            while any(thread.is_alive() for thread in workers):
                live.update(_table(cells))
                time.sleep(0.5)
            live.update(_table(cells))
        return
    printed = 0.0
    while any(thread.is_alive() for thread in workers):
        time.sleep(0.5)
        if time.monotonic() - printed > 20:
            printed = time.monotonic()
            busy = [
                f"{cell.name}: {cell.state} {cell.detail}" for cell in cells if cell.state not in ("waiting", "done")
            ]
            done = sum(cell.state in ("done", "failed") for cell in cells)
            print(f"[{done}/{len(cells)} runs done] " + " | ".join(busy), file=sys.stderr, flush=True)


def _table(cells: list[Cell]) -> Table:
    shown = Table("Run", "State", "", box=None)
    for cell in cells:
        shown.add_row(cell.name, cell.state, cell.detail)
    return shown
