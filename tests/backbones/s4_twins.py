"""Literal forms of what ``state_space`` computes fast: dense matrices, Cauchy and Vandermonde sums, single steps.

All in complex arithmetic over full states (both of each conjugate pair). ``make bench`` compares with these.
"""

from __future__ import annotations

import torch
from torch import Tensor

from backbones.parts.discrete_system import DiscreteSystem
from backbones.parts.s4_layer import S4Layer


def dense(system: DiscreteSystem) -> tuple[Tensor, Tensor, Tensor]:
    """``Abar`` ``(H, N, N)``, ``Bbar`` and ``C`` ``(H, N)``."""
    transition = torch.diag_embed(_both(system.decay))
    if system.feedback is not None:
        transition = transition + _both(system.feedback.gain).unsqueeze(2) * _both(system.feedback.sense).unsqueeze(1)
    return transition, _both(system.drive), _both(system.readout)


def dense_steps(system: DiscreteSystem, inputs: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
    """``y`` ``(B, H, L)`` and the final half state, one dense product a step."""
    transition, drive, readout = (value.to(_complex(inputs)) for value in dense(system))
    state = drive.new_zeros(len(inputs), *drive.shape) if state is None else _both(state)
    outputs = []
    for u in inputs.unbind(-1):
        state = torch.einsum("hij,bhj->bhi", transition, state) + drive * u.unsqueeze(2)
        outputs.append((readout * state).sum(-1).real)
    return torch.stack(outputs, -1), state.chunk(2, -1)[0]


class DenseS4Layer(S4Layer):
    """An S4 layer that imagines with a dense ``Abar`` and both of each conjugate pair, made once."""

    def prepare(self) -> None:
        self._dense = [value.to(torch.complex64) for value in dense(self.system())]

    def step(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        transition, drive, readout = self._dense
        if state is None:
            state = drive.new_zeros(len(x), *drive.shape)
        state = torch.einsum("hij,bhj->bhi", transition, state) + drive * x.unsqueeze(2)
        return self._finish(torch.einsum("hi,bhi->bh", readout, state).real, x), state


def truncated(system: DiscreteSystem, readout: Tensor, length: int) -> Tensor:
    """``C (I - Abar^L)``, half of it, by a dense power: what a generating function at roots of unity needs for C."""
    power = torch.linalg.matrix_power(dense(system)[0].to(readout.dtype), length)
    full = _both(readout)
    return (full - torch.einsum("hi,hij->hj", full, power)).chunk(2, -1)[0]


def cauchy_kernel(poles: Tensor, low_rank: Tensor, drive: Tensor, truncated: Tensor, dt: Tensor, length: int) -> Tensor:
    """S4's generating function at the roots of unity (Gu et al., 2022, algorithm 1), by four Cauchy sums.

    ``poles``, ``low_rank``, ``drive`` ``(H, n)`` and ``dt`` ``(H,)`` are the continuous system, ``truncated`` is
    ``C (I - Abar^L)``. Multiplied through by ``(1 + w) / 2``, so that nothing is singular at ``w = -1``.
    """
    readout = _both(truncated)
    poles, low_rank, drive = (_both(value.expand(len(readout), -1)) for value in (poles, low_rank, drive))
    angle = -2 * torch.pi * torch.arange(length // 2 + 1, dtype=dt.dtype) / length
    w = torch.polar(torch.ones_like(angle), angle)
    denominator = (1 - w) - (1 + w) / 2 * dt[:, None, None] * poles.unsqueeze(2)  # (H, N, nodes)

    def cauchy(left: Tensor, right: Tensor) -> Tensor:
        return dt[:, None] * ((left * right).unsqueeze(2) / denominator).sum(1)

    half = (1 + w) / 2
    corrected = cauchy(readout, low_rank) * cauchy(low_rank.conj(), drive) * half
    transform = cauchy(readout, drive) - corrected / (1 + half * cauchy(low_rank.conj(), low_rank))
    return torch.fft.irfft(transform, length)


def vandermonde_kernel(system: DiscreteSystem, length: int, dtype: torch.dtype) -> Tensor:
    """A diagonal system's kernel: ``decay ** k`` for all k in one long table of ``dtype``."""
    powers = (system.decay.log().to(dtype).unsqueeze(2) * torch.arange(length)).exp()
    return 2 * torch.einsum("hn,hnl->hl", (system.readout * system.drive).to(dtype), powers).real


def direct_convolution(kernel: Tensor, inputs: Tensor) -> Tensor:
    """Causal convolution as a double sum."""
    length = inputs.shape[-1]
    lag = torch.arange(length).unsqueeze(1) - torch.arange(length)
    toeplitz = kernel[..., lag.clamp(min=0)].where(lag >= 0, 0)  # (H, L, L)
    return torch.einsum("hij,bhj->bhi", toeplitz, inputs)


def _both(half: Tensor) -> Tensor:
    return torch.cat([half, half.conj()], -1)


def _complex(inputs: Tensor) -> torch.dtype:
    return torch.complex128 if inputs.dtype == torch.float64 else torch.complex64
