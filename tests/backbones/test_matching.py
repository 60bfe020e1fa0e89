"""Presets of equal size: totals of parameters, and bytes of state, are counted on the models that they build."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch

from backbones import BACKBONES
from backbones.contract.examples import episodes
from backbones.interface import DiscreteSpec, ImageSpec, WorldSpec
from backbones.matching import STATE_BYTES, count_parameters
from backbones.parts.state import leaves
from backbones.s4wm import Config

COMPARED = ["s4wm", "s4d", "s5wm", "gated_delta", "hybrid", "rssm_tbtt", "tssm_xl", "mts3"]
SPEC = WorldSpec(ImageSpec(24, 24), DiscreteSpec(4), context_length=20, query_length=10)


@pytest.mark.parametrize("backbone", COMPARED)
def test_equal_parameters(backbone: str) -> None:
    config = BACKBONES[backbone].config("matched_parameters", SPEC)
    target = count_parameters(Config.preset("standard", SPEC), SPEC)
    count = sum(parameter.numel() for parameter in config.build(SPEC).parameters())
    assert abs(count / target - 1) < 0.01
    standard = BACKBONES[backbone].config("standard", SPEC)
    assert config.parameter_dial is not None
    field = config.parameter_dial[0]
    assert replace(config, **{field: getattr(standard, field)}) == standard  # nothing else was turned


@torch.no_grad()
@pytest.mark.parametrize("backbone", COMPARED)
def test_equal_state(backbone: str) -> None:
    """At its largest, over contexts of several lengths."""
    model, batch = BACKBONES[backbone].config("matched_state", SPEC).build(SPEC), episodes(SPEC, rows=1)
    sizes = []
    for frames in range(10, 15):
        tensors = [leaf for leaf in leaves(model.observe(batch.frames(0, frames))[1]) if isinstance(leaf, torch.Tensor)]
        sizes.append(sum(tensor.numel() * tensor.element_size() for tensor in tensors))
    assert 0.98 * STATE_BYTES < max(sizes) <= STATE_BYTES


def test_a_dial_is_asked_for_and_must_be_fine_enough() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Coarse(Config):
        parameter_dial: ClassVar[tuple[str, int] | None] = ("blocks", 3)

    @dataclass(frozen=True, kw_only=True)
    class None_(Config):
        parameter_dial: ClassVar[tuple[str, int] | None] = None

    with pytest.raises(ValueError, match="blocks in steps of 3"):
        Coarse.preset("matched_parameters", SPEC)
    with pytest.raises(ValueError, match="no parameter_dial"):
        None_.preset("matched_parameters", SPEC)


def test_unknown_presets_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown preset 'tiny'.*'?paper'?"):
        Config.preset("tiny", SPEC)
