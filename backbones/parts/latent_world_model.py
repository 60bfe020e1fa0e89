"""Any :class:`SequenceCore` as a world model, by S4WM's scheme (Deng et al., 2023, equations 3 to 7, algorithms 1, 2).

``h_t = core(g_1 .. g_t)`` with ``g_t = MLP[z_{t-1}, a_t]``, prior ``p(z_t | h_t)``. The posterior does not read
``h_t``, hence all frames are encoded, and then all ``h_t`` computed, in parallel. ``h_0`` is zero: the first frame
gives ``z_0`` and nothing else.

A backbone of this kind is a subclass of :class:`CoreConfig` and a core.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from backbones.interface import (
    Batch,
    Latents,
    Noise,
    SequenceCore,
    State,
    WorldModel,
    WorldSpec,
    encode_action,
)
from backbones.parts.latent_model import LatentConfig, LatentModel
from backbones.parts.latents import uniforms
from backbones.parts.layers import head, hidden_layer
from backbones.parts.posterior import FactorisedPosterior, FullHistoryPosterior, Posterior
from backbones.parts.state import detached, merged

__all__ = ["CoreConfig", "CoreWorldModel", "LatentConfig", "LatentModel"]


@dataclass(frozen=True, kw_only=True)
class CoreConfig(LatentConfig):
    """Configuration of a world model around a :class:`SequenceCore`: subclass it and give ``build_core``."""

    width: int = 512
    """Width of the core's input and output (paper: d_model 512)."""
    posterior: str = "factorised"
    """``factorised``: q(z_t | x_t). ``full_history``: a second core reads all frames so far (paper, appendix B.1)."""

    parameter_dial: ClassVar[tuple[str, int] | None] = ("width", 1)

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "debug": {"width": 32},
        "small": {"width": 96},
        "standard": {"width": 256},
        "paper_2d": {"width": 512},
        "paper_3d": {"width": 512},
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.posterior not in ("factorised", "full_history"):
            raise ValueError(f"posterior is {self.posterior!r}; allowed: 'factorised', 'full_history'")
        if self.width < 1:
            raise ValueError(f"width is {self.width}; it must be at least 1")

    @abstractmethod
    def build_core(self, width: int, spec: WorldSpec) -> SequenceCore:
        """A causal map over time from ``width`` to ``width`` numbers."""

    def build(self, spec: WorldSpec) -> WorldModel:
        return CoreWorldModel(self, spec)


class CoreWorldModel(LatentModel):
    """A world model around a core. State: the last sample ``z``, the core's state and the posterior's."""

    def __init__(self, config: CoreConfig, spec: WorldSpec) -> None:
        super().__init__(config, spec, config.width)
        self.posterior = self._build_posterior(config, spec)
        self.input = hidden_layer(self.latents.size + spec.action.size, config.width)
        self.core = config.build_core(config.width, spec)
        self.prior = head(config.width, config.hidden, self.latents.size)

    def loss(
        self, batch: Batch, state: State = None, generator: Noise = None
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor], State]:
        latents, posterior, after = self._read(batch, state, generator, keep=self.config.carries_state)
        prior = self.prior(latents["h"])
        loss, metrics = self.losses(batch, latents, posterior, prior, self.scored(batch, state), generator)
        return loss, metrics, after

    def observe(self, batch: Batch, state: State = None, generator: Noise = None) -> tuple[Latents, State]:
        latents, _, after = self._read(batch, state, generator, keep=True)
        return latents, after

    def imagine(
        self, previous_action: Shaped[Tensor, "B H *act"], state: State, generator: Noise = None
    ) -> tuple[Latents, State]:
        if state is None:
            raise ValueError("nothing to imagine from: state is None; pass the state that observe returned")
        action = encode_action(previous_action, self.spec.action)
        noise = uniforms((*action.shape[:2], self.latents.count), generator, action.device)
        z, core_state = state["z"], state["core"]
        self.core.prepare()
        histories, samples = [], []
        for t in range(action.shape[1]):
            h, core_state = self.core.step(self.input(torch.cat([z, action[:, t]], -1)), core_state)
            z = self.latents.sample(self.prior(h), None if noise is None else noise[:, t])
            histories.append(h)
            samples.append(z)
        after = {"z": z, "core": core_state, "posterior": state["posterior"]}
        return Latents(h=torch.stack(histories, 1), z=torch.stack(samples, 1)), detached(after)

    def _build_posterior(self, config: CoreConfig, spec: WorldSpec) -> Posterior:
        if config.posterior == "factorised":
            return FactorisedPosterior(self.encoder.size, config.hidden, self.latents.size)
        core = config.build_core(config.width, spec)
        inputs = self.encoder.size + spec.action.size
        return FullHistoryPosterior(inputs, config.width, core, config.hidden, self.latents.size)

    def _read(
        self, batch: Batch, state: State, generator: Noise, keep: bool
    ) -> tuple[Latents, Float[Tensor, "B T Z"], State]:
        """Latents, logits of the posterior, and, if it is to be kept, the (detached) state after the batch."""
        rows, time = batch.shape
        embedding, action = self.embed(batch), encode_action(batch.previous_action, self.spec.action)
        logits, posterior_state = self.posterior(embedding, action, self._posterior_state(batch.starts, state), keep)
        z = self.latents.sample(logits, uniforms((rows, time, self.latents.count), generator, logits.device))
        last = torch.zeros_like(z[:, 0]) if state is None else state["z"]
        before = torch.cat([last.unsqueeze(1), z[:, :-1]], 1)
        g = self.input(torch.cat([before, action], -1))
        h, core_state = self._histories(g, batch.starts, None if state is None else state["core"], keep)
        after = detached({"z": z[:, -1], "core": core_state, "posterior": posterior_state}) if keep else None
        return Latents(h=h, z=z), logits, after

    def _posterior_state(self, starts: Bool[Tensor, " B"], state: State) -> State:
        fresh = self.posterior.initial_state(len(starts))
        if state is None or starts.all():
            return fresh
        return merged(starts, fresh, state["posterior"]) if starts.any() else state["posterior"]

    def _histories(
        self, g: Float[Tensor, "B T D"], starts: Bool[Tensor, " B"], state: State, keep: bool
    ) -> tuple[Float[Tensor, "B T D"], State]:
        """``h`` of all frames and the core's state after them. A row that begins has no input at its first frame."""
        fresh = self.core.initial_state(len(g))
        if state is None or starts.all():
            first, state = torch.zeros_like(g[:, :1]), fresh
        elif not starts.any():
            return self._run(g, state, keep)
        else:
            first, state = self.core(g[:, :1], state)
            first, state = first.where(~starts[:, None, None], 0), merged(starts, fresh, state)
        if g.shape[1] == 1:
            return first, state
        rest, state = self._run(g[:, 1:], state, keep)
        return torch.cat([first, rest], 1), state

    def _run(self, g: Float[Tensor, "B T D"], state: State, keep: bool) -> tuple[Float[Tensor, "B T D"], State]:
        return self.core(g, state) if keep else (self.core.outputs(g, state), None)
