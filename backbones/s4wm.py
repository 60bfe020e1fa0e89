"""S4WM (Deng, Park and Ahn, 2023): a world model whose history encoder is a stack of S4 layers.

History encoder: blocks of ``[S4, S4, MLP]``, pre-norm, with a LayerNorm at the end (paper, appendix B.1 and tables 7
and 8). The rest, from encoder to loss, is ``parts/latent_world_model.py``. What the paper leaves open is a field
whose line says so; the published totals (41.1 M parameters in 3D, 28.1 M in 2D) are met to the last digit.

Variants are values: ``mlp_expansion=0`` is S4WM-No-MLP, ``posterior="full_history"`` is S4WM-Full-Posterior,
``kernel="diagonal"`` is S4D (Gu et al., 2022b) in the same place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from backbones.interface import SequenceCore, TrainingConfig, WorldSpec
from backbones.parts.latent_world_model import CoreConfig
from backbones.parts.legs import check_state_size
from backbones.parts.residual_stack import FeedForward, ResidualStack
from backbones.parts.s4_layer import S4Layer, check_ssm

PUBLISHED_TRAINING = TrainingConfig(
    learning_rate=1e-3, ssm_learning_rate=1e-3, weight_decay=0.01, clip_norm=1000.0, batch_size=8, schedule="cosine"
)


@dataclass(frozen=True, kw_only=True)
class Config(CoreConfig):
    """S4WM."""

    blocks: int = 6
    """Blocks of S4 layers and one MLP (paper: 6)."""
    layers_per_block: int = 2
    """S4 layers in a block (paper: 2)."""
    mlp_expansion: int = 4
    """Hidden units of the MLP over the width (paper: 2048 over 512); 0 for no MLP."""
    state_size: int = 64
    """N, real numbers of state a channel (64, the S4 default, gives the published totals)."""
    kernel: str = "dplr"
    """``dplr``: diagonal plus rank one from HiPPO-LegS (S4). ``diagonal``: S4D-Lin."""
    discretisation: str = "bilinear"
    """``bilinear``, or ``zoh`` for diagonal kernels."""
    dt_min: float | None = 1e-3
    """Smallest initial time step (S4 default 0.001); none for 0.4 over the episode length, so that 1 / dt spans it."""
    dt_max: float = 1e-1
    """Largest initial time step (S4 default)."""
    clip: float | None = None
    """Cut of the imaginary part of B. None in this model (true LegS); 2 is a default of the S4 authors' code."""

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "debug": {"blocks": 1, "mlp_expansion": 2, "state_size": 8, "dt_min": None, "dt_max": 0.2},
        "small": {"blocks": 2, "mlp_expansion": 2, "state_size": 16, "dt_min": None, "dt_max": 0.2},
        "standard": {"blocks": 4, "dt_min": None},
        "paper_2d": {"training": PUBLISHED_TRAINING},
        "paper_3d": {"training": PUBLISHED_TRAINING},
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_state_size(self.state_size)
        check_ssm(self.kernel, self.discretisation, (self.dt_min or self.dt_max / 2, self.dt_max))
        if self.blocks < 1 or self.layers_per_block < 1 or self.mlp_expansion < 0:
            raise ValueError(
                f"{self.blocks} blocks of {self.layers_per_block} layers, MLP expansion {self.mlp_expansion}; "
                "at least 1, 1 and 0"
            )

    def build_core(self, width: int, spec: WorldSpec) -> SequenceCore:
        dt_min = min(0.4 / spec.length, self.dt_max / 2) if self.dt_min is None else self.dt_min
        layers: list[nn.Module] = []
        for _ in range(self.blocks):
            for _ in range(self.layers_per_block):
                dt_range = (dt_min, self.dt_max)
                layers.append(S4Layer(width, self.state_size, dt_range, self.kernel, self.discretisation, self.clip))
            if self.mlp_expansion:
                layers.append(FeedForward(width, self.mlp_expansion))
        return ResidualStack(width, layers)
