"""The gated delta rule in chunks against one frame after the other, and what it is for: overwriting a value."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from backbones.gated_delta import Config, GatedDeltaLayer, gated_delta_rule
from backbones.interface import DiscreteSpec, ImageSpec, WorldSpec

SPEC = WorldSpec(ImageSpec(16, 16), DiscreteSpec(3), 4, 3)


def one_by_one(
    query: Tensor, key: Tensor, value: Tensor, log_fading: Tensor, writing: Tensor, memory: Tensor
) -> tuple[Tensor, Tensor]:
    """``S <- alpha S + k (beta (v - alpha S^T k))^T``, ``o = S^T q``, literally."""
    outputs = []
    for t in range(query.shape[2]):
        memory = log_fading[:, :, t, None, None].exp() * memory
        answer = torch.einsum("bhkv,bhk->bhv", memory, key[:, :, t])
        delta = writing[:, :, t, None] * (value[:, :, t] - answer)
        memory = memory + torch.einsum("bhk,bhv->bhkv", key[:, :, t], delta)
        outputs.append(torch.einsum("bhkv,bhk->bhv", memory, query[:, :, t]))
    return torch.stack(outputs, 2), memory


def example(time: int) -> list[Tensor]:
    rows, heads, size = 2, 3, 4
    query, key, value = (torch.randn(rows, heads, time, size, dtype=torch.float64) for _ in range(3))
    key = key / key.norm(dim=-1, keepdim=True)
    log_fading, writing = -torch.rand(rows, heads, time).double() * 3, torch.rand(rows, heads, time).double()
    memory = torch.randn(rows, heads, size, size, dtype=torch.float64)
    return [part.requires_grad_() for part in (query, key, value, log_fading, writing, memory)]


@pytest.mark.parametrize("chunk", [1, 4, 32])
@pytest.mark.parametrize("time", [1, 3, 4, 9, 33])
def test_chunks_equal_single_frames(time: int, chunk: int) -> None:
    parts = example(time)
    expected, actual = one_by_one(*parts), gated_delta_rule(*parts, chunk)
    torch.testing.assert_close(actual, expected)
    gradients = []
    for y, memory in (expected, actual):
        torch.manual_seed(1)
        loss = (y * torch.randn_like(y)).sum() + (memory * torch.randn_like(memory)).sum()
        gradients.append(torch.autograd.grad(loss, parts))
    torch.testing.assert_close(*gradients)


def test_strong_fading_does_not_overflow() -> None:
    parts = example(64)
    parts[3] = torch.full_like(parts[3], -50.0)
    y, memory = gated_delta_rule(*parts, 32)
    assert y.isfinite().all() and memory.isfinite().all()


def test_a_value_is_overwritten_not_added_to() -> None:
    """With beta = 1 and no fading the last value written to a key is what the key gives."""
    key = torch.nn.functional.normalize(torch.randn(4), dim=0).expand(1, 1, 2, 4)
    value = torch.randn(1, 1, 2, 4)
    nothing = torch.zeros(1, 1, 2)
    y, _ = gated_delta_rule(key, key, value, nothing, nothing + 1, torch.zeros(1, 1, 4, 4), chunk=2)
    torch.testing.assert_close(y, value)


@pytest.mark.parametrize("chunk", [1, 5])
def test_a_layer_does_not_depend_on_the_chunk(chunk: int) -> None:
    layer, x = GatedDeltaLayer(8, 2, chunk=16), torch.randn(2, 11, 8)
    expected, _ = layer(x, layer.initial_state(2))
    layer.chunk = chunk
    torch.testing.assert_close(layer(x, layer.initial_state(2))[0], expected, atol=1e-6, rtol=1e-5)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="width 32 .* heads 5"):
        Config.preset("debug", SPEC, heads=5)
    with pytest.raises(ValueError, match="chunk is 0"):
        Config.preset("debug", SPEC, chunk=0)
