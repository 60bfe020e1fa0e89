"""What all world models share about observations and rewards: encoder, decoder, reward head; fields and losses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from backbones.interface import (
    BackboneConfig,
    Batch,
    Latents,
    Noise,
    Prediction,
    State,
    TrainingConfig,
    WorldModel,
    WorldSpec,
    as_float,
)
from backbones.parts.image_coder import CoderConfig, build_decoder, build_encoder, map_frames
from backbones.parts.latents import uniforms
from backbones.parts.layers import full_precision
from backbones.parts.reward_head import build_reward_head


@dataclass(frozen=True, kw_only=True)
class ObservationConfig(BackboneConfig):
    """Fields of every model about observations and rewards."""

    coder: CoderConfig = field(default_factory=CoderConfig)
    """Encoder and decoder of observations."""
    hidden: int = 512
    """Units of hidden layers, those of the reward head among them."""
    squared_error_weight: float = 0.5
    """Weight of the squared error summed over pixels: 0.5 is S4WM's equation 6, DreamerV3's code has 1."""
    decode_fraction: float = 1.0
    """Share of what the loss could decode of each row that it does, drawn at random; its mean stays the same. Ours, for
    speed."""
    frames_at_once: int = 1024
    """Frames that are encoded or decoded at once, so that memory does not grow with the batch (ours)."""
    reward_head: str = "standardised"
    """``standardised`` (ours, see ``parts/reward_head.py``) or ``published`` (DreamerV3's)."""
    reward_weight: float = 2.0
    """Weight of the standardised head's loss (ours; no paper says)."""
    reward_statistics_rate: float = 0.03
    """Rate of the standardised head's running moments (ours)."""

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "debug": {
            "coder": CoderConfig(kind="patch", depth=8, patch=8, hidden=32),
            "hidden": 32,
            "training": TrainingConfig(learning_rate=3e-3, batch_size=4, warmup_updates=10),
        },
        "small": {
            "coder": CoderConfig(kind="patch", depth=32, patch=8, hidden=128),
            "hidden": 128,
            "decode_fraction": 0.2,
            "training": TrainingConfig(learning_rate=3e-3, batch_size=16, warmup_updates=50),
        },
        "standard": {
            "coder": CoderConfig(depth=32),
            "hidden": 256,
            "decode_fraction": 0.5,
            "training": TrainingConfig(learning_rate=1e-3, batch_size=16),
        },
        "paper_2d": {"coder": CoderConfig(depth=32)},
        "paper_3d": {"coder": CoderConfig(depth=48)},
    }

    def __post_init__(self) -> None:
        if not 0 < self.decode_fraction <= 1:
            raise ValueError(f"decode_fraction is {self.decode_fraction}; it must be above 0 and at most 1")
        if self.hidden < 1 or self.frames_at_once < 1:
            raise ValueError(f"hidden is {self.hidden}, frames_at_once {self.frames_at_once}; both must be at least 1")


class ObservationModel(WorldModel):
    """Encoder, decoder and reward head, and the losses that need them.

    ``decoded``: numbers that a frame is decoded from; ``features``: numbers that the reward is read from.
    """

    config: ObservationConfig

    def __init__(self, config: ObservationConfig, spec: WorldSpec, decoded: int, features: int) -> None:
        super().__init__()
        self.config, self.spec = config, spec
        self.encoder = build_encoder(config.coder, spec.observation)
        self.decoder = build_decoder(config.coder, spec.observation, decoded)
        self.reward = (
            build_reward_head(
                config.reward_head, features, config.hidden, config.reward_weight, config.reward_statistics_rate
            )
            if spec.has_reward
            else None
        )

    def decode(self, latents: Latents) -> Prediction:
        at_once = self.config.frames_at_once
        observation = map_frames(self.decoder, self.decoder_input(latents), at_once=at_once)
        features = self.features(latents)
        reward = features.new_zeros(features.shape[:2]) if self.reward is None else self.reward(features)
        return Prediction(observation, reward)

    def decoder_input(self, latents: Latents) -> Float[Tensor, "B T F"]:
        """What a frame is decoded from: the features, unless a model knows better."""
        return self.features(latents)

    def embed(self, batch: Batch) -> Float[Tensor, "B T E"]:
        """Embeddings of the observations."""
        at_once = self.config.frames_at_once
        return map_frames(lambda frames: self.encoder(as_float(frames)), batch.observation, at_once=at_once)

    def scored(self, batch: Batch, state: State) -> Bool[Tensor, "B T"]:
        """Frames that count: valid, and not the first of an episode (or of a row that nothing is known about)."""
        scored = batch.valid.clone()
        scored[:, 0] &= torch.zeros_like(batch.starts) if state is None else ~batch.starts
        return scored

    def squared_errors(
        self, decoded: Float[Tensor, "B N F"], observation: Shaped[Tensor, "B T *obs"], generator: Noise
    ) -> Float[Tensor, "B N"]:
        """Weighted squared errors, summed over pixels, of one or several decodings of all frames, in the order of time.

        ``decode_fraction`` of each row's are computed, scaled so that sums stay the same in the mean; others are zero.
        """
        config, (rows, count), time = self.config, decoded.shape[:2], observation.shape[1]
        keep = max(1, round(config.decode_fraction * count))
        chosen = None
        if keep < count:
            order = uniforms((rows, count), generator, decoded.device)
            chosen = None if order is None else order.topk(keep, sorted=False).indices
        if chosen is not None:
            row = torch.arange(rows, device=chosen.device).unsqueeze(1)
            decoded, observation = decoded[row, chosen], observation[row, chosen % time]
        elif count > time:
            observation = torch.cat([observation] * (count // time), 1)
        errors = map_frames(self._squared_error, decoded, observation, at_once=config.frames_at_once, recompute=True)
        if chosen is None:
            return errors
        return errors.new_zeros(rows, count).scatter(1, chosen, errors * (count / keep))

    def reward_loss(
        self, features: Float[Tensor, "B T F"], batch: Batch, scored: Bool[Tensor, "B T"]
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Loss and metrics of the reward head: nothing where the world has no rewards."""
        if self.reward is None:
            return features.new_zeros(()), {}
        loss, last_step = self.reward.loss(features, batch.reward, batch.final, scored)
        return loss, {"reward_loss": loss.detach(), "last_step_reward_loss": last_step}

    def _squared_error(self, decoded: Tensor, observation: Tensor) -> Float[Tensor, " N"]:
        difference = full_precision(self.decoder(decoded)) - as_float(observation)
        return self.config.squared_error_weight * difference.square().flatten(1).sum(1)
