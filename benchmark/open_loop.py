"""Scores of a trained model: how well it reconstructs, imagines, and predicts rewards, per episode and per step.

Errors are squared errors summed over pixels and channels of images in [0, 1], not clipped (the paper's convention,
found by measuring its figures). Frame 0 has no prior in some models, so nothing scores it. The headline is one
sample of the future per episode, from a generator that depends on (run seed, episode) alone: scores do not change
with the batch size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from backbones.interface import Batch, Latents, WorldModel, as_float
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


@dataclass(frozen=True)
class OpenLoop:
    """A model that reads contexts and is then asked to imagine without seeing anything."""

    model: WorldModel
    context: int
    """Frames that are read."""
    seed: int
    limit: int = 1024
    """Frames that are decoded at once, about."""

    def imagined(
        self, batch: Batch, purpose: int, episodes: Sequence[int], sampled: bool = True, read: Batch | None = None
    ) -> Latents:
        """Latents of the query: the context of ``read`` (or ``batch`` itself), then the actions of ``batch``."""
        noise = row_noise(self.seed, purpose, episodes) if sampled else None
        _, state = self.model.observe((read or batch).frames(0, self.context), None, noise)
        latents, _ = self.model.imagine(batch.previous_action[:, self.context :], state, noise)
        return latents

    def errors(
        self, latents: Latents, batch: Batch, watchers: Sequence[Watcher] = (), episodes: Sequence[int] = ()
    ) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B"]]:
        """Squared error of each decoded frame, and the predicted reward of the last one. Watchers see the frames.

        The latents are those of the batch's last frames, at least one.
        """
        count = _frames_of(latents)
        assert count > 0, "latents of no frames have no errors"
        target = batch.observation[:, -count:]
        errors, reward = [], target.new_zeros(len(target), dtype=torch.float32)
        for start, stop in slices(len(target), target.shape[1], self.limit):
            decoded = self.model.decode(latents[:, start:stop])
            truth = as_float(target[:, start:stop])
            errors.append((decoded.observation - truth).square().flatten(2).sum(-1))
            reward = decoded.reward[:, -1]
            for watcher in watchers:
                watcher.watch(episodes, start, decoded.observation, truth)
        return torch.cat(errors, 1), reward

    def mean_image_errors(self, futures: Sequence[Latents], batch: Batch) -> Float[Tensor, "B T"]:
        """Squared errors of the mean of what several futures are decoded to."""
        target = batch.observation[:, self.context :]
        errors = []
        for start, stop in slices(len(target), target.shape[1], max(1, self.limit // len(futures))):
            mean = sum(self.model.decode(future[:, start:stop]).observation for future in futures) / len(futures)
            errors.append((mean - as_float(target[:, start:stop])).square().flatten(2).sum(-1))
        return torch.cat(errors, 1)


def _frames_of(latents: Latents) -> int:
    """Frames of latents."""
    return next(iter(latents.values())).shape[1]


@torch.no_grad()
def generation_error(
    model: WorldModel, maker: BatchMaker, split: str, indices: Sequence[int], seed: int, batch_size: int, limit: int
) -> float:
    """Mean generation MSE over the query of the given episodes: the number that picks a checkpoint."""
    model.eval()
    loop = OpenLoop(model, maker.dataset.world.context_length, seed, limit)
    total = 0.0
    for some in _parts(indices, batch_size):
        batch = maker.episodes(split, some)
        errors, _ = loop.errors(loop.imagined(batch, IMAGINE, some), batch)
        total += float(errors.mean(1).sum())
    return total / len(indices)


@torch.no_grad()
def score(model: WorldModel, maker: BatchMaker, split: str, config: ScoreConfig, seed: int) -> EpisodeScores:
    """All scores of a model on the first ``config.episodes`` episodes of ``split``."""
    model.eval()
    context = maker.dataset.world.context_length
    loop = OpenLoop(model, context, seed, config.decode_frames)
    count = min(config.episodes or maker.dataset.count(split), maker.dataset.count(split))
    indices = list(range(count))
    watchers = watchers_of(maker.dataset, split, indices)
    teleports = maker.dataset.env is not None and "teleport_recall" in maker.dataset.env.metrics
    frames: list[dict[str, Tensor]] = []
    rows: list[dict[str, Tensor]] = []
    extras: list[dict[str, Tensor]] = []
    for some in _parts(indices, config.batch_size):
        batch = maker.episodes(split, some)
        others = maker(split, [((index + 1) % count, 0, context) for index in some])
        frame, episode = _score_batch(loop, batch, others, some, watchers)
        frames.append(frame)
        rows.append(episode | (_recall(loop, batch, some) if teleports else {}))
        if early := [index for index in some if index < config.sample_episodes]:
            extras.append(_extra_columns(loop, batch.rows(0, len(early)), early, config.samples))
    scores = EpisodeScores(indices, _together(frames), _together(rows), _together(extras))
    for watcher in watchers:
        scores.episode |= watcher.columns(indices)
        scores.tables |= watcher.tables()
    return scores


def _score_batch(
    loop: OpenLoop, batch: Batch, others: Batch, some: Sequence[int], watchers: Sequence[Watcher]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Columns by frame and by episode. ``others``: contexts of other episodes, the control that proves that memory is
    used."""
    latents, _ = loop.model.observe(batch, None, row_noise(loop.seed, OBSERVE, some))
    seen, inferred = loop.errors(latents[:, 1:], batch)
    made, predicted = loop.errors(loop.imagined(batch, IMAGINE, some), batch, watchers, some)
    wrong, wrong_reward = loop.errors(loop.imagined(batch, WRONG_CONTEXT, some, read=others), batch)
    frame = {"reconstruction": seen, "generation": made, "wrong_context": wrong}
    rewards = {
        "reward": batch.reward[:, -1],
        "inference_reward": inferred,
        "imagination_reward": predicted,
        "wrong_context_reward": wrong_reward,
    }
    return frame, rewards


def _recall(loop: OpenLoop, batch: Batch, some: Sequence[int]) -> dict[str, Tensor]:
    """Error of imagining the past again, given the first frames of it; over the same frames whatever was given."""
    columns = {}
    for given in RECALL_GIVEN:
        future = replace(loop, context=loop.context + given).imagined(batch, RECALL, some)
        errors, _ = loop.errors(future[:, max(RECALL_GIVEN) - given :], batch)
        columns[f"recall_{given}_mse"] = errors.mean(1)
    return columns


def _extra_columns(loop: OpenLoop, batch: Batch, some: Sequence[int], samples: int) -> dict[str, Tensor]:
    """Means over the query: of the mode, and of the mean image of several samples."""
    mode, _ = loop.errors(loop.imagined(batch, IMAGINE, some, sampled=False), batch)
    futures = [loop.imagined(batch, SAMPLES + k, some) for k in range(samples)]
    return {"generation_mode": mode.mean(1), "generation_mean_image": loop.mean_image_errors(futures, batch).mean(1)}


def _together(parts: Sequence[dict[str, Tensor]]) -> dict[str, np.ndarray]:
    """Columns of all batches, end to end."""
    names = parts[0] if parts else ()
    return {name: torch.cat([part[name].float().cpu() for part in parts]).double().numpy() for name in names}


def _parts(indices: Sequence[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(indices), size):
        yield list(indices[start : start + size])
