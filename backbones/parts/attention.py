"""Attention with relative positions over segments and a cached memory: Transformer-XL.

Source: Dai et al., "Transformer-XL" (2019), section 3. Time is cut into segments of ``segment`` frames. A query sees
its own segment up to itself, and the last ``memory`` frames before its segment: it looks back between ``memory`` and
``memory + segment`` frames. The score of a query and a key that lie ``n`` frames apart is
``((q + u) k + (q + v) W R_n) / sqrt(size of a head)`` with sinusoids ``R_n``. No gradient flows from a segment into
the inputs of earlier ones, though it does reach the weights that make keys and values of them.

The published form keeps a layer's inputs as memory, projects them again for every segment, and takes the segments one
after the other. Two rewritings of it, both exact: all segments of a call are computed side by side, and the memory
holds keys and values, so that a single new frame costs one projection.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from backbones.parts.weight_cache import WeightCache

Cache = dict[str, Any]
"""What one attention layer remembers, tensors with the axes batch, head, frame, size of a head:

``keys, values``: the memory, at most the last ``memory`` frames before the open segment.
``open_keys, open_values``: frames of the open segment so far.
``open_inputs``: inputs ``(B, frames, D)`` of those frames, from which the memory is made when the segment closes. None
wherever gradients are not recorded: the memory is then made of the keys and values themselves.
"""


def sinusoids(count: int, width: int, like: Tensor) -> Float[Tensor, "count width"]:
    """Codes of the distances ``count - 1, ..., 0``: sines, then cosines, of frequencies ``10000 ** (-2 i / width)``."""
    distance = torch.arange(count - 1, -1, -1, device=like.device, dtype=like.dtype)
    frequency = 10000.0 ** (-torch.arange(0, width, 2, device=like.device, dtype=like.dtype) / width)
    angle = distance.unsqueeze(1) * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def align(scores: Float[Tensor, "*rows Q K"]) -> Float[Tensor, "*rows Q K"]:
    """Move the columns of positional scores from distances to keys.

    Column ``c`` of the argument is the distance ``K - 1 - c``. The last of the Q queries stands at the last key, hence
    query ``t`` finds key ``j`` at column ``j + Q - 1 - t``. Entries of keys later than the query are meaningless.
    """
    queries, keys = scores.shape[-2:]
    skewed = pad(scores, (1, 0)).unflatten(-1, (keys + 1,)).flatten(-2)[..., queries:]
    return skewed.unflatten(-1, (queries, keys))


class RelativeAttention(nn.Module):
    """One attention layer with the normalisation of its input, ``(B, T, D) -> (B, T, D)``, without the residual.

    Raises ``ValueError`` for a width that the heads do not divide or that is odd, and for lengths below 1.
    """

    def __init__(self, width: int, heads: int, memory: int, segment: int, pre_norm: bool = True) -> None:
        super().__init__()
        if heads < 1 or width % heads or width % 2:
            raise ValueError(f"width {width} and {heads} heads: the width must be even and a multiple of the heads")
        if memory < 1 or segment < 1:
            raise ValueError(f"memory is {memory} and segment {segment} frames; both must be at least 1")
        self.heads, self.memory, self.segment = heads, memory, segment
        self.norm = nn.LayerNorm(width) if pre_norm else nn.Identity()
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.position = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self._folded: WeightCache[Tensor] = WeightCache()

    def initial_cache(self, batch_size: int) -> Cache:
        """The empty memory, on the device of the parameters."""
        weight = self.output.weight
        nothing = weight.new_zeros(batch_size, self.heads, 0, weight.shape[0] // self.heads)
        names = ("keys", "values", "open_keys", "open_values")
        return {**dict.fromkeys(names, nothing), "open_inputs": None}

    def forward(
        self, x: Float[Tensor, "B T D"], cache: Cache, biases: Float[Tensor, "2 heads S"]
    ) -> tuple[Float[Tensor, "B T D"], Cache]:
        """Frames that follow on those in the cache, and the cache after them. ``biases`` are u and v."""
        query, keys, values = self._read(x, cache)
        closed = keys.shape[2] // self.segment * self.segment
        past = self._past(x, cache, keys, values, closed)
        y = self._mix(query, past, (keys, values), cache, biases)
        inputs = None
        if torch.is_grad_enabled():
            inputs = x if cache["open_inputs"] is None else torch.cat([cache["open_inputs"], x], dim=1)
            inputs = inputs[:, max(0, closed - keys.shape[2] + inputs.shape[1]) :]
        return y, {
            "keys": past[0][:, :, -self.memory :].contiguous(),
            "values": past[1][:, :, -self.memory :].contiguous(),
            "open_keys": keys[:, :, closed:].contiguous(),
            "open_values": values[:, :, closed:].contiguous(),
            "open_inputs": inputs,
        }

    def outputs(
        self, x: Float[Tensor, "B T D"], cache: Cache, biases: Float[Tensor, "2 heads S"]
    ) -> Float[Tensor, "B T D"]:
        """``forward`` without the cache after it: no memory is made of the last segment."""
        query, keys, values = self._read(x, cache)
        closed = (keys.shape[2] - 1) // self.segment * self.segment
        past = self._past(x, cache, keys, values, closed)
        return self._mix(query, past, (keys, values), cache, biases)

    def step(
        self, x: Float[Tensor, "B D"], cache: Cache, biases: Float[Tensor, "2 heads S"]
    ) -> tuple[Float[Tensor, "B D"], Cache]:
        """``forward`` of one frame: every key that there is may be seen, so that nothing is hidden or moved."""
        if torch.is_grad_enabled():
            y, cache = self(x.unsqueeze(1), cache, biases)
            return y.squeeze(1), cache
        query, key, value = self.query_key_value(self.norm(x)).view(len(x), 3, self.heads, 1, -1).unbind(1)
        keys = torch.cat([cache["open_keys"], key], dim=2)
        values = torch.cat([cache["open_values"], value], dim=2)
        lengths = [cache["keys"].shape[2], keys.shape[2]]
        content, positional = biases.unsqueeze(2).unbind(0)
        codes = self._positions(sum(lengths), x)
        by_distance = ((query + positional).squeeze(2).transpose(0, 1) @ codes.transpose(-1, -2)).transpose(0, 1)
        query = query + content
        scores = torch.cat([query @ part.transpose(-1, -2) for part in (cache["keys"], keys)], dim=-1)
        weights = ((scores + by_distance.unsqueeze(2)) * query.shape[-1] ** -0.5).softmax(-1)
        past, own = weights.split(lengths, dim=-1)
        y = self.output((past @ cache["values"] + own @ values).flatten(1))
        if lengths[1] < self.segment:
            return y, {**cache, "open_keys": keys, "open_values": values, "open_inputs": None}
        after = self.initial_cache(len(x))
        after["keys"] = torch.cat([cache["keys"], keys], dim=2)[:, :, -self.memory :].contiguous()
        after["values"] = torch.cat([cache["values"], values], dim=2)[:, :, -self.memory :].contiguous()
        return y, after

    def _read(self, x: Tensor, cache: Cache) -> tuple[Tensor, Tensor, Tensor]:
        """Queries of the new frames, keys and values of the open segment's and the new ones."""
        query, keys, values = self._split_heads(self.query_key_value(self.norm(x)))
        keys = torch.cat([cache["open_keys"], keys], dim=2)
        return query, keys, torch.cat([cache["open_values"], values], dim=2)

    def _mix(
        self,
        query: Tensor,
        past: tuple[Tensor, Tensor],
        own: tuple[Tensor, Tensor],
        cache: Cache,
        biases: Float[Tensor, "2 heads S"],
    ) -> Float[Tensor, "B T D"]:
        """All segments side by side: attention to keys and values of the past and of the segment itself."""
        opened, filled, frames = cache["open_keys"].shape[2], cache["keys"].shape[2], own[0].shape[2]
        segments = math.ceil(frames / self.segment)
        memory = min(self.memory, filled + (segments - 1) * self.segment)
        if segments > 1:  # whole segments; those frames at either end that are not asked for are cut off again
            spare = segments * self.segment - frames
            query = pad(query, (0, 0, opened, spare))
            own = (pad(own[0], (0, 0, 0, spare)), pad(own[1], (0, 0, 0, spare)))
        query, keys, values = (part.unflatten(2, (segments, -1)) for part in (query, *own))
        past_keys, past_values = (self._windows(part, memory - filled, memory, segments) for part in past)
        hidden = self._hidden(query, keys, memory, filled)
        mixed = self._attend(query, (past_keys, keys), (past_values, values), biases, hidden).flatten(2, 3)
        if segments > 1:
            mixed = mixed[:, :, opened:frames]
        return self.output(mixed.transpose(1, 2).flatten(2))

    def _split_heads(self, projected: Float[Tensor, "B T P"]) -> tuple[Tensor, ...]:
        """``(B, heads, T, size of a head)`` for each of the projections that lie side by side."""
        parts = projected.chunk(projected.shape[-1] // self.output.weight.shape[0], dim=-1)
        return tuple(part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)

    def _past(self, x: Tensor, cache: Cache, keys: Tensor, values: Tensor, closed: int) -> tuple[Tensor, Tensor]:
        """Keys and values as later segments see them: the memory, then the first ``closed`` of the given frames.

        ``keys`` and ``values`` hold the open segment's frames and the new ones.
        """
        if not closed:
            return cache["keys"], cache["values"]
        cut_keys, cut_values = keys[:, :, :closed], values[:, :, :closed]
        if torch.is_grad_enabled():
            kept = cache["open_inputs"]
            inputs = x if kept is None else torch.cat([kept, x], dim=1)
            without = keys.shape[2] - inputs.shape[1]  # frames of a cache that came without its inputs
            inputs = self.norm(inputs[:, : max(0, closed - without)].detach())
            projected = self._split_heads(linear(inputs, self.query_key_value.weight[x.shape[-1] :]))
            cut_keys, cut_values = (
                torch.cat([old[:, :, : min(without, closed)], new], dim=2)
                for old, new in zip((keys, values), projected, strict=True)
            )
        return torch.cat([cache["keys"], cut_keys], dim=2), torch.cat([cache["values"], cut_values], dim=2)

    def _windows(self, past: Tensor, missing: int, memory: int, segments: int) -> Float[Tensor, "B heads S M size"]:
        """The ``memory`` frames before each segment; ``missing`` empty ones stand before the first."""
        if segments == 1:
            return past[:, :, :memory].unsqueeze(2)
        past = pad(past, (0, 0, missing, 0))
        if memory == self.segment:  # windows side by side
            return past[:, :, : segments * memory].unflatten(2, (segments, memory))
        return past.unfold(2, memory, self.segment)[:, :, :segments].transpose(-1, -2)

    def _hidden(self, query: Tensor, keys: Tensor, memory: int, filled: int) -> Tensor:
        """``(segments, Q, K)``: -inf where a query must not look, later keys and empty places of the memory; else 0."""
        segments, queries, own = query.shape[2], query.shape[3], keys.shape[3]
        device = query.device
        key = torch.arange(-memory, own, device=device)  # time of a key, counted from the beginning of the segment
        time = torch.arange(own - queries, own, device=device).unsqueeze(1)
        first = -filled - self.segment * torch.arange(segments, device=device).view(-1, 1, 1)
        hidden = (key > time) | (key < first)
        # To be added, which costs no pass backward.
        return query.new_zeros(hidden.shape).masked_fill_(hidden, -torch.inf)

    def _attend(
        self,
        query: Float[Tensor, "B heads S Q size"],
        keys: tuple[Tensor, Tensor],
        values: tuple[Tensor, Tensor],
        biases: Float[Tensor, "2 heads size"],
        hidden: Tensor,
    ) -> Float[Tensor, "B heads S Q size"]:
        """Softmax attention to the memory and to the own segment."""
        content, positional = biases[:, :, None, None] * query.shape[-1] ** -0.5
        query = query * query.shape[-1] ** -0.5
        lengths = [part.shape[3] for part in keys]
        codes = self._positions(sum(lengths), query)
        # Codes are the same for all rows and segments: fold those into one product a head.
        rows = (query + positional).transpose(0, 1)
        by_distance = (rows.flatten(1, 3) @ codes.transpose(-1, -2)).unflatten(1, rows.shape[1:4]).transpose(0, 1)
        by_content = (query + content) @ torch.cat(keys, 3).transpose(-1, -2)
        return (by_content.add_(align(by_distance)).add_(hidden)).softmax(-1) @ torch.cat(values, 3)

    def _positions(self, count: int, like: Tensor) -> Float[Tensor, "heads count size"]:
        """``W R_n`` for the distances ``count - 1, ..., 0``."""
        if torch.is_grad_enabled():
            return self._project_positions(count).to(like.dtype)
        most = self.memory + self.segment
        table = self._folded.get(self.position.parameters(), lambda: self._project_positions(most))
        return table[:, -count:].to(like.dtype)

    def _project_positions(self, count: int) -> Float[Tensor, "heads count size"]:
        table = sinusoids(count, self.position.weight.shape[1], self.position.weight)
        return self.position(table).unflatten(-1, (self.heads, -1)).transpose(0, 1)
