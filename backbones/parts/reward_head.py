"""Reward prediction, the same for every backbone.

``standardised`` (the default, ours): the head reads features that were standardised with a running mean and deviation
of last-step features, and is trained on last steps only. ``published``: DreamerV3's head, trained on every frame.
The published form was measured not to learn the equality of two colours that Distracting Memory pays for: at the last
step the features hardly vary between episodes, so LayerNorm leaves next to nothing of their interaction.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from backbones.parts.layers import head

BINS = 255
SYMLOG_LIMIT = 20.0


class RewardHead(nn.Module, ABC):
    """Rewards from features ``(B, T, F)``."""

    @abstractmethod
    def forward(self, features: Float[Tensor, "*batch F"]) -> Float[Tensor, "*batch"]:
        """Expected rewards."""

    @abstractmethod
    def loss(
        self,
        features: Float[Tensor, "B T F"],
        reward: Float[Tensor, "B T"],
        final: Bool[Tensor, "B T"],
        scored: Bool[Tensor, "B T"],
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """The loss to minimise, and the (detached) mean negative log likelihood of last-step rewards.

        ``final`` marks last frames of episodes, ``scored`` frames that count at all. Without any final frame, as in
        most pieces of truncated BPTT, the second value is NaN: there is nothing to tell.
        """


def build_reward_head(kind: str, features: int, hidden: int, weight: float, rate: float) -> RewardHead:
    """The head called ``kind``. Raises ``ValueError`` for another name."""
    if kind == "standardised":
        return StandardisedRewardHead(features, hidden, weight, rate)
    if kind == "published":
        return PublishedRewardHead(features, hidden)
    raise ValueError(f"reward_head is {kind!r}; allowed: 'standardised', 'published'")


class StandardisedRewardHead(RewardHead):
    """Bernoulli reward (rewards in [0, 1]) that is due at the last frame.

    ``mean`` and ``variance`` are running moments of last-step features; no gradient passes through them. A training
    batch is standardised by the moments before it, so that no row depends on its neighbours, and then enters them.
    """

    mean: Tensor
    variance: Tensor
    batches: Tensor

    def __init__(self, features: int, hidden: int, weight: float, rate: float) -> None:
        super().__init__()
        self.weight = weight
        self.rate = rate
        self.layers = head(features, hidden, 1, hidden_layers=2)
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("variance", torch.ones(features))
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, features: Float[Tensor, "*batch F"]) -> Float[Tensor, "*batch"]:
        return self._logits(features).sigmoid()

    def loss(
        self,
        features: Float[Tensor, "B T F"],
        reward: Float[Tensor, "B T"],
        final: Bool[Tensor, "B T"],
        scored: Bool[Tensor, "B T"],
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        features, reward, due = last_steps(features, reward, final & scored)
        surprise = nn.functional.binary_cross_entropy_with_logits(self._logits(features), reward, reduction="none")
        if self.training:
            self._update(features.detach(), due)
        return self.weight * masked_mean(surprise, due), masked_mean(surprise.detach(), due, nothing=float("nan"))

    def _logits(self, features: Tensor) -> Tensor:
        standard = (features - self.mean) * (self.variance + 1e-6).rsqrt()
        return self.layers(standard).squeeze(-1).float()

    @torch.no_grad()
    def _update(self, features: Float[Tensor, "B F"], due: Bool[Tensor, " B"]) -> None:
        count = due.sum()
        present = (count > 0).to(self.mean.dtype)
        weights = due / count.clamp(min=1)
        # Plain averages until there are 1 / rate batches, exponential ones from then on.
        rate = present / (self.batches + 1).clamp(max=1 / self.rate)
        before = features - self.mean
        self.mean += rate * (weights @ before)
        after = features - self.mean
        self.variance += rate * (weights @ (before * after) - self.variance)
        self.batches += present


class PublishedRewardHead(RewardHead):
    """Two-hot classification over bins that are evenly spaced in ``symlog`` (DreamerV3), zero before training."""

    bins: Tensor

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.layers = head(features, hidden, BINS, hidden_layers=2)
        nn.init.zeros_(cast(nn.Linear, self.layers[-1]).weight)
        self.register_buffer("bins", torch.linspace(-SYMLOG_LIMIT, SYMLOG_LIMIT, BINS), persistent=False)

    def forward(self, features: Float[Tensor, "*batch F"]) -> Float[Tensor, "*batch"]:
        mean = (self.layers(features).float().softmax(-1) * self.bins).sum(-1)
        return mean.sign() * mean.abs().expm1()

    def loss(
        self,
        features: Float[Tensor, "B T F"],
        reward: Float[Tensor, "B T"],
        final: Bool[Tensor, "B T"],
        scored: Bool[Tensor, "B T"],
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        surprise = -(self._two_hot(reward) * self.layers(features).float().log_softmax(-1)).sum(-1)
        due = final & scored
        return masked_mean(surprise, scored), masked_mean(surprise.detach(), due, nothing=float("nan"))

    def _two_hot(self, reward: Float[Tensor, "B T"]) -> Float[Tensor, "B T bins"]:
        """Shares of the two bins on either side, such that the mean of the bins is the reward's symlog."""
        symlog = (reward.sign() * reward.abs().log1p()).clamp(-SYMLOG_LIMIT, SYMLOG_LIMIT)
        spacing = 2 * SYMLOG_LIMIT / (BINS - 1)
        return (1 - (symlog.unsqueeze(-1) - self.bins).abs() / spacing).clamp(min=0)


def last_steps(
    features: Float[Tensor, "B T F"], reward: Float[Tensor, "B T"], final: Bool[Tensor, "B T"]
) -> tuple[Float[Tensor, "B F"], Float[Tensor, " B"], Bool[Tensor, " B"]]:
    """Features and reward at each row's final frame, and whether the row has one (if not, they are frame 0's)."""
    rows = torch.arange(len(final), device=final.device)
    frame = final.int().argmax(1)
    return features[rows, frame], reward[rows, frame], final.any(1)


def masked_mean(
    values: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"], nothing: float = 0.0
) -> Float[Tensor, ""]:
    """Mean over the places where the mask is true; ``nothing`` if there are none."""
    count = mask.sum()
    mean = values.where(mask, 0).sum() / count.clamp(min=1)
    return mean if nothing == 0.0 else mean.where(count > 0, nothing)
