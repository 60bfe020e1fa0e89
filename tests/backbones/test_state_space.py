"""Fast forms of state space models against their literal twins, outputs and gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from backbones.parts.decay_powers import DecayPowers, exact_product
from backbones.parts.discrete_system import DiscreteSystem, bilinear_diagonal, bilinear_dplr, zero_order_hold
from backbones.parts.legs import legs_dplr, s4d_lin
from backbones.parts.power_series import convolve, delayed, fft_length, loop_response
from backbones.parts.ssm_step import fold, step
from backbones.parts.state_space import kernel, run, run_and_end
from tests.backbones import s4_twins

LENGTHS = [1, 2, 3, 16, 17, 63, 128]
KINDS = ["dplr", "bilinear", "zoh"]
CHANNELS, STATE = 3, 16


def parameters(kind: str, dtype: torch.dtype = torch.complex128) -> list[Tensor]:
    """Continuous systems that are a little off their initialisation, one a channel, as leaves."""
    real = torch.float64 if dtype == torch.complex128 else torch.float32
    poles, *rest = legs_dplr(STATE) if kind == "dplr" else s4d_lin(STATE)
    values = [value.expand(CHANNELS, -1) * (1 + 0.1 * torch.rand(CHANNELS, STATE // 2)) for value in (poles, *rest)]
    readout = torch.randn(CHANNELS, STATE // 2, dtype=torch.complex128)
    dt = torch.logspace(-3, -0.5, CHANNELS, dtype=torch.float64)
    return [value.to(dtype).requires_grad_() for value in (*values, readout)] + [dt.to(real).requires_grad_()]


def discretise(kind: str, values: list[Tensor]) -> DiscreteSystem:
    if kind == "dplr":
        return bilinear_dplr(*values)
    return (zero_order_hold if kind == "zoh" else bilinear_diagonal)(*values)


def check_same_gradients(actual: Tensor, expected: Tensor, leaves: list[Tensor], tolerance: float = 1e-9) -> None:
    """Values, and gradients of a random projection, agree relative to the largest one."""
    assert (actual - expected).abs().max() <= tolerance * max(1, expected.abs().max())
    direction = torch.randn_like(expected)
    first = torch.autograd.grad((actual * direction).sum(), leaves, retain_graph=True)
    second = torch.autograd.grad((expected * direction).sum(), leaves, retain_graph=True)
    for one, other in zip(first, second, strict=True):
        assert (one - other).abs().max() <= tolerance * max(1, other.abs().max())


@pytest.mark.parametrize("length", LENGTHS)
def test_kernel_equals_cauchy_form(length: int) -> None:
    values = parameters("dplr")
    system = discretise("dplr", values)
    poles, low_rank, drive, readout, dt = values
    truncated = s4_twins.truncated(system, readout, length)
    expected = s4_twins.cauchy_kernel(poles, low_rank, drive, truncated, dt, length)
    check_same_gradients(kernel(system, length, torch.float64), expected, values)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("kind", ["bilinear", "zoh"])
def test_kernel_equals_vandermonde_form(kind: str, length: int) -> None:
    values = parameters(kind)
    system = discretise(kind, values)
    expected = s4_twins.vandermonde_kernel(system, length, torch.complex128)
    check_same_gradients(kernel(system, length, torch.float64), expected, values)


@pytest.mark.parametrize("begin", ["zero", "state"])
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_sequence_equals_dense_steps(kind: str, length: int, begin: str) -> None:
    values = parameters(kind)
    system = discretise(kind, values)
    inputs = torch.randn(2, CHANNELS, length, dtype=torch.float64, requires_grad=True)
    state = (
        torch.randn(2, CHANNELS, STATE // 2, dtype=torch.complex128, requires_grad=True) if begin == "state" else None
    )
    leaves = [*values, inputs] + ([] if state is None else [state])
    expected, expected_end = s4_twins.dense_steps(system, inputs, state)
    y, end = run_and_end(system, inputs, state)
    check_same_gradients(y, expected, leaves)
    check_same_gradients(run(system, inputs, state), expected, leaves)
    states = [value for value in leaves if value is not values[-2]]  # the state does not depend on C
    check_same_gradients(torch.view_as_real(end), torch.view_as_real(expected_end), states)


@pytest.mark.parametrize("kind", KINDS)
def test_folded_steps_equal_dense_steps(kind: str) -> None:
    values = parameters(kind)
    system = discretise(kind, values)
    inputs = torch.randn(2, CHANNELS, 9, dtype=torch.float64, requires_grad=True)
    state = begin = torch.randn(2, CHANNELS, STATE // 2, dtype=torch.complex128, requires_grad=True)
    stepper, outputs = fold(system, torch.complex128), []
    for u in inputs.unbind(-1):
        y, state = step(stepper, u, state)
        outputs.append(y)
    expected, end = s4_twins.dense_steps(system, inputs, begin)
    check_same_gradients(torch.stack(outputs, -1), expected, [*values, inputs, begin])
    torch.testing.assert_close(state, end)


@pytest.mark.parametrize("kind", KINDS)
def test_float32_is_good_to_four_digits_over_a_thousand_steps(kind: str) -> None:
    values = parameters(kind, torch.complex64)
    system = discretise(kind, values)
    inputs = torch.randn(1, CHANNELS, 1000, dtype=torch.float64)
    expected, end = s4_twins.dense_steps(system, inputs, None)
    y, actual_end = run_and_end(system, inputs.float(), None)
    assert (y - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert (actual_end - end).abs().max() <= 1e-4 * end.abs().max()
    gradients = [torch.autograd.grad(out.square().sum(), values, retain_graph=True) for out in (y, expected)]
    for one, other in zip(*gradients, strict=True):
        assert (one - other).abs().max() <= 1e-3 * other.abs().max()


def test_loop_stays_bounded_for_any_parameters() -> None:
    """Also far from the initialisation, with time steps of a hundred units, no power grows."""
    shape = (50, 8)
    poles = torch.complex(-torch.rand(shape, dtype=torch.float64) * 10, torch.randn(shape, dtype=torch.float64) * 100)
    low_rank, drive, readout = (torch.randn(shape, dtype=torch.complex128) * 30 for _ in range(3))
    dt = torch.logspace(-4, 2, shape[0], dtype=torch.float64)
    system = bilinear_dplr(poles, low_rank, drive, readout, dt)
    assert system.decay.abs().max() < 1
    assert system.feedback is not None
    norms = [math.sqrt(2) * part.norm(dim=1) for part in system.feedback]
    assert (norms[0] * norms[1]).max() <= 2 + 1e-9
    single, double = (kernel(system, 500, dtype) for dtype in (torch.float32, torch.float64))
    assert ((single - double).abs().amax(1) <= 1e-3 * double.abs().amax(1)).all()


@pytest.mark.parametrize("length", LENGTHS)
def test_convolution_is_the_causal_sum(length: int) -> None:
    response = torch.randn(CHANNELS, length, dtype=torch.float64, requires_grad=True)
    inputs = torch.randn(2, CHANNELS, length, dtype=torch.float64, requires_grad=True)
    expected = s4_twins.direct_convolution(response, inputs)
    check_same_gradients(convolve(response, inputs), expected, [response, inputs])


@pytest.mark.parametrize("length", LENGTHS)
def test_loop_response_closes_the_loop(length: int) -> None:
    """``r = 1 + z a r``, term by term, and its gradient."""
    a = torch.randn(CHANNELS, length, dtype=torch.float64)
    a = (a / a.abs().sum(1, keepdim=True)).requires_grad_()
    terms = [torch.ones(CHANNELS, dtype=torch.float64) + 0 * a[:, 0]]
    for k in range(1, length):
        terms.append(torch.stack([a[:, j] * terms[k - 1 - j] for j in range(k)]).sum(0))
    check_same_gradients(loop_response(a), torch.stack(terms, -1), [a])


def test_delay_drops_the_last_term() -> None:
    assert delayed(torch.arange(4.0)).tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize(("length", "expected"), [(1, 1), (7, 8), (127, 128), (1001, 1024), (1999, 2000), (4001, 4050)])
def test_fft_length_has_small_factors(length: int, expected: int) -> None:
    assert fft_length(length) == expected


@pytest.mark.parametrize("length", LENGTHS)
def test_two_level_products_equal_long_tables(length: int) -> None:
    decay = torch.polar(torch.rand(CHANNELS, 4, dtype=torch.float64) * 0.5 + 0.5, torch.randn(CHANNELS, 4).double())
    powers = torch.stack([decay**k for k in range(length)], 1)  # (H, L, n)
    tables = DecayPowers(decay, length, torch.float64)
    weights = torch.randn(CHANNELS, 5, 4, dtype=torch.complex128)
    expected = 2 * torch.einsum("hrn,hln->hrl", weights, powers).real
    torch.testing.assert_close(tables.responses(weights), expected, rtol=0, atol=1e-12)
    sequences = torch.randn(CHANNELS, 5, length, dtype=torch.float64)
    expected = torch.einsum("hrl,hln->hrn", sequences.to(powers.dtype), powers.flip(1))
    torch.testing.assert_close(tables.totals(sequences), expected, rtol=0, atol=1e-12)


def test_exact_product_ignores_autocast_in_both_directions() -> None:
    a, b = torch.randn(2, 3, 4, requires_grad=True), torch.randn(2, 4, 5, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        product = exact_product(a, b)
        gradients = torch.autograd.grad(product.square().sum(), [a, b])
        assert (a @ b).dtype == torch.bfloat16
    expected = a @ b
    torch.testing.assert_close(product, expected)
    for one, other in zip(gradients, torch.autograd.grad(expected.square().sum(), [a, b]), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_cpu_even_with_tf32() -> None:
    values = parameters("dplr", torch.complex64)
    inputs = torch.randn(2, CHANNELS, 500)
    expected = run_and_end(discretise("dplr", values), inputs, None)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        system = discretise("dplr", [value.detach().cuda() for value in values])
        actual = run_and_end(system, inputs.cuda(), None)
    finally:
        torch.set_float32_matmul_precision(before)
    for one, other in zip(actual, expected, strict=True):
        assert (one.cpu() - other).abs().max() <= 1e-4 * other.abs().max()
