"""Transformer-XL in training and in imagination; the gated delta rule."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from backbones import hybrid, tssm_xl
from backbones.gated_delta import GatedDeltaLayer
from backbones.interface import DiscreteSpec, ImageSpec, SequenceCore, WorldSpec
from backbones.tssm_xl import TransformerXL
from tests.backbones import transformer_xl_twin
from tests.bench.contest import OURS, PEER, TWIN, Contender, Contest, Work, differentiated

LAYERS = 4


def _core(width: int, memory: int) -> TransformerXL:
    return TransformerXL(width, LAYERS, 2 if width < 64 else 8, feedforward=width, memory=memory, segment=memory)


def _x_transformers(width: int, memory: int) -> torch.nn.Module:
    from x_transformers import ContinuousTransformerWrapper, Decoder

    sizes = {"dim": width, "depth": LAYERS, "heads": 8, "attn_dim_head": width // 8, "ff_mult": 1}
    layers = Decoder(**sizes, rotary_pos_emb=True, attn_flash=True)  # its fastest setting
    return ContinuousTransformerWrapper(max_seq_len=None, attn_layers=layers, max_mem_len=memory, use_abs_pos_emb=False)


def training(small: bool) -> Contest:
    rows, time, width, memory = (2, 12, 8, 4) if small else (4, 256, 256, 64)

    def build(twin: bool) -> Work:
        core, x = _core(width, memory), torch.randn(rows, time, width).requires_grad_()

        def work() -> list[Tensor]:
            if twin:
                y = transformer_xl_twin.training_pass(core, x, memory, memory)
            else:
                y = core.outputs(x, core.initial_state(rows))
            return differentiated([y], [x, *core.parameters()])

        return work

    def peer() -> Work:
        core, x = _x_transformers(width, memory), torch.randn(rows, time, width).requires_grad_()

        def work() -> list[Tensor]:
            memories, outputs = None, []
            for piece in x.split(memory, dim=1):
                y, kept = core(piece, mems=memories, return_mems=True)
                memories = [value.detach() for value in kept]
                outputs.append(y)
            return differentiated([torch.cat(outputs, 1)], [x, *core.parameters()])

        return work

    return Contest(
        f"Transformer-XL, forward and backward, B={rows}, T={time}, d={width}, {LAYERS} layers, memory {memory}",
        (
            Contender("all segments side by side", OURS, lambda: build(False)),
            Contender("segments in turn", TWIN, lambda: build(True)),
            Contender("x-transformers, rotary, with memories", PEER, peer, "x_transformers", target=1),
        ),
    )


def imagination(small: bool, rows: int = 4) -> Contest:
    rows, count, width, memory = (2, 6, 8, 4) if small else (rows, 32, 256, 64)

    def read(core: torch.nn.Module) -> tuple[Tensor, Tensor]:
        """A context that fills the memory, and the frames to step through."""
        return torch.randn(rows, memory, width), torch.randn(rows, count, width)

    @torch.no_grad()
    def ours() -> Work:
        core = _core(width, memory)
        context, x = read(core)
        _, before = core(context, core.initial_state(rows))

        @torch.no_grad()
        def work() -> list[Tensor]:
            core.prepare()
            state, outputs = before, []
            for frame in x.unbind(1):
                y, state = core.step(frame, state)
                outputs.append(y)
            return [torch.stack(outputs, 1)]

        return work

    @torch.no_grad()
    def twin() -> Work:
        core = _core(width, memory)
        context, x = read(core)
        _, before = transformer_xl_twin.segment(core, context, [context[:, :0] for _ in core.layers])

        @torch.no_grad()
        def work() -> list[Tensor]:
            return [transformer_xl_twin.steps(core, x, before, memory, memory)]

        return work

    @torch.no_grad()
    def peer() -> Work:
        core = _x_transformers(width, memory)
        context, x = read(core)
        _, before = core(context, return_mems=True)

        @torch.no_grad()
        def work() -> list[Tensor]:
            memories, outputs = list(before), []
            for frame in x.split(1, dim=1):
                y, kept = core(frame, mems=memories, return_mems=True)
                memories = list(kept)
                outputs.append(y)
            return [torch.cat(outputs, 1)]

        return work

    return Contest(
        f"Transformer-XL imagines {count} frames, {rows} rows, d={width}, {LAYERS} layers, memory {memory}",
        (
            Contender("projected keys and values kept", OURS, ours),
            Contender("memories projected at every step", TWIN, twin, target=4),
            Contender("x-transformers, rotary, with memories", PEER, peer, "x_transformers", target=1),
        ),
    )


def imagination_of_many(small: bool) -> Contest:
    return imagination(small, rows=64)


def _cores(small: bool) -> tuple[SequenceCore, SequenceCore]:
    """The hybrid's and TSSM-XL's core as published in 2D but for the width."""
    spec = WorldSpec(ImageSpec(40, 40), DiscreteSpec(7), context_length=128, query_length=128)
    width = 32 if small else 256
    configs = (
        hybrid.Config.preset("paper_2d", spec, width=width),
        tssm_xl.Config.preset("paper_2d", spec, width=width),
    )
    first, second = (config.build_core(width, spec) for config in configs)
    return first, second


def hybrid_training(small: bool) -> Contest:
    rows, time, width = (2, 12, 32) if small else (4, 256, 256)

    def build(which: int) -> Work:
        core, x = _cores(small)[which], torch.randn(rows, time, width).requires_grad_()
        return lambda: differentiated([core.outputs(x, core.initial_state(rows))], [x, *core.parameters()])

    return _hybrid(f"forward and backward, B={rows}, T={time}, d={width}", build)


def hybrid_imagination(small: bool) -> Contest:
    rows, count, width = (2, 3, 32) if small else (8, 32, 256)

    def build(which: int) -> Work:
        core, x = _cores(small)[which], torch.randn(rows, count, width)
        with torch.no_grad():
            _, before = core(torch.randn(rows, 8 if small else 128, width), core.initial_state(rows))

        @torch.no_grad()
        def work() -> list[Tensor]:
            core.prepare()
            state, outputs = before, []
            for frame in x.unbind(1):
                y, state = core.step(frame, state)
                outputs.append(y)
            return outputs

        return work

    return _hybrid(f"{count} steps, {rows} rows, d={width}", build)


def _hybrid(what: str, build: Callable[[int], Work]) -> Contest:
    return Contest(
        f"Hybrid against TSSM-XL: {what}",
        (
            Contender("hybrid: 6 S5 and 3 attention layers", OURS, lambda: build(0)),
            Contender("TSSM-XL: 10 attention layers", PEER, lambda: build(1), target=1),
        ),
        note="Two models of ours, as published in 2D (memory 128) but for the width.",
    )


def gated_delta(small: bool) -> Contest:
    rows, time, width = (2, 12, 8) if small else (4, 256, 256)

    def build(stepped: bool) -> Work:
        layer, x = GatedDeltaLayer(width, 2 if small else 4, 4 if small else 32), torch.randn(rows, time, width)
        x.requires_grad_()

        def work() -> list[Tensor]:
            state = layer.initial_state(rows)
            if not stepped:
                return differentiated([layer.outputs(x, state)], [x, *layer.parameters()])
            outputs = []
            for frame in x.unbind(1):
                y, state = layer.step(frame, state)
                outputs.append(y)
            return differentiated([torch.stack(outputs, 1)], [x, *layer.parameters()])

        return work

    return Contest(
        f"Gated delta rule, forward and backward, B={rows}, T={time}, d={width}",
        (
            Contender("chunks of frames at once", OURS, lambda: build(False)),
            Contender("step by step", TWIN, lambda: build(True)),
        ),
    )


CONTESTS = (training, imagination, imagination_of_many, hybrid_training, hybrid_imagination, gated_delta)
