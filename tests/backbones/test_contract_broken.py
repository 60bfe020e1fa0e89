"""Every check of the contract can fail: for each there is a backbone that breaks just that promise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backbones.contract import CHECKS, ContractViolation, violations
from backbones.interface import (
    Batch,
    DiscreteSpec,
    ImageSpec,
    Latents,
    Noise,
    Prediction,
    SequenceCore,
    State,
    TrainingConfig,
    WorldModel,
    WorldSpec,
)
from backbones.parts.latent_world_model import CoreConfig, CoreWorldModel

WORLD = WorldSpec(ImageSpec(16, 16), DiscreteSpec(5), context_length=10, query_length=5)


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
    model: type[CoreWorldModel] = CoreWorldModel

    def build_core(self, width: int, spec: WorldSpec) -> SequenceCore:
        return self.core(width)

    def build(self, spec: WorldSpec) -> WorldModel:
        return self.model(self, spec)


BROKEN = {
    LeakyCore: set(),
    SeesFuture: {"step_equals_forward", "core_in_pieces", "core_sees_no_future", "past_sees_no_future"},
    StepsDifferently: {"step_equals_forward"},
    DropsState: {"step_equals_forward", "core_in_pieces", "observes_in_pieces"},
}


@pytest.mark.parametrize("core", BROKEN)
def test_broken_promises_are_named(core: type[LeakyCore]) -> None:
    world = WORLD
    found = {name: words for name, words in violations(Config.preset("debug", world, core=core), world) if words}
    assert found.keys() >= BROKEN[core]
    if core is LeakyCore:
        assert not found
    for name in BROKEN[core]:
        assert "differ by" in found[name], found[name]


class ImaginesTooFew(CoreWorldModel):
    def imagine(self, previous_action: Tensor, state: State, generator: Noise = None) -> tuple[Latents, State]:
        latents, state = super().imagine(previous_action, state, generator)
        return latents[:, 1:], state


class KeepsStateOnSelf(CoreWorldModel):
    def observe(self, batch: Batch, state: State = None, generator: Noise = None) -> tuple[Latents, State]:
        latents, self.hidden = super().observe(batch, state, generator)
        return latents, self.hidden

    def imagine(self, previous_action: Tensor, state: State, generator: Noise = None) -> tuple[Latents, State]:
        return super().imagine(previous_action, self.hidden, generator)


class WritesIntoState(CoreWorldModel):
    def imagine(self, previous_action: Tensor, state: State, generator: Noise = None) -> tuple[Latents, State]:
        latents, after = super().imagine(previous_action, state, generator)
        state["core"].zero_()
        return latents, after


class GoesOnWhereItShouldBegin(CoreWorldModel):
    def observe(self, batch: Batch, state: State = None, generator: Noise = None) -> tuple[Latents, State]:
        return super().observe(replace(batch, starts=batch.starts & (state is None)), state, generator)


class MixesRows(CoreWorldModel):
    def embed(self, batch: Batch) -> Tensor:
        embedding = super().embed(batch)
        return embedding - embedding.mean(0)


class DecodesAcrossTime(CoreWorldModel):
    def decode(self, latents: Latents) -> Prediction:
        prediction = super().decode(latents)
        return replace(prediction, observation=prediction.observation + prediction.observation.mean(1, keepdim=True))


class IsMoreThanItsState(CoreWorldModel):
    def __init__(self, config: Config, spec: WorldSpec) -> None:
        super().__init__(config, spec)
        self.register_buffer("offset", torch.randn(self.encoder.size), persistent=False)

    def embed(self, batch: Batch) -> Tensor:
        return super().embed(batch) + self.offset


class ScoresPadding(CoreWorldModel):
    def scored(self, batch: Batch, state: State) -> Tensor:
        return super().scored(replace(batch, valid=batch.valid | batch.valid[:, 1:2]), state)


class ScoresFirstFrame(CoreWorldModel):
    def scored(self, batch: Batch, state: State) -> Tensor:
        return batch.valid


class TakesAnyType(CoreWorldModel):
    def embed(self, batch: Batch) -> Tensor:
        return super().embed(replace(batch, observation=batch.observation.float()))

    def _squared_error(self, features: Tensor, observation: Tensor) -> Tensor:
        return super()._squared_error(features, observation.float())


class RollsItsOwnDice(CoreWorldModel):
    def loss(
        self, batch: Batch, state: State = None, generator: Noise = None
    ) -> tuple[Tensor, dict[str, Tensor], State]:
        own = torch.Generator()
        own.seed()
        return super().loss(batch, state, own)


class HasAnIdleParameter(CoreWorldModel):
    def __init__(self, config: Config, spec: WorldSpec) -> None:
        super().__init__(config, spec)
        self.idle = nn.Parameter(torch.zeros(()))


class ForgetsAParameterGroup(CoreWorldModel):
    def parameter_groups(self, training: TrainingConfig) -> list[dict[str, Any]]:
        group, *_ = super().parameter_groups(training)
        return [group | {"params": group["params"][1:]}]


WRONG_MODELS = {
    ImaginesTooFew: "imagines_one_frame_an_action",
    KeepsStateOnSelf: "state_is_an_argument",
    WritesIntoState: "state_is_an_argument",
    GoesOnWhereItShouldBegin: "beginning_ignores_state",
    MixesRows: "rows_are_independent",
    DecodesAcrossTime: "decodes_slices",
    IsMoreThanItsState: "saved_and_loaded_is_the_same",
    ScoresPadding: "padding_is_not_scored",
    ScoresFirstFrame: "first_frame_is_not_scored",
    TakesAnyType: "refuses_wrong_types",
    RollsItsOwnDice: "same_seed_same_loss",
    HasAnIdleParameter: "gradient_reaches_every_parameter",
    ForgetsAParameterGroup: "gradient_reaches_every_parameter",
}


@pytest.mark.parametrize("model", WRONG_MODELS)
def test_wrong_models_are_caught(model: type[CoreWorldModel]) -> None:
    with pytest.raises(ContractViolation):
        CHECKS[WRONG_MODELS[model]](Config.preset("debug", WORLD, model=model), WORLD)


def test_a_model_that_does_not_learn_is_caught() -> None:
    config = Config.preset("debug", WORLD, training=TrainingConfig(learning_rate=1e-9))
    with pytest.raises(ContractViolation, match="the loss went from"):
        CHECKS["overfits_one_batch"](config, WORLD)


def test_every_check_has_a_backbone_that_fails_it() -> None:
    failed = set(WRONG_MODELS.values()) | {name for names in BROKEN.values() for name in names}
    assert failed | {"overfits_one_batch"} == set(CHECKS)


def test_crash_of_a_backbone_is_a_violation() -> None:
    class Crashes(LeakyCore):
        def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            raise RuntimeError("no kernel for this device")

    world = WORLD
    found = dict(violations(Config.preset("debug", world, core=Crashes), world))
    assert found["step_equals_forward"] == "RuntimeError: no kernel for this device"
    assert found["core_in_pieces"] is None
