"""Transformer-XL against the reference's numbers: outputs over segments and what is remembered after each.

Another folder with files of the same names is read from ``GOLDEN_DIR``.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from backbones.tssm_xl import TransformerXL

FOLDER = Path(os.environ.get("GOLDEN_DIR", Path(__file__).parent / "data"))
NUMBERS = {
    name: torch.from_numpy(np.asarray(value))
    for name, value in np.load(FOLDER / "transformer_xl.npz", allow_pickle=False).items()
    if name != "meta"
}
VARIANTS = sorted(name.removesuffix("_out") for name in NUMBERS if name.endswith("_out"))
TOLERANCE = 1e-9


def size(name: str) -> int:
    return int(NUMBERS[f"cfg_{name}"])


def reference_core(variant: str) -> TransformerXL:
    """Our core with the reference's weights. The reference has no normalisation behind the last layer."""
    core = TransformerXL(
        width=size("d"),
        layers=size("nl"),
        heads=size("nh"),
        feedforward=size("ff"),
        memory=size("mem"),
        segment=size("q"),
        pre_norm=variant == "pre",
        final_norm=False,
    ).double()
    weights = {"biases": torch.stack([NUMBERS["u"], NUMBERS["v"]])}
    names = {
        "attention.query_key_value.weight": "W_qkv",
        "attention.position.weight": "W_kR",
        "attention.output.weight": "W_o",
        "feedforward.0.weight": "W_ff1",
        "feedforward.0.bias": "b_ff1",
        "feedforward.2.weight": "W_ff2",
        "feedforward.2.bias": "b_ff2",
        "attention.norm.weight" if variant == "pre" else "attention_norm.weight": "ln1_g",
        "attention.norm.bias" if variant == "pre" else "attention_norm.bias": "ln1_b",
        "feedforward_norm.weight": "ln2_g",
        "feedforward_norm.bias": "ln2_b",
    }
    for layer in range(size("nl")):
        weights |= {f"layers.{layer}.{ours}": NUMBERS[f"layer{layer}_{theirs}"] for ours, theirs in names.items()}
    core.load_state_dict(weights)
    return core


def inputs() -> Tensor:
    return NUMBERS["x"].transpose(0, 1)


def expected(variant: str) -> Tensor:
    """``(batch, chunks * frames, width)``"""
    return NUMBERS[f"{variant}_out"].flatten(0, 1).transpose(0, 1)


def test_the_file_holds_cases():
    assert VARIANTS


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("gradients", [True, False], ids=["training", "inference"])
def test_all_segments_at_once(variant: str, gradients: bool):
    core = reference_core(variant)
    with torch.set_grad_enabled(gradients):
        actual, _ = core(inputs(), core.initial_state(inputs().shape[0]))
    torch.testing.assert_close(actual, expected(variant), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_step_by_step(variant: str):
    core = reference_core(variant)
    state, outputs = core.initial_state(inputs().shape[0]), []
    for x in inputs().unbind(1):
        y, state = core.step(x, state)
        outputs.append(y)
    torch.testing.assert_close(torch.stack(outputs, 1), expected(variant), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_memory_after_each_segment(variant: str):
    """The reference remembers a layer's inputs, we remember keys and values: those inputs, projected."""
    core = reference_core(variant)
    state = core.initial_state(inputs().shape[0])
    for chunk, x in enumerate(inputs().split(size("q"), dim=1)):
        _, state = core(x, state)
        for i, layer in enumerate(core.layers):
            remembered = NUMBERS[f"{variant}_mem_after_chunk{chunk}_layer{i}"].transpose(0, 1)
            projected = layer.attention.query_key_value(layer.attention.norm(remembered))
            _, keys, values = projected.unflatten(-1, (3, size("nh"), -1)).permute(2, 0, 3, 1, 4)
            torch.testing.assert_close(state[i]["keys"], keys, atol=TOLERANCE, rtol=0)
            torch.testing.assert_close(state[i]["values"], values, atol=TOLERANCE, rtol=0)
