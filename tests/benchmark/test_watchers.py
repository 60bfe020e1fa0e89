"""Door outcomes and error by age, with imaginations whose score is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark import collect
from benchmark.baselines import baseline_tables
from benchmark.dataset import Dataset
from benchmark.watchers import AGE_BINS, DoorOutcomes, ErrorByAge

ENV = "multi_doors_keys_3"
EPISODES = list(range(12))


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("doors")
    collect.collect(collect.Request(ENV, 0, "states", {"train": 4, "val": 1, "test": len(EPISODES)}), folder, workers=1)
    return Dataset(folder, ENV)


def query(dataset: Dataset, episode: int) -> torch.Tensor:
    frames = dataset.frames("test", episode, dataset.world.context_length)
    return torch.from_numpy(frames.astype(np.float32) / 255).movedim(-1, 1)[None]


def test_truth_is_always_right(doors: Dataset) -> None:
    watcher = DoorOutcomes(doors, "test", EPISODES)
    for start in range(0, len(EPISODES), 3):
        some = EPISODES[start : start + 3]
        truth = torch.cat([query(doors, episode) for episode in some])
        for first in range(0, truth.shape[1], 50):  # frames come in slices
            watcher.watch(some, first, truth[:, first : first + 50], truth[:, first : first + 50])
    assert watcher.columns(EPISODES)["door_outcome"].mean() == pytest.approx(1.0)
    attempts = watcher.tables()[DoorOutcomes.FILE]
    assert attempts["correct"].eq(1).all()
    assert set(attempts["outcome"]) == {"opened", "stayed_locked"}
    table = doors.episodes_table().query("split == 'test'")
    facts = [json.loads(text) for text in table["facts"]]
    due = [a for one in facts for a in one["attempts"] if a["step"] >= doors.world.context_length]
    assert len(attempts) == sum(a["outcome"] != "already_open" for a in due)


def test_one_answer_always_is_half_right(doors: Dataset) -> None:
    """A picture on which every door looks open, whatever the episode."""
    watcher = DoorOutcomes(doors, "test", EPISODES)
    y, x = watcher._corner
    for episode in EPISODES:
        truth = query(doors, episode)
        imagined = truth.clone()
        for index, attempt in watcher._attempts[watcher._attempts["episode"] == episode].iterrows():
            tile = torch.from_numpy(watcher._pictures[index, 1]).movedim(-1, 0)
            imagined[0, attempt["query_step"], :, y : y + 8, x : x + 8] = tile
        watcher.watch([episode], 0, imagined, truth)
    attempts = watcher.tables()[DoorOutcomes.FILE]
    assert attempts.groupby("outcome")["correct"].mean().to_dict() == {"opened": 1.0, "stayed_locked": 0.0}
    assert watcher.columns(EPISODES)["door_outcome"].mean() == pytest.approx(0.5)


def test_baseline_of_doors_stands_in_its_record(doors: Dataset) -> None:
    tables = {name: table for name, table, _ in baseline_tables(doors, len(EPISODES))}
    assert 0 <= tables["mean_frame"]["door_outcome"].mean() <= 1
    assert "door_outcome" not in tables["copy_last_frame"]


def test_error_by_age_adds_up(doors: Dataset) -> None:
    watcher = ErrorByAge(doors, "test", EPISODES)
    total = 0.0
    for episode in EPISODES:
        truth = query(doors, episode)
        imagined = torch.full_like(truth, 0.5)
        watcher.watch([episode], 0, imagined[:, :40], truth[:, :40])
        watcher.watch([episode], 40, imagined[:, 40:], truth[:, 40:])
        total += float((imagined - truth).square().sum())
    table = watcher.tables()[ErrorByAge.FILE]
    assert table["squared_error"].sum() == pytest.approx(total, rel=1e-4)
    assert table["patches"].sum() == len(EPISODES) * doors.world.query_length * 25
    assert set(table["age_from"]) <= {0, *AGE_BINS}


def test_a_wrong_tile_falls_into_the_bin_of_its_age(doors: Dataset, tmp_path: Path) -> None:
    import envs

    watcher = ErrorByAge(doors, "test", EPISODES)
    truth = query(doors, 0)
    imagined = truth.clone()
    step, row, column = 30, 1, 3
    imagined[0, step, :, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] += 0.25
    watcher.watch([0], 0, imagined, truth)
    assert doors.env is not None
    age = envs.content_age(doors.env, doors.trajectory("test", 0))[doors.world.context_length + step, row, column]
    table = watcher.tables()[ErrorByAge.FILE]
    wrong = table[table["squared_error"] > 0]
    assert len(wrong) == 1 and wrong["squared_error"].item() == pytest.approx(3 * 64 * 0.25**2, rel=1e-4)
    expected = 0 if age == 0 else max(low for low in AGE_BINS if low <= age)
    assert wrong["age_from"].item() == expected
