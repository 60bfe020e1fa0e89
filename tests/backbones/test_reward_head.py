"""Reward heads: what they count, what they standardise with, and that the default learns an equality."""

from __future__ import annotations

import pytest
import torch

from backbones.parts.reward_head import BINS, PublishedRewardHead, StandardisedRewardHead, masked_mean

B, T, F = 8, 5, 4


def batch(finals: bool = True) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    final = torch.zeros(B, T, dtype=torch.bool)
    final[: B // 2, 2] = finals  # half of the rows end, at frame 2
    scored = torch.ones(B, T, dtype=torch.bool)
    scored[:, 0] = False
    return torch.randn(B, T, F), torch.randint(2, (B, T)).float(), final, scored


def standardised(**values: float) -> StandardisedRewardHead:
    return StandardisedRewardHead(F, 16, **({"weight": 2.0, "rate": 0.25} | values))


def test_standardised_counts_last_frames_only() -> None:
    head = standardised().eval()
    features, reward, final, scored = batch()
    loss, last_step = head.loss(features, reward, final, scored)
    probability = head(features)[:4, 2]
    expected = torch.nn.functional.binary_cross_entropy(probability, reward[:4, 2])
    torch.testing.assert_close(loss, 2 * expected)
    torch.testing.assert_close(last_step, expected.detach())


@pytest.mark.parametrize("head", [standardised(), PublishedRewardHead(F, 16)])
def test_without_last_frames_there_is_nothing_to_tell(head: torch.nn.Module) -> None:
    features, reward, final, scored = batch(finals=False)
    loss, last_step = head.train().loss(features.requires_grad_(), reward, final, scored)
    assert loss.isfinite() and last_step.isnan()
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
    if isinstance(head, StandardisedRewardHead):
        assert loss == 0 and head.batches == 0 and head.mean.abs().max() == 0 and (head.variance == 1).all()


def test_moments_are_averages_first_and_exponential_later() -> None:
    head = standardised(rate=0.5).train()
    seen = []
    for _ in range(2):
        features, reward, final, scored = batch()
        head.loss(features, reward, final, scored)
        seen.append(features[:4, 2])
    torch.testing.assert_close(head.mean, torch.cat(seen).mean(0))
    torch.testing.assert_close(head.variance, torch.cat(seen).var(0, unbiased=False))
    before = head.mean.clone()
    features, reward, final, scored = batch()
    head.loss(features, reward, final, scored)
    torch.testing.assert_close(head.mean, (before + features[:4, 2].mean(0)) / 2)


def test_moments_take_no_gradient_and_do_not_move_in_evaluation() -> None:
    head = standardised().eval()
    features, reward, final, scored = batch()
    head.loss(features.requires_grad_(), reward, final, scored)[0].backward()
    assert head.batches == 0
    head.train().loss(features, reward, final, scored)
    assert head.batches == 1 and not head.mean.requires_grad
    untouched = features.grad.clone()
    untouched[:4, 2] = 0
    assert untouched.abs().max() == 0 < features.grad[:4, 2].abs().max()


def test_standardised_learns_an_equality_in_features_that_hardly_vary() -> None:
    """Two colours of two, told by a small change of a large constant vector; the reward is their equality."""
    generator = torch.Generator().manual_seed(0)
    directions, constant = torch.randn(2, 32, generator=generator) * 0.1, torch.randn(32, generator=generator)
    head = StandardisedRewardHead(32, 32, weight=1.0, rate=0.03).train()
    optimiser = torch.optim.Adam(head.parameters(), lr=3e-3)
    final = torch.ones(64, 1, dtype=torch.bool)

    def sample() -> tuple[torch.Tensor, torch.Tensor]:
        sign = torch.randint(2, (64, 2), generator=generator) * 2 - 1
        return (constant + sign.float() @ directions).unsqueeze(1), (sign[:, :1] == sign[:, 1:]).float()

    for _ in range(150):
        features, reward = sample()
        optimiser.zero_grad()
        head.loss(features, reward, final, final)[0].backward()
        optimiser.step()
    features, reward = sample()
    assert ((head.eval()(features) > 0.5) == (reward > 0.5)).float().mean() > 0.95


def test_published_starts_at_zero_and_counts_all_scored_frames() -> None:
    head = PublishedRewardHead(F, 16)
    features, reward, final, scored = batch()
    assert head(features).abs().max() < 1e-5
    loss, _ = head.loss(features, reward, final, scored)
    torch.testing.assert_close(loss.detach(), torch.tensor(BINS).float().log())
    scored[0] = False
    changed = features.clone()
    changed[0] += 1
    torch.nn.init.normal_(head.layers[-1].weight)
    torch.testing.assert_close(head.loss(changed, reward, final, scored), head.loss(features, reward, final, scored))
    changed[1, 1] += 1
    assert head.loss(changed, reward, final, scored)[0] != head.loss(features, reward, final, scored)[0]


@pytest.mark.parametrize("value", [0.0, 1.0, -3.7, 250.0])
def test_two_hot_keeps_the_value(value: float) -> None:
    head = PublishedRewardHead(F, 16)
    shares = head._two_hot(torch.tensor([[value]]))[0, 0]
    assert (shares > 0).sum() <= 2
    torch.testing.assert_close(shares.sum(), torch.tensor(1.0))
    symlog = (shares * head.bins).sum()
    torch.testing.assert_close(symlog.sign() * symlog.abs().expm1(), torch.tensor(value), atol=1e-4, rtol=1e-4)


def test_masked_mean() -> None:
    values, mask = torch.tensor([1.0, 5.0, float("nan")]), torch.tensor([True, True, False])
    assert masked_mean(values, mask) == 3
    assert masked_mean(values, mask & False) == 0
    assert masked_mean(values, mask & False, nothing=float("nan")).isnan()
