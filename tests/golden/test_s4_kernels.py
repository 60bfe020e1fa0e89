"""S4 and S4D against the reference implementation's numbers: kernels, convolutions, recurrences, states.

Another folder with files of the same names is read from ``GOLDEN_DIR``.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from backbones.parts.discrete_system import DiscreteSystem, bilinear_diagonal, bilinear_dplr, zero_order_hold
from backbones.parts.ssm_step import fold, step
from backbones.parts.state_space import kernel, run, run_and_end

FOLDER = Path(os.environ.get("GOLDEN_DIR", Path(__file__).parent / "data"))
FILES = {
    name: {key: np.asarray(value) for key, value in np.load(FOLDER / f"{name}.npz", allow_pickle=False).items()}
    for name in ("s4_dplr_kernel", "s4_diag_kernel")
}
CASES = [(name, case) for name, arrays in FILES.items() for case in range(int(arrays["n_cases"]))]
PRECISIONS = {"float64": (torch.float64, torch.complex128), "float32": (torch.float32, torch.complex64)}


class Case:
    """One case of a file, its arrays in one precision."""

    def __init__(self, file: str, case: int, precision: str) -> None:
        self.precision = precision
        self.real, self.complex = PRECISIONS[precision]
        self.arrays = FILES[file]
        self.prefix = f"c{case}_"
        shared = (self["B"], self["C"], self["dt"])
        if file == "s4_dplr_kernel":
            self.system = bilinear_dplr(self["Lambda"], self["P"], *shared)
        elif self.arrays["disc_is_zoh"][case]:
            self.system = zero_order_hold(self["Lambda"], *shared)
        else:
            self.system = bilinear_diagonal(self["Lambda"], *shared)

    def __getitem__(self, name: str) -> Tensor:
        value = torch.from_numpy(self.arrays[self.prefix + name])
        return value.to(self.complex if value.is_complex() else self.real)

    def agrees(self, actual: Tensor, name: str, part: slice | int = slice(None)) -> None:
        """1e-9 in float64; 1e-3 of the largest value in float32. ``part`` indexes the last axis."""
        expected = torch.from_numpy(self.arrays[self.prefix + name])
        allowed = 1e-9 if self.precision == "float64" else 1e-3 * float(expected.abs().max())
        expected = expected[..., part]
        assert actual.shape == expected.shape
        assert float((actual - expected).abs().max()) <= allowed, name


@pytest.fixture(params=[(*case, precision) for case in CASES for precision in PRECISIONS], ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(*request.param)


def test_files_hold_cases() -> None:
    assert {name for name, _ in CASES} == set(FILES)


def test_kernel(case: Case) -> None:
    case.agrees(kernel(case.system, case["K"].shape[-1], case.real), "K")


def test_convolution(case: Case) -> None:
    u = case["u"]
    case.agrees(run(case.system, u, None) + case["D"].unsqueeze(1) * u, "y")


def test_sequence_from_a_state(case: Case) -> None:
    u = case["u"]
    y, end = run_and_end(case.system, u, case["x0"])
    case.agrees(y + case["D"].unsqueeze(1) * u, "y_from_x0")
    case.agrees(end, "x_final")
    case.agrees(run(case.system, u, case["x0"]) + case["D"].unsqueeze(1) * u, "y_from_x0")


def test_recurrence(case: Case) -> None:
    u, state, stepper = case["u"], case["x0"], fold(case.system, case.complex)
    outputs, states = [], []
    for t in range(u.shape[-1]):
        y, state = step(stepper, u[..., t], state)
        outputs.append(y)
        states.append(state)
    case.agrees(torch.stack(outputs, -1) + case["D"].unsqueeze(1) * u, "y_from_x0")
    case.agrees(torch.stack(states[:8], -1), "x_first8")
    case.agrees(state, "x_final")


def test_states_along_the_way(case: Case) -> None:
    """The final state of a sequence that is cut after t inputs is the state after t inputs."""
    for t in range(case["x_first8"].shape[-1]):
        u = case["u"][..., : t + 1].contiguous()
        case.agrees(run_and_end(case.system, u, case["x0"])[1], "x_first8", t)


def test_a_system_is_told_from_the_other_discretisation() -> None:
    """The tolerances can tell: the bilinear transform of a zoh case fails in float64."""
    for file, number in CASES:
        case = Case(file, number, "float64")
        if file == "s4_diag_kernel" and case.arrays["disc_is_zoh"][number]:
            case.system = bilinear_diagonal(case["Lambda"], case["B"], case["C"], case["dt"])
            with pytest.raises(AssertionError):
                test_kernel(case)


def test_a_system_is_discretised_in_double_precision() -> None:
    assert all(value.dtype == torch.complex128 for value in Case(*CASES[0], "float32").system[:3])
    assert isinstance(Case(*CASES[0], "float32").system, DiscreteSystem)
