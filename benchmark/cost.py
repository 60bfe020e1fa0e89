"""What a model costs: imagination speed with and without decoding, parameters, recurrent state."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from backbones.interface import WorldModel
from benchmark.loader import BatchMaker
from benchmark.open_loop import slices
from benchmark.states import state_bytes

REPEATS = 5
"""Timed repetitions after one that is not; the median counts."""


def parameters(model: WorldModel) -> int:
    return sum(p.numel() for p in model.parameters())


@torch.no_grad()
def imagination(model: WorldModel, maker: BatchMaker, batch_size: int, decode_frames: int) -> dict[str, float]:
    """Frames imagined per second from a context that was read before, and the state that was carried there."""
    model.eval()
    world = maker.dataset.world
    count = maker.dataset.count("test")
    batch = maker.episodes("test", [index % count for index in range(batch_size)])
    noise = torch.Generator(maker.device).manual_seed(0)
    _, state = model.observe(batch.frames(0, world.context_length), None, noise)
    actions = batch.previous_action[:, world.context_length :]
    frames = batch_size * world.query_length

    def latent() -> None:
        model.imagine(actions, state, noise)

    def decoded() -> None:
        latents, _ = model.imagine(actions, state, noise)
        for start, stop in slices(batch_size, world.query_length, decode_frames):
            model.decode(latents[:, start:stop])

    return {
        "imagine_frames_per_second": frames / median_seconds(decoded, maker.device),
        "imagine_latent_frames_per_second": frames / median_seconds(latent, maker.device),
        "state_bytes": state_bytes(state, batch_size),
    }


def median_seconds(work: Callable[[], None], device: torch.device) -> float:
    """Median wall time of ``work``, synchronised."""
    seconds = []
    for repeat in range(REPEATS + 1):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if repeat:
            seconds.append(time.perf_counter() - began)
    return sorted(seconds)[len(seconds) // 2]
