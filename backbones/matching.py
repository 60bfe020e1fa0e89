"""The preset of equal parameters: one field of a configuration is turned until the totals agree.

The preset of equal state needs no search; its sizes stand in each configuration's ``PRESETS``.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar

import torch

from backbones.interface import BackboneConfig, WorldSpec
from backbones.s4wm import Config as Reference

Config = TypeVar("Config", bound=BackboneConfig)

TOLERANCE = 0.01
"""Largest difference from the reference, as a share of its parameters."""
STATE_BYTES = 8192
"""What one episode carries at the most under the preset ``matched_state``, the last sample included."""


def match_parameters(config: Config, spec: WorldSpec) -> Config:
    """The configuration with as many parameters as S4WM of the preset ``standard`` has in this world.

    Turns the field that ``config.parameter_dial`` names. Raises ``ValueError`` if there is no dial, or if its steps
    are too coarse to come within one per cent.
    """
    if config.parameter_dial is None:
        raise ValueError(
            f"{type(config).__name__} has no parameter_dial; name a field and its step, "
            'for instance parameter_dial: ClassVar = ("width", 8)'
        )
    target = count_parameters(Reference.preset("standard", spec), spec)
    field, step = config.parameter_dial

    def turned(steps: int) -> Config:
        change: dict[str, Any] = {field: steps * step}
        return replace(config, **change)

    low, high = 1, 2
    while count_parameters(turned(high), spec) < target:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count_parameters(turned(middle), spec) < target else (low, middle)
    best = min((turned(low), turned(high)), key=lambda each: abs(count_parameters(each, spec) - target))
    found = count_parameters(best, spec)
    if abs(found - target) > TOLERANCE * target:
        raise ValueError(
            f"{field} in steps of {step} comes no nearer to {target} parameters than {found}; choose a finer dial"
        )
    return best


@lru_cache(maxsize=256)
def count_parameters(config: BackboneConfig, spec: WorldSpec) -> int:
    """Parameters of the model that the configuration describes."""
    with torch.random.fork_rng(devices=[]):
        return sum(parameter.numel() for parameter in config.build(spec).parameters())
