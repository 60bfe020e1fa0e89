"""TSSM-XL: S4WM's scheme with a Transformer-XL as history encoder (Deng et al., 2023, appendix D.2, tables 7 and 8).

Layers: pre-LayerNorm attention with relative positions and cached memory (Dai et al., 2019), then a feed-forward
network of one hidden layer; u and v are shared by the layers. The published parameter totals force this list, except
for what :class:`Config` names as our choice.

Training makes one update per batch of whole episodes; no gradient crosses from a segment into earlier ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from backbones.interface import SequenceCore, State, TrainingConfig, WorldSpec
from backbones.parts.attention import Cache, RelativeAttention
from backbones.parts.latent_world_model import CoreConfig


@dataclass(frozen=True, kw_only=True)
class Config(CoreConfig):
    """TSSM-XL. Dropout is zero (our choice: the paper does not mention any)."""

    layers: int = 10
    """Layers (paper: 12 in 3D, 10 in 2D)."""
    heads: int = 8
    """Attention heads (paper: 8)."""
    memory: int | None = 128
    """Frames before the open segment that a query sees (paper: 128, ablation 256 and 512); none for half an episode."""
    segment: int | None = None
    """Frames of a segment; none for as many as ``memory`` (our choice: the paper does not say)."""
    feedforward: int | None = None
    """Hidden units of the feed-forward network; none for ``width``, as the parameter totals demand."""
    pre_norm: bool = True
    """LayerNorm before attention and feed-forward network, and after the last layer (our choice), or behind each."""
    training: TrainingConfig = field(default_factory=lambda: TrainingConfig(learning_rate=1e-4, batch_size=8))

    parameter_dial: ClassVar[tuple[str, int] | None] = ("feedforward", 1)

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "debug": {"layers": 2, "heads": 2, "memory": 4},
        "small": {
            "layers": 3,
            "heads": 4,
            "memory": None,
            "training": TrainingConfig(learning_rate=3e-3, batch_size=16, warmup_updates=50),
        },
        "standard": {"layers": 6, "heads": 8, "memory": None, "training": TrainingConfig(learning_rate=3e-4)},
        "matched_state": {"width": 64, "layers": 2, "heads": 4, "memory": 4},
        "paper_2d": {"layers": 10},
        "paper_3d": {"layers": 12},
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers < 1:
            raise ValueError(f"layers is {self.layers}; it must be at least 1")

    def build_core(self, width: int, spec: WorldSpec) -> SequenceCore:
        memory = max(1, spec.length // 2) if self.memory is None else self.memory
        return TransformerXL(
            width,
            self.layers,
            self.heads,
            feedforward=width if self.feedforward is None else self.feedforward,
            memory=memory,
            segment=memory if self.segment is None else self.segment,
            pre_norm=self.pre_norm,
            final_norm=self.pre_norm,
        )


class Layer(nn.Module):
    """Attention and feed-forward network, each with its residual and LayerNorm: ``(B, T, D) -> (B, T, D)``."""

    def __init__(
        self, width: int, heads: int, feedforward: int, memory: int, segment: int, pre_norm: bool = True
    ) -> None:
        super().__init__()
        self.pre_norm = pre_norm
        self.attention = RelativeAttention(width, heads, memory, segment, pre_norm)
        if not pre_norm:
            self.attention_norm = nn.LayerNorm(width)
        self.feedforward_norm = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(nn.Linear(width, feedforward), nn.ReLU(), nn.Linear(feedforward, width))

    def forward(
        self, x: Float[Tensor, "B T D"], cache: Cache, biases: Float[Tensor, "2 heads size"]
    ) -> tuple[Float[Tensor, "B T D"], Cache]:
        attended, cache = self.attention(x, cache, biases)
        return self._finish(x + attended), cache

    def outputs(
        self, x: Float[Tensor, "B T D"], cache: Cache, biases: Float[Tensor, "2 heads size"]
    ) -> Float[Tensor, "B T D"]:
        """``forward`` without the cache after it."""
        return self._finish(x + self.attention.outputs(x, cache, biases))

    def step(
        self, x: Float[Tensor, "B D"], cache: Cache, biases: Float[Tensor, "2 heads size"]
    ) -> tuple[Float[Tensor, "B D"], Cache]:
        """One frame."""
        attended, cache = self.attention.step(x, cache, biases)
        return self._finish(x + attended), cache

    def _finish(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        if self.pre_norm:
            return x + self.feedforward(self.feedforward_norm(x))
        x = self.attention_norm(x)
        return self.feedforward_norm(x + self.feedforward(x))


class TransformerXL(SequenceCore):
    """A stack of layers. State: one :data:`Cache` per layer; all rows are at the same place of their segment."""

    def __init__(
        self,
        width: int,
        layers: int,
        heads: int,
        *,
        feedforward: int,
        memory: int,
        segment: int,
        pre_norm: bool = True,
        final_norm: bool = True,
    ) -> None:
        super().__init__()
        if feedforward < 1:
            raise ValueError(f"feedforward is {feedforward}; it must be at least 1")
        self.layers = nn.ModuleList(Layer(width, heads, feedforward, memory, segment, pre_norm) for _ in range(layers))
        self.biases = nn.Parameter(torch.empty(2, heads, width // heads))  # u and v
        nn.init.normal_(self.biases, std=0.02)
        self.norm = nn.LayerNorm(width) if final_norm else nn.Identity()

    def initial_state(self, batch_size: int) -> State:
        return [cast(Layer, layer).attention.initial_cache(batch_size) for layer in self.layers]

    def forward(self, x: Float[Tensor, "B T D"], state: State) -> tuple[Float[Tensor, "B T D"], State]:
        after = []
        for layer, cache in zip(self.layers, state, strict=True):
            x, cache = layer(x, cache, self.biases)
            after.append(cache)
        return self.norm(x), after

    def outputs(self, x: Float[Tensor, "B T D"], state: State) -> Float[Tensor, "B T D"]:
        for layer, cache in zip(self.layers, state, strict=True):
            x = cast(Layer, layer).outputs(x, cache, self.biases)
        return self.norm(x)

    def step(self, x: Float[Tensor, "B D"], state: State) -> tuple[Float[Tensor, "B D"], State]:
        after = []
        for layer, cache in zip(self.layers, state, strict=True):
            x, cache = cast(Layer, layer).step(x, cache, self.biases)
            after.append(cache)
        return self.norm(x), after
