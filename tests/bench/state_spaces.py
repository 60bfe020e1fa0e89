"""S4, S4D and S5 layers, S4WM's imagination."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from backbones.interface import DiscreteSpec, ImageSpec, SequenceCore, WorldSpec
from backbones.parts.power_series import convolve
from backbones.parts.s4_layer import S4Layer
from backbones.s4wm import Config
from backbones.s5wm import S5Layer
from tests.backbones import s4_twins
from tests.bench.contest import OURS, PEER, TWIN, Contender, Contest, Work, differentiated


def _layer(build: Callable[[int], nn.Module], forward: Callable[[nn.Module, Tensor], Tensor], shape: tuple) -> Work:
    """Forward and backward of one layer, from the same random input for every contender."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).requires_grad_()
    layer = build(shape[-1])
    return lambda: differentiated([forward(layer, x)], [x, *layer.parameters()])


def _outputs(layer: SequenceCore, x: Tensor) -> Tensor:
    return layer.outputs(x, layer.initial_state(len(x)))


def _call(layer: nn.Module, x: Tensor) -> Tensor:
    return layer(x)


def _steps(layer: SequenceCore, x: Tensor) -> Tensor:
    state, outputs = layer.initial_state(len(x)), []
    for frame in x.unbind(1):
        y, state = layer.step(frame, state)
        outputs.append(y)
    return torch.stack(outputs, 1)


def _by_kernel(kernel: Callable[[S4Layer, int], Tensor]) -> Callable[[S4Layer, Tensor], Tensor]:
    """The layer with a kernel made otherwise, and the convolution as usual."""

    def forward(layer: S4Layer, x: Tensor) -> Tensor:
        y = _plain_convolution(kernel(layer, x.shape[1]), x.transpose(1, 2), 2 * x.shape[1])
        return layer._finish(y.transpose(1, 2), x)

    return forward


def _plain_convolution(kernel: Tensor, inputs: Tensor, padded: int) -> Tensor:
    product = torch.fft.rfft(kernel, padded) * torch.fft.rfft(inputs, padded)
    return torch.fft.irfft(product, padded)[..., : inputs.shape[-1]]


def _naive_cauchy(layer: S4Layer, length: int) -> Tensor:
    assert layer.low_rank is not None
    poles = torch.complex(-layer.log_decay.exp(), layer.frequency).unsqueeze(0)
    low_rank, drive, readout = (torch.view_as_complex(v) for v in (layer.low_rank, layer.drive, layer.readout))
    truncated = s4_twins.truncated(layer.system(), readout, length)
    low_rank, drive = low_rank.unsqueeze(0), drive.unsqueeze(0)
    return s4_twins.cauchy_kernel(poles, low_rank, drive, truncated, layer.log_dt.exp(), length)


def _naive_cauchy_of_one_length(layer: S4Layer, length: int) -> Tensor:
    """As published code has it: the weights stand for C (I - A^L), so that no power of A is needed."""
    assert layer.low_rank is not None
    poles = torch.complex(-layer.log_decay.exp(), layer.frequency).unsqueeze(0)
    low_rank, drive, tied = (torch.view_as_complex(v) for v in (layer.low_rank, layer.drive, layer.readout))
    return s4_twins.cauchy_kernel(poles, low_rank.unsqueeze(0), drive.unsqueeze(0), tied, layer.log_dt.exp(), length)


def _naive_vandermonde(layer: S4Layer, length: int) -> Tensor:
    return s4_twins.vandermonde_kernel(layer.system(), length, torch.complex64)


def _s5_package(width: int) -> nn.Module:
    from s5 import S5

    return S5(width, width // 2)  # complex numbers


def _mamba_block(width: int) -> nn.Module:
    from mambapy.mamba import MambaBlock, MambaConfig

    return MambaBlock(MambaConfig(d_model=width, n_layers=1))


def s4_block(small: bool) -> Contest:
    shape, state = ((2, 12, 6), 8) if small else ((4, 256, 256), 64)

    def build(width: int) -> S4Layer:
        return S4Layer(width, state)

    twin, tied = _by_kernel(_naive_cauchy), _by_kernel(_naive_cauchy_of_one_length)
    return Contest(
        f"S4 block, forward and backward, {_shape(shape)}, N={state}",
        (
            Contender("one feedback loop over a diagonal system", OURS, lambda: _layer(build, _outputs, shape)),
            Contender("naive Cauchy of the true C", TWIN, lambda: _layer(build, twin, shape), target=6),
            Contender("naive Cauchy, weights of one length", PEER, lambda: _layer(build, tied, shape), target=6),
        ),
        note="A Cauchy product needs C (I - A^L): the twin makes it of the true C by a dense power. Published code "
        "makes it the weight, which saves the power and ties the model to one length: another model, so a peer.",
    )


def s4d_block(small: bool) -> Contest:
    shape, state = ((2, 12, 6), 8) if small else ((4, 256, 256), 64)

    def build(width: int) -> S4Layer:
        return S4Layer(width, state, kernel="diagonal")

    twin = _by_kernel(_naive_vandermonde)
    return Contest(
        f"S4D block, forward and backward, {_shape(shape)}, N={state}",
        (
            Contender("Vandermonde in two levels", OURS, lambda: _layer(build, _outputs, shape)),
            Contender("naive Vandermonde", TWIN, lambda: _layer(build, twin, shape), target=3),
        ),
    )


def s5_layer(small: bool) -> Contest:
    shape = (2, 12, 8) if small else (4, 256, 256)

    def build(width: int) -> S5Layer:
        return S5Layer(width, width, 1, (1e-3, 1e-1))

    return Contest(
        f"S5 layer, forward and backward, {_shape(shape)}, N={shape[-1]}",
        (
            Contender("parallel scan", OURS, lambda: _layer(build, _outputs, shape)),
            Contender("step by step", TWIN, lambda: _layer(build, _steps, shape)),
            Contender("s5-pytorch", PEER, lambda: _layer(_s5_package, _call, shape), "s5"),
            Contender(
                "mambapy, another model", PEER, lambda: _layer(_mamba_block, nn.Module.__call__, shape), "mambapy"
            ),
        ),
        note="As many real numbers of state for ours and s5-pytorch. mambapy has its default state of 16 a channel, a "
        "gate, a convolution and twice the width inside.",
    )


def s4_context(small: bool) -> Contest:
    shape, state = ((2, 11, 6), 8) if small else ((4, 500, 256), 64)

    def build(dense: bool) -> Work:
        x = torch.randn(shape)
        layer = S4Layer(shape[-1], state)

        @torch.no_grad()
        def at_once() -> list[Tensor]:
            return list(layer(x, None))

        @torch.no_grad()
        def stepped() -> list[Tensor]:
            y, end = s4_twins.dense_steps(layer.system(), x.transpose(1, 2), None)
            return [layer._finish(y.transpose(1, 2), x), end]

        return stepped if dense else at_once

    return Contest(
        f"S4 layer reads a context, outputs and last state, {_shape(shape)}",
        (
            Contender("convolution and chunked last state", OURS, lambda: build(False)),
            Contender("dense steps", TWIN, lambda: build(True)),
        ),
    )


def s4wm_imagination(small: bool) -> Contest:
    rows, steps, blocks = (2, 3, 1) if small else (8, 16, 6)
    spec = WorldSpec(ImageSpec(16, 16), DiscreteSpec(6), context_length=4, query_length=60, has_reward=False)
    preset = "debug" if small else "standard"

    def build(dense: bool) -> Work:
        model = Config.preset(preset, spec, blocks=blocks).build(spec)
        action = torch.randint(6, (rows, steps))
        state = {"z": torch.zeros(rows, model.latents.size), "core": model.core.initial_state(rows), "posterior": None}
        if dense:
            for module in model.modules():
                if isinstance(module, S4Layer):
                    module.__class__ = s4_twins.DenseS4Layer

        @torch.no_grad()
        def imagine() -> list[Tensor]:
            latents, _ = model.imagine(action, state)
            return [latents["h"], latents["z"]]

        return imagine

    return Contest(
        f"S4WM imagines {steps} latents, {blocks} blocks, {rows} rows, d={32 if small else 256}",
        (
            Contender("folded steps, O(N) a channel", OURS, lambda: build(False)),
            Contender("dense steps", TWIN, lambda: build(True), target=3),
        ),
    )


def convolution(small: bool) -> Contest:
    rows, time, width = (2, 11, 3) if small else (8, 501, 256)

    def build(ours: bool) -> Work:
        kernel, inputs = torch.randn(width, time).requires_grad_(), torch.randn(rows, width, time).requires_grad_()

        def work() -> list[Tensor]:
            y = convolve(kernel, inputs) if ours else _plain_convolution(kernel, inputs, 2 * time)
            return differentiated([y], [kernel, inputs])

        return work

    return Contest(
        f"Convolution of {time} frames, forward and backward, {rows} rows, d={width}",
        (
            Contender("5-smooth length, spectra not kept", OURS, lambda: build(True)),
            Contender("twice the frames", TWIN, lambda: build(False)),
        ),
    )


def _shape(shape: tuple[int, ...]) -> str:
    return "B={}, T={}, d={}".format(*shape)


CONTESTS = (s4_block, s4d_block, s5_layer, s4_context, s4wm_imagination, convolution)
