"""What all world models with categorical latents share: configuration, decoding, features, loss.

At frame ``t``: embedding ``e_t`` of the observation, history ``h_t``, prior ``p(z_t | h_t)``, posterior, sample
``z_t``. Frame and reward are decoded from ``[h_t, z_t]``. Loss: S4WM (Deng et al., 2023), equations 6, 8, 9. The first
frame of an episode has no prior in S4WM; no model scores it or trains on it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
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
from backbones.parts.latents import CategoricalLatents, uniforms
from backbones.parts.reward_head import build_reward_head, masked_mean


@dataclass(frozen=True, kw_only=True)
class LatentConfig(BackboneConfig):
    """Fields of every model with categorical latents. Defaults are the paper's 2D setting where it has one."""

    coder: CoderConfig = field(default_factory=CoderConfig)
    """Encoder and decoder of observations."""
    latents: int = 32
    """Categorical variables in a latent (paper: 32)."""
    classes: int = 32
    """Values of each (paper: 32)."""
    unimix: float = 0.01
    """Share of the uniform distribution in prior and posterior (paper, from DreamerV3)."""
    hidden: int = 512
    """Units of the prior's, posterior's and reward head's hidden layers (paper: 1000 in 3D, 512 in 2D)."""
    squared_error_weight: float = 0.5
    """Weight of the squared error summed over pixels: 0.5 is the paper's equation 6, DreamerV3's code has 1."""
    kl_dynamics: float = 0.8
    """Weight of the divergence that moves the prior (paper: KL balance 0.8)."""
    kl_representation: float = 0.2
    """Weight of the divergence that moves the posterior (paper: 1 - 0.8)."""
    free_nats: float = 0.0
    """Divergence below which there is no gradient: none in the paper's equation 9, 1 in DreamerV3's code."""
    decode_fraction: float = 1.0
    """Share of each row's frames that the loss decodes, drawn at random; its mean stays the same. Ours, for speed."""
    frames_at_once: int = 1024
    """Frames that are encoded or decoded at once, so that memory does not grow with the batch (ours)."""
    reward_head: str = "standardised"
    """``standardised`` (ours, see ``parts/reward_head.py``) or ``published`` (DreamerV3's)."""
    reward_weight: float = 2.0
    """Weight of the standardised head's loss (ours; the paper does not say)."""
    reward_statistics_rate: float = 0.03
    """Rate of the standardised head's running moments (ours)."""

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "debug": {
            "coder": CoderConfig(kind="patch", depth=8, patch=8, hidden=32),
            "latents": 4,
            "classes": 4,
            "hidden": 32,
            "training": TrainingConfig(learning_rate=3e-3, batch_size=4, warmup_updates=10),
        },
        "small": {
            "coder": CoderConfig(kind="patch", depth=32, patch=8, hidden=128),
            "latents": 8,
            "classes": 8,
            "hidden": 128,
            "kl_dynamics": 0.97,
            "kl_representation": 0.03,
            "decode_fraction": 0.2,
            "training": TrainingConfig(learning_rate=3e-3, batch_size=16, warmup_updates=50),
        },
        "standard": {
            "coder": CoderConfig(depth=32),
            "latents": 16,
            "classes": 16,
            "hidden": 256,
            "decode_fraction": 0.5,
            "training": TrainingConfig(learning_rate=1e-3, batch_size=16),
        },
        "paper_2d": {"coder": CoderConfig(depth=32), "hidden": 512},
        "paper_3d": {"coder": CoderConfig(depth=48), "hidden": 1000},
    }

    def __post_init__(self) -> None:
        if not 0 < self.decode_fraction <= 1:
            raise ValueError(f"decode_fraction is {self.decode_fraction}; it must be above 0 and at most 1")
        if self.hidden < 1 or self.frames_at_once < 1:
            raise ValueError(f"hidden is {self.hidden}, frames_at_once {self.frames_at_once}; both must be at least 1")


class LatentModel(WorldModel):
    """Decoding, features and loss of models whose latents hold ``h`` ``(B, T, D)`` and ``z`` ``(B, T, Z)``."""

    def __init__(self, config: LatentConfig, spec: WorldSpec, width: int) -> None:
        super().__init__()
        self.config = config
        self.spec = spec
        self.latents = CategoricalLatents(config.latents, config.classes, config.unimix)
        features = width + self.latents.size
        self.encoder = build_encoder(config.coder, spec.observation)
        self.decoder = build_decoder(config.coder, spec.observation, features)
        self.reward = (
            build_reward_head(
                config.reward_head, features, config.hidden, config.reward_weight, config.reward_statistics_rate
            )
            if spec.has_reward
            else None
        )

    def decode(self, latents: Latents) -> Prediction:
        features = self.features(latents)
        observation = map_frames(self.decoder, features, at_once=self.config.frames_at_once)
        reward = features.new_zeros(features.shape[:2]) if self.reward is None else self.reward(features)
        return Prediction(observation, reward)

    def features(self, latents: Latents) -> Float[Tensor, "B T F"]:
        return torch.cat([latents["h"], latents["z"]], -1)

    def embed(self, batch: Batch) -> Float[Tensor, "B T E"]:
        """Embeddings of the observations."""
        return map_frames(
            lambda frames: self.encoder(as_float(frames)), batch.observation, at_once=self.config.frames_at_once
        )

    def scored(self, batch: Batch, state: State) -> Bool[Tensor, "B T"]:
        """Frames that count: valid, and not the first of an episode (or of a row that nothing is known about)."""
        scored = batch.valid.clone()
        scored[:, 0] &= torch.zeros_like(batch.starts) if state is None else ~batch.starts
        return scored

    def losses(
        self,
        batch: Batch,
        latents: Latents,
        posterior: Float[Tensor, "B T Z"],
        prior: Float[Tensor, "B T Z"],
        scored: Bool[Tensor, "B T"],
        generator: Noise,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Loss and metrics from latents and the logits behind them; frames that are not ``scored`` count nowhere.

        Squared error and divergence are means over the scored frames, the reward's loss over the rows with a final
        one. Metrics of the last step are NaN where no row has one.
        """
        features = self.features(latents)
        image = self._image_loss(batch, features, scored, generator)
        balanced, divergence = self.latents.balanced_divergence(
            posterior, prior, self.config.kl_dynamics, self.config.kl_representation, self.config.free_nats
        )
        loss = image + masked_mean(balanced, scored)
        metrics = {
            "image_loss": image.detach(),
            "kl": masked_mean(divergence, scored),
            "last_step_kl": masked_mean(divergence, batch.final & scored, nothing=float("nan")),
        }
        if self.reward is not None:
            reward, last_step = self.reward.loss(features, batch.reward, batch.final, scored)
            loss = loss + reward
            metrics |= {"reward_loss": reward.detach(), "last_step_reward_loss": last_step}
        return loss, metrics

    def _image_loss(
        self, batch: Batch, features: Float[Tensor, "B T F"], scored: Bool[Tensor, "B T"], generator: Noise
    ) -> Float[Tensor, ""]:
        """Mean squared error of scored frames, summed over pixels, estimated from a share of each row's frames."""
        observation, weight = batch.observation, scored.float()
        rows, time = batch.shape
        keep = max(1, round(self.config.decode_fraction * time))
        order = uniforms((rows, time), generator, features.device) if keep < time else None
        if order is not None:
            chosen = order.topk(keep, sorted=False).indices
            row = torch.arange(rows, device=chosen.device).unsqueeze(1)
            features, observation, weight = features[row, chosen], observation[row, chosen], weight[row, chosen]
            weight = weight * (time / keep)
        errors = map_frames(
            self._squared_error, features, observation, at_once=self.config.frames_at_once, recompute=True
        )
        return (errors * weight).sum() / scored.sum().clamp(min=1)

    def _squared_error(self, features: Tensor, observation: Tensor) -> Float[Tensor, " N"]:
        difference = self.decoder(features).float() - as_float(observation)
        return self.config.squared_error_weight * difference.square().flatten(1).sum(1)
