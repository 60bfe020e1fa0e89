"""Strips: exact pictures of fixed test episodes, truth above imagination, from which figures are cut."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from backbones.interface import WorldModel, as_float
from benchmark.errors import UserError
from benchmark.loader import BatchMaker
from benchmark.open_loop import IMAGINE, OpenLoop
from benchmark.record import Strip

COLUMNS = 10


def steps_of(query_length: int) -> tuple[int, ...]:
    """Ten query steps, evenly spaced, the first and the last among them."""
    return tuple(int(step) for step in np.unique(np.linspace(0, query_length - 1, COLUMNS).round()))


@torch.no_grad()
def draw(model: WorldModel, maker: BatchMaker, episodes: Sequence[int], seed: int) -> tuple[Strip, bytes]:
    """The strip of a model: the same sample of the future that is scored."""
    model.eval()
    world = maker.dataset.world
    batch = maker.episodes("test", episodes)
    latents = OpenLoop(model, world.context_length, seed).imagined(batch, IMAGINE, episodes)
    steps = steps_of(world.query_length)
    decoded = torch.stack([model.decode(latents[:, step : step + 1]).observation[:, 0] for step in steps], 1)
    truth = as_float(batch.observation[:, world.context_length :])[:, list(steps)]
    return compose(truth.cpu().numpy(), decoded.float().cpu().numpy(), episodes, steps)


def compose(truth: np.ndarray, made: np.ndarray, episodes: Sequence[int], steps: Sequence[int]) -> tuple[Strip, bytes]:
    """A PNG from ``(episodes, steps, 3, height, width)`` floats in [0, 1] (clipped here, for the eye only)."""
    height, width = truth.shape[-2:]
    rows = np.stack([truth, made], 1).reshape(-1, *truth.shape[1:])  # truth, imagination, truth, imagination
    picture = rows.transpose(0, 3, 1, 4, 2).reshape(len(rows) * height, len(steps) * width, 3)
    buffer = io.BytesIO()
    Image.fromarray((np.clip(picture, 0, 1) * 255).round().astype(np.uint8)).save(buffer, "PNG", optimize=True)
    strip = Strip(episodes=tuple(map(int, episodes)), steps=tuple(map(int, steps)), height=height, width=width)
    return strip, buffer.getvalue()


def cut(path: Path, strip: Strip) -> np.ndarray:
    """``(episodes, 2, steps, height, width, 3)`` uint8: truth at 0, imagination at 1."""
    picture = np.asarray(Image.open(path).convert("RGB"))
    shape = (len(strip.episodes), 2, strip.height, len(strip.steps), strip.width, 3)
    if picture.size != np.prod(shape):
        raise UserError(f"{path} is {picture.shape[:2]} pixels; its record says {strip}")
    return picture.reshape(shape).transpose(0, 1, 3, 2, 4, 5)
