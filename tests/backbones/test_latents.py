"""Categorical latents and the randomness they are sampled with."""

from __future__ import annotations

import pytest
import torch

from backbones.parts.latents import CategoricalLatents, uniforms

LATENTS = CategoricalLatents(count=3, classes=4, unimix=0.01)


def test_probabilities_are_mixed_with_the_uniform_distribution() -> None:
    logits = torch.tensor([100.0, 0, 0, 0] * 3)
    expected = torch.tensor([0.99 + 0.0025, 0.0025, 0.0025, 0.0025]).expand(3, 4)
    torch.testing.assert_close(LATENTS.probabilities(logits), expected)


def test_samples_follow_the_probabilities() -> None:
    logits = torch.randn(12)
    grid = ((torch.arange(10_000) + 0.5) / 10_000).unsqueeze(1).expand(-1, 3)
    frequency = LATENTS.sample(logits.expand(10_000, 12), grid).mean(0).view(3, 4)
    torch.testing.assert_close(frequency, LATENTS.probabilities(logits), atol=2e-4, rtol=0)


@pytest.mark.parametrize("extreme", [0.0, 1 - 2**-24])
def test_a_sample_is_one_hot_at_either_end(extreme: float) -> None:
    samples = LATENTS.sample(torch.randn(50, 12) * 10, torch.full((50, 3), extreme)).view(50, 3, 4)
    assert set(samples.unique().tolist()) == {0.0, 1.0}
    assert (samples.sum(-1) == 1).all()


def test_without_noise_the_mode_is_taken() -> None:
    logits = torch.randn(5, 12)
    sample = LATENTS.sample(logits, None).view(5, 3, 4)
    assert torch.equal(sample.argmax(-1), logits.view(5, 3, 4).argmax(-1))


def test_gradient_of_a_sample_is_that_of_the_probabilities() -> None:
    logits, weights = torch.randn(5, 12, requires_grad=True), torch.randn(5, 12)
    through_sample = torch.autograd.grad((LATENTS.sample(logits, torch.rand(5, 3)) * weights).sum(), logits)[0]
    expected = torch.autograd.grad((LATENTS.probabilities(logits).flatten(1) * weights).sum(), logits)[0]
    torch.testing.assert_close(through_sample, expected)


def test_divergence_is_that_of_the_distributions() -> None:
    q, p = torch.randn(7, 12), torch.randn(7, 12)
    first, second = (torch.distributions.Categorical(probs=LATENTS.probabilities(value)) for value in (q, p))
    expected = torch.distributions.kl_divergence(first, second).sum(-1)
    torch.testing.assert_close(LATENTS.divergence(q, p), expected)


def test_balance_weighs_the_two_gradients() -> None:
    q, p = (torch.randn(7, 12, requires_grad=True) for _ in range(2))
    expected_q, expected_p = torch.autograd.grad(LATENTS.divergence(q, p).sum(), (q, p))
    loss, value = LATENTS.balanced_divergence(q, p, dynamics=0.7, representation=0.2)
    moved_q, moved_p = torch.autograd.grad(loss.sum(), (q, p))
    torch.testing.assert_close(moved_p, 0.7 * expected_p)
    torch.testing.assert_close(moved_q, 0.2 * expected_q)
    torch.testing.assert_close(loss, 0.9 * value)
    assert not value.requires_grad


def test_free_nats_take_no_gradient() -> None:
    q = torch.zeros(2, 12)
    p = torch.stack([torch.zeros(12), torch.arange(12) * 3.0]).requires_grad_()
    loss, value = LATENTS.balanced_divergence(q, p, free_nats=1.0)
    gradient = torch.autograd.grad(loss.sum(), p)[0]
    assert value[0] < 1 < value[1]
    torch.testing.assert_close(loss.detach(), value.clamp(min=1))
    assert gradient[0].abs().max() == 0 < gradient[1].abs().max()


@pytest.mark.parametrize("unimix", [0.0, 0.01])
def test_half_precision_logits_give_finite_divergences(unimix: float) -> None:
    latents = CategoricalLatents(3, 4, unimix)
    extreme = torch.randn(7, 12, dtype=torch.bfloat16) * 200
    divergence = latents.divergence(extreme, extreme.flip(0))
    assert divergence.dtype == torch.float32 and divergence.isfinite().all()


@pytest.mark.parametrize("kind", ["batch", "rows"])
def test_numbers_for_two_pieces_are_those_for_the_whole(kind: str) -> None:
    def generator() -> torch.Generator | list[torch.Generator]:
        if kind == "batch":
            return torch.Generator().manual_seed(3)
        return [torch.Generator().manual_seed(seed) for seed in range(2)]

    device = torch.device("cpu")
    whole, source = uniforms((2, 7, 3), generator(), device), generator()
    pieces = [uniforms((2, length, 3), source, device) for length in (5, 2)]
    assert torch.equal(torch.cat(pieces, 1), whole)


def test_rows_have_their_own_numbers() -> None:
    def rows(*seeds: int) -> torch.Tensor:
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        return uniforms((len(seeds), 4, 3), generators, torch.device("cpu"))

    assert torch.equal(rows(1, 2, 3)[1:2], rows(2))
    with pytest.raises(ValueError, match="2 generators for 3 rows"):
        uniforms((3, 4), [torch.Generator()] * 2, torch.device("cpu"))


@pytest.mark.parametrize(
    ("values", "words"), [((0, 4), "0 latents"), ((3, 1), "1 classes"), ((3, 4, 1.0), "unimix is 1.0")]
)
def test_impossible_latents_are_refused(values: tuple, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CategoricalLatents(*values)
