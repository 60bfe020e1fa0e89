"""Configurations of stacks in S4WM's form: blocks of some sequence layers and one MLP, pre-norm."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from backbones.interface import SequenceCore, WorldSpec
from backbones.parts.latent_world_model import CoreConfig
from backbones.parts.residual_stack import FeedForward, ResidualStack


@dataclass(frozen=True, kw_only=True)
class BlockConfig(CoreConfig):
    """Give ``build_layer``, and a world model with a stack of such layers is complete."""

    blocks: int = 6
    """Blocks of sequence layers and one MLP (S4WM: 6)."""
    layers_per_block: int = 2
    """Sequence layers in a block (S4WM: 2)."""
    mlp_expansion: int = 4
    """Hidden units of the MLP over the width (S4WM: 2048 over 512); 0 for no MLP."""

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "debug": {"blocks": 1, "mlp_expansion": 2},
        "small": {"blocks": 2, "mlp_expansion": 2},
        "standard": {"blocks": 4},
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.blocks < 1 or self.layers_per_block < 1 or self.mlp_expansion < 0:
            raise ValueError(
                f"{self.blocks} blocks of {self.layers_per_block} layers, MLP expansion {self.mlp_expansion}; "
                "at least 1, 1 and 0"
            )

    @abstractmethod
    def build_layer(self, width: int, spec: WorldSpec) -> SequenceCore:
        """One sequence layer."""

    def build_core(self, width: int, spec: WorldSpec) -> SequenceCore:
        layers: list[nn.Module] = []
        for _ in range(self.blocks):
            layers += [self.build_layer(width, spec) for _ in range(self.layers_per_block)]
            if self.mlp_expansion:
                layers.append(FeedForward(width, self.mlp_expansion))
        return ResidualStack(width, layers)


@dataclass(frozen=True, kw_only=True)
class SSMConfig(BlockConfig):
    """Blocks of layers that sample a continuous system, each channel or state with a time step of its own."""

    dt_min: float | None = 1e-3
    """Smallest initial time step (S4, S5: 0.001); none for 0.4 over the episode length, so that 1 / dt spans it."""
    dt_max: float = 1e-1
    """Largest initial time step (S4, S5: 0.1)."""

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "debug": {"dt_min": None, "dt_max": 0.2},
        "small": {"dt_min": None, "dt_max": 0.2},
        "standard": {"dt_min": None},
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < (self.dt_min or self.dt_max / 2) < self.dt_max:
            raise ValueError(f"time steps from {self.dt_min} to {self.dt_max}: both positive, the first one smaller")

    def dt_range(self, spec: WorldSpec) -> tuple[float, float]:
        """Smallest and largest initial time step in this world."""
        return min(0.4 / spec.length, self.dt_max / 2) if self.dt_min is None else self.dt_min, self.dt_max
