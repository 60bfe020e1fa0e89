"""The few layers that every part is made of, with DreamerV3's conventions.

Hidden layers have no bias because a LayerNorm (epsilon 1e-3) follows, then SiLU. Their weights come from a normal
distribution cut at two deviations; layers that give a distribution or an image start uniform. Both have the variance
of Glorot and Bengio (2010), ``2 / (fan in + fan out)``, where the fans of a convolution include its kernel area.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

NORM_EPSILON = 1e-3
CUT_DEVIATION = 0.87962566103423978
"""Deviation of a standard normal variable that is cut at plus and minus two."""


def cut_normal_(weight: Tensor) -> None:
    """Fill a weight of a linear or convolution layer for a hidden layer."""
    deviation = math.sqrt(2 / _fans(weight)) / CUT_DEVIATION
    nn.init.trunc_normal_(weight, std=deviation, a=-2 * deviation, b=2 * deviation)


def uniform_(weight: Tensor, fans: int | None = None) -> None:
    """Fill a weight of a linear or convolution layer for an output layer. ``fans`` is fan in plus fan out."""
    limit = math.sqrt(3 * 2 / (fans or _fans(weight)))
    nn.init.uniform_(weight, -limit, limit)


def _fans(weight: Tensor) -> int:
    """Fan in plus fan out."""
    return (weight.shape[0] + weight.shape[1]) * weight[0, 0].numel()


def hidden_layer(inputs: int, outputs: int) -> nn.Sequential:
    """Linear without bias, LayerNorm, SiLU: ``(..., inputs) -> (..., outputs)``."""
    linear = nn.Linear(inputs, outputs, bias=False)
    cut_normal_(linear.weight)
    return nn.Sequential(linear, nn.LayerNorm(outputs, eps=NORM_EPSILON), nn.SiLU())


def output_layer(inputs: int, outputs: int) -> nn.Linear:
    """Linear with bias for logits or an image, ``(..., inputs) -> (..., outputs)``."""
    linear = nn.Linear(inputs, outputs)
    uniform_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def head(inputs: int, hidden: int, outputs: int, hidden_layers: int = 1) -> nn.Sequential:
    """Hidden layers, then an output layer: ``(..., inputs) -> (..., outputs)``."""
    sizes = [inputs, *[hidden] * hidden_layers]
    body = [hidden_layer(size, hidden) for size in sizes[:-1]]
    return nn.Sequential(*body, output_layer(sizes[-1], outputs))


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of each pixel, for images with the channel axis in front."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=NORM_EPSILON)

    def forward(self, image: Float[Tensor, "N C height width"]) -> Float[Tensor, "N C height width"]:
        # In the channels_last memory format both permutations are views.
        return super().forward(image.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def full_precision(tensor: Tensor) -> Tensor:
    """At least float32: what comes out of an autocast region must not enter a logarithm in half precision."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()
