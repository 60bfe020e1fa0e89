"""Encoders and decoders of every kind and size, and their application to many frames."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from backbones.interface import ImageSpec, VectorSpec
from backbones.parts.image_coder import CoderConfig, build_decoder, build_encoder, map_frames
from backbones.parts.layers import ChannelNorm, cut_normal_, uniform_

CASES = [
    (ImageSpec(64, 64), CoderConfig(depth=48), 6144),
    (ImageSpec(40, 40), CoderConfig(depth=32), 3200),
    (ImageSpec(16, 24, channels=1), CoderConfig(depth=4), 4 * 6 * 8),
    (ImageSpec(10, 12), CoderConfig(depth=4), 5 * 6 * 4),
    (ImageSpec(40, 40), CoderConfig(kind="patch", depth=32, patch=8), 800),
    (ImageSpec(12, 18, channels=2), CoderConfig(kind="patch", depth=5, patch=6), 30),
    (VectorSpec(7), CoderConfig(hidden=11), 11),
]


@pytest.mark.parametrize(("spec", "config", "size"), CASES, ids=str)
def test_shapes(spec: ImageSpec | VectorSpec, config: CoderConfig, size: int) -> None:
    encoder, decoder = build_encoder(config, spec), build_decoder(config, spec, features=9)
    embedding = encoder(torch.rand(3, *spec.shape))
    assert encoder.size == size and embedding.shape == (3, size)
    assert decoder(torch.randn(3, 9)).shape == (3, *spec.shape)


@pytest.mark.parametrize(
    ("spec", "config", "words"),
    [
        (ImageSpec(9, 40), CoderConfig(), "9x40.*even"),
        (ImageSpec(6, 6), CoderConfig(), "6x6.*at least 8"),
        (ImageSpec(40, 36), CoderConfig(kind="patch"), "40x36.*patches of 8"),
    ],
)
def test_images_that_do_not_fit_are_refused(spec: ImageSpec, config: CoderConfig, words: str) -> None:
    for build in (lambda: build_encoder(config, spec), lambda: build_decoder(config, spec, 9)):
        with pytest.raises(ValueError, match=words):
            build()


@pytest.mark.parametrize("values", [{"kind": "resnet"}, {"depth": 0}, {"patch": -1}, {"hidden_layers": 0}])
def test_impossible_coders_are_refused(values: dict) -> None:
    with pytest.raises(ValueError, match=str(*values.values())):
        CoderConfig(**values)


def test_a_patch_is_coded_alone() -> None:
    spec, config = ImageSpec(16, 16), CoderConfig(kind="patch", depth=6, patch=8)
    encoder = build_encoder(config, spec)
    image = torch.rand(1, 3, 16, 16)
    other = image.clone()
    other[:, :, 8:, :8] = 1 - other[:, :, 8:, :8]
    changed = (encoder(image) != encoder(other)).view(4, 6).any(1)
    assert changed.tolist() == [False, False, True, False]


def test_a_grey_image_is_the_zero_of_the_encoder() -> None:
    """0.5 is subtracted before the first convolution: grey gives zeros, which LayerNorm and SiLU keep."""
    for kind in ("cnn", "patch"):
        encoder = build_encoder(CoderConfig(kind=kind, depth=4), ImageSpec(16, 16))
        assert encoder(torch.full((1, 3, 16, 16), 0.5)).abs().max() < 1e-5


def test_channel_norm_normalises_each_pixel() -> None:
    image = torch.randn(2, 5, 3, 4) * 7 + 2
    expected = nn.functional.layer_norm(image.permute(0, 2, 3, 1), (5,), eps=1e-3).permute(0, 3, 1, 2)
    torch.testing.assert_close(ChannelNorm(5)(image), expected)


@pytest.mark.parametrize("layer", [nn.Linear(300, 100), nn.Conv2d(40, 50, 4), nn.ConvTranspose2d(50, 40, 4)], ids=repr)
def test_initial_weights_have_the_variance_of_glorot(layer: nn.Module) -> None:
    fans = 400 if isinstance(layer, nn.Linear) else 90 * 16
    deviation = (2 / fans) ** 0.5
    for fill, limit in ((cut_normal_, 2 / 0.8796), (uniform_, 3**0.5)):
        fill(layer.weight)
        assert abs(float(layer.weight.detach().std()) / deviation - 1) < 0.03
        assert float(layer.weight.detach().abs().max()) <= limit * deviation * 1.001


@pytest.mark.parametrize("recompute", [False, True])
def test_frames_in_pieces_are_all_frames(recompute: bool) -> None:
    layer, x = nn.Linear(4, 5), torch.randn(3, 7, 4)
    calls = []

    def function(frames: torch.Tensor) -> torch.Tensor:
        calls.append(len(frames))
        return layer(frames).tanh()

    y = map_frames(function, x, at_once=6, recompute=recompute)
    expected = layer(x).tanh()
    torch.testing.assert_close(y, expected)
    gradients = [torch.autograd.grad(value.square().sum(), list(layer.parameters())) for value in (y, expected)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
    once = [6, 6, 6, 3]
    assert sorted(calls) == sorted(once * (2 if recompute else 1))
