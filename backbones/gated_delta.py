"""Gated DeltaNet (Yang, Kautz and Hatamizadeh, 2024) as history encoder: linear attention that can overwrite.

Each head keeps a matrix ``S`` that maps keys to values. A frame lets it fade by ``alpha``, then corrects what it
answers to the frame's key by a share ``beta``:

    S_t = alpha_t S_{t-1} + k_t delta_t^T,    delta_t = beta_t (v_t - alpha_t S_{t-1}^T k_t),    o_t = S_t^T q_t

Training takes chunks of frames: within a chunk all ``delta`` solve one triangular system, between chunks only ``S`` is
handed on. A step costs the same however long the past is. Queries, keys and values pass a short causal convolution
and SiLU, queries and keys are normalised, the output passes a gated RMSNorm, as published. Around it stand S4WM's
blocks (our choice).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from backbones.interface import SequenceCore, State, TrainingConfig, WorldSpec
from backbones.parts.block_config import BlockConfig
from backbones.parts.layers import full_precision

CONVOLUTION = 4
"""Frames of the short convolution (published: 4)."""


@dataclass(frozen=True, kw_only=True)
class Config(BlockConfig):
    """Gated DeltaNet."""

    heads: int = 4
    """Heads of keys and values, ``width / heads`` numbers each (our choice: 128 at width 512, as is common)."""
    chunk: int = 32
    """Frames that are computed at once. The result does not depend on it."""

    parameter_dial: ClassVar[tuple[str, int] | None] = ("width", 4)

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "debug": {"heads": 2, "chunk": 8},
        "matched_state": {"width": 56, "blocks": 1, "heads": 8},
        "paper_2d": {"training": TrainingConfig(batch_size=8, schedule="cosine")},
        "paper_3d": {"training": TrainingConfig(batch_size=8, schedule="cosine")},
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heads < 1 or self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}; choose a divisor")
        if self.chunk < 1:
            raise ValueError(f"chunk is {self.chunk} frames; it must be at least 1")

    def build_layer(self, width: int, spec: WorldSpec) -> SequenceCore:
        return GatedDeltaLayer(width, self.heads, self.chunk)


class GatedDeltaLayer(SequenceCore):
    """One layer. State: ``S`` ``(B, heads, K, V)`` and the last frames ``(B, 3, 3 D)`` that the convolution needs."""

    def __init__(self, width: int, heads: int, chunk: int) -> None:
        super().__init__()
        self.heads, self.chunk, size = heads, chunk, width // heads
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.taps = nn.Parameter(torch.empty(CONVOLUTION, 3 * width).uniform_(-1, 1) / math.sqrt(CONVOLUTION))
        self.rates = nn.Linear(width, 2 * heads)  # of fading, and of writing
        self.log_fading = nn.Parameter(torch.empty(heads).uniform_(1, 16).log())
        # As in Mamba-2: without input the time step is log-uniform between 0.001 and 0.1.
        step = torch.exp(torch.rand(heads) * math.log(100) + math.log(1e-3))
        nn.init.zeros_(self.rates.bias)
        with torch.no_grad():
            self.rates.bias[:heads] = step + torch.log(-torch.expm1(-step))
        self.gate = nn.Linear(width, width, bias=False)
        self.norm = nn.RMSNorm(size, eps=1e-5)
        self.output = nn.Linear(width, width, bias=False)

    def initial_state(self, batch_size: int) -> State:
        weight, size = self.output.weight, self.norm.normalized_shape[0]
        return {
            "memory": weight.new_zeros(batch_size, self.heads, size, size),
            "frames": weight.new_zeros(batch_size, CONVOLUTION - 1, 3 * weight.shape[0]),
        }

    def forward(self, x: Float[Tensor, "B T D"], state: State) -> tuple[Float[Tensor, "B T D"], State]:
        (query, key, value), frames = self._convolve(x, state["frames"])
        fading, writing = self._rates(x)
        y, memory = gated_delta_rule(query, key, value, fading, writing, state["memory"], self.chunk)
        return self._finish(y, x), {"memory": memory, "frames": frames}

    def step(self, x: Float[Tensor, "B D"], state: State) -> tuple[Float[Tensor, "B D"], State]:
        (query, key, value), frames = self._convolve(x.unsqueeze(1), state["frames"])
        fading, writing = self._rates(x.unsqueeze(1))
        memory = state["memory"] * fading.exp().unsqueeze(-1)  # (B, heads, K, V)
        answer = key @ memory  # (B, heads, 1, V)
        memory = memory + key.transpose(-1, -2) * (writing.unsqueeze(-1) * (value - answer))
        return self._finish(query @ memory, x.unsqueeze(1)).squeeze(1), {"memory": memory, "frames": frames}

    def _convolve(self, x: Float[Tensor, "B T D"], before: Tensor) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        """Queries, keys and values ``(B, heads, T, size)``, and the frames that the next call needs."""
        frames = torch.cat([before, self.query_key_value(x)], 1)
        # Four shifted products instead of a grouped convolution, which wants channels first.
        mixed = frames[:, : x.shape[1]] * self.taps[0]
        for shift in range(1, CONVOLUTION):
            mixed = torch.addcmul(mixed, frames[:, shift : shift + x.shape[1]], self.taps[shift])
        mixed = nn.functional.silu(mixed)
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in full_precision(mixed).chunk(3, dim=-1)
        )
        # Smooth at zero, unlike a division by the larger of length and epsilon.
        query, key = (part * (part.square().sum(-1, keepdim=True) + 1e-6).rsqrt() for part in (query, key))
        return (query * query.shape[-1] ** -0.5, key, value), frames[:, 1 - CONVOLUTION :]

    def _rates(self, x: Float[Tensor, "B T D"]) -> tuple[Float[Tensor, "B heads T"], Float[Tensor, "B heads T"]]:
        """``log alpha`` and ``beta``."""
        fading, writing = full_precision(self.rates(x)).transpose(1, 2).chunk(2, dim=1)
        return -self.log_fading.exp().unsqueeze(1) * nn.functional.softplus(fading), writing.sigmoid()

    def _finish(self, y: Float[Tensor, "B heads T V"], x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        normed = self.norm(y.transpose(1, 2)).flatten(2)
        return self.output(normed * nn.functional.silu(self.gate(x)))


def gated_delta_rule(
    query: Float[Tensor, "B heads T K"],
    key: Float[Tensor, "B heads T K"],
    value: Float[Tensor, "B heads T V"],
    log_fading: Float[Tensor, "B heads T"],
    writing: Float[Tensor, "B heads T"],
    memory: Float[Tensor, "B heads K V"],
    chunk: int,
) -> tuple[Float[Tensor, "B heads T V"], Float[Tensor, "B heads K V"]]:
    """Outputs of all frames and the memory after the last, chunk by chunk."""
    time = query.shape[2]
    chunk = math.ceil(time / math.ceil(time / chunk))  # as few chunks, but equal ones
    query, key, value = (_cut(part, chunk) for part in (query, key, value))
    writing, faded = _cut(writing.unsqueeze(-1), chunk), _cut(log_fading.unsqueeze(-1), chunk).cumsum(3)
    # From frame j to frame i of a chunk; the part above the diagonal must not overflow before it is dropped.
    lower = torch.ones(chunk, chunk, dtype=torch.bool, device=query.device).tril()
    between = (faded - faded.transpose(-1, -2)).masked_fill(~lower, -torch.inf).exp()
    overlap = (writing * key) @ key.transpose(-1, -2) * between
    targets = torch.cat([writing * value, writing * faded.exp() * key], -1)
    # Unit diagonal is implied: (I + strictly lower part) delta = targets.
    solved = torch.linalg.solve_triangular(overlap, targets, upper=False, unitriangular=True)
    fresh, stale = solved.split([value.shape[-1], key.shape[-1]], -1)
    seen = query @ key.transpose(-1, -2) * between
    reading = query * faded.exp()
    last = faded[..., -1:, :]
    storing = key * (last - faded).exp()
    outputs = []
    parts = (fresh, stale, reading, seen, storing.transpose(-1, -2), last.exp())
    for fresh_c, stale_c, reading_c, seen_c, storing_c, kept in zip(*(part.unbind(2) for part in parts), strict=True):
        delta = fresh_c - stale_c @ memory
        outputs.append(reading_c @ memory + seen_c @ delta)
        memory = kept * memory + storing_c @ delta
    return torch.cat(outputs, 2)[:, :, :time], memory


def _cut(sequence: Float[Tensor, "B heads T size"], chunk: int) -> Float[Tensor, "B heads chunks chunk size"]:
    """In chunks, with zeros behind the end: frames that neither write nor let fade."""
    padded = nn.functional.pad(sequence, (0, 0, 0, -sequence.shape[2] % chunk))
    return padded.unflatten(2, (-1, chunk))
