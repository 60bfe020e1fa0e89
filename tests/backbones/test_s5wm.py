"""S5: the parallel scan against a loop, the layer against its definition, its initial poles."""

from __future__ import annotations

import pytest
import torch

from backbones.interface import DiscreteSpec, ImageSpec, WorldSpec
from backbones.parts.legs import hippo_legs
from backbones.parts.linear_scan import linear_scan
from backbones.s5wm import Config, S5Layer


@pytest.mark.parametrize("time", [1, 2, 3, 5, 16, 17, 63])
def test_scan_equals_loop(time: int) -> None:
    decay = torch.polar(torch.rand(6) * 0.4 + 0.6, torch.randn(6)).to(torch.complex128).requires_grad_()
    inputs = torch.randn(2, time, 6, dtype=torch.complex128, requires_grad=True)
    kept, state, states = inputs.detach().clone(), torch.zeros(2, 6, dtype=torch.complex128), []
    for t in range(time):
        state = decay * state + inputs[:, t]
        states.append(state)
    expected, actual = torch.stack(states, 1), linear_scan(decay, inputs)
    torch.testing.assert_close(actual, expected)
    assert torch.equal(inputs, kept)  # nothing is written to the argument
    direction = torch.randn_like(expected)
    for one, other in zip(
        *(
            torch.autograd.grad((y * direction).real.sum(), [inputs, decay], retain_graph=True)
            for y in (actual, expected)
        ),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_layer_is_the_discretised_system() -> None:
    """``x_k = exp(dt Lambda) x_{k-1} + (exp(dt Lambda) - 1) / Lambda B u_k``, ``y = 2 Re C x + D u``, then the gate."""
    layer, u = S5Layer(5, 12, 2, (0.05, 0.5)), torch.randn(2, 9, 5)
    poles = torch.complex(-layer.log_decay.exp(), layer.frequency)
    decay = (layer.log_dt.exp() * poles).exp()
    drive, readout = torch.view_as_complex(layer.drive), torch.view_as_complex(layer.readout)
    state, outputs = torch.zeros(2, 6, dtype=torch.complex64), []
    for frame in u.unbind(1):
        state = decay * state + (decay - 1) / poles * (frame.to(drive.dtype) @ drive.T)
        outputs.append(2 * (state @ readout.T).real + layer.skip * frame)
    y = torch.stack(outputs, 1)
    expected = y * layer.gate(torch.nn.functional.gelu(y)).sigmoid()
    actual, end = layer(u, None)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(end, state, atol=1e-5, rtol=1e-4)


def test_initial_poles_are_those_of_hippo_n() -> None:
    layer = S5Layer(4, 24, 3, (1e-3, 1e-1))
    a, _ = hippo_legs(8)
    low_rank = (torch.arange(8) + 0.5).double().sqrt()
    poles = torch.linalg.eigvals(a + torch.outer(low_rank, low_rank))
    expected = sorted(poles.imag[poles.imag < 0].tolist() * 3)
    torch.testing.assert_close(sorted(layer.frequency.tolist()), expected, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(layer.log_decay.exp(), torch.full((12,), 0.5))


def test_blocks_that_do_not_divide_the_state_are_refused() -> None:
    spec = WorldSpec(ImageSpec(16, 16), DiscreteSpec(3), 4, 3)
    with pytest.raises(ValueError, match="state_size 16 .* state_blocks=3"):
        Config.preset("debug", spec, state_blocks=3)
    with pytest.raises(ValueError, match="state_size is 15"):
        Config.preset("debug", spec, state_size=15)
