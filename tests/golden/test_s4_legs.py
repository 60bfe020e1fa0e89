"""HiPPO-LegS and its form as diagonal plus rank one against the reference implementation's numbers."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from backbones.parts.discrete_system import bilinear_dplr
from backbones.parts.legs import hippo_legs, legs_dplr
from backbones.parts.state_space import kernel

FOLDER = Path(os.environ.get("GOLDEN_DIR", Path(__file__).parent / "data"))
ARRAYS = {
    key: torch.from_numpy(np.asarray(value))
    for key, value in np.load(FOLDER / "s4_legs_init.npz", allow_pickle=False).items()
    if key != "meta"
}
SIZES = [int(size) for size in ARRAYS["N_list"]]
CLIP = 2.0


def agrees(actual: Tensor, size: int, name: str) -> None:
    torch.testing.assert_close(actual, ARRAYS[f"N{size}_{name}"], atol=1e-9, rtol=0)


def impulse_response(size: int, clip: float | None) -> Tensor:
    """``B^T Abar^k Bbar``: in the eigenbasis C is conj(B)."""
    poles, low_rank, drive = (value.unsqueeze(0) for value in legs_dplr(size, clip))
    system = bilinear_dplr(poles, low_rank, drive, drive.conj(), ARRAYS["dt"].unsqueeze(0))
    return kernel(system, int(ARRAYS["L"]), torch.float64).squeeze(0)


@pytest.mark.parametrize("size", SIZES)
def test_matrices(size: int) -> None:
    a, b = hippo_legs(size)
    agrees(a, size, "A_hippo")
    agrees(b, size, "B_hippo")


@pytest.mark.parametrize("size", SIZES)
def test_diagonal_plus_rank_one(size: int) -> None:
    poles, low_rank, drive = legs_dplr(size)
    agrees(poles, size, "Lambda")
    agrees(low_rank.abs(), size, "P_abs")
    agrees(drive.abs(), size, "B_abs")
    agrees(drive * low_rank.conj(), size, "B_conjP")
    sign = ARRAYS[f"N{size}_V0"].sign()
    agrees(low_rank * sign, size, "P")
    agrees(drive * sign, size, "B")


@pytest.mark.parametrize("size", SIZES)
def test_impulse_response(size: int) -> None:
    agrees(impulse_response(size, None), size, "K_impulse")


@pytest.mark.parametrize("size", SIZES)
def test_markov_parameters(size: int) -> None:
    """``B^T A^k B`` of the continuous system in the eigenbasis, relative to their size: they grow like N^(2k)."""
    poles, low_rank, drive = legs_dplr(size)
    state, found = drive, []
    for _ in ARRAYS[f"N{size}_markov"]:
        found.append(2 * (drive.conj() * state).sum().real)
        state = poles * state - low_rank * 2 * (low_rank.conj() * state).sum().real
    torch.testing.assert_close(torch.stack(found), ARRAYS[f"N{size}_markov"], atol=0, rtol=1e-9)


@pytest.mark.parametrize("size", SIZES)
def test_clip_is_an_option(size: int) -> None:
    drive = legs_dplr(size, CLIP)[2]
    agrees(drive * ARRAYS[f"N{size}_V0"].sign(), size, "B_clipped")
    agrees(impulse_response(size, CLIP), size, "K_impulse_B_clipped")
