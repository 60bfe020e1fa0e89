"""Parallel scan of a diagonal linear recurrence with constant coefficients."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Complex
from torch import Tensor


def linear_scan(decay: Complex[Tensor, " n"], inputs: Complex[Tensor, "B T n"]) -> Complex[Tensor, "B T n"]:
    """``x_t = decay x_{t-1} + inputs_t`` from ``x_{-1} = 0``, for all t.

    The operator ``(a, b), (a', b') -> (a a', a' b + b')`` is associative (Blelloch, 1990), and here ``a`` is known
    beforehand: blocks of about ``sqrt(T)`` frames are scanned by doubling, all at once, then their last states, then
    what came before a block is added to it.
    """
    return _LinearScan.apply(decay, inputs)


class _LinearScan(torch.autograd.Function):
    """The gradient of a scan is a scan against time."""

    @staticmethod
    def forward(ctx: Any, decay: Tensor, inputs: Tensor) -> Tensor:
        states = _scan(decay, inputs)
        ctx.save_for_backward(decay, states)
        return states

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        decay, states = ctx.saved_tensors
        backwards = _scan(decay.conj().resolve_conj(), gradient.flip(1)).flip(1)
        of_decay = (states[:, :-1].conj() * backwards[:, 1:]).sum((0, 1))
        return of_decay, backwards


def _scan(decay: Tensor, inputs: Tensor) -> Tensor:
    rows, time, size = inputs.shape
    block = 2 ** math.ceil(math.log2(time) / 2)
    padded = torch.nn.functional.pad(inputs, (0, 0, 0, -time % block))
    states = padded.reshape(rows, -1, block, size)
    last = _double(states, decay)
    if states.shape[1] > 1:
        carried = states[:, :, -1].clone()  # (rows, blocks, n)
        _double(carried, last)
        powers = _powers(decay, block)
        states[:, 1:] += powers * carried[:, :-1].unsqueeze(2)
    return states.flatten(1, 2)[:, :time]


def _double(states: Tensor, decay: Tensor) -> Tensor:
    """Scan the axis before the last in place; the power of the decay that is one more doubling away."""
    reach = 1
    while reach < states.shape[-2]:
        states[..., reach:, :] += decay * states[..., :-reach, :]
        decay, reach = decay * decay, 2 * reach
    return decay


def _powers(decay: Tensor, count: int) -> Tensor:
    """``decay ** 1 .. decay ** count``, a power of two of them, ``(count, n)``."""
    table = decay.unsqueeze(0)
    while len(table) < count:
        table = torch.cat([table, table * table[-1]])
    return table
