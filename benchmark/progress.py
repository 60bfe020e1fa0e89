"""A live progress line with the time that is left: a bar on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class ProgressLine:
    """Use as a context manager; ``update`` with the share done and a few words."""

    def __init__(self, label: str) -> None:
        self.label = label
        self._every = float(os.environ.get("WMBENCH_PROGRESS_SECONDS", "15"))
        self._began = self._printed = time.monotonic()
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            from rich.console import Console

            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"))
            words = TextColumn("{task.fields[words]}")
            self._bar = Progress(*columns, TimeRemainingColumn(), words, console=Console(stderr=True))
            self._task = self._bar.add_task(label, total=1.0, words="")

    def __enter__(self) -> ProgressLine:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, done: float, words: str = "") -> None:
        """``done`` in [0, 1]."""
        if self._bar:
            self._bar.update(self._task, completed=min(done, 1.0), words=words)
            return
        now = time.monotonic()
        if now - self._printed >= self._every:
            self._printed = now
            left = (now - self._began) * (1 - done) / max(done, 1e-9)
            print(f"{self.label}: {100 * done:.0f} %, about {left:.0f} s left {words}", file=sys.stderr, flush=True)
