"""Continuous state space models, one input and one output a channel, made discrete.

    x_k = Abar x_{k-1} + Bbar u_k,    y_k = 2 Re sum_n C_n x_{k,n}        (half of every conjugate pair is kept)

A diagonal plus rank one ``A = diag(Lambda) - P P*`` (S4; Gu et al., 2022) stays of that form under the bilinear
transform: ``Abar = diag(decay) + gain sense``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Complex, Complex128, Float, Float64
from torch import Tensor


class Feedback(NamedTuple):
    """``gain`` and ``sense`` ``(H, n)`` of the rank-one part of ``Abar``."""

    gain: Complex128[Tensor, "H n"]
    sense: Complex128[Tensor, "H n"]


class DiscreteSystem(NamedTuple):
    """``x_k = decay x_{k-1} + gain (2 Re sense . x_{k-1}) + drive u_k``; all ``(H, n)`` complex128.

    Discretisation is cheap and always done in double precision: what is rounded here is multiplied L times.
    """

    decay: Complex128[Tensor, "H n"]
    drive: Complex128[Tensor, "H n"]
    readout: Complex128[Tensor, "H n"]
    feedback: Feedback | None = None


def bilinear_dplr(
    poles: Complex[Tensor, "#H n"],
    low_rank: Complex[Tensor, "#H n"],
    drive: Complex[Tensor, "#H n"],
    readout: Complex[Tensor, "H n"],
    step: Float[Tensor, " H"],
) -> DiscreteSystem:
    """S4: bilinear transform of ``A = diag(poles) - P P*``, ``B``, with the true ``C``, by Woodbury's identity."""
    poles, low_rank, drive, readout = (value.to(torch.complex128) for value in (poles, low_rank, drive, readout))
    half = step.double().unsqueeze(1) / 2
    resolvent = 1 / (1 - half * poles)
    gain = resolvent * low_rank
    sense = low_rank.conj() * resolvent
    scale = half / (1 + half * pair_sum(sense, low_rank))
    corrected = resolvent * drive - scale * pair_sum(sense, drive) * gain
    feedback = Feedback(-2 * scale * gain, sense)
    return DiscreteSystem((1 + half * poles) * resolvent, 2 * half * corrected, readout, feedback)


def bilinear_diagonal(
    poles: Complex[Tensor, "#H n"],
    drive: Complex[Tensor, "#H n"],
    readout: Complex[Tensor, "H n"],
    step: Float[Tensor, " H"],
) -> DiscreteSystem:
    """S4D by the bilinear transform."""
    poles, half = poles.to(torch.complex128), step.double().unsqueeze(1) / 2
    resolvent = 1 / (1 - half * poles)
    decay = (1 + half * poles) * resolvent
    return DiscreteSystem(decay, 2 * half * resolvent * drive, readout.to(torch.complex128))


def zero_order_hold(
    poles: Complex[Tensor, "#H n"],
    drive: Complex[Tensor, "#H n"],
    readout: Complex[Tensor, "H n"],
    step: Float[Tensor, " H"],
) -> DiscreteSystem:
    """S4D with an input that is constant between steps."""
    poles = poles.to(torch.complex128)
    decay = (step.double().unsqueeze(1) * poles).exp()
    return DiscreteSystem(decay, (decay - 1) / poles * drive, readout.to(torch.complex128))


def pair_sum(a: Tensor, b: Tensor) -> Float64[Tensor, "H 1"]:
    """``2 Re sum_n a_n b_n``"""
    return 2 * (a * b).sum(-1, keepdim=True).real
