"""What is raced against what, and how the work of one contender is measured.

A contest puts one of our fast forms beside its slow twin (the literal form of the same mathematics, same weights) and
beside packages from PyPI that do comparable work at the same shapes. ``test_agreement.py`` shows at small sizes that
twins compute the same; ``bench_speed.py`` measures at full size.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

Work = Callable[[], list[Tensor]]
"""One repetition. What it returns is compared: outputs and, where they are part of the work, gradients."""

OURS = "ours"
TWIN = "slow twin"
"""The literal form of the same mathematics; computes the same."""
OTHER = "other form"
"""Another form of ours; computes the same, but is not the literal one."""
PEER = "peer"
"""Somebody else's, or another model: comparable work, not the same numbers."""


@dataclass(frozen=True)
class Contender:
    """``build`` prepares, with torch's seed fixed; what it returns is timed."""

    name: str
    role: str
    build: Callable[[], Work]
    package: str | None = None
    """Module that has to be installed."""
    target: float | None = None
    """How many times faster than this contender ours is meant to be."""

    @property
    def missing(self) -> str | None:
        """Why this contender cannot run here."""
        if self.package is None or importlib.util.find_spec(self.package) is not None:
            return None
        return f"{self.name} is not installed; `make bench` installs the extra `peers`"

    def prepare(self) -> Work:
        torch.manual_seed(0)
        return self.build()


@dataclass(frozen=True)
class Contest:
    title: str
    contenders: tuple[Contender, ...]
    """Ours first."""
    tolerance: float = 1e-3
    """Largest difference between ours and a twin, relative to the largest number of each tensor."""
    note: str = ""
    """What a reader has to know to compare fairly."""
    items: int | None = None
    """Frames that a repetition makes, where a rate says more than a time."""


def differentiated(outputs: list[Tensor], inputs: list[Tensor]) -> list[Tensor]:
    """The outputs, and the gradients of a sum in which every number of theirs has another weight."""
    needed = [value for value in outputs if value.requires_grad]
    weights = [_weights(value.shape) for value in needed]
    gradients = torch.autograd.grad(needed, inputs, weights, materialize_grads=True)
    return [value.detach() for value in outputs] + list(gradients)


@functools.cache
def _weights(shape: torch.Size) -> Tensor:
    return torch.arange(float(shape.numel())).cos().view(shape)


def peak_bytes(work: Work) -> int:
    """Most memory that a repetition holds at once beyond what it found, by torch's allocator on the CPU."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as record:
        result = work()
    del result
    changes = [
        (event.start_ns(), event.nbytes()) for event in record.profiler.kineto_results.events() if event.nbytes()
    ]
    held = peak = 0
    for _, change in sorted(changes):
        held += change
        peak = max(peak, held)
    return peak
