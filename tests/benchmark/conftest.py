"""A tiny dataset and a tiny backbone that all tests of the harness share."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmark import collect
from benchmark.dataset import Dataset

ENV = "distracting_memory_14"


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A private ``$WMBENCH_DATA`` for the whole session."""
    root = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WMBENCH_DATA", str(root))
        yield root


@pytest.fixture(scope="session")
def dataset_folder(data_root: Path) -> Path:
    folder = data_root / "tiny"
    request = collect.Request(ENV, 0, "states", {"train": 12, "val": 4, "test": 6})
    collect.collect(request, folder, workers=1)
    return folder


@pytest.fixture(scope="session")
def dataset(dataset_folder: Path) -> Dataset:
    return Dataset(dataset_folder, ENV)


def _die_at(point: int) -> None:
    count = 0

    def tick() -> None:
        nonlocal count
        count += 1
        if count == point:
            os.kill(os.getpid(), signal.SIGKILL)

    def hooked(real):
        def call(*arguments, **named):
            tick()
            result = real(*arguments, **named)
            tick()
            return result

        return call

    for name in ("open", "write", "fsync", "replace"):
        setattr(os, name, hooked(getattr(os, name)))


@pytest.fixture
def die_at() -> Callable[[int], None]:
    """Call it in a forked child: the child kills itself before or after its n-th call that changes the disk."""
    return _die_at
