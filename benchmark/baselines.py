"""What needs no model: the last frame of the context, the mean training frame of each step, chance, and oracles.

They stand in every table. The mean frame is the honest one: an untrained memory can reach it. The oracles know the
query and show what perfect recall without imagination would give: the nearest frame of the context by pixels, and,
where poses are known, the one that was seen from the nearest pose.
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
    errors: dict[str, list[np.ndarray]] = {"copy_last_frame": [], "mean_frame": [], "oracle_nearest_frame": []}
    watchers = watchers_of(dataset, "test", range(count))
    rewards = []
    for index in range(count):
        trajectory = dataset.trajectory("test", index)
        whole = dataset.render(trajectory).astype(np.float32) / _unit(dataset)
        context, frames = whole[: world.context_length], whole[world.context_length - 1 :]
        rewards.append(float(trajectory.reward[-1]))
        axes = tuple(range(1, frames.ndim))
        errors["copy_last_frame"].append(np.square(frames[1:] - frames[0]).sum(axes))
        errors["mean_frame"].append(np.square(frames[1:] - mean_frames).sum(axes))
        errors["oracle_nearest_frame"].append(nearest_frame_error(context, frames[1:]))
        if "pose" in trajectory.state:
            best = nearest_pose(trajectory.state["pose"], world.context_length)
            errors.setdefault("oracle_nearest_pose", []).append(np.square(frames[1:] - context[best]).sum(axes))
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
        steps = pd.DataFrame({"step": range(world.context_length, world.length), "generation": matrix.mean(0)})
        yield name, table, steps
    if world.has_reward:  # the more frequent outcome of the training set, always
        table = pd.DataFrame({"episode": range(count), "reward": rewards})
        table["imagination_reward"] = table["inference_reward"] = rate
        steps = pd.DataFrame({"step": range(world.context_length, world.length)}).assign(generation=np.nan)
        yield "chance", table, steps


def nearest_frame_error(context: np.ndarray, query: np.ndarray) -> np.ndarray:
    """``(H,)`` squared error of each query frame against the nearest of all context frames."""
    seen, asked = context.reshape(len(context), -1), query.reshape(len(query), -1)
    rough = np.square(seen).sum(1) - 2 * asked @ seen.T  # the square of the query frame is the same for all
    return np.square(asked - seen[rough.argmin(1)]).sum(1)


def nearest_pose(pose: np.ndarray, context_length: int) -> np.ndarray:
    """``(H,)`` context frame with the nearest pose ``(x, y, yaw)``; a radian counts as much as a metre."""
    asked, seen = pose[context_length:, None], pose[None, :context_length]
    turn = np.abs((asked[..., 2] - seen[..., 2] + np.pi) % (2 * np.pi) - np.pi)
    return (np.linalg.norm(asked[..., :2] - seen[..., :2], axis=-1) + turn).argmin(1)


def _channels_first(frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frames).movedim(-1, 1)[None]


def _unit(dataset: Dataset) -> float:
    return 255.0 if isinstance(dataset.world.observation, ImageSpec) else 1.0


def strip_episodes(table: pd.DataFrame) -> tuple[int, int]:
    """Test episodes for pictures, chosen by rule: median and worst decile of the mean-frame baseline's error."""
    ordered = table.sort_values("generation_mse", kind="stable")["episode"].to_numpy()
    return int(ordered[len(ordered) // 2]), int(ordered[int(0.9 * (len(ordered) - 1))])
