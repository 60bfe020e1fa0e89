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

from backbones.interface import SequenceCore, TrainingConfig, WorldSpec
from backbones.parts.block_config import SSMConfig
from backbones.parts.legs import check_state_size
from backbones.parts.s4_layer import S4Layer, check_ssm

PUBLISHED_TRAINING = TrainingConfig(
    learning_rate=1e-3, ssm_learning_rate=1e-3, weight_decay=0.01, clip_norm=1000.0, batch_size=8, schedule="cosine"
)


@dataclass(frozen=True, kw_only=True)
class Config(SSMConfig):
    """S4WM. The number of blocks, of layers in them and the MLP are the paper's (6, 2, 2048 units)."""

    state_size: int = 64
    """N, real numbers of state a channel (64, the S4 default, gives the published totals)."""
    kernel: str = "dplr"
    """``dplr``: diagonal plus rank one from HiPPO-LegS (S4). ``diagonal``: S4D-Lin."""
    discretisation: str = "bilinear"
    """``bilinear``, or ``zoh`` for diagonal kernels."""
    clip: float | None = None
    """Cut of the imaginary part of B. None in this model (true LegS); 2 is a default of the S4 authors' code."""

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "debug": {"state_size": 8},
        "small": {"state_size": 16},
        "matched_state": {"width": 56, "blocks": 2, "state_size": 8},
        "paper_2d": {"training": PUBLISHED_TRAINING},
        "paper_3d": {"training": PUBLISHED_TRAINING},
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_state_size(self.state_size)
        check_ssm(self.kernel, self.discretisation)

    def build_layer(self, width: int, spec: WorldSpec) -> SequenceCore:
        return S4Layer(width, self.state_size, self.dt_range(spec), self.kernel, self.discretisation, self.clip)
