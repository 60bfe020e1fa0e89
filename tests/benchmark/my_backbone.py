"""A gated moving average: the shortest complete backbone. What the README shows is this file."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from backbones.interface import SequenceCore, State, WorldSpec
from backbones.parts.latent_world_model import CoreConfig


@dataclass(frozen=True, kw_only=True)
class Config(CoreConfig):
    """Fields become flags: --model.slowest 500."""

    slowest: float = 200.0
    """Longest time constant, in frames."""

    def build_core(self, width: int, spec: WorldSpec) -> SequenceCore:
        return GatedAverage(width, self.slowest)


class GatedAverage(SequenceCore):
    """h_t = decay * h_{t-1} + (1 - decay) * W x_t, with a decay of its own for each channel."""

    def __init__(self, width: int, slowest: float) -> None:
        super().__init__()
        self.write = nn.Linear(width, width)
        self.read = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))
        self.log_rate = nn.Parameter(-torch.linspace(0.0, 1.0, width) * torch.log(torch.tensor(slowest)))

    def initial_state(self, batch_size: int) -> State:
        return self.log_rate.new_zeros(batch_size, len(self.log_rate))

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        rate, frames = self.log_rate.exp(), torch.arange(x.shape[1] + 1, device=x.device)
        powers = torch.exp(-rate * frames[:, None])  # decay^0 .. decay^T, (T + 1, D)
        lag = (frames[:-1, None] - frames[:-1]).clamp(min=0)
        weights = powers[lag] * (frames[:-1, None] >= frames[:-1])[..., None]  # 0 where the future would be
        h = torch.einsum("tsd,bsd->btd", weights, (1 - powers[1]) * self.write(x)) + powers[1:] * state[:, None]
        return self.read(torch.cat([h, x], -1)), h[:, -1]

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        decay = torch.exp(-self.log_rate.exp())
        h = decay * state + (1 - decay) * self.write(x)
        return self.read(torch.cat([h, x], -1)), h
