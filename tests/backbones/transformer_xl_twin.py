"""Transformer-XL as published: segments in turn, memories of hidden states that every segment projects anew."""

from __future__ import annotations

import torch
from torch import Tensor

from backbones.parts.attention import RelativeAttention, align, sinusoids
from backbones.tssm_xl import TransformerXL


def segment(core: TransformerXL, x: Tensor, memories: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """The frames ``x``, all after the memories ``(B, M, D)`` of each layer. Also the layers' inputs."""
    inputs = []
    for layer, memory in zip(core.layers, memories, strict=True):
        inputs.append(x)
        attended = _attend(layer.attention, x, memory, core.biases)
        if layer.pre_norm:
            x = x + attended
            x = x + layer.feedforward(layer.feedforward_norm(x))
        else:
            x = layer.attention_norm(x + attended)
            x = layer.feedforward_norm(x + layer.feedforward(x))
    return core.norm(x), inputs


def training_pass(core: TransformerXL, x: Tensor, memory: int, length: int) -> Tensor:
    """All frames, one segment of ``length`` after the other; no gradient enters the memories."""
    memories = [x[:, :0] for _ in core.layers]
    outputs = []
    for piece in x.split(length, dim=1):
        y, inputs = segment(core, piece, memories)
        memories = [torch.cat(pair, 1)[:, -memory:].detach() for pair in zip(memories, inputs, strict=True)]
        outputs.append(y)
    return torch.cat(outputs, 1)


def steps(core: TransformerXL, x: Tensor, memories: list[Tensor], memory: int, length: int) -> Tensor:
    """Frame by frame after full memories; they move on when a segment of ``length`` is complete."""
    outputs, opened = [], 0
    for frame in x.split(1, dim=1):
        y, inputs = segment(core, frame, memories)
        memories = [torch.cat(pair, 1) for pair in zip(memories, inputs, strict=True)]
        opened += 1
        if opened == length:
            memories, opened = [value[:, -memory:] for value in memories], 0
        outputs.append(y)
    return torch.cat(outputs, 1)


def _attend(layer: RelativeAttention, x: Tensor, memory: Tensor, biases: Tensor) -> Tensor:
    both = layer.norm(torch.cat([memory, x], 1))
    query, key, value = layer.query_key_value(both).unflatten(-1, (3, layer.heads, -1)).permute(2, 0, 3, 1, 4)
    query = query[:, :, memory.shape[1] :]
    code = layer.position(sinusoids(both.shape[1], x.shape[-1], x)).unflatten(-1, (layer.heads, -1)).transpose(0, 1)
    content = (query + biases[0].unsqueeze(1)) @ key.transpose(-1, -2)
    scores = (content + align((query + biases[1].unsqueeze(1)) @ code.transpose(-1, -2))) * query.shape[-1] ** -0.5
    later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1 + memory.shape[1])
    mixed = scores.masked_fill(later, -torch.inf).softmax(-1) @ value
    return layer.output(mixed.transpose(1, 2).flatten(2))
