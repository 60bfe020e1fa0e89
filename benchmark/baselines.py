"""What needs no model: the last frame of the context, the mean training frame of each step, and chance.

They stand in every table. The mean frame is the honest one: an untrained memory can reach it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch

from backbones.interface import ImageSpec
from benchmark.dataset import Dataset
from benchmark.watchers import watchers_of

MEAN_FRAME_EPISODES = 2000
"""Training episodes that the mean frame is taken over, at most."""


def mean_query_frames(dataset: Dataset, episodes: int = MEAN_FRAME_EPISODES) -> np.ndarray:
    """``(H, *frame)`` float32 in [0, 1] for images: mean of each query step over training episodes."""
    world = dataset.world
    count = min(episodes, dataset.count("train"))
    total: np.ndarray | None = None
    for index in range(count):
        frames = dataset.frames("train", index, world.context_length).astype(np.float64)
        total = frames if total is None else total + frames
    assert total is not None
    return (total / count / _unit(dataset)).astype(np.float32)


def train_reward_rate(dataset: Dataset) -> float:
    """Share of training episodes (at most 2000) that end with a reward."""
    count = min(MEAN_FRAME_EPISODES, dataset.count("train"))
    last = dataset.world.length - 1
    return float(np.mean([dataset.trajectory("train", index, last).reward[-1] > 0.5 for index in range(count)]))


def baseline_tables(dataset: Dataset, count: int) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """``(name, per_episode, per_step)`` of each baseline on the first ``count`` test episodes."""
    world = dataset.world
    mean_frames = mean_query_frames(dataset)
    rate = train_reward_rate(dataset) if world.has_reward else 0.0
    errors: dict[str, list[np.ndarray]] = {"copy_last_frame": [], "mean_frame": []}
    watchers = watchers_of(dataset, "test", range(count))
    rewards = []
    for index in range(count):
        trajectory = dataset.trajectory("test", index, world.context_length - 1)
        frames = dataset.render(trajectory).astype(np.float32) / _unit(dataset)
        rewards.append(float(trajectory.reward[-1]))
        axes = tuple(range(1, frames.ndim))
        errors["copy_last_frame"].append(np.square(frames[1:] - frames[0]).sum(axes))
        errors["mean_frame"].append(np.square(frames[1:] - mean_frames).sum(axes))
        for watcher in watchers:
            watcher.watch([index], 0, _channels_first(mean_frames), _channels_first(frames[1:]))
    for name, rows in errors.items():
        matrix = np.stack(rows).astype(np.float64)
        table = pd.DataFrame(
            {"episode": range(count), "generation_mse": matrix.mean(1), "final_frame_mse": matrix[:, -1]}
        )
        table["reward"] = rewards
        if name == "mean_frame":
            for watcher in watchers:
                for column, values in watcher.columns(range(count)).items():
                    table[column] = values
        if name == "mean_frame" and world.has_reward:  # chance: the more frequent class of the training set
            table["imagination_reward"] = table["inference_reward"] = rate
        steps = pd.DataFrame({"step": range(world.context_length, world.length), "generation": matrix.mean(0)})
        yield name, table, steps


def _channels_first(frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frames).movedim(-1, 1)[None]


def _unit(dataset: Dataset) -> float:
    return 255.0 if isinstance(dataset.world.observation, ImageSpec) else 1.0


def strip_episodes(table: pd.DataFrame) -> tuple[int, int]:
    """Test episodes for pictures, chosen by rule: median and worst decile of the mean-frame baseline's error."""
    ordered = table.sort_values("generation_mse", kind="stable")["episode"].to_numpy()
    return int(ordered[len(ordered) // 2]), int(ordered[int(0.9 * (len(ordered) - 1))])
