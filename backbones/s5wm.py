"""S5WM: S4WM's scheme with S5 layers, state space models with many inputs and outputs (Smith et al., 2023).

One diagonal system a layer reads and writes all channels, ``x_k = Lambdabar x_{k-1} + Bbar u_k``,
``y_k = 2 Re C x_k + D u_k``, zero-order hold, computed by a parallel scan instead of a convolution. Poles begin as
those of HiPPO-N in blocks on the diagonal, B and C as random matrices in their eigenbases, and the output is
``y * sigmoid(W gelu(y))``, all as in S5.

Blocks are those of S4WM, ``[S5, S5, MLP]``, so that nothing but the layer differs (our choice: no list of layers of a
world model with S5 is published together with its totals).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from backbones.interface import SequenceCore, WorldSpec
from backbones.parts.block_config import SSMConfig
from backbones.parts.layers import full_precision
from backbones.parts.legs import check_state_size, legs_basis
from backbones.parts.linear_scan import linear_scan
from backbones.parts.weight_cache import WeightCache
from backbones.s4wm import PUBLISHED_TRAINING


@dataclass(frozen=True, kw_only=True)
class Config(SSMConfig):
    """S5WM."""

    state_size: int = 512
    """Real numbers of state in a layer, for all channels together (our choice: the width)."""
    state_blocks: int = 8
    """Blocks of HiPPO-N on the diagonal at initialisation (S5's J; 8 in most of its experiments)."""

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "debug": {"state_size": 16, "state_blocks": 2},
        "small": {"state_size": 192, "state_blocks": 4},
        "standard": {"state_size": 256},
        "matched_state": {"blocks": 2, "state_size": 448},
        "paper_2d": {"training": PUBLISHED_TRAINING},
        "paper_3d": {"training": PUBLISHED_TRAINING},
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_state_size(self.state_size)
        if self.state_blocks < 1 or self.state_size % (2 * self.state_blocks):
            raise ValueError(
                f"state_size {self.state_size} cannot be cut into state_blocks={self.state_blocks} equal blocks of "
                "conjugate pairs; choose a multiple of twice the blocks"
            )

    def build_layer(self, width: int, spec: WorldSpec) -> SequenceCore:
        return S5Layer(width, self.state_size, self.state_blocks, self.dt_range(spec))


class Matrices(NamedTuple):
    """A discretised layer: ``decay`` complex, the maps into and out of the state real, two numbers a state."""

    decay: Complex[Tensor, " n"]
    write: Float[Tensor, "D twice_n"]
    read: Float[Tensor, "twice_n D"]


class S5Layer(SequenceCore):
    """One S5 layer. State: ``(B, N / 2)`` complex; None stands for zeros."""

    def __init__(self, width: int, state_size: int, blocks: int, dt_range: tuple[float, float]) -> None:
        super().__init__()
        frequency, vectors = legs_basis(state_size // blocks)  # vectors: columns, one of each conjugate pair
        pairs = state_size // 2
        self.log_decay = nn.Parameter(torch.full((pairs,), math.log(0.5)))
        self.frequency = nn.Parameter(frequency.float().repeat(blocks))
        basis = torch.block_diag(*[vectors] * blocks)  # (N, pairs)
        inputs = torch.randn(state_size, width, dtype=torch.float64) / math.sqrt(width)
        outputs = torch.randn(width, state_size, dtype=torch.float64) / math.sqrt(state_size)
        self.drive = _complex_parameter(basis.conj().T @ inputs.to(basis.dtype))  # (pairs, D, 2)
        self.readout = _complex_parameter(outputs.to(basis.dtype) @ basis)  # (D, pairs, 2)
        low, high = (math.log(limit) for limit in dt_range)
        self.log_dt = nn.Parameter(torch.rand(pairs) * (high - low) + low)
        self.skip = nn.Parameter(torch.randn(width))
        self.gate = nn.Linear(width, width)
        self._folded: WeightCache[Matrices] = WeightCache()

    def initial_state(self, batch_size: int) -> None:
        return None

    def forward(
        self, x: Float[Tensor, "B T D"], state: Complex[Tensor, "B n"] | None
    ) -> tuple[Float[Tensor, "B T D"], Complex[Tensor, "B n"]]:
        with torch.autocast(x.device.type, enabled=False):
            decay, write, read = self._matrices()
            inputs = torch.view_as_complex((full_precision(x) @ write).unflatten(-1, (-1, 2)))
            if state is not None:
                inputs = torch.cat([inputs[:, :1] + (decay * state).unsqueeze(1), inputs[:, 1:]], 1)
            states = linear_scan(decay, inputs)
            y = torch.view_as_real(states).flatten(-2) @ read
        return self._finish(y, x), states[:, -1]

    def step(
        self, x: Float[Tensor, "B D"], state: Complex[Tensor, "B n"] | None
    ) -> tuple[Float[Tensor, "B D"], Complex[Tensor, "B n"]]:
        with torch.autocast(x.device.type, enabled=False):
            decay, write, read = self._folded.get(self.parameters(), self._matrices)
            after = torch.view_as_complex((full_precision(x) @ write).unflatten(-1, (-1, 2)))
            after = after if state is None else after + decay * state
            y = torch.view_as_real(after).flatten(-2) @ read
        return self._finish(y, x), after

    def prepare(self) -> None:
        self._folded.get(self.parameters(), self._matrices)

    def ssm_parameters(self) -> Iterator[nn.Parameter]:
        yield from (self.log_decay, self.frequency, self.drive, self.log_dt)

    def _matrices(self) -> Matrices:
        """Zero-order hold; in double precision as far as powers depend on it."""
        poles = torch.complex(-self.log_decay.double().exp(), self.frequency.double())
        decay = (self.log_dt.double().exp() * poles).exp()
        drive = ((decay - 1) / poles).unsqueeze(1) * torch.view_as_complex(self.drive)
        write = torch.view_as_real(drive.T).flatten(1)
        read = torch.view_as_real(2 * torch.view_as_complex(self.readout).conj().resolve_conj()).flatten(1).T
        real = self.skip.dtype
        return Matrices(decay.to(torch.complex128 if real == torch.float64 else torch.complex64), write.to(real), read)

    def _finish(self, y: Float[Tensor, "*batch D"], x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        y = torch.addcmul(y, x, self.skip)
        return y * self.gate(nn.functional.gelu(y)).sigmoid()


def _complex_parameter(value: Tensor) -> nn.Parameter:
    return nn.Parameter(torch.view_as_real(value.to(torch.complex64)).clone())
