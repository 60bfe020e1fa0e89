"""Scores of a trained model: how well it reconstructs, imagines, and predicts rewards, per episode and per step.

Errors are squared errors summed over pixels and channels of images in [0, 1], not clipped (the paper's convention,
found by measuring its figures). Frame 0 has no prior in some models, so nothing scores it. The headline is one
sample of the future per episode, from a generator that depends on (run seed, episode) alone: scores do not change
with the batch size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from backbones.interface import Batch, Latents, WorldModel, WorldSpec, as_float
from benchmark.config import ScoreConfig
from benchmark.loader import BatchMaker
from benchmark.watchers import Watcher, watchers_of

OBSERVE, IMAGINE, WRONG_CONTEXT, RECALL, SAMPLES = range(5)

RECALL_GIVEN = (0, 1, 2, 5, 10, 20)
"""Observations after a teleport that are given as further context (Figure 6 of arXiv 2307.02064)."""


@dataclass
class EpisodeScores:
    """``frame[name]`` is ``(episodes, steps)`` and ``episode[name]`` is ``(episodes,)``, in the order of ``indices``.
    ``partial[name]`` covers only the first episodes."""

    indices: list[int]
    frame: dict[str, np.ndarray] = field(default_factory=dict)
    episode: dict[str, np.ndarray] = field(default_factory=dict)
    partial: dict[str, np.ndarray] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    """What the environment's watchers saw, by file name."""


def row_noise(seed: int, purpose: int, episodes: Iterable[int]) -> list[torch.Generator]:
    """One generator an episode."""
    generators = []
    for episode in episodes:
        entropy = np.random.SeedSequence([seed, purpose, episode]).generate_state(1, np.uint64)[0]
        generators.append(torch.Generator().manual_seed(int(entropy >> 1)))
    return generators


def slices(batch_size: int, frames: int, limit: int) -> Iterator[tuple[int, int]]:
    """Ranges of frames such that ``batch_size`` rows of them are at most about ``limit`` frames."""
    width = max(1, limit // batch_size)
    for start in range(0, frames, width):
        yield start, min(start + width, frames)


def frame_errors(
    model: WorldModel,
    latents: Latents,
    target: Tensor,
    limit: int,
    watchers: Sequence[Watcher] = (),
    episodes: Sequence[int] = (),
) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B"]]:
    """Squared error of each decoded frame, and the predicted reward of the last frame. Watchers see the frames."""
    batch, frames = target.shape[:2]
    errors, reward = [], target.new_zeros(batch, dtype=torch.float32)
    for start, stop in slices(batch, frames, limit):
        decoded = model.decode(latents[:, start:stop])
        truth = as_float(target[:, start:stop])
        errors.append((decoded.observation - truth).square().flatten(2).sum(-1))
        reward = decoded.reward[:, -1]
        for watcher in watchers:
            watcher.watch(episodes, start, decoded.observation, truth)
    return torch.cat(errors, 1), reward


@torch.no_grad()
def generation_error(
    model: WorldModel, maker: BatchMaker, split: str, indices: Sequence[int], seed: int, batch_size: int, limit: int
) -> float:
    """Mean generation MSE over the query of the given episodes: the number that picks a checkpoint."""
    model.eval()
    context = maker.dataset.world.context_length
    total = 0.0
    for some in _parts(indices, batch_size):
        batch = maker.episodes(split, some)
        errors, _ = frame_errors(
            model, imagined(model, batch, context, seed, IMAGINE, some), batch.observation[:, context:], limit
        )
        total += float(errors.mean(1).sum())
    return total / len(indices)


def imagined(
    model: WorldModel,
    batch: Batch,
    context: int,
    seed: int,
    purpose: int,
    episodes: Sequence[int],
    sampled: bool = True,
    read: Batch | None = None,
) -> Latents:
    """Latents of the query: the context of ``read`` (of ``batch`` itself if none), then the actions of ``batch``."""
    noise = row_noise(seed, purpose, episodes) if sampled else None
    _, state = model.observe((read or batch).frames(0, context), None, noise)
    latents, _ = model.imagine(batch.previous_action[:, context:], state, noise)
    return latents


@torch.no_grad()
def score(model: WorldModel, maker: BatchMaker, split: str, config: ScoreConfig, seed: int) -> EpisodeScores:
    """All scores of a model on the first ``config.episodes`` episodes of ``split``."""
    model.eval()
    world = maker.dataset.world
    count = min(config.episodes or maker.dataset.count(split), maker.dataset.count(split))
    indices = list(range(count))
    watchers = watchers_of(maker.dataset, split, indices)
    frame: dict[str, list[Tensor]] = {}
    episode: dict[str, list[Tensor]] = {}
    partial: dict[str, list[Tensor]] = {}
    for some in _parts(indices, config.batch_size):
        batch = maker.episodes(split, some)
        _score_batch(model, batch, world, config, seed, some, frame, episode, watchers)
        others = [(index + 1) % count for index in some]
        read = maker(split, [(other, 0, world.context_length) for other in others])
        _wrong_context(model, batch, read, world, config, seed, some, frame, episode)
        if maker.dataset.env is not None and "teleport_recall" in maker.dataset.env.metrics:
            _recall(model, batch, world, config, seed, some, episode)
        if early := [index for index in some if index < config.sample_episodes]:
            _extra_columns(model, batch.rows(0, len(early)), world, config, seed, early, partial)

    def together(parts: dict[str, list[Tensor]]) -> dict[str, np.ndarray]:
        return {name: torch.cat(values).double().numpy() for name, values in parts.items()}

    scores = EpisodeScores(indices, together(frame), together(episode), together(partial))
    for watcher in watchers:
        scores.episode |= watcher.columns(indices)
        scores.tables |= watcher.tables()
    return scores


def _score_batch(
    model: WorldModel,
    batch: Batch,
    world: WorldSpec,
    config: ScoreConfig,
    seed: int,
    some: Sequence[int],
    frame: dict[str, list[Tensor]],
    episode: dict[str, list[Tensor]],
    watchers: Sequence[Watcher],
) -> None:
    context = world.context_length
    latents, _ = model.observe(batch, None, row_noise(seed, OBSERVE, some))
    seen, inferred = frame_errors(model, latents[:, 1:], batch.observation[:, 1:], config.decode_frames)
    future = imagined(model, batch, context, seed, IMAGINE, some)
    query = batch.observation[:, context:]
    made, predicted = frame_errors(model, future, query, config.decode_frames, watchers, some)
    _add(frame, reconstruction=seen, generation=made)
    _add(episode, reward=batch.reward[:, -1], inference_reward=inferred, imagination_reward=predicted)


def _wrong_context(
    model: WorldModel,
    batch: Batch,
    read: Batch,
    world: WorldSpec,
    config: ScoreConfig,
    seed: int,
    some: Sequence[int],
    frame: dict[str, list[Tensor]],
    episode: dict[str, list[Tensor]],
) -> None:
    """The control that proves that memory is used: the context is another episode's, the rest stays."""
    future = imagined(model, batch, world.context_length, seed, WRONG_CONTEXT, some, read=read)
    errors, reward = frame_errors(model, future, batch.observation[:, world.context_length :], config.decode_frames)
    _add(frame, wrong_context=errors)
    _add(episode, wrong_context_reward=reward)


def _recall(
    model: WorldModel,
    batch: Batch,
    world: WorldSpec,
    config: ScoreConfig,
    seed: int,
    some: Sequence[int],
    episode: dict[str, list[Tensor]],
) -> None:
    """Error of imagining the past again, given the first frames of it; over the same frames whatever was given."""
    skipped = world.context_length + max(RECALL_GIVEN)
    for given in RECALL_GIVEN:
        start = world.context_length + given
        future = imagined(model, batch, start, seed, RECALL, some)
        late = future[:, skipped - start :]
        errors, _ = frame_errors(model, late, batch.observation[:, skipped:], config.decode_frames)
        _add(episode, **{f"recall_{given}_mse": errors.mean(1)})


def _extra_columns(
    model: WorldModel,
    batch: Batch,
    world: WorldSpec,
    config: ScoreConfig,
    seed: int,
    some: Sequence[int],
    partial: dict[str, list[Tensor]],
) -> None:
    context, limit = world.context_length, config.decode_frames
    target = batch.observation[:, context:]
    mode, _ = frame_errors(model, imagined(model, batch, context, seed, IMAGINE, some, sampled=False), target, limit)
    futures = [imagined(model, batch, context, seed, SAMPLES + k, some) for k in range(config.samples)]
    errors = []
    for start, stop in slices(len(some), target.shape[1], max(1, limit // config.samples)):
        mean = sum(model.decode(future[:, start:stop]).observation for future in futures) / len(futures)
        errors.append((mean - as_float(target[:, start:stop])).square().flatten(2).sum(-1))
    _add(partial, generation_mode=mode.mean(1), generation_mean_image=torch.cat(errors, 1).mean(1))


def _add(parts: dict[str, list[Tensor]], **values: Tensor) -> None:
    for name, value in values.items():
        parts.setdefault(name, []).append(value.detach().float().cpu())


def _parts(indices: Sequence[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(indices), size):
        yield list(indices[start : start + size])
