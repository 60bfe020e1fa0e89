"""One step of a linear state space model, O(n) a channel with and without feedback."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from backbones.parts.discrete_system import DiscreteSystem, pair_sum


class Stepper(NamedTuple):
    """A system folded for stepping, in the state's precision: R is 1, or 2 with feedback.

    ``q`` and ``y`` are read from the old state at once; then ``u`` and ``q`` are added to the decayed one.
    """

    decay: Complex[Tensor, "H n"]
    read: Float[Tensor, "H R twice_n"]
    """From the state before the step: y, and q if there is feedback."""
    write: Float[Tensor, "R H twice_n"]
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
    read = torch.view_as_real((2 * torch.stack(reads, 1)).conj().resolve_conj()).flatten(2)
    write = torch.view_as_real(torch.stack(writes)).flatten(2)
    return Stepper(system.decay.to(state_dtype), read.to(real), write.to(real), through.to(real))


def step(
    stepper: Stepper, inputs: Float[Tensor, "B H"], state: Complex[Tensor, "B H n"]
) -> tuple[Float[Tensor, "B H"], Complex[Tensor, "B H n"]]:
    """``y`` and the state after one input."""
    before = torch.view_as_real(state).flatten(2)
    if len(stepper.write) == 1:  # a sum is faster than a product with one column
        read = [(before * stepper.read[:, 0]).sum(-1)]
    else:
        read = list(torch.einsum("bhp,hrp->bhr", before, stepper.read).unbind(2))
    output = read[0]
    after = torch.view_as_real(stepper.decay * state).flatten(2)
    for given, write, through in zip((inputs, *read[1:]), stepper.write, stepper.through, strict=True):
        output = torch.addcmul(output, given, through)
        after = torch.addcmul(after, given.unsqueeze(2), write)
    return output, torch.view_as_complex(after.unflatten(2, (-1, 2)))
