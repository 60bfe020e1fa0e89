"""S4 and S4D layers (Gu et al., 2022a, 2022b): a state space model a channel, GELU, and a gated mix of the channels."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from backbones.interface import SequenceCore
from backbones.parts import ssm_step, state_space
from backbones.parts.discrete_system import DiscreteSystem, bilinear_diagonal, bilinear_dplr, zero_order_hold
from backbones.parts.layers import full_precision
from backbones.parts.legs import legs_dplr, s4d_lin
from backbones.parts.ssm_step import Stepper
from backbones.parts.weight_cache import WeightCache


class S4Layer(SequenceCore):
    """``y = GLU(W gelu(SSM(x) + D x))``. Poles, B and P are shared by all channels; C, D and the time step are not.

    The parameters stand for ``A = diag(-exp(log_decay) + i frequency) - P P*`` (without P where ``kernel`` is
    ``diagonal``), ``B``, the true ``C`` and ``dt = exp(log_dt)``; complex ones have a last axis of two. State: one of
    each conjugate pair, ``(B, D, N / 2)`` complex; None stands for zeros.

    Raises ``ValueError`` for an odd state size, and for an unknown kernel or discretisation.
    """

    def __init__(
        self,
        width: int,
        state_size: int,
        dt_range: tuple[float, float] = (1e-3, 1e-1),
        kernel: str = "dplr",
        discretisation: str = "bilinear",
        clip: float | None = None,
    ) -> None:
        super().__init__()
        check_ssm(kernel, discretisation)
        self.discretisation = discretisation
        if kernel == "dplr":
            poles, low_rank, drive = legs_dplr(state_size, clip)
            self.low_rank: nn.Parameter | None = _complex_parameter(low_rank)
        else:
            poles, drive = s4d_lin(state_size)
            self.low_rank = None
        self.log_decay = nn.Parameter((-poles.real).log().float())
        self.frequency = nn.Parameter(poles.imag.float())
        self.drive = _complex_parameter(drive)
        self.readout = _complex_parameter(torch.randn(width, state_size // 2, dtype=torch.complex64))
        low, high = (math.log(limit) for limit in dt_range)
        self.log_dt = nn.Parameter(torch.rand(width) * (high - low) + low)
        self.skip = nn.Parameter(torch.randn(width))
        self.mix = nn.Linear(width, 2 * width)
        self._folded: WeightCache[Stepper] = WeightCache()

    def initial_state(self, batch_size: int) -> None:
        return None

    def forward(
        self, x: Float[Tensor, "B T D"], state: Complex[Tensor, "B D n"] | None
    ) -> tuple[Float[Tensor, "B T D"], Complex[Tensor, "B D n"]]:
        with torch.autocast(x.device.type, enabled=False):
            inputs = full_precision(x).transpose(1, 2)
            y, state = state_space.run_and_end(self.system(), inputs, state)
        return self._finish(y.transpose(1, 2), x), state

    def outputs(self, x: Float[Tensor, "B T D"], state: Complex[Tensor, "B D n"] | None) -> Float[Tensor, "B T D"]:
        with torch.autocast(x.device.type, enabled=False):
            y = state_space.run(self.system(), full_precision(x).transpose(1, 2), state)
        return self._finish(y.transpose(1, 2), x)

    def step(
        self, x: Float[Tensor, "B D"], state: Complex[Tensor, "B D n"] | None
    ) -> tuple[Float[Tensor, "B D"], Complex[Tensor, "B D n"]]:
        with torch.autocast(x.device.type, enabled=False):
            stepper = self._stepper()
            if state is None:
                state = stepper.decay.new_zeros(len(x), *stepper.decay.shape)
            y, state = ssm_step.step(stepper, full_precision(x), state)
        return self._finish(y, x), state

    def prepare(self) -> None:
        self._stepper()

    def ssm_parameters(self) -> Iterator[nn.Parameter]:
        yield from (self.log_decay, self.frequency, self.drive, self.log_dt)
        if self.low_rank is not None:
            yield self.low_rank

    def system(self) -> DiscreteSystem:
        """The discretised system that the parameters stand for."""
        poles = torch.complex(-self.log_decay.double().exp(), self.frequency.double()).unsqueeze(0)
        drive, readout = torch.view_as_complex(self.drive).unsqueeze(0), torch.view_as_complex(self.readout)
        dt = self.log_dt.double().exp()
        if self.low_rank is not None:
            low_rank = torch.view_as_complex(self.low_rank).unsqueeze(0)
            return bilinear_dplr(poles, low_rank, drive, readout, dt)
        discretise = zero_order_hold if self.discretisation == "zoh" else bilinear_diagonal
        return discretise(poles, drive, readout, dt)

    def _finish(self, y: Float[Tensor, "*batch D"], x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        # x first: the sum takes its memory layout, and y comes with channels before time.
        y = nn.functional.gelu(x * self.skip + y)
        return nn.functional.glu(self.mix(y), -1)

    def _stepper(self) -> Stepper:
        state_dtype = torch.complex128 if self.skip.dtype == torch.float64 else torch.complex64
        return self._folded.get(self.parameters(), lambda: ssm_step.fold(self.system(), state_dtype))


def check_ssm(kernel: str, discretisation: str) -> None:
    """Raises ``ValueError`` for settings that no S4 layer has."""
    if kernel not in ("dplr", "diagonal"):
        raise ValueError(f"kernel is {kernel!r}; allowed: 'dplr', 'diagonal'")
    if discretisation not in ("bilinear", "zoh"):
        raise ValueError(f"discretisation is {discretisation!r}; allowed: 'bilinear', 'zoh'")
    if kernel == "dplr" and discretisation != "bilinear":
        raise ValueError(f"discretisation {discretisation!r} needs a diagonal A; with kernel 'dplr' use 'bilinear'")


def _complex_parameter(value: Tensor) -> nn.Parameter:
    return nn.Parameter(torch.view_as_real(value.to(torch.complex64)).clone())
