"""A tiny dataset and a tiny backbone that all tests of the harness share."""

from __future__ import annotations

from collections.abc import Iterator
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
