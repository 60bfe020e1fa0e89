"""RSSM-TBTT: DreamerV3's recurrent state-space model with truncated backpropagation through time.

Source: Hafner et al. (2023) for the model; Pasukonis et al., "Evaluating Long-Term Memory in 3D Mazes" (2022), for the
training on consecutive pieces of an episode; Deng et al. (2023), appendix D.1 and tables 7 and 8, for sizes and rates.

``h_t = GRU(h_{t-1}, MLP[z_{t-1}, a_t])``, prior ``p(z_t | h_t)``, posterior ``q(z_t | h_t, x_t)``. Before frame 0
stand a learned ``h`` and the mode of its prior; from there frame 0 is a step like any other. As everywhere, it counts
in no loss.

What does not depend on the state leaves the loop over time: the products with embeddings and actions before it, prior,
divergence and decoder after it. The weights inside take their gradient once per piece.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.functional import linear

from backbones.interface import Batch, Latents, Noise, State, TrainingConfig, WorldModel, WorldSpec, encode_action
from backbones.parts.gru import DeferredWeight, LayerNormGRU
from backbones.parts.latent_model import LatentConfig, LatentModel
from backbones.parts.latents import uniforms
from backbones.parts.layers import head, hidden_layer
from backbones.parts.state import detached


@dataclass(frozen=True, kw_only=True)
class Config(LatentConfig):
    """RSSM-TBTT. Sizes are the paper's; 32 streams of pieces of 48 (3D) or 50 (2D) frames, AdamW as in pydreamer."""

    deterministic: int = 2048
    """Width of ``h`` (paper: 2048)."""
    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(learning_rate=3e-4, epsilon=1e-5, clip_norm=200.0, batch_size=32)
    )
    train_length: int | None = 50
    """Frames of a piece (paper: 48 in 3D, 50 in 2D)."""
    carries_state: bool = True
    """``h`` and ``z`` at the end of a piece, without gradient, begin the next one."""

    parameter_dial: ClassVar[tuple[str, int] | None] = ("deterministic", 1)

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "debug": {"deterministic": 32, "train_length": 5},
        "small": {
            "deterministic": 192,
            "train_length": 10,
            "decode_fraction": 0.4,
            "training": TrainingConfig(learning_rate=1e-3, batch_size=16, warmup_updates=50),
        },
        "standard": {"deterministic": 512},
        "matched_state": {"deterministic": 1792},
        "paper_2d": {"train_length": 50},
        "paper_3d": {"train_length": 48},
    }

    def build(self, spec: WorldSpec) -> WorldModel:
        return RSSM(self, spec)


class RSSM(LatentModel):
    """The model. State: ``h`` ``(B, D)`` and ``z`` ``(B, Z)`` after the last frame."""

    def __init__(self, config: Config, spec: WorldSpec) -> None:
        super().__init__(config, spec, config.deterministic)
        width, latents = config.deterministic, self.latents.size
        self.input = hidden_layer(latents + spec.action.size, config.hidden)
        self.gru = LayerNormGRU(config.hidden, width)
        self.initial = nn.Parameter(torch.zeros(width))
        self.prior = head(width, config.hidden, latents)
        self.posterior = head(width + self.encoder.size, config.hidden, latents)

    def loss(
        self, batch: Batch, state: State = None, generator: Noise = None
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor], State]:
        latents, posterior, after = self._read(batch, state, generator)
        prior = self.prior(latents["h"])
        loss, metrics = self.losses(batch, latents, posterior, prior, self.scored(batch, state), generator)
        return loss, metrics, after

    def observe(self, batch: Batch, state: State = None, generator: Noise = None) -> tuple[Latents, State]:
        latents, _, after = self._read(batch, state, generator)
        return latents, after

    def imagine(
        self, previous_action: Shaped[Tensor, "B H *act"], state: State, generator: Noise = None
    ) -> tuple[Latents, State]:
        if state is None:
            raise ValueError("nothing to imagine from: state is None; pass the state that observe returned")
        h, z = state["h"], state["z"]
        action = encode_action(previous_action, self.spec.action).to(h.dtype)
        noise = uniforms((*action.shape[:2], self.latents.count), generator, h.device)
        histories, samples = [], []
        for t in range(action.shape[1]):
            h = self.gru.step(self.input(torch.cat([z, action[:, t]], -1)), h)
            z = self.latents.sample(self.prior(h), None if noise is None else noise[:, t])
            histories.append(h)
            samples.append(z)
        return Latents(h=torch.stack(histories, 1), z=torch.stack(samples, 1)), detached({"h": h, "z": z})

    def initial_state(self, batch_size: int) -> dict[str, Tensor]:
        """What stands before frame 0, with gradients into the weights."""
        h = self.initial.tanh().expand(batch_size, -1)
        return {"h": h, "z": self.latents.sample(self.prior(h), None)}

    def _read(self, batch: Batch, state: State, generator: Noise) -> tuple[Latents, Float[Tensor, "B T Z"], State]:
        """Latents, logits of the posterior, and the (detached) state after the batch."""
        rows, time = batch.shape
        embedding = self.embed(batch)
        noise = uniforms((rows, time, self.latents.count), generator, embedding.device)
        h, z = self._before(batch, state)

        (from_z, from_action), activate_input = _open(self.input, self.latents.size, self.spec.action.size)
        (from_h, from_embedding), activate_hidden = _open(self.posterior[0], h.shape[-1], embedding.shape[-1])
        output = self.posterior[1]
        assert isinstance(output, nn.Linear)
        action = encode_action(batch.previous_action, self.spec.action).to(h.dtype)
        action_parts = linear(action, from_action).unbind(1)
        embedding_parts = linear(embedding, from_embedding).unbind(1)

        z_product, gru_product = DeferredWeight(from_z), DeferredWeight(self.gru.weight)
        h_product, logits_product = DeferredWeight(from_h), DeferredWeight(output.weight)
        histories, samples, all_logits = [], [], []
        for t in range(time):
            h = self.gru.step(activate_input(z_product(z) + action_parts[t]), h, gru_product)
            logits = logits_product(activate_hidden(h_product(h) + embedding_parts[t])) + output.bias
            z = self.latents.sample(logits, None if noise is None else noise[:, t])
            histories.append(h)
            samples.append(z)
            all_logits.append(logits)
        latents = Latents(h=torch.stack(histories, 1), z=torch.stack(samples, 1))
        return latents, torch.stack(all_logits, 1), detached({"h": h, "z": z})

    def _before(self, batch: Batch, state: State) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B Z"]]:
        """``h`` and ``z`` before the batch: the learned ones where an episode begins or nothing is known."""
        fresh = self.initial_state(len(batch.starts))
        if state is None:
            return fresh["h"], fresh["z"]
        begins = batch.starts.unsqueeze(1)
        return torch.where(begins, fresh["h"], state["h"]), torch.where(begins, fresh["z"], state["z"])


def _open(layer: nn.Module, *sizes: int) -> tuple[tuple[Tensor, ...], nn.Module]:
    """A hidden layer's weight, cut into the columns of its inputs, and what follows the product with it."""
    assert isinstance(layer, nn.Sequential) and isinstance(layer[0], nn.Linear)
    return layer[0].weight.split(sizes, dim=1), layer[1:]
