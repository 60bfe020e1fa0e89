"""The LayerNorm-GRU and the balanced divergence of categorical latents against DreamerV3's numbers, gradients too.

Another folder with files of the same names is read from ``GOLDEN_DIR``.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from backbones.parts.gru import LayerNormGRU
from backbones.parts.latents import CategoricalLatents

FOLDER = Path(os.environ.get("GOLDEN_DIR", Path(__file__).parent / "data"))
NUMBERS = {
    name: torch.from_numpy(np.asarray(value))
    for name, value in np.load(FOLDER / "dreamer_gru_and_kl.npz", allow_pickle=False).items()
    if name != "meta"
}
GATED = sorted(name.removesuffix("_ln_g") for name in NUMBERS if name.endswith("_ln_g"))
DIVERGENCES = sorted(name.removesuffix("_grad_q") for name in NUMBERS if name.endswith("_grad_q"))
TOLERANCE = 1e-9


def assert_close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=TOLERANCE, rtol=0)


def free_nats(case: str) -> float:
    """``kl_free1`` has one free nat, ``kl`` none."""
    return float(case.partition("_free")[2] or 0)


def test_the_file_holds_cases():
    assert GATED and DIVERGENCES


@pytest.mark.parametrize("case", GATED)
@pytest.mark.parametrize("form", ["sequence", "steps"])
def test_gru(case: str, form: str):
    x = NUMBERS[f"{case}_x"].transpose(0, 1).clone().requires_grad_()
    first = NUMBERS[f"{case}_h0"].clone().requires_grad_()
    cell = LayerNormGRU(x.shape[-1], first.shape[-1]).double()
    with torch.no_grad():
        cell.weight.copy_(NUMBERS[f"{case}_W"])
        cell.norm.weight.copy_(NUMBERS[f"{case}_ln_g"])
        cell.norm.bias.copy_(NUMBERS[f"{case}_ln_b"])
    if form == "sequence":
        states, _ = cell(x, first)
    else:
        h, all_states = first, []
        for frame in x.unbind(1):
            h = cell.step(frame, h)
            all_states.append(h)
        states = torch.stack(all_states, 1)
    assert_close(states.transpose(0, 1), NUMBERS[f"{case}_h"])
    (states.transpose(0, 1) * NUMBERS[f"{case}_loss_weight"]).sum().backward()
    assert_close(x.grad.transpose(0, 1), NUMBERS[f"{case}_grad_x"])
    assert_close(first.grad, NUMBERS[f"{case}_grad_h0"])
    assert_close(cell.weight.grad, NUMBERS[f"{case}_grad_W"])


@pytest.mark.parametrize("case", DIVERGENCES)
def test_balanced_divergence(case: str):
    q = NUMBERS["kl_q_logits"].flatten(-2).requires_grad_()
    p = NUMBERS["kl_p_logits"].flatten(-2).requires_grad_()
    latents = CategoricalLatents(*NUMBERS["kl_q_logits"].shape[-2:])
    loss, value = latents.balanced_divergence(q, p, free_nats=free_nats(case))
    assert_close(value, NUMBERS["kl_value"])
    assert_close(loss.detach(), NUMBERS[f"{case}_loss"])
    moves_prior, _ = latents.balanced_divergence(q, p, 1.0, 0.0, free_nats(case))
    moves_posterior, _ = latents.balanced_divergence(q, p, 0.0, 1.0, free_nats(case))
    assert_close(moves_prior.detach(), NUMBERS[f"{case}_dyn"])
    assert_close(moves_posterior.detach(), NUMBERS[f"{case}_rep"])
    loss.sum().backward()
    assert_close(q.grad, NUMBERS[f"{case}_grad_q"].flatten(-2))
    assert_close(p.grad, NUMBERS[f"{case}_grad_p"].flatten(-2))


def test_unimix():
    logits, one_hot = NUMBERS["kl_q_logits"], NUMBERS["kl_onehot"]
    probabilities = CategoricalLatents(*logits.shape[-2:]).probabilities(logits.flatten(-2))
    assert_close(probabilities, NUMBERS["kl_q_probs_unimix"])
    assert_close((probabilities.log() * one_hot).sum((-2, -1)), NUMBERS["kl_log_prob_q_of_onehot"])
