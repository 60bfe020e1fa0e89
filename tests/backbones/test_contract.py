"""Every registered backbone keeps the contract, and backbones that break it are told so by name."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from backbones import BACKBONES
from backbones.contract import CHECKS, violations
from backbones.interface import ContinuousSpec, DiscreteSpec, ImageSpec, SequenceCore, VectorSpec, WorldSpec
from backbones.parts.latent_world_model import CoreConfig

WORLDS = {
    "images": WorldSpec(ImageSpec(16, 16), DiscreteSpec(5), context_length=14, query_length=7),
    "vectors": WorldSpec(VectorSpec(3), ContinuousSpec(2), context_length=12, query_length=6, has_reward=False),
}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_contract(backbone: str, world: str, check: str) -> None:
    CHECKS[check](BACKBONES[backbone].config("debug", WORLDS[world]), WORLDS[world])


class LeakyCore(SequenceCore):
    """A moving average. Its subclasses each break one promise."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inputs = nn.Linear(width, width)
        self.keep = 0.8

    def initial_state(self, batch_size: int) -> Tensor:
        return self.inputs.weight.new_zeros(batch_size, self.inputs.in_features)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        outputs = []
        for value in self.inputs(x).unbind(1):
            state = self.keep * state + value
            outputs.append(state)
        return torch.stack(outputs, 1), state

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        state = self.keep * state + self.inputs(x)
        return state, state


class SeesFuture(LeakyCore):
    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        y, state = super().forward(x, state)
        return y + 0.01 * x.mean(1, keepdim=True), state


class StepsDifferently(LeakyCore):
    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return super().step(x, self.keep * state)


class DropsState(LeakyCore):
    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(x, self.initial_state(len(x)))

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return super().step(x, self.initial_state(len(x)))


@dataclass(frozen=True, kw_only=True)
class Config(CoreConfig):
    core: type[LeakyCore] = LeakyCore

    def build_core(self, width: int, spec: WorldSpec) -> SequenceCore:
        return self.core(width)


BROKEN = {
    LeakyCore: set(),
    SeesFuture: {"step_equals_forward", "core_in_pieces", "core_sees_no_future", "past_sees_no_future"},
    StepsDifferently: {"step_equals_forward"},
    DropsState: {"step_equals_forward", "core_in_pieces", "observes_in_pieces"},
}


@pytest.mark.parametrize("core", BROKEN)
def test_broken_promises_are_named(core: type[LeakyCore]) -> None:
    world = WORLDS["images"]
    found = {name: words for name, words in violations(Config.preset("debug", world, core=core), world) if words}
    assert found.keys() >= BROKEN[core]
    if core is LeakyCore:
        assert not found
    for name in BROKEN[core]:
        assert "differ by" in found[name], found[name]


def test_crash_of_a_backbone_is_a_violation() -> None:
    class Crashes(LeakyCore):
        def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            raise RuntimeError("no kernel for this device")

    world = WORLDS["images"]
    found = dict(violations(Config.preset("debug", world, core=Crashes), world))
    assert found["step_equals_forward"] == "RuntimeError: no kernel for this device"
    assert found["core_in_pieces"] is None
