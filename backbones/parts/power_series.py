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


def convolve(a: Float[Tensor, "... L"], b: Float[Tensor, "... L"]) -> Float[Tensor, "... L"]:
    """Causal convolution: the product of the two series."""
    length = a.shape[-1]
    padded = fft_length(2 * length - 1)
    return torch.fft.irfft(torch.fft.rfft(a, padded) * torch.fft.rfft(b, padded), padded)[..., :length]


def delayed(a: Float[Tensor, "... L"]) -> Float[Tensor, "... L"]:
    """One step later, beginning with 0: the series times z."""
    return torch.nn.functional.pad(a, (1, 0))[..., :-1]


def loop_response(a: Float[Tensor, "H L"]) -> Float[Tensor, "H L"]:
    """``1 / (1 - z a(z))``: the response of a loop that feeds its output back through ``a``, one step delayed."""
    return _LoopResponse.apply(a)


class _LoopResponse(torch.autograd.Function):
    """Newton's iteration; its gradient is two convolutions, whatever the number of iterations."""

    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        length = a.shape[-1]
        denominator = -delayed(a)
        denominator[..., 0] = 1
        response = _first_terms(denominator[..., :FIRST_TERMS])
        while (known := response.shape[-1]) < length:
            wanted = min(2 * known, length)
            padded = fft_length(2 * wanted)
            spectrum = torch.fft.rfft(response, padded)
            product = torch.fft.rfft(denominator[..., :wanted], padded) * spectrum
            # response * denominator = 1 + error; the error begins at the first unknown term.
            error = torch.fft.irfft(product, padded)[..., known:wanted]
            more = torch.fft.irfft(torch.fft.rfft(error, padded) * spectrum, padded)[..., : wanted - known]
            response = torch.cat([response, -more], -1)
        ctx.save_for_backward(response)
        return response

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # With r = 1 / (1 - z a): dr = z r^2 da, a convolution; its adjoint is a correlation.
        (response,) = ctx.saved_tensors
        length = response.shape[-1]
        padded = fft_length(2 * length)
        square = delayed(convolve(response, response))
        adjoint = torch.fft.rfft(gradient, padded) * torch.fft.rfft(square, padded).conj()
        return torch.fft.irfft(adjoint, padded)[..., :length]


def _first_terms(denominator: Float[Tensor, "H M"]) -> Float[Tensor, "H M"]:
    """First terms of the inverse, by forward substitution in a lower triangular Toeplitz matrix."""
    count = denominator.shape[-1]
    steps = torch.arange(count, device=denominator.device)
    lag = steps.unsqueeze(1) - steps
    matrix = denominator[..., lag.clamp(min=0)].where(lag >= 0, 0)
    unit = (steps == 0).to(denominator.dtype).unsqueeze(1).expand(*matrix.shape[:-1], 1)
    return torch.linalg.solve_triangular(matrix, unit, upper=False, unitriangular=True).squeeze(-1)
