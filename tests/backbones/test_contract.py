"""Every registered backbone keeps the contract."""

from __future__ import annotations

import pytest

from backbones import BACKBONES
from backbones.contract import CHECKS
from backbones.interface import ContinuousSpec, DiscreteSpec, ImageSpec, VectorSpec, WorldSpec

WORLDS = {
    "images": WorldSpec(ImageSpec(16, 16), DiscreteSpec(5), context_length=14, query_length=7),
    "vectors": WorldSpec(VectorSpec(3), ContinuousSpec(2), context_length=12, query_length=6, has_reward=False),
}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_contract(backbone: str, world: str, check: str) -> None:
    CHECKS[check](BACKBONES[backbone].config("debug", WORLDS[world]), WORLDS[world])
