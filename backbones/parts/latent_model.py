"""What all world models with categorical latents share: configuration, features, loss.

At frame ``t``: embedding ``e_t`` of the observation, history ``h_t``, prior ``p(z_t | h_t)``, posterior, sample
``z_t``. Frame and reward are decoded from ``[h_t, z_t]``. Loss: S4WM (Deng et al., 2023), equations 6, 8, 9. The first
frame of an episode has no prior in S4WM; no model scores it or trains on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from backbones.interface import Batch, Latents, Noise, WorldSpec
from backbones.parts.latents import CategoricalLatents
from backbones.parts.observation_model import ObservationConfig, ObservationModel
from backbones.parts.reward_head import masked_mean


@dataclass(frozen=True, kw_only=True)
class LatentConfig(ObservationConfig):
    """Fields of every model with categorical latents. Defaults are the paper's 2D setting where it has one."""

    latents: int = 32
    """Categorical variables in a latent (paper: 32)."""
    classes: int = 32
    """Values of each (paper: 32)."""
    unimix: float = 0.01
    """Share of the uniform distribution in prior and posterior (paper, from DreamerV3)."""
    hidden: int = 512
    """Units of the prior's, posterior's and reward head's hidden layers (paper: 1000 in 3D, 512 in 2D)."""
    kl_dynamics: float = 0.8
    """Weight of the divergence that moves the prior (paper: KL balance 0.8)."""
    kl_representation: float = 0.2
    """Weight of the divergence that moves the posterior (paper: 1 - 0.8)."""
    free_nats: float = 0.0
    """Divergence below which there is no gradient: none in the paper's equation 9, 1 in DreamerV3's code."""

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "debug": {"latents": 4, "classes": 4},
        "small": {"latents": 8, "classes": 8, "kl_dynamics": 0.97, "kl_representation": 0.03},
        "standard": {"latents": 16, "classes": 16},
        "paper_2d": {"hidden": 512},
        "paper_3d": {"hidden": 1000},
    }


class LatentModel(ObservationModel):
    """Features and loss of models whose latents hold ``h`` ``(B, T, D)`` and ``z`` ``(B, T, Z)``."""

    config: LatentConfig

    def __init__(self, config: LatentConfig, spec: WorldSpec, width: int) -> None:
        latents = CategoricalLatents(config.latents, config.classes, config.unimix)
        super().__init__(config, spec, width + latents.size, width + latents.size)
        self.latents = latents

    def features(self, latents: Latents) -> Float[Tensor, "B T F"]:
        return torch.cat([latents["h"], latents["z"]], -1)

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
        errors = self.squared_errors(features, batch.observation, generator)
        image = (errors * scored).sum() / scored.sum().clamp(min=1)
        balanced, divergence = self.latents.balanced_divergence(
            posterior, prior, self.config.kl_dynamics, self.config.kl_representation, self.config.free_nats
        )
        reward, reward_metrics = self.reward_loss(features, batch, scored)
        metrics = {
            "image_loss": image.detach(),
            "kl": masked_mean(divergence, scored),
            "last_step_kl": masked_mean(divergence, batch.final & scored, nothing=float("nan")),
        }
        return image + masked_mean(balanced, scored) + reward, metrics | reward_metrics
