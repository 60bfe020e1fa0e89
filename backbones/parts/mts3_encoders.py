"""What MTS3's levels read: frames and actions as uncertain observations of the latent state.

Source: Shaj et al., "Multi Time Scale World Models" (2023). Every encoder is an MLP with one hidden layer that gives a
mean and a variance. Encoders of a window's members also read where in the window they stand.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear, softplus

from backbones.parts.gaussian import Evidence, Gaussian, aggregate, evidence
from backbones.parts.layers import full_precision

SMALLEST_VARIANCE = 1e-4
TIME_CODES = {"scalar": 1, "sinusoidal": 8}
"""Width of the code of a place in a window, by name."""


def time_code(kind: str, place: Float[Tensor, " T"]) -> Float[Tensor, "T code"]:
    """Codes of places in [0, 1): the number itself (as published), or sines and cosines of growing frequency."""
    if kind == "scalar":
        return place.unsqueeze(-1)
    octave = 2.0 ** torch.arange(TIME_CODES[kind] // 2, device=place.device)
    angle = math.pi * place.unsqueeze(-1) * octave
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


class UncertainEncoder(nn.Module):
    """Features ``(..., I)`` to evidence about ``O`` numbers. With ``normalise`` the mean has a LayerNorm."""

    def __init__(self, inputs: int, hidden: int, outputs: int, normalise: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU())
        self.mean = nn.Linear(hidden, outputs)
        self.variance = nn.Linear(hidden, outputs)
        self.norm = nn.LayerNorm(outputs) if normalise else nn.Identity()

    def forward(self, x: Float[Tensor, "*batch I"], valid: Float[Tensor, "*batch"]) -> Evidence:
        """Evidence with precision 0 wherever ``valid`` is 0."""
        h = self.body(x)
        variance = softplus(full_precision(self.variance(h))) + SMALLEST_VARIANCE
        return evidence(full_precision(self.norm(self.mean(h))), variance, valid)


class AbstractAction(nn.Module):
    """The actions of a window as one Gaussian action ``(B, K, 2d)`` of the slow level; its prior is N(0, I).

    ``set``: each action is one observation of it (as published; Bayesian aggregation). ``ordered``: the window's
    actions, side by side, are one observation, so that "turn, then forward" differs from "forward, then turn".
    """

    def __init__(self, kind: str, actions: int, window: int, hidden: int, outputs: int, code: str) -> None:
        super().__init__()
        self.kind, self.code, self.window = kind, code, window
        inputs = actions + TIME_CODES[code] if kind == "set" else window * (actions + 1)
        self.encoder = UncertainEncoder(inputs, hidden, outputs, normalise=False)

    def forward(self, action: Float[Tensor, "B K H A"], known: Float[Tensor, "B K H"]) -> Gaussian:
        """``known`` is 0 where an action is not known: after the last one of the sequence."""
        if self.kind == "ordered":
            side_by_side = torch.cat([action * known.unsqueeze(-1), known.unsqueeze(-1)], -1).flatten(2)
            return aggregate(0.0, 1.0, self.encoder(side_by_side, torch.ones_like(known[:, :, 0])))
        place = torch.arange(self.window, device=action.device, dtype=action.dtype) / self.window
        code = time_code(self.code, place).expand(*action.shape[:3], -1)
        return aggregate(0.0, 1.0, self.encoder(torch.cat([action, code], -1), known).sum(2))


class Control(nn.Module):
    """What an action adds to the fast state: ``b(a)`` (as published), or ``b(a, m)`` if it reads the state's mean.

    ``b(a)`` cannot say that "forward" moves to where one happens to look; ``b(a, m)`` can.
    """

    def __init__(self, actions: int, hidden: int, outputs: int, reads_state: bool = False) -> None:
        super().__init__()
        self.actions, self.reads_state = actions, reads_state
        self.first = nn.Linear(actions + (outputs if reads_state else 0), hidden)
        self.norm = nn.LayerNorm(hidden)
        self.last = nn.Linear(hidden, outputs)

    def from_action(self, action: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch _"]:
        """What can be computed before the state is known: all of ``b(a)``, or the action's part of the first layer."""
        first = linear(action, self.first.weight[:, : self.actions], self.first.bias)
        return first if self.reads_state else self._finish(first)

    def from_state(self, prepared: Float[Tensor, "R hidden"], mean: Float[Tensor, "R D2"]) -> Float[Tensor, "R D2"]:
        """``b(a, m)`` from the action's part."""
        return self._finish(prepared + linear(mean, self.first.weight[:, self.actions :]))

    def _finish(self, first: Tensor) -> Tensor:
        return self.last(self.norm(first.relu()))
