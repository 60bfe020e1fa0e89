"""One step of a linear state space model: two small real products a channel, O(n) with and without feedback."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from backbones.parts.discrete_system import DiscreteSystem, pair_sum


class Stepper(NamedTuple):
    """A system folded for stepping, in the state's precision.

    One product reads ``q`` and ``y`` from the old state, the other adds to the decayed state.
    """

    decay: Complex[Tensor, "H n"]
    read: Float[Tensor, "H twice_n R"]
    """From the state before the step: y, and q if there is feedback."""
    write: Float[Tensor, "H R twice_n"]
    """To the state: from u, and from q."""
    through: Float[Tensor, "R H"]
    """y from u and from q within the step."""


def fold(system: DiscreteSystem, state_dtype: torch.dtype) -> Stepper:
    """What a step needs, from the system; once per change of the weights."""
    reads, writes = [system.readout * system.decay], [system.drive]
    if system.feedback is not None:
        reads.append(system.feedback.sense)
        writes.append(system.feedback.gain)
    through = torch.stack([pair_sum(system.readout, write).squeeze(1) for write in writes])
    real = torch.float32 if state_dtype == torch.complex64 else torch.float64
    read = torch.view_as_real((2 * torch.stack(reads, 2)).conj().resolve_conj()).transpose(2, 3).flatten(1, 2)
    write = torch.view_as_real(torch.stack(writes, 1)).flatten(2)
    return Stepper(system.decay.to(state_dtype), read.to(real), write.to(real), through.to(real))


def step(
    stepper: Stepper, inputs: Float[Tensor, "B H"], state: Complex[Tensor, "B H n"]
) -> tuple[Float[Tensor, "B H"], Complex[Tensor, "B H n"]]:
    """``y`` and the state after one input."""
    rows = torch.view_as_real(state).flatten(2).transpose(0, 1)  # (H, B, 2n)
    read = torch.bmm(rows, stepper.read)  # (H, B, R)
    given = [inputs.T, *read.unbind(2)[1:]]
    decayed = torch.view_as_real(stepper.decay * state).flatten(2).transpose(0, 1)
    after = torch.baddbmm(decayed, torch.stack(given, 2), stepper.write).transpose(0, 1)
    output = read[..., 0] + sum(
        weight.unsqueeze(1) * value for weight, value in zip(stepper.through, given, strict=True)
    )
    return output.T, torch.view_as_complex(after.unflatten(2, (-1, 2)))
