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

import torch
from jaxtyping import Complex, Complex128, Float
from torch import Tensor

from backbones.parts.decay_powers import DecayPowers
from backbones.parts.discrete_system import DiscreteSystem
from backbones.parts.power_series import convolve, delayed, loop_response


def kernel(system: DiscreteSystem, length: int, real: torch.dtype) -> Float[Tensor, "H L"]:
    """``K_k = 2 Re C Abar^k Bbar`` for k < length, in the precision ``real``."""
    return _SequenceForm(system, length, real).kernel


def run(
    system: DiscreteSystem, inputs: Float[Tensor, "B H L"], state: Complex[Tensor, "B H n"] | None
) -> Float[Tensor, "B H L"]:
    """``y`` from all inputs at once, beginning with ``state`` (zero if None)."""
    form = _SequenceForm(system, inputs.shape[-1], inputs.dtype)
    return form.outputs(inputs, state, form.fed_back(state))


def run_and_end(
    system: DiscreteSystem, inputs: Float[Tensor, "B H L"], state: Complex[Tensor, "B H n"] | None
) -> tuple[Float[Tensor, "B H L"], Complex[Tensor, "B H n"]]:
    """``y``, and the state after the last input."""
    form = _SequenceForm(system, inputs.shape[-1], inputs.dtype)
    fed_back = form.fed_back(state)
    return form.outputs(inputs, state, fed_back), form.end(inputs, state, fed_back)


class _SequenceForm:
    """A system over L steps: its responses, all ``(H, L)``.

    ``kernel``: y from u. With feedback also ``readout``: y from what is fed back, the loop being open; ``loop``:
    ``1 / (1 - z d(z))``; ``sensed``: what is fed back one step after u.
    """

    def __init__(self, system: DiscreteSystem, length: int, real: torch.dtype) -> None:
        self.system, self.length = system, length
        self.powers = DecayPowers(system.decay, length, real)
        direct = system.readout * system.drive
        if system.feedback is None:
            self.kernel = self.powers.responses(direct.unsqueeze(1)).squeeze(1)
            return
        gain, sense = system.feedback
        weights = torch.stack([direct, system.readout * gain, sense * system.drive, sense * gain], 1)
        direct, self.readout, sensed, loop_gain = self.powers.responses(weights).unbind(1)
        self.loop = loop_response(loop_gain)
        self.sensed = convolve(sensed, self.loop)
        self.kernel = direct + delayed(convolve(self.readout, self.sensed))

    def fed_back(self, state: Complex[Tensor, "B H n"] | None) -> Float[Tensor, "B H L"] | None:
        """What goes round the loop from the initial state alone."""
        if state is None or self.system.feedback is None:
            return None
        sensed = self.powers.responses(state.transpose(0, 1) * self.system.feedback.sense.unsqueeze(1))
        return convolve(self.loop, sensed.transpose(0, 1))

    def outputs(self, inputs: Tensor, state: Tensor | None, fed_back: Tensor | None) -> Float[Tensor, "B H L"]:
        outputs = convolve(self.kernel, inputs)
        if state is not None:
            weights = state.transpose(0, 1) * (self.system.readout * self.system.decay).unsqueeze(1)
            outputs = outputs + self.powers.responses(weights).transpose(0, 1)
        return outputs if fed_back is None else outputs + convolve(self.readout, fed_back)

    def end(self, inputs: Tensor, state: Tensor | None, fed_back: Tensor | None) -> Complex[Tensor, "B H n"]:
        """The state after the inputs: what they, and what was fed back, left behind."""
        driven, weights = [inputs], [self.system.drive]
        if self.system.feedback is not None:
            round_loop = convolve(delayed(self.sensed), inputs)
            driven.append(round_loop if fed_back is None else round_loop + fed_back)
            weights.append(self.system.feedback.gain)
        totals = self.powers.totals(torch.cat(driven).transpose(0, 1))  # (H, one or two times B, n)
        totals = totals.unflatten(1, (len(driven), -1)) * torch.stack(weights, 1).unsqueeze(2).to(totals.dtype)
        after = totals.sum(1).transpose(0, 1)
        return after if state is None else after + state * _power(self.system.decay, self.length).to(state.dtype)


def _power(base: Complex128[Tensor, "H n"], exponent: int) -> Complex128[Tensor, "H n"]:
    """By repeated squaring: torch's complex power goes through a logarithm."""
    result = torch.ones_like(base)
    while exponent:
        result = result * base if exponent & 1 else result
        base, exponent = base * base, exponent >> 1
    return result
