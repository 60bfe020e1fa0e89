"""Truncated power series along the last axis: products with an input (causal convolution) and inverses.

A sequence ``a_0 .. a_{L-1}`` is the series ``a(z) = sum_k a_k z^k``. Everything is modulo ``z^L``, hence exact for
the first L steps of a linear system however slowly it decays.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

FIRST_TERMS = 16
"""The inverse's first terms come from one triangular solve; Newton's iteration doubles them from there."""


def fft_length(length: int) -> int:
    """Smallest number >= ``length`` without prime factors above 5, where FFTs are fast."""
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 1


def convolve(a: Float[Tensor, "*rows_a L"], b: Float[Tensor, "*rows_b L"]) -> Float[Tensor, "*rows L"]:
    """Causal convolution: the product of the two series. The axes before the last are broadcast."""
    return _Convolution.apply(a, b)


class _Convolution(torch.autograd.Function):
    """Products of spectra. Its gradient is two correlations with real transforms, where autograd's are complex."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        length = a.shape[-1]
        ctx.padded = fft_length(2 * length - 1)
        spectra = torch.fft.rfft(a, ctx.padded), torch.fft.rfft(b, ctx.padded)
        ctx.save_for_backward(*spectra)
        return torch.fft.irfft(spectra[0] * spectra[1], ctx.padded)[..., :length]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        spectra = ctx.saved_tensors
        of_output = torch.fft.rfft(gradient, ctx.padded)
        gradients: list[Tensor | None] = []
        for wanted, own, other in zip(ctx.needs_input_grad, spectra, spectra[::-1], strict=True):
            adjoint = (of_output * other.conj()).sum_to_size(own.shape) if wanted else None
            gradients.append(adjoint if adjoint is None else _first(adjoint, ctx.padded, gradient.shape[-1]))
        return tuple(gradients)


def _first(spectrum: Tensor, padded: int, length: int) -> Tensor:
    return torch.fft.irfft(spectrum, padded)[..., :length]


def delayed(a: Float[Tensor, "... L"]) -> Float[Tensor, "... L"]:
    """One step later, beginning with 0: the series times z."""
    return torch.nn.functional.pad(a, (1, 0))[..., :-1]


def loop_response(a: Float[Tensor, "H L"]) -> Float[Tensor, "H L"]:
    """``1 / (1 - z a(z))``: the response of a loop that feeds its output back through ``a``, one step delayed."""
    return _LoopResponse.apply(a)


class _LoopResponse(torch.autograd.Function):
    """Newton's iteration. Its gradient is a correlation, whatever the number of iterations.

    Inside in double precision: an FFT's rounding is spread evenly over the terms, and the gradients of a system's
    time steps are small differences of large sums over them (a hundredth was lost in single precision).
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        length = a.shape[-1]
        denominator = -delayed(a.double())
        denominator[..., 0] = 1
        response = _first_terms(denominator[..., :FIRST_TERMS])
        while (known := response.shape[-1]) < length:
            # response * denominator = 1 + error, where the error begins at the first unknown term. A circular product
            # of as many terms as are wanted spoils the known ones only.
            wanted = min(2 * known, length)
            padded = fft_length(wanted)
            spectrum = torch.fft.rfft(response, padded)
            product = torch.fft.rfft(denominator[..., :wanted], padded) * spectrum
            error = torch.fft.irfft(product, padded)[..., known:wanted]
            more = torch.fft.irfft(torch.fft.rfft(error, padded) * spectrum, padded)[..., : wanted - known]
            response = torch.cat([response, -more], -1)
        ctx.save_for_backward(response)
        return response.to(a.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # With r = 1 / (1 - z a): dr = z r^2 da, a product of series; its adjoint is a correlation.
        (response,) = ctx.saved_tensors
        length = response.shape[-1]
        padded = fft_length(3 * length)
        square = torch.fft.rfft(response, padded).square()
        adjoint = torch.fft.irfft(torch.fft.rfft(gradient.double(), padded) * square.conj(), padded)
        return adjoint[..., 1 : length + 1].to(gradient.dtype)


def _first_terms(denominator: Float[Tensor, "H M"]) -> Float[Tensor, "H M"]:
    """First terms of the inverse, by forward substitution in a lower triangular Toeplitz matrix."""
    count = denominator.shape[-1]
    steps = torch.arange(count, device=denominator.device)
    lag = steps.unsqueeze(1) - steps
    matrix = denominator[..., lag.clamp(min=0)].where(lag >= 0, 0)
    unit = (steps == 0).to(denominator.dtype).unsqueeze(1).expand(*matrix.shape[:-1], 1)
    return torch.linalg.solve_triangular(matrix, unit, upper=False, unitriangular=True).squeeze(-1)
