"""Gaussian beliefs of factorised Kalman networks, in closed form.

A belief about a vector of ``2d`` numbers keeps the mean ``(observed half, memory half)`` and, for each index of a half,
one 2x2 covariance of the pair: variance of the observed number (``upper``), covariance of the two (``side``), variance
of the memory number (``lower``). Different indices are independent. An observation sees the observed half through
noise: ``y = [I 0] z + noise``.

Source: Becker et al., "Recurrent Kalman Networks" (2019), for the factorised belief; Shaj et al., "Multi Time Scale
World Models" (2023), for sets of observations and sums of linear maps. Precisions are used throughout: a missing
observation has precision zero, so masks need neither branches nor infinite variances, and no 2x2 matrix is inverted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import elu


class Gaussian(NamedTuple):
    """mean: ``(..., 2d)``, observed half first. covariance: ``(..., 3d)``, upper, side and lower."""

    mean: Float[Tensor, "*rows D2"]
    covariance: Float[Tensor, "*rows D3"]


class Evidence(NamedTuple):
    """What observations say: their ``precision`` ``(..., d)`` (0 where there is none) and precision times value.

    Evidence about the same belief adds up, in any order.
    """

    precision: Float[Tensor, "*rows d"]
    weighted: Float[Tensor, "*rows d"]

    def sum(self, dim: int) -> Evidence:
        return Evidence(self.precision.sum(dim), self.weighted.sum(dim))


class Pushforward(NamedTuple):
    """A linear map ``z -> T z`` as it acts on row vectors: ``mean @ .mean`` and ``covariance @ .covariance``."""

    mean: Float[Tensor, "D2 D2"]
    covariance: Float[Tensor, "D3 D3"]


def evidence(value: Tensor, variance: Tensor, valid: Tensor | None = None) -> Evidence:
    """Evidence of observations ``value`` with ``variance``, both ``(..., d)``; ``valid`` ``(...)`` masks them."""
    precision = variance.reciprocal()
    if valid is not None:
        precision = precision * valid.unsqueeze(-1)
    return Evidence(precision, precision * value)


def condition(belief: Gaussian, observed: Evidence) -> Gaussian:
    """Posterior of a belief given evidence about its observed half, exact for a whole set at once.

    With upper u, side s, lower l, precision P and weighted sum S, elementwise: ``r = (S - P m_u) / (1 + u P)``,
    ``m_u += u r``, ``m_l += s r``; u and s are divided by ``1 + u P``, and ``s^2 P / (1 + u P)`` is taken from l.
    """
    d = observed.precision.shape[-1]
    upper, side, lower = belief.covariance.split(d, dim=-1)
    shrink = 1 / (1 + upper * observed.precision)
    surprise = (observed.weighted - observed.precision * belief.mean[..., :d]) * shrink
    gain = belief.covariance[..., : 2 * d]
    mean = belief.mean + gain * torch.cat([surprise, surprise], dim=-1)
    # lower - side^2 * precision * shrink, in a form that stays positive whatever the rounding
    determinant = (upper * lower - side.square()).clamp_min(0)
    below = (lower + observed.precision * determinant) * shrink
    return Gaussian(mean, torch.cat([upper * shrink, side * shrink, below], dim=-1))


def aggregate(prior_mean: Tensor | float, prior_variance: Tensor | float, observed: Evidence) -> Gaussian:
    """Posterior of independent numbers observed directly (Bayesian aggregation); evidence ``(..., 2d)``."""
    variance = 1 / (1 / prior_variance + observed.precision)
    mean = variance * (prior_mean / prior_variance + observed.weighted)
    upper, lower = variance.chunk(2, dim=-1)
    return Gaussian(mean, torch.cat([upper, torch.zeros_like(upper), lower], dim=-1))


def pushforward(transition: Float[Tensor, "D2 D2"]) -> Pushforward:
    """The map ``z -> T z`` of beliefs: the exact 2x2 blocks of ``T C T'``; what it makes of other pairs is dropped."""
    above, below = transition.chunk(2, dim=0)
    t11, t12 = above.chunk(2, dim=1)
    t21, t22 = below.chunk(2, dim=1)
    rows = [
        torch.cat([t11 * t11, 2 * t11 * t12, t12 * t12], dim=1),
        torch.cat([t21 * t11, t22 * t11 + t21 * t12, t22 * t12], dim=1),
        torch.cat([t21 * t21, 2 * t21 * t22, t22 * t22], dim=1),
    ]
    return Pushforward(transition.T, torch.cat(rows, dim=0).T)


def marginalise(terms: Iterable[tuple[Pushforward, Gaussian]], noise: Float[Tensor, "D3"]) -> Gaussian:
    """Belief about the sum of independent terms ``T_i z_i`` and of noise."""
    mean: Tensor | float = 0.0
    covariance: Tensor = noise
    for push, belief in terms:
        mean = mean + belief.mean @ push.mean
        covariance = covariance + belief.covariance @ push.covariance
    assert isinstance(mean, Tensor), "no terms"
    return Gaussian(mean, covariance)


def noise_covariance(theta: Float[Tensor, "D2"], floor: float = 0.0) -> Float[Tensor, "D3"]:
    """Covariance of process noise from free numbers: ``elu(theta) + 1`` for either half, nothing off the diagonal."""
    upper, lower = (elu(theta) + 1).clamp_min(floor).chunk(2)
    return torch.cat([upper, torch.zeros_like(upper), lower])


def affine_recurrence(
    start: Float[Tensor, "*rows D"], matrix: Float[Tensor, "D D"], inputs: Float[Tensor, "*rows T D"]
) -> Float[Tensor, "*rows T D"]:
    """``x_t = x_{t-1} @ matrix + inputs_t`` from ``x_{-1} = start``, in log2(T) steps.

    After the step with stride s each entry holds the sum of its last 2s inputs, each taken through the powers of the
    matrix that lie between.
    """
    first = inputs[..., :1, :] + (start @ matrix).unsqueeze(-2)
    x = torch.cat([first, inputs[..., 1:, :]], dim=-2)
    stride = 1
    while stride < x.shape[-2]:
        x = torch.cat([x[..., :stride, :], x[..., stride:, :] + x[..., :-stride, :] @ matrix], dim=-2)
        matrix = matrix @ matrix
        stride *= 2
    return x
