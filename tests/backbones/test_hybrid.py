"""The hybrid: where its layers stand, that it outlives its cache, and sizes that do not fit."""

from __future__ import annotations

import pytest
import torch

from backbones.hybrid import AttentionLayer, Config
from backbones.interface import DiscreteSpec, ImageSpec, WorldSpec
from backbones.parts.residual_stack import FeedForward
from backbones.s5wm import S5Layer

SPEC = WorldSpec(ImageSpec(16, 16), DiscreteSpec(3), context_length=8, query_length=4)


def test_every_third_mixer_attends() -> None:
    core = Config.preset("paper_3d", SPEC, width=32, state_size=16, state_blocks=1).build_core(32, SPEC)
    kinds = [type(layer) for layer in core.layers]
    assert kinds == [S5Layer, FeedForward, S5Layer, FeedForward, AttentionLayer, FeedForward] * 4


@torch.no_grad()
def test_it_remembers_what_has_left_the_cache() -> None:
    """One attention layer of memory 4 sees 8 frames at the most; frame 0 still tells after 30."""
    core = Config.preset("debug", SPEC).build_core(32, SPEC)
    x = torch.randn(1, 30, 32)
    changed = torch.cat([-x[:, :1], x[:, 1:]], 1)
    last = [core.outputs(inputs, core.initial_state(1))[:, -1] for inputs in (x, changed)]
    assert (last[0] - last[1]).abs().max() > 1e-4
    attention = AttentionLayer(32, 2, memory=4)
    last = [attention.outputs(inputs, attention.initial_state(1))[:, -1] for inputs in (x, changed)]
    assert torch.equal(*last)


def test_memory_is_half_an_episode_where_it_is_not_given() -> None:
    core = Config.preset("small", SPEC).build_core(96, SPEC)
    memories = [layer.attention.memory for layer in core.layers if isinstance(layer, AttentionLayer)]
    assert memories == [6]


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="width 32 .* heads 5"):
        Config.preset("debug", SPEC, heads=5)
    with pytest.raises(ValueError, match="mlp_expansion is 0"):
        Config.preset("debug", SPEC, mlp_expansion=0)
