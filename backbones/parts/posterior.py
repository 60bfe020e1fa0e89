"""Posteriors that are computed for all frames in parallel: from each frame alone, or from all frames so far."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from backbones.interface import SequenceCore, State
from backbones.parts.layers import head, hidden_layer


class Posterior(nn.Module, ABC):
    """Logits of ``q(z_t | ...)`` from embeddings and actions up to and including frame ``t``."""

    @abstractmethod
    def initial_state(self, batch_size: int) -> State:
        """State before frame 0."""

    @abstractmethod
    def forward(
        self, embedding: Float[Tensor, "B T E"], action: Float[Tensor, "B T A"], state: State, keep: bool
    ) -> tuple[Float[Tensor, "B T Z"], State]:
        """All frames at once, and the state after them if it is to be kept."""


class FactorisedPosterior(Posterior):
    """``q(z_t | x_t)`` (S4WM equation 7). Without state."""

    def __init__(self, embedding: int, hidden: int, latents: int) -> None:
        super().__init__()
        self.head = head(embedding, hidden, latents)

    def initial_state(self, batch_size: int) -> State:
        return None

    def forward(
        self, embedding: Float[Tensor, "B T E"], action: Float[Tensor, "B T A"], state: State, keep: bool
    ) -> tuple[Float[Tensor, "B T Z"], State]:
        return self.head(embedding), None


class FullHistoryPosterior(Posterior):
    """``q(z_t | x_0 .. x_t, a_1 .. a_t)`` from a core of its own (S4WM equation 12)."""

    def __init__(self, inputs: int, width: int, core: SequenceCore, hidden: int, latents: int) -> None:
        super().__init__()
        self.input = hidden_layer(inputs, width)
        self.core = core
        self.head = head(width, hidden, latents)

    def initial_state(self, batch_size: int) -> State:
        return self.core.initial_state(batch_size)

    def forward(
        self, embedding: Float[Tensor, "B T E"], action: Float[Tensor, "B T A"], state: State, keep: bool
    ) -> tuple[Float[Tensor, "B T Z"], State]:
        inputs = self.input(torch.cat([embedding, action], -1))
        history, after = self.core(inputs, state) if keep else (self.core.outputs(inputs, state), None)
        return self.head(history), after
