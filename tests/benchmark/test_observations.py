"""Batches are the same whichever way their frames come: stored, drawn by envs, or drawn on the device."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import envs
from benchmark import collect
from benchmark.dataset import Dataset
from benchmark.loader import BatchMaker
from benchmark.observations import Rooms

ROOMS = pytest.param("two_rooms_teleport", marks=pytest.mark.mujoco)
PIECES = [(1, 0, 40), (0, 130, 170)]


def dataset(env: str, store: str, folder: Path) -> Dataset:
    if env.startswith("two_rooms"):
        pytest.importorskip("mujoco", reason="the rooms need the mujoco extra")
        pytest.importorskip("numba", reason="the rooms need the mujoco extra")
    collect.collect(collect.Request(env, 0, store, {"train": 2, "val": 1, "test": 1}), folder / store, workers=1)
    return Dataset(folder / store)


@pytest.mark.parametrize("env", ["distracting_memory_80", ROOMS])
def test_states_and_frames_give_the_same_batches(env: str, tmp_path: Path) -> None:
    stored = [dataset(env, store, tmp_path) for store in ("states", "frames")]
    batches = [BatchMaker(one, torch.device("cpu"))("train", PIECES, pad_to=45) for one in stored]
    assert stored[0].env == stored[1].env == envs.spec(env), "or scores of the environment's own would be left out"
    for name, value in vars(batches[0]).items():
        assert torch.equal(value, getattr(batches[1], name)), name
    assert batches[0].observation.shape[:2] == (2, 45)
    assert batches[0].observation.float().std() > 10


@pytest.mark.mujoco
def test_rooms_drawn_on_the_device_are_those_of_the_environment(tmp_path: Path) -> None:
    data = dataset("two_rooms", "states", tmp_path)
    assert data.env is not None
    rows = [data.trajectory("train", *piece) for piece in PIECES]
    drawn = Rooms(data.env, torch.device("cpu"))(rows)
    expected = BatchMaker(data, torch.device("cpu"))("train", PIECES).observation
    apart = (drawn.int() - expected.int()).abs()
    assert drawn.shape == expected.shape == (2, 40, 3, 64, 64)
    assert apart.max() <= 1 and (apart > 0).float().mean() < 1e-3
