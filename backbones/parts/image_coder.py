"""Encoders from observations to vectors, decoders from features to observations.

Every encoder maps ``(N, *observation)`` float to ``(N, E)`` and has a field ``size`` (E); every decoder maps
``(N, F)`` to ``(N, *observation)``. N runs over all frames of all rows: :func:`map_frames` folds ``(B, T)`` and
keeps the number of frames in memory at once bounded.

``cnn`` is DreamerV3's (Hafner et al., 2023): kernel 4, stride 2, channels that double. ``patch`` is one convolution
whose kernel is its stride, for observations that are made of tiles: updates of a small model take half the time on a
CPU. Vectors have an MLP.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from backbones.interface import ImageSpec, VectorSpec
from backbones.parts.layers import NORM_EPSILON, ChannelNorm, cut_normal_, head, hidden_layer, output_layer, uniform_

SMALLEST_GRID = 4
"""The encoder halves the image while its sides stay even and no shorter than this."""


@dataclass(frozen=True, kw_only=True)
class CoderConfig:
    """Encoder and decoder. Vector observations take ``hidden`` and ``hidden_layers`` only."""

    kind: str = "cnn"
    """``cnn``, or ``patch`` for images made of tiles (our choice for small budgets)."""
    depth: int = 32
    """Channels of the first layer (``cnn``: they double from layer to layer). 48 in 3D, 32 in 2D in the S4WM paper."""
    patch: int = 8
    """Side of a patch in pixels; makes most sense if it is the side of a tile."""
    hidden: int = 256
    """Units of the MLP for vector observations (our choice)."""
    hidden_layers: int = 2
    """Hidden layers of the MLP for vector observations (our choice)."""

    def __post_init__(self) -> None:
        if self.kind not in ("cnn", "patch"):
            raise ValueError(f"coder kind is {self.kind!r}; allowed: 'cnn', 'patch'")
        for name in ("depth", "patch", "hidden", "hidden_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"coder {name} is {getattr(self, name)}; it must be at least 1")


def build_encoder(config: CoderConfig, spec: ImageSpec | VectorSpec) -> Encoder:
    """The encoder for such observations. Raises ``ValueError`` where the image and the coder do not fit together."""
    if isinstance(spec, VectorSpec):
        return VectorEncoder(spec, config)
    return (PatchEncoder if config.kind == "patch" else CNNEncoder)(spec, config)


def build_decoder(config: CoderConfig, spec: ImageSpec | VectorSpec, features: int) -> nn.Module:
    """The decoder from ``features`` numbers. Raises ``ValueError`` like :func:`build_encoder`."""
    if isinstance(spec, VectorSpec):
        return head(features, config.hidden, spec.size, config.hidden_layers)
    return (PatchDecoder if config.kind == "patch" else CNNDecoder)(spec, config, features)


class Encoder(nn.Module):
    """Observations ``(N, *observation)`` to vectors ``(N, size)``."""

    size: int


class CNNEncoder(Encoder):
    """Convolutions of kernel 4 and stride 2, each with LayerNorm over the channels and SiLU."""

    def __init__(self, spec: ImageSpec, config: CoderConfig) -> None:
        super().__init__()
        channels = _channels(spec, config)
        stages: list[nn.Module] = []
        for inputs, outputs in zip(channels, channels[1:], strict=False):
            convolution = nn.Conv2d(inputs, outputs, kernel_size=4, stride=2, padding=1, bias=False)
            cut_normal_(convolution.weight)
            stages += [convolution, ChannelNorm(outputs), nn.SiLU()]
        self.layers = nn.Sequential(*stages)
        scale = 2 ** (len(channels) - 1)
        self.size = channels[-1] * (spec.height // scale) * (spec.width // scale)

    def forward(self, image: Float[Tensor, "N C height width"]) -> Float[Tensor, "N E"]:
        image = (image - 0.5).contiguous(memory_format=torch.channels_last)
        return self.layers(image).permute(0, 2, 3, 1).flatten(1)


class CNNDecoder(nn.Module):
    """The encoder's mirror image, behind one linear layer; 0.5 is added to the last layer's output."""

    def __init__(self, spec: ImageSpec, config: CoderConfig, features: int) -> None:
        super().__init__()
        channels = _channels(spec, config)[::-1]
        scale = 2 ** (len(channels) - 1)
        self.grid = (spec.height // scale, spec.width // scale, channels[0])
        self.inputs = output_layer(features, self.grid[0] * self.grid[1] * self.grid[2])
        stages: list[nn.Module] = []
        for inputs, outputs in zip(channels, channels[1:-1], strict=False):
            convolution = nn.ConvTranspose2d(inputs, outputs, kernel_size=4, stride=2, padding=1, bias=False)
            cut_normal_(convolution.weight)
            stages += [convolution, ChannelNorm(outputs), nn.SiLU()]
        last = nn.ConvTranspose2d(channels[-2], channels[-1], kernel_size=4, stride=2, padding=1)
        assert last.bias is not None
        uniform_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*stages, last)

    def forward(self, features: Float[Tensor, "N F"]) -> Float[Tensor, "N C height width"]:
        grid = self.inputs(features).unflatten(1, self.grid).permute(0, 3, 1, 2)
        return self.layers(grid).contiguous() + 0.5


class PatchEncoder(Encoder):
    """One convolution over patches that do not overlap, LayerNorm, SiLU."""

    def __init__(self, spec: ImageSpec, config: CoderConfig) -> None:
        super().__init__()
        rows, columns = _patches(spec, config)
        self.convolution = nn.Conv2d(spec.channels, config.depth, config.patch, stride=config.patch, bias=False)
        cut_normal_(self.convolution.weight)
        self.norm = nn.LayerNorm(config.depth, eps=NORM_EPSILON)
        self.size = rows * columns * config.depth

    def forward(self, image: Float[Tensor, "N C height width"]) -> Float[Tensor, "N E"]:
        weight = self.convolution.weight
        # 0.5 is subtracted from every pixel by way of the bias.
        patches = nn.functional.conv2d(image, weight, -0.5 * weight.sum((1, 2, 3)), stride=self.convolution.stride)
        return nn.functional.silu(self.norm(patches.permute(0, 2, 3, 1))).flatten(1)


class PatchDecoder(nn.Module):
    """Linear layer to a grid of patches, LayerNorm, SiLU, one linear layer for every patch; 0.5 is added."""

    def __init__(self, spec: ImageSpec, config: CoderConfig, features: int) -> None:
        super().__init__()
        self.patch = config.patch
        self.grid = (*_patches(spec, config), config.depth)
        self.inputs = output_layer(features, self.grid[0] * self.grid[1] * self.grid[2])
        self.norm = nn.LayerNorm(config.depth, eps=NORM_EPSILON)
        self.linear = nn.Linear(config.depth, spec.channels * config.patch**2)
        # As the convolution that it is: its fans count the patch's area on either side.
        uniform_(self.linear.weight, (spec.channels + config.depth) * config.patch**2)
        nn.init.constant_(self.linear.bias, 0.5)

    def forward(self, features: Float[Tensor, "N F"]) -> Float[Tensor, "N C height width"]:
        grid = nn.functional.silu(self.norm(self.inputs(features).unflatten(1, self.grid)))
        return rearrange(self.linear(grid), "n i j (c p q) -> n c (i p) (j q)", p=self.patch, q=self.patch)


class VectorEncoder(Encoder):
    """An MLP for vector observations."""

    def __init__(self, spec: VectorSpec, config: CoderConfig) -> None:
        super().__init__()
        sizes = [spec.size, *[config.hidden] * config.hidden_layers]
        self.layers = nn.Sequential(*[hidden_layer(size, config.hidden) for size in sizes[:-1]])
        self.size = config.hidden

    def forward(self, vector: Float[Tensor, "N O"]) -> Float[Tensor, "N E"]:
        return self.layers(vector)


def map_frames(
    function: Callable[..., Tensor], *inputs: Shaped[Tensor, "B T ..."], at_once: int, recompute: bool = False
) -> Shaped[Tensor, "B T ..."]:
    """``function`` of all frames, ``at_once`` of them at a time.

    The function gets and gives tensors with one frame a row. With ``recompute`` its activations are not kept but
    computed again in the backward pass, wherever there are more frames than fit at once.
    """
    rows, time = inputs[0].shape[:2]
    frames = [value.flatten(0, 1) for value in inputs]
    if rows * time <= at_once:
        return function(*frames).unflatten(0, (rows, time))
    pieces = zip(*(value.split(at_once) for value in frames), strict=True)
    if recompute and torch.is_grad_enabled():
        results = [checkpoint(function, *piece, use_reentrant=False, preserve_rng_state=False) for piece in pieces]
    else:
        results = [function(*piece) for piece in pieces]
    return torch.cat(results).unflatten(0, (rows, time))


def _channels(spec: ImageSpec, config: CoderConfig) -> list[int]:
    """Channels before the first, and after every, convolution of the encoder."""
    channels, height, width = [spec.channels], spec.height, spec.width
    while height % 2 == 0 and width % 2 == 0 and min(height, width) >= 2 * SMALLEST_GRID:
        channels.append(config.depth * 2 ** (len(channels) - 1))
        height, width = height // 2, width // 2
    if len(channels) == 1:
        raise ValueError(
            f"image of {spec.height}x{spec.width} pixels: the cnn coder halves it at least once, so both sides must "
            f"be even and at least {2 * SMALLEST_GRID}; pad the image or use the patch coder"
        )
    return channels


def _patches(spec: ImageSpec, config: CoderConfig) -> tuple[int, int]:
    """Rows and columns of patches."""
    if spec.height % config.patch or spec.width % config.patch:
        raise ValueError(
            f"image of {spec.height}x{spec.width} pixels is not made of whole patches of {config.patch}; "
            "choose a patch that divides both sides"
        )
    return spec.height // config.patch, spec.width // config.patch
