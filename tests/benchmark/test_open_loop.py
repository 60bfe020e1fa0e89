"""Which frames a score is about. A stub's latents are frame numbers, so every error says which frame it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from backbones.interface import Batch, DiscreteSpec, ImageSpec, Latents, Noise, Prediction, State, WorldModel, WorldSpec
from benchmark import open_loop
from benchmark.config import ScoreConfig
from benchmark.dataset import Dataset
from benchmark.loader import BatchMaker
from benchmark.open_loop import RECALL_GIVEN, EpisodeScores, OpenLoop, generation_error, score
from envs.episode import Trajectory

CONTEXT, QUERY, EPISODES = 30, 26, 5
LENGTH = CONTEXT + QUERY
READ = 1 / 1024
"""What each frame that was read adds to an error."""
QUERY_FRAMES = np.arange(CONTEXT, LENGTH)


class Numbered(Dataset):
    """Frames ``(frame number, episode, 0)`` of one pixel; action and reward tell the frame number, too."""

    def __init__(self, metrics: tuple[str, ...] = ()) -> None:
        self.folder = Path()
        self.world = WorldSpec(ImageSpec(1, 1), DiscreteSpec(LENGTH), CONTEXT, QUERY)
        self.manifest = SimpleNamespace(store="frames", episodes={"test": EPISODES})
        self.env = SimpleNamespace(metrics=metrics)

    def trajectory(self, split: str, index: int, start: int = 0, stop: int | None = None) -> Trajectory:
        number = np.arange(LENGTH)[start:stop]
        frames = np.stack([number, np.full_like(number, index), 0 * number], -1)[:, None, None]
        return Trajectory({"observation": frames.astype(np.uint8)}, number, number.astype(np.float32))


class Counter(WorldModel):
    """Knows the frame number and the episode of what it read, and counts on from there.

    The squared error of a frame is its number, plus ``READ`` for each frame that was read, plus what is amiss: squares
    of the differences of number, episode and action. ``spread``: of a sample's noise.
    """

    def __init__(self, spread: float = 0.0) -> None:
        super().__init__()
        self.spread = spread

    def observe(self, batch: Batch, state: State = None, generator: Noise = None) -> tuple[Latents, State]:
        number, episode = batch.observation[:, :, :2, 0, 0].float().unbind(2)
        read = torch.arange(1.0, number.shape[1] + 1).expand_as(number)
        latents = Latents(number=number, episode=episode, read=read, action=batch.previous_action, noise=0 * number)
        return latents, {name: value[:, -1:] for name, value in latents.items()}

    def imagine(self, previous_action: Tensor, state: State, generator: Noise = None) -> tuple[Latents, State]:
        ahead = torch.arange(1.0, previous_action.shape[1] + 1).expand(previous_action.shape)
        latents = Latents({name: value.expand(ahead.shape) for name, value in state.items()})
        noise = 0 * ahead
        if generator is not None:
            noise = torch.stack(
                [torch.randn(len(row), generator=one) for row, one in zip(ahead, generator, strict=True)]
            )
        latents |= {"number": state["number"] + ahead, "action": previous_action, "noise": noise}
        return Latents(latents), {name: value[:, -1:] for name, value in latents.items()}

    def decode(self, latents: Latents) -> Prediction:
        number = latents["number"]
        amiss = latents["action"] - number
        sign = (number + READ * latents["read"]).sqrt() + self.spread * latents["noise"]
        pixel = torch.stack([number, latents["episode"] + amiss, sign], 2)
        return Prediction(pixel[..., None, None] / 255, number)

    def features(self, latents: Latents) -> Tensor:
        return latents["number"][..., None]

    def loss(self, batch: Batch, state: State = None, generator: Noise = None) -> tuple[Tensor, dict, State]:
        raise NotImplementedError


def maker(*metrics: str) -> BatchMaker:
    return BatchMaker(Numbered(metrics), torch.device("cpu"))


def scored(model: Counter, *metrics: str, **config: int) -> EpisodeScores:
    return score(model, maker(*metrics), "test", ScoreConfig(**config), seed=0)


def assert_errors(found: np.ndarray, expected: np.ndarray) -> None:
    """To a fraction of ``READ``."""
    np.testing.assert_allclose(255**2 * found, expected, rtol=0, atol=READ / 4)


@pytest.mark.parametrize("config", [{}, {"batch_size": 2}, {"batch_size": 2, "decode_frames": 14}], ids=str)
def test_each_score_is_of_its_frames(config: dict[str, int]) -> None:
    scores = scored(Counter(), **config)
    assert scores.indices == list(range(EPISODES))
    seen = np.arange(1, LENGTH)
    generation = QUERY_FRAMES + READ * CONTEXT
    assert set(scores.frame) == {"reconstruction", "generation", "wrong_context"}
    assert_errors(scores.frame["reconstruction"], np.tile(seen + READ * (seen + 1), (EPISODES, 1)))
    assert_errors(scores.frame["generation"], np.tile(generation, (EPISODES, 1)))
    apart = np.array([1, 1, 1, 1, EPISODES - 1])  # the context is that of the next episode
    assert_errors(scores.frame["wrong_context"], generation + apart[:, None] ** 2)
    rewards = ["reward", "inference_reward", "imagination_reward", "wrong_context_reward"]
    assert set(scores.episode) == set(rewards)
    for name in rewards:
        assert (scores.episode[name] == LENGTH - 1).all(), name


def test_recall_is_of_the_same_frames_whatever_was_given() -> None:
    scores = scored(Counter(), "teleport_recall", batch_size=2)
    frames = QUERY_FRAMES[max(RECALL_GIVEN) :]
    assert len(frames) > 1
    assert {name for name in scores.episode if "recall" in name} == {f"recall_{given}_mse" for given in RECALL_GIVEN}
    for given in RECALL_GIVEN:
        expected = frames.mean() + READ * (CONTEXT + given)
        assert_errors(scores.episode[f"recall_{given}_mse"], np.full(EPISODES, expected))


def test_further_columns_are_of_the_first_episodes() -> None:
    scores = scored(Counter(), batch_size=2, sample_episodes=3)
    expected = np.full(3, (QUERY_FRAMES + READ * CONTEXT).mean())
    for name in ("generation_mode", "generation_mean_image"):
        assert_errors(scores.partial[name], expected)
    one, eight = (scored(Counter(spread=1000.0), sample_episodes=3, samples=count).partial for count in (1, 8))
    assert_errors(one["generation_mode"], expected)
    name = "generation_mean_image"
    assert 5 < one[name].mean() / eight[name].mean() < 12, "the mean of 8 images has an eighth of the variance"


def test_samples_depend_on_the_episode_alone() -> None:
    one, other = (scored(Counter(spread=5.0), batch_size=size, decode_frames=40).frame for size in (5, 2))
    assert one["generation"].std(0).min() > 0
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name])


@pytest.mark.parametrize("size", [2, 5])
def test_the_number_that_picks_a_checkpoint_is_the_mean_of_the_scores(size: int) -> None:
    model = Counter(spread=5.0)
    column = scored(model).frame["generation"]
    some = [0, 2, 3]
    found = generation_error(model, maker(), "test", some, seed=0, batch_size=size, limit=17)
    assert found == pytest.approx(column[some].mean(), rel=1e-6)
    assert found != pytest.approx(generation_error(model, maker(), "test", some, 1, size, 17), rel=1e-3)


class Witness:
    """A watcher that keeps what it saw."""

    def __init__(self) -> None:
        self.seen: list[tuple[list[int], int, Tensor, Tensor]] = []

    def watch(self, episodes: Sequence[int], start: int, imagined: Tensor, truth: Tensor) -> None:
        self.seen.append((list(episodes), start, imagined, truth))

    def columns(self, episodes: Sequence[int]) -> dict[str, np.ndarray]:
        return {"witnessed": np.array(episodes)}

    def tables(self) -> dict:
        return {}


def test_watchers_see_every_query_frame_once(monkeypatch: pytest.MonkeyPatch) -> None:
    witness = Witness()
    monkeypatch.setattr(open_loop, "watchers_of", lambda *_: [witness])
    scores = scored(Counter(), batch_size=2, decode_frames=14)
    assert scores.episode["witnessed"].tolist() == list(range(EPISODES))
    found = []
    for episodes, start, imagined, truth in witness.seen:
        assert torch.equal(imagined[:, :, :2], truth[:, :, :2])
        for row, episode in enumerate(episodes):
            numbers = (255 * truth[row, :, :2, 0, 0]).round().int().tolist()
            assert numbers == [[CONTEXT + start + i, episode] for i in range(len(numbers))]
            found += [(episode, number) for number, _ in numbers]
    assert sorted(found) == [(episode, number) for episode in range(EPISODES) for number in QUERY_FRAMES]


def test_latents_of_no_frames_are_refused() -> None:
    loop = OpenLoop(Counter(), CONTEXT, seed=0)
    batch = maker().episodes("test", [0, 1])
    with pytest.raises(AssertionError, match="latents of no frames"):
        loop.errors(loop.imagined(batch, 0, [0, 1])[:, QUERY:], batch)
