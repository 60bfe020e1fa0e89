"""Powers of diagonal decays, and the two products with them that state space models need.

``decay ** k`` for ``k = i * inner + j`` is ``(decay ** inner) ** i * decay ** j``: two short tables instead of one
long one, and both products are real matrix products (a Vandermonde product in two levels). The tables come from
doublings in complex128, one multiplication a power and no logarithm: a phase that is rounded to float32 before it is
multiplied by a thousand steps would lose three digits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Complex, Complex128, Float
from torch import Tensor


class DecayPowers:
    """``decay ** k`` for ``k < length``; ``real`` is the precision of the products, float32 or float64."""

    def __init__(self, decay: Complex128[Tensor, "H n"], length: int, real: torch.dtype) -> None:
        # Twice the square root: the inner table serves all rows of a product, the outer one is multiplied into each.
        inner = 2 ** min(math.ceil(math.log2(length)), round(math.log2(length) / 2) + 1)
        self.length = length
        self.rows = -(-length // inner)
        self.dtype = torch.complex64 if real == torch.float32 else torch.complex128
        self.inner, last = _table(decay, inner, self.dtype)  # (H, inner, n)
        self.outer, _ = _table(last, self.rows, self.dtype)  # (H, rows, n)

    def responses(self, weights: Complex[Tensor, "H R n"]) -> Float[Tensor, "H R L"]:
        """``2 Re sum_n weights_n decay_n ** k`` for every k: R sequences a channel."""
        # Re(a b) is a product of real pairs if one of the two is conjugated: the smaller one.
        twice = (2 * weights).to(self.dtype).conj().unsqueeze(2)
        left = twice * self.outer.conj().unsqueeze(1)  # (H, R, rows, n)
        product = exact_product(_as_real(left).flatten(1, 2), _as_real(self.inner).transpose(1, 2))
        return product.unflatten(1, (-1, self.rows)).flatten(2)[..., : self.length]

    def totals(self, sequences: Float[Tensor, "H R L"]) -> Complex[Tensor, "H R n"]:
        """``sum_k decay ** (L - 1 - k) sequence_k``: the states that the sequences leave behind."""
        inner = self.inner.shape[1]
        backwards = torch.nn.functional.pad(sequences.flip(-1), (0, self.rows * inner - self.length))
        blocks = backwards.unflatten(-1, (self.rows, inner)).flatten(1, 2)
        product = exact_product(blocks, _as_real(self.inner))
        states = torch.view_as_complex(product.unflatten(-1, (-1, 2))).unflatten(1, (-1, self.rows))
        return (states * self.outer.unsqueeze(1)).sum(2)


def _table(base: Complex128[Tensor, "H n"], count: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """``base ** k`` for ``k < count``, ``(H, count, n)``; and ``base ** count`` if the count is a power of two.

    Two short tables in double precision, rounded once, then their products: as exact, and half the memory moved.
    """
    short = 2 ** math.ceil(math.log2(count) / 2)
    low, step = _powers(base, short)
    high, last = _powers(step, -(-count // short))
    table = high.to(dtype).unsqueeze(2) * low.to(dtype).unsqueeze(1)
    return table.flatten(1, 2)[:, :count], last


def _powers(base: Complex128[Tensor, "H n"], count: int) -> tuple[Tensor, Tensor]:
    """``base ** 0 .. base ** (count - 1)`` ``(H, count, n)``, and the next power of two of the last doubling."""
    table = torch.ones_like(base).unsqueeze(1)
    while table.shape[1] < count:
        table = torch.cat([table, table * base.unsqueeze(1)], 1)
        base = base * base
    return table[:, :count], base


def _as_real(value: Complex[Tensor, "*batch n"]) -> Float[Tensor, "*batch 2*n"]:
    return torch.view_as_real(value).flatten(-2)


def exact_product(a: Float[Tensor, "H I J"], b: Float[Tensor, "H J K"]) -> Float[Tensor, "H I K"]:
    """Batched matrix product in full float32 or float64, whatever autocast or TF32 say, in both directions."""
    return _ExactProduct.apply(a, b)


class _ExactProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        with _exact(a.device.type):
            return a @ b

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = ctx.saved_tensors
        wants_a, wants_b = ctx.needs_input_grad
        with _exact(a.device.type):
            return (
                gradient @ b.transpose(1, 2) if wants_a else None,
                a.transpose(1, 2) @ gradient if wants_b else None,
            )


@contextmanager
def _exact(device: str) -> Iterator[None]:
    settings = torch.backends.cuda.matmul
    before = settings.fp32_precision
    settings.fp32_precision = "ieee"
    try:
        with torch.autocast(device, enabled=False):
            yield
    finally:
        settings.fp32_precision = before
