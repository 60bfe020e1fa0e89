"""Baselines and oracles, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.baselines import baseline_tables, mean_query_frames, nearest_frame_error, nearest_pose
from benchmark.dataset import Dataset


def test_tables_by_hand(dataset: Dataset) -> None:
    tables = {name: (table, steps) for name, table, steps in baseline_tables(dataset, 3)}
    context = dataset.world.context_length
    frames = dataset.frames("test", 2) / 255
    copied = np.square(frames[context:] - frames[context - 1]).sum((1, 2, 3))
    table, steps = tables["copy_last_frame"]
    assert table["generation_mse"][2] == pytest.approx(copied.mean(), rel=1e-5)
    assert table["final_frame_mse"][2] == pytest.approx(copied[-1], rel=1e-5)
    assert steps["step"].tolist() == list(range(context, dataset.world.length))
    mean = np.mean([dataset.frames("train", index, context) / 255 for index in range(dataset.count("train"))], axis=0)
    np.testing.assert_allclose(mean_query_frames(dataset), mean, atol=1e-6)
    expected = np.square(frames[context:] - mean).sum((1, 2, 3)).mean()
    assert tables["mean_frame"][0]["generation_mse"][2] == pytest.approx(expected, rel=1e-4)
    assert tables["chance"][0]["imagination_reward"].nunique() == 1


def test_nearest_frame_is_the_best_of_all() -> None:
    rng = np.random.default_rng(0)
    context, query = rng.random((7, 4, 4, 3), np.float32), rng.random((5, 4, 4, 3), np.float32)
    slow = [min(np.square(frame - seen).sum() for seen in context) for frame in query]
    np.testing.assert_allclose(nearest_frame_error(context, query), slow, rtol=1e-5)


def test_nearest_pose_goes_round_the_circle() -> None:
    pose = np.array([[0, 0, 3.1], [0, 0, 1.0], [5, 0, -3.1], [0, 0, -3.1]])
    assert nearest_pose(pose, 3).tolist() == [0]
