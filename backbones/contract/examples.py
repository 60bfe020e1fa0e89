"""Small worlds to check a backbone on, and comparisons that speak."""

from __future__ import annotations

import torch
from torch import Tensor

from backbones.interface import BackboneConfig, Batch, ContinuousSpec, ImageSpec, Latents, WorldModel, WorldSpec

ROWS = 3
TOLERANCE = 2e-4
"""Difference allowed between two ways to one float32 result, relative to the largest value (or to 1)."""


class ContractViolation(Exception):
    """A backbone does not do what the interface promises."""


def build(config: BackboneConfig, spec: WorldSpec, seed: int = 0) -> WorldModel:
    """The model from a fixed seed, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return config.build(spec).eval()


def episodes(spec: WorldSpec, seed: int = 0, rows: int = ROWS) -> Batch:
    """Whole episodes of random coarse images (or vectors), with a reward of 0 or 1 at the end."""
    generator = torch.Generator().manual_seed(seed)
    time = spec.length
    if isinstance(spec.observation, ImageSpec):
        coarse = torch.randint(256, (rows, time, spec.observation.channels, 2, 2), generator=generator)
        row = torch.arange(spec.observation.height) * 2 // spec.observation.height
        column = torch.arange(spec.observation.width) * 2 // spec.observation.width
        observation = coarse[..., row.unsqueeze(1), column].to(torch.uint8)
    else:
        observation = torch.randn((rows, time, spec.observation.size), generator=generator)
    reward = torch.zeros(rows, time)
    reward[:, -1] = torch.randint(2, (rows,), generator=generator).float()
    final = torch.zeros(rows, time, dtype=torch.bool)
    final[:, -1] = True
    return Batch(
        observation=observation,
        previous_action=actions(spec, time, generator, rows),
        reward=reward,
        starts=torch.ones(rows, dtype=torch.bool),
        valid=torch.ones(rows, time, dtype=torch.bool),
        final=final,
    )


def actions(spec: WorldSpec, time: int, generator: torch.Generator, rows: int = ROWS) -> Tensor:
    """Random actions that begin with "none"."""
    if isinstance(spec.action, ContinuousSpec):
        action = torch.rand((rows, time, spec.action.size), generator=generator) * 2 - 1
        action[:, 0] = 0
    else:
        action = torch.randint(spec.action.count, (rows, time), generator=generator)
        action[:, 0] = -1
    return action


def noise(seed: int = 0, rows: int = ROWS) -> list[torch.Generator]:
    """One generator a row."""
    return [torch.Generator().manual_seed(1000 * seed + row) for row in range(rows)]


def check_same(actual: Tensor, expected: Tensor, what: str, tolerance: float = TOLERANCE) -> None:
    """Raises unless the two have one shape and agree to the tolerance."""
    if actual.shape != expected.shape:
        raise ContractViolation(f"{what}: shape {tuple(actual.shape)} instead of {tuple(expected.shape)}")
    if not expected.numel():
        return
    off = float((actual - expected).detach().abs().max())
    scale = max(1.0, float(expected.detach().abs().max()))
    if not off <= tolerance * scale:
        raise ContractViolation(f"{what}: they differ by {off:.2g} (values up to {scale:.2g})")


def check_same_latents(actual: Latents, expected: Latents, what: str) -> None:
    """Raises unless both hold the same tensors by the same names."""
    if actual.keys() != expected.keys():
        raise ContractViolation(f"{what}: latents named {sorted(actual)} instead of {sorted(expected)}")
    for name, value in expected.items():
        check_same(actual[name], value, f"{what}, latent {name!r}")


def check(holds: bool, words: str) -> None:
    """Raises ``words`` unless ``holds``."""
    if not holds:
        raise ContractViolation(words)
