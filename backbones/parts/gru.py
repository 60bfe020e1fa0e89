"""The recurrent cell of DreamerV3, and weights whose gradient is one product for a whole loop over time.

Source: Hafner et al., "Mastering Diverse Domains through World Models" (2023). The cell is the GRU of Cho et al. (2014)
with one LayerNorm over the sums of all gates and an update gate that starts out nearly shut.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from backbones.parts.layers import NORM_EPSILON, cut_normal_

UPDATE_BIAS = -1.0
"""Added to the update gate, so that a new cell keeps most of its state."""


class DeferredWeight:
    """A weight ``(O, I)`` that a loop multiplies with many times: ``x -> x W'``, ``(B, I) -> (B, O)``.

    Autograd would form ``O * I`` numbers at every use and add them up. Here the uses only note their inputs and output
    gradients; when all of them have been differentiated, one product of the stacked notes gives the same sum.
    """

    def __init__(self, weight: Float[Tensor, "O I"]) -> None:
        self._notes: list[tuple[Tensor, Tensor]] = []
        self.weight: Tensor = _SumOfUses.apply(weight, self._notes)

    def __call__(self, x: Float[Tensor, "B I"]) -> Float[Tensor, "B O"]:
        if not torch.is_grad_enabled():
            return linear(x, self.weight)
        return _Use.apply(x, self.weight, self._notes)


class _Use(torch.autograd.Function):
    """One product with a deferred weight."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, notes: list[tuple[Tensor, Tensor]]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.notes = notes
        return linear(x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        if ctx.needs_input_grad[1]:
            ctx.notes.append((x.to(gradient.dtype), gradient))
        return gradient @ weight.to(gradient.dtype) if ctx.needs_input_grad[0] else None, None, None


class _SumOfUses(torch.autograd.Function):
    """The weight itself. Autograd gets here when every use has been differentiated, though none sends a gradient."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, notes: list[tuple[Tensor, Tensor]]) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.notes, ctx.dtype = notes, weight.dtype
        return weight.view_as(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, direct: Tensor | None) -> tuple[Tensor | None, None]:
        if not ctx.notes:
            return direct, None
        inputs, gradients = (torch.cat(notes) for notes in zip(*ctx.notes, strict=True))
        ctx.notes.clear()  # a second backward pass through the same graph starts afresh
        total = (gradients.T @ inputs).to(ctx.dtype)
        return total if direct is None else total + direct, None


class LayerNormGRU(nn.Module):
    """The cell, with ``inputs`` and ``width`` numbers. ``weight`` is ``(3 * width, inputs + width)``, input first."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        if inputs < 1 or width < 1:
            raise ValueError(f"GRU of {inputs} inputs and width {width}; both must be at least 1")
        self.inputs, self.width = inputs, width
        self.weight = nn.Parameter(torch.empty(3 * width, inputs + width))
        cut_normal_(self.weight)
        self.norm = nn.LayerNorm(3 * width, eps=NORM_EPSILON)

    def forward(
        self, x: Float[Tensor, "B T I"], h: Float[Tensor, "B W"]
    ) -> tuple[Float[Tensor, "B T W"], Float[Tensor, "B W"]]:
        """States at all frames, and the last, where all inputs are known beforehand."""
        from_input, from_state = self.weight.split([self.inputs, self.width], dim=1)
        product = DeferredWeight(from_state)
        states = []
        for gates in linear(x, from_input).unbind(1):
            h = self.gate(gates + product(h), h)
            states.append(h)
        return torch.stack(states, 1), h

    def step(
        self, x: Float[Tensor, "B I"], h: Float[Tensor, "B W"], product: DeferredWeight | None = None
    ) -> Float[Tensor, "B W"]:
        """One frame. In a loop whose inputs depend on the state, ``product`` is the deferred ``weight``."""
        both = torch.cat([x, h], -1)
        return self.gate(linear(both, self.weight) if product is None else product(both), h)

    def gate(self, gates: Float[Tensor, "B G"], h: Float[Tensor, "B W"]) -> Float[Tensor, "B W"]:
        """The new state from the summed gates (reset, candidate, update; not normalised yet) and the old state."""
        reset, candidate, update = self.norm(gates).chunk(3, dim=-1)
        candidate = (reset.sigmoid() * candidate).tanh()
        return torch.lerp(h, candidate, (update + UPDATE_BIAS).sigmoid())
