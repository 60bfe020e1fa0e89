"""Initial values of state space models: HiPPO-LegS as diagonal plus rank one, and S4D-Lin.

All of this happens once, in float64, when a model is built.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Complex128, Float64
from torch import Tensor


def hippo_legs(size: int) -> tuple[Float64[Tensor, "N N"], Float64[Tensor, " N"]]:
    """Matrices A and B of HiPPO-LegS (Gu et al., 2020)."""
    order = torch.arange(size, dtype=torch.float64)
    b = (2 * order + 1).sqrt()
    a = -torch.outer(b, b).tril(-1) - torch.diag(order + 1)
    return a, b


def legs_basis(size: int) -> tuple[Float64[Tensor, " n"], Complex128[Tensor, "N n"]]:
    """Frequencies and orthonormal eigenvectors of the skew-symmetric part of LegS, one of each conjugate pair.

    ``A + p p^T`` with ``p_n = sqrt(n + 1/2)`` is ``-1/2`` plus that part (HiPPO-N; Gu et al., 2022, theorem 1), so its
    poles are ``-1/2 + i frequency``. Frequencies are negative, the fastest first; the phase of an eigenvector makes its
    first component real. Raises ``ValueError`` for an odd size.
    """
    check_state_size(size)
    a, _ = hippo_legs(size)
    p = _low_rank(size)
    skew = a + torch.outer(p, p) + 0.5 * torch.eye(size, dtype=torch.float64)
    frequency, vectors = torch.linalg.eigh(-1j * skew)
    frequency, vectors = frequency[: size // 2], vectors[:, : size // 2]
    return frequency, vectors * vectors[0].abs() / vectors[0]


def legs_dplr(
    size: int, clip: float | None = None
) -> tuple[Complex128[Tensor, " n"], Complex128[Tensor, " n"], Complex128[Tensor, " n"]]:
    """``Lambda``, ``P``, ``B`` with ``A = V (diag(Lambda) - P P*) V*``, one of each conjugate pair, n = size / 2.

    ``clip`` cuts the imaginary part of B, as a widely used implementation does; with that, B is not LegS any more.
    Raises ``ValueError`` for an odd size.
    """
    frequency, vectors = legs_basis(size)
    drive = vectors.conj().T @ hippo_legs(size)[1].to(vectors.dtype)
    if clip is not None:
        drive = torch.complex(drive.real, drive.imag.clamp(-clip, clip))
    poles = torch.complex(torch.full_like(frequency, -0.5), frequency)
    return poles, vectors.conj().T @ _low_rank(size).to(vectors.dtype), drive


def s4d_lin(size: int) -> tuple[Complex128[Tensor, " n"], Complex128[Tensor, " n"]]:
    """``Lambda_n = -1/2 + i pi n`` and ``B = 1`` of S4D-Lin (Gu et al., 2022b), n = size / 2.

    Raises ``ValueError`` for an odd size.
    """
    check_state_size(size)
    frequency = math.pi * torch.arange(size // 2, dtype=torch.float64)
    poles = torch.complex(torch.full_like(frequency, -0.5), frequency)
    return poles, torch.ones_like(poles)


def check_state_size(size: int) -> None:
    """Raises ``ValueError`` for a state size that cannot be made of conjugate pairs."""
    if size < 2 or size % 2:
        raise ValueError(f"state_size is {size}; states come in conjugate pairs, so it must be even and at least 2")


def _low_rank(size: int) -> Float64[Tensor, " N"]:
    return (torch.arange(size, dtype=torch.float64) + 0.5).sqrt()
