"""A hybrid history encoder: state space layers carry the distant past, attention recalls the recent one by content.

S4WM holds what lies far back, attention weighs what it sees by context; how to have both in one world model is open.
Here every third layer attends, with Transformer-XL's relative positions and cached memory, to what the S5 layers below
it made of the whole history. Each layer is followed by an MLP of TSSM-XL's size. An S5 layer costs less than one of
attention, hence the stack is faster than TSSM-XL of equal width and depth, in training and in imagination, and caches
a third as much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from backbones.interface import SequenceCore, TrainingConfig, WorldSpec
from backbones.parts.attention import Cache, RelativeAttention
from backbones.parts.block_config import SSMConfig
from backbones.parts.residual_stack import FeedForward, ResidualStack
from backbones.s5wm import S5Layer


@dataclass(frozen=True, kw_only=True)
class Config(SSMConfig):
    """Hybrid of S5 and Transformer-XL. All sizes are our choice."""

    blocks: int = 4
    """Blocks of state space layers and one attention layer, each with its MLP."""
    mlp_expansion: int = 1
    """Hidden units of each MLP over the width (as TSSM-XL)."""
    state_size: int = 512
    """Real numbers of state in an S5 layer."""
    state_blocks: int = 8
    """Blocks of HiPPO-N in an S5 layer at initialisation."""
    heads: int = 8
    """Attention heads (as TSSM-XL)."""
    memory: int | None = 128
    """Frames before the open segment that attention sees (as TSSM-XL); none for half an episode."""

    parameter_dial: ClassVar[tuple[str, int] | None] = ("width", 4)

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "debug": {"mlp_expansion": 1, "state_size": 16, "state_blocks": 2, "heads": 2, "memory": 4},
        "small": {
            "blocks": 1,
            "mlp_expansion": 1,
            "state_size": 192,
            "state_blocks": 4,
            "heads": 4,
            "memory": None,
            "training": TrainingConfig(learning_rate=1e-3, batch_size=16, warmup_updates=50),
        },
        "standard": {"blocks": 2, "state_size": 256, "heads": 4, "memory": None},
        "matched_state": {"width": 64, "blocks": 1, "state_size": 448, "heads": 4, "memory": 4},
        "paper_2d": {"blocks": 3, "training": TrainingConfig(learning_rate=3e-4, batch_size=8)},
        "paper_3d": {"blocks": 4, "training": TrainingConfig(learning_rate=3e-4, batch_size=8)},
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heads < 1 or self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}; choose a divisor")
        if self.mlp_expansion < 1:
            raise ValueError(f"mlp_expansion is {self.mlp_expansion}; every layer has an MLP here: at least 1")

    def build_layer(self, width: int, spec: WorldSpec) -> SequenceCore:
        return S5Layer(width, self.state_size, self.state_blocks, self.dt_range(spec))

    def build_core(self, width: int, spec: WorldSpec) -> SequenceCore:
        memory = max(1, spec.length // 2) if self.memory is None else self.memory
        layers: list[nn.Module] = []
        for _ in range(self.blocks):
            mixers = [self.build_layer(width, spec) for _ in range(self.layers_per_block)]
            for mixer in (*mixers, AttentionLayer(width, self.heads, memory)):
                layers += [mixer, FeedForward(width, self.mlp_expansion)]
        return ResidualStack(width, layers)


class AttentionLayer(SequenceCore):
    """Relative attention over segments as long as the memory. State: its cache."""

    def __init__(self, width: int, heads: int, memory: int) -> None:
        super().__init__()
        self.attention = RelativeAttention(width, heads, memory, segment=memory, pre_norm=False)
        self.biases = nn.Parameter(torch.randn(2, heads, width // heads) * 0.02)  # u and v

    def initial_state(self, batch_size: int) -> Cache:
        return self.attention.initial_cache(batch_size)

    def forward(self, x: Float[Tensor, "B T D"], state: Cache) -> tuple[Float[Tensor, "B T D"], Cache]:
        return self.attention(x, state, self.biases)

    def outputs(self, x: Float[Tensor, "B T D"], state: Cache) -> Float[Tensor, "B T D"]:
        return self.attention.outputs(x, state, self.biases)

    def step(self, x: Float[Tensor, "B D"], state: Cache) -> tuple[Float[Tensor, "B D"], Cache]:
        return self.attention.step(x, state, self.biases)
