"""Which frames MTS3 sees in training: it learns to predict over gaps by being shown gaps.

Source: Shaj et al., "Multi Time Scale World Models" (2023); the shares are those of the published code.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool
from torch import Tensor

from backbones.interface import Noise
from backbones.parts.latents import uniforms

MASKS = ("random", "suffix")
FRAMES_SHOWN = 0.85
MOST_WINDOWS_HIDDEN = 0.75
ROWS_CUT = 0.5


def training_mask(
    kind: str, shape: tuple[int, int], window: int, noise: Noise, device: torch.device
) -> Bool[Tensor, "B T"] | None:
    """True where a frame is shown; None, everything is, where there is no ``noise``.

    ``random``: each frame is shown with probability 0.85, each window but the first hidden with a probability that is
    drawn for each row from [0, 0.75) (published: once an epoch, its upper end rising from 0.05).
    ``suffix``: so are half of the rows; the others are shown whole up to a random frame, and nothing from there on, as
    when a context is continued. Ours: without it long imaginations come out too sure of themselves.
    """
    rows, time = shape
    count = -(-time // window)
    drawn = uniforms((rows, time + count + 3), noise, device)
    if drawn is None:
        return None
    by_frame, by_window, share, cut, length = drawn.split([time, count, 1, 1, 1], dim=1)
    kept = by_window >= MOST_WINDOWS_HIDDEN * share
    kept[:, 0] = True
    shown = (by_frame < FRAMES_SHOWN) & kept.repeat_interleave(window, dim=1, output_size=count * window)[:, :time]
    if kind == "random":
        return shown
    frame = torch.arange(time, device=device)
    return torch.where(cut < ROWS_CUT, frame < 1 + length * (time - 1), shown)
