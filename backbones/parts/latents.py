"""Categorical latents of DreamerV2 and V3 (Hafner et al., 2021; 2023), and where their randomness comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from backbones.interface import Noise
from backbones.parts.layers import full_precision


@dataclass(frozen=True)
class CategoricalLatents:
    """``count`` independent one-hot variables of ``classes`` values, Z = count * classes numbers in all.

    ``unimix``: share of the uniform distribution that is mixed into every distribution (1 % in DreamerV3 and S4WM).
    """

    count: int
    classes: int
    unimix: float = 0.01

    def __post_init__(self) -> None:
        if self.count < 1 or self.classes < 2:
            raise ValueError(f"{self.count} latents of {self.classes} classes; at least 1 of at least 2 are needed")
        if not 0 <= self.unimix < 1:
            raise ValueError(f"unimix is {self.unimix}; it must be at least 0 and less than 1")

    @property
    def size(self) -> int:
        """Z"""
        return self.count * self.classes

    def probabilities(self, logits: Float[Tensor, "*batch Z"]) -> Float[Tensor, "*batch count classes"]:
        """Softmax of each variable's logits, mixed with the uniform distribution."""
        softmax = full_precision(logits).unflatten(-1, (self.count, self.classes)).softmax(-1)
        return (1 - self.unimix) * softmax + self.unimix / self.classes

    def sample(
        self, logits: Float[Tensor, "*batch Z"], uniforms: Float[Tensor, "*batch count"] | None
    ) -> Float[Tensor, "*batch Z"]:
        """One-hot sample by inversion of the distribution function, or the mode where ``uniforms`` is None.

        The gradient is straight-through: that of the probabilities.
        """
        probabilities = self.probabilities(logits)
        if uniforms is None:
            index = probabilities.argmax(-1, keepdim=True)
        else:
            summed = probabilities.detach().cumsum(-1)
            index = (summed < uniforms.unsqueeze(-1) * summed[..., -1:]).sum(-1, keepdim=True)
        hot = torch.zeros_like(probabilities).scatter_(-1, index, 1.0)
        # The bracket is exactly zero: a sample is made of zeros and ones.
        return (hot + (probabilities - probabilities.detach())).flatten(-2)

    def divergence(
        self, posterior: Float[Tensor, "*batch Z"], prior: Float[Tensor, "*batch Z"]
    ) -> Float[Tensor, "*batch"]:
        """KL[posterior || prior] in nats, summed over the variables. Arguments are logits."""
        q, p = self.probabilities(posterior), self.probabilities(prior)
        return _divergence(q, _log(q), _log(p))

    def balanced_divergence(
        self,
        posterior: Float[Tensor, "*batch Z"],
        prior: Float[Tensor, "*batch Z"],
        dynamics: float = 0.8,
        representation: float = 0.2,
        free_nats: float = 0.0,
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
        """The loss, and the (detached) divergence itself.

        The loss is ``dynamics * KL[sg(q) || p] + representation * KL[q || sg(p)]`` (S4WM equation 9), each cut below
        at ``free_nats`` (DreamerV3; the S4WM paper has none).
        """
        q, p = self.probabilities(posterior), self.probabilities(prior)
        log_q, log_p = _log(q), _log(p)
        moves_prior = _divergence(q.detach(), log_q.detach(), log_p)
        moves_posterior = _divergence(q, log_q, log_p.detach())
        value = moves_prior.detach()
        if free_nats:
            moves_prior, moves_posterior = moves_prior.clamp(min=free_nats), moves_posterior.clamp(min=free_nats)
        return dynamics * moves_prior + representation * moves_posterior, value


def _divergence(q: Tensor, log_q: Tensor, log_p: Tensor) -> Tensor:
    return (q * (log_q - log_p)).sum((-2, -1))


def _log(probability: Tensor) -> Tensor:
    """Without unimix a probability may underflow to zero."""
    return probability.clamp(min=torch.finfo(probability.dtype).tiny).log()


def uniforms(shape: tuple[int, ...], noise: Noise, device: torch.device) -> Float[Tensor, "B T ..."] | None:
    """Uniform numbers in [0, 1) of ``shape`` ``(B, T, ...)``, or None where ``noise`` is None.

    Time is drawn as the outer axis: as many numbers drawn in two calls, for the first frames and for the rest, are
    the same numbers (on a CPU generator). With a generator per row, a row's numbers depend neither on its neighbours
    nor, the generators being CPU generators, on the device.

    Raises ``ValueError`` if there is a generator per row but not for every row.
    """
    if noise is None:
        return None
    if isinstance(noise, Sequence):
        if len(noise) != shape[0]:
            raise ValueError(f"{len(noise)} generators for {shape[0]} rows; give one a row, or one for the batch")
        rows = [torch.rand(shape[1:], generator=generator, device=generator.device) for generator in noise]
        return torch.stack(rows).to(device)
    by_time = torch.rand((shape[1], shape[0], *shape[2:]), generator=noise, device=noise.device)
    return by_time.transpose(0, 1).to(device)
