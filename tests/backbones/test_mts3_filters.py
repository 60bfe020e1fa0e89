"""Parts of MTS3 beside what is known to be right: the Kalman filter, sums over sets, loops; its training masks."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from backbones.interface import Batch, ContinuousSpec, VectorSpec, WorldSpec
from backbones.mts3 import Config
from backbones.parts.gaussian import Gaussian, affine_recurrence, condition, evidence
from backbones.parts.image_coder import CoderConfig
from backbones.parts.mts3_encoders import Control
from backbones.parts.mts3_levels import FastLevel
from backbones.parts.mts3_masks import training_mask


def textbook_filter(
    transition: np.ndarray, noise: np.ndarray, values: np.ndarray, variances: np.ndarray, seen: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Posterior means and covariances of a linear system whose first numbers are observed (Kalman, 1960)."""
    size, count = len(transition), values.shape[1]
    mean = np.zeros(size)
    covariance = np.kron([[10.0, 1.0], [1.0, 10.0]], np.eye(count))
    means, covariances = [], []
    for t in range(len(values)):
        if t:
            mean = transition @ mean
            covariance = transition @ covariance @ transition.T + noise
        if seen[t]:
            observe = np.eye(count, size)
            gain = covariance @ observe.T @ np.linalg.inv(observe @ covariance @ observe.T + np.diag(variances[t]))
            mean = mean + gain @ (values[t] - observe @ mean)
            covariance = covariance - gain @ observe @ covariance
        means.append(mean)
        covariances.append(covariance)
    return np.stack(means), np.stack(covariances)


@torch.no_grad()
def test_filter_of_a_system_of_independent_pairs_is_the_kalman_filter():
    rng, d, time = np.random.default_rng(0), 3, 40
    blocks = rng.normal(0, 0.5, (2, 2, d)) + 0.5 * np.eye(2)[..., None]
    transition = np.block([[np.diag(blocks[i, j]) for j in range(2)] for i in range(2)])
    variance = rng.uniform(0.1, 0.5, 2 * d)
    values, variances = rng.normal(size=(time, d)), rng.uniform(0.1, 2, (time, d))
    seen = rng.random(time) < 0.7
    control = Control(1, 4, 2 * d)
    level = FastLevel(d, "published", control, window=8)
    level.transition.copy_(torch.from_numpy(transition))
    level.other.zero_()
    level.noise.copy_(torch.from_numpy(variance).log())
    control.last.weight.zero_()
    control.last.bias.zero_()
    level = level.double()
    level.noise.copy_(torch.from_numpy(variance).log())
    level.transition.copy_(torch.from_numpy(transition))
    observed = evidence(
        *(torch.from_numpy(a)[None] for a in (values, variances)), torch.from_numpy(seen)[None].double()
    )
    one = torch.ones(1, d, dtype=torch.float64)
    start = Gaussian(torch.zeros(1, 2 * d, dtype=torch.float64), torch.cat([10 * one, one, 10 * one], -1))
    task = Gaussian(*(torch.zeros(1, 5, size, dtype=torch.float64) for size in (2 * d, 3 * d)))
    fresh = torch.ones(1, dtype=torch.bool)
    _, posterior = level(start, fresh, observed, torch.zeros(1, time, 1, dtype=torch.float64), task)
    means, covariances = textbook_filter(transition, np.diag(variance), values, variances, seen)
    upper, side, lower = posterior.covariance[0].chunk(3, -1)
    index = np.arange(d)
    np.testing.assert_allclose(posterior.mean[0], means, atol=1e-9)
    np.testing.assert_allclose(upper, covariances[:, index, index], atol=1e-9)
    np.testing.assert_allclose(side, covariances[:, index, index + d], atol=1e-9)
    np.testing.assert_allclose(lower, covariances[:, index + d, index + d], atol=1e-9)


def linear_system(episodes: int, seed: int) -> Batch:
    """``x' = 0.95 x + 0.2 u + w``, observed as ``y = x + v``; variances 0.01 and 0.04; ``u`` is autocorrelated."""
    generator, time = torch.Generator().manual_seed(seed), 60
    draws = torch.randn(3, episodes, time, generator=generator)
    x, u = draws[0].clone(), draws[1].clone()
    for t in range(1, time):
        u[:, t] = 0.9 * u[:, t - 1] + 0.19**0.5 * draws[1][:, t]
        x[:, t] = 0.95 * x[:, t - 1] + 0.2 * u[:, t] + 0.1 * draws[0][:, t]
    nothing = torch.zeros(episodes, time)
    every = torch.ones(episodes, time, dtype=torch.bool)
    observation = (x + 0.2 * draws[2]).unsqueeze(-1)
    return Batch(observation, u.unsqueeze(-1), nothing, every[:, 0], every, ~every)


def optimal_prediction(batch: Batch, context: int) -> Tensor:
    """The Kalman filter of that system, blind after the context: the prediction before each frame is seen."""
    mean, variance, predictions = torch.zeros(batch.shape[0]), 1.0, []
    for t in range(batch.shape[1]):
        if t:
            mean = 0.95 * mean + 0.2 * batch.previous_action[:, t, 0]
            variance = 0.95**2 * variance + 0.01
        predictions.append(mean)
        if t < context:
            gain = variance / (variance + 0.04)
            mean = mean + gain * (batch.observation[:, t, 0] - mean)
            variance = (1 - gain) * variance
    return torch.stack(predictions, 1)


@pytest.mark.slow
def test_learns_a_linear_system_nearly_as_well_as_can_be():
    context, updates = 20, 400
    spec = WorldSpec(VectorSpec(1), ContinuousSpec(1), context, 40, has_reward=False)
    torch.manual_seed(0)
    coder = CoderConfig(hidden=60, hidden_layers=1)
    sizes = {"window": 10, "pairs": 10, "hidden": 60}
    model = Config.preset("debug", spec, coder=coder, normalise=False, reconstruction_weight=0.0, **sizes).build(spec)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, updates)
    training, test = linear_system(2000, seed=0), linear_system(1000, seed=1)
    generator = torch.Generator().manual_seed(0)
    for _ in range(updates):
        rows = torch.randint(2000, (32,), generator=generator)
        batch = Batch(**{name: value[rows] for name, value in vars(training).items()})
        optimiser.zero_grad()
        model.loss(batch, None, generator)[0].backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        schedule.step()
    truth = test.observation[:, context:, 0]
    with torch.no_grad():
        _, state = model.observe(test.frames(0, context))
        latents, _ = model.imagine(test.previous_action[:, context:], state)
        error = (model.decode(latents).observation[..., 0] - truth).square().mean().sqrt()
    optimum = (optimal_prediction(test, context)[:, context:] - truth).square().mean().sqrt()
    assert 0.98 * optimum < error < 1.2 * optimum


def test_masked_evidence_is_no_evidence():
    torch.manual_seed(0)
    value, variance = torch.randn(2, 5, 3), torch.rand(2, 5, 3) + 0.1
    valid = torch.tensor([[1.0, 0, 1, 1, 0], [0, 0, 0, 0, 0]])
    prior = Gaussian(torch.randn(2, 6), torch.tensor([2.0, 0.5, 3.0]).repeat_interleave(3).expand(2, 9))
    masked = condition(prior, evidence(value, variance, valid).sum(1))
    kept = [0, 2, 3]
    dropped = condition(prior, evidence(value[:, kept], variance[:, kept]).sum(1))
    for ours, without, before in zip(masked, dropped, prior, strict=True):
        torch.testing.assert_close(ours[0], without[0])
        torch.testing.assert_close(ours[1], before[1])


def test_doubling_equals_the_loop():
    torch.manual_seed(0)
    matrix = (0.4 * torch.randn(4, 4, dtype=torch.float64)).requires_grad_()
    start = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    inputs = torch.randn(2, 11, 4, dtype=torch.float64, requires_grad=True)
    x, expected = start, []
    for t in range(11):
        x = x @ matrix + inputs[:, t]
        expected.append(x)
    actual, expected = affine_recurrence(start, matrix, inputs), torch.stack(expected, 1)
    torch.testing.assert_close(actual, expected, rtol=1e-11, atol=1e-11)
    ours, theirs = (torch.autograd.grad(y.sin().sum(), (start, matrix, inputs)) for y in (actual, expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


class TestMasks:
    def draw(self, kind: str, rows: int = 400, time: int = 20) -> Tensor:
        return training_mask(kind, (rows, time), 5, torch.Generator().manual_seed(0), torch.device("cpu"))

    def test_none_without_noise(self):
        assert training_mask("random", (2, 9), 5, None, torch.device("cpu")) is None

    def test_random_hides_frames_and_windows_but_not_the_first_window(self):
        shown = self.draw("random", rows=4000)
        first, later = shown[:, :5].float().mean(), shown[:, 5:].float().mean()
        assert abs(first - 0.85) < 0.02
        assert abs(later - 0.85 * (1 - 0.375)) < 0.02
        whole_windows = (~shown[:, 5:10]).all(1).float().mean()
        assert abs(whole_windows - 0.375) < 0.03

    def test_suffix_shows_half_of_the_rows_whole_up_to_a_frame(self):
        shown = self.draw("suffix")
        length = shown.sum(1)
        prefix = torch.arange(20) < length[:, None]
        cut = (shown == prefix).all(1)
        assert 0.4 < cut.float().mean() < 0.65  # a few of the others look like it by chance
        assert length[cut].min() <= 3 and length[cut].max() >= 18

    def test_a_row_does_not_depend_on_its_neighbours(self):
        def generators(rows: range) -> list[torch.Generator]:
            return [torch.Generator().manual_seed(row) for row in rows]

        both = training_mask("suffix", (2, 9), 5, generators(range(2)), torch.device("cpu"))
        alone = training_mask("suffix", (1, 9), 5, generators(range(1, 2)), torch.device("cpu"))
        assert torch.equal(both[1:], alone)
