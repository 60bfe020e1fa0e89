"""Linear state space models over whole sequences: kernel, outputs, final state.

A system with feedback (``discrete_system.py``) is a diagonal one whose scalar ``q_k = 2 Re sense . x_{k-1}`` is fed
back. So all that S4 needs follows from diagonal responses and from the response of that one loop, as truncated power
series (``power_series.py``): with loop gain ``d``, ``K(z) = [C B](z) + z [C gain](z) [sense B](z) / (1 - z d(z))``.

This is exact for the first L steps with the true C. Evaluating the generating function at roots of unity (a Cauchy
product) needs C (I - Abar^L) instead, which either ties the weights to one length or costs a dense power of Abar a
channel; eigenvectors are no way out, those of LegS being conditioned like 1e7. All series stay bounded whatever the
parameters are: ``decay`` lies in the unit disc and ``|gain| |sense| <= 2``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Complex, Complex128, Float
from torch import Tensor

from backbones.parts.decay_powers import DecayPowers
from backbones.parts.discrete_system import DiscreteSystem
from backbones.parts.power_series import convolve, delayed, loop_response


def kernel(system: DiscreteSystem, length: int, real: torch.dtype) -> Float[Tensor, "H L"]:
    """``K_k = 2 Re C Abar^k Bbar`` for k < length, in the precision ``real``."""
    return _closed_loop(system, DecayPowers(system.decay, length, real)).kernel


def run(
    system: DiscreteSystem, inputs: Float[Tensor, "B H L"], state: Complex[Tensor, "B H n"] | None
) -> Float[Tensor, "B H L"]:
    """``y`` from all inputs at once, beginning with ``state`` (zero if None)."""
    return _run(system, inputs, state)[0]


def run_and_end(
    system: DiscreteSystem, inputs: Float[Tensor, "B H L"], state: Complex[Tensor, "B H n"] | None
) -> tuple[Float[Tensor, "B H L"], Complex[Tensor, "B H n"]]:
    """``y``, and the state after the last input."""
    outputs, loop, powers, fed_back = _run(system, inputs, state)
    rows = [inputs]
    weights = [system.drive]
    if system.feedback is not None:
        assert loop.sensed is not None
        sensed = convolve(delayed(loop.sensed), inputs)
        rows.append(sensed if fed_back is None else sensed + fed_back)
        weights.append(system.feedback.gain)
    batch = len(inputs)
    totals = powers.totals(torch.cat(rows).transpose(0, 1)).unflatten(1, (len(rows), batch))  # (H, rows, B, n)
    after = (totals * torch.stack(weights, 1).unsqueeze(2).to(totals.dtype)).sum(1).transpose(0, 1)
    if state is not None:
        after = after + state * _power(system.decay, inputs.shape[-1]).to(state.dtype)
    return outputs, after


class _Loop(NamedTuple):
    """Responses ``(H, L)`` of the whole system."""

    kernel: Tensor
    """y from u."""
    sensed: Tensor | None
    """What is fed back, one step later, from u."""
    response: Tensor | None
    """``1 / (1 - z d(z))``, d being the loop gain."""
    readout: Tensor | None
    """y from what is fed back, with the loop open."""


def _closed_loop(system: DiscreteSystem, powers: DecayPowers) -> _Loop:
    if system.feedback is None:
        return _Loop(powers.responses((system.readout * system.drive).unsqueeze(1)).squeeze(1), None, None, None)
    gain, sense = system.feedback
    weights = [system.readout * system.drive, system.readout * gain, sense * system.drive, sense * gain]
    direct, readout, sensed, loop_gain = powers.responses(torch.stack(weights, 1)).unbind(1)
    response = loop_response(loop_gain)
    sensed = convolve(sensed, response)
    return _Loop(direct + delayed(convolve(readout, sensed)), sensed, response, readout)


def _run(
    system: DiscreteSystem, inputs: Float[Tensor, "B H L"], state: Complex[Tensor, "B H n"] | None
) -> tuple[Tensor, _Loop, DecayPowers, Tensor | None]:
    """Outputs, and what the final state needs: responses, powers, and what the state feeds back."""
    powers = DecayPowers(system.decay, inputs.shape[-1], inputs.dtype)
    loop = _closed_loop(system, powers)
    outputs = convolve(loop.kernel, inputs)
    if state is None:
        return outputs, loop, powers, None
    rows = state.transpose(0, 1)  # (H, B, n)
    outputs = outputs + powers.responses(rows * (system.readout * system.decay).unsqueeze(1)).transpose(0, 1)
    if system.feedback is None:
        return outputs, loop, powers, None
    assert loop.response is not None and loop.readout is not None
    fed_back = powers.responses(rows * system.feedback.sense.unsqueeze(1)).transpose(0, 1)
    fed_back = convolve(loop.response, fed_back)
    return outputs + convolve(loop.readout, fed_back), loop, powers, fed_back


def _power(base: Complex128[Tensor, "H n"], exponent: int) -> Complex128[Tensor, "H n"]:
    """By repeated squaring: torch's complex power goes through a logarithm."""
    result = torch.ones_like(base)
    while exponent:
        result = result * base if exponent & 1 else result
        base, exponent = base * base, exponent >> 1
    return result
