"""Textures, their mip levels and the sky as plain arrays, exactly as MuJoCo hands them to OpenGL. No GL involved."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from envs.rooms.model import texture_model

SKY_STEPS = 1024
"""Entries of the sky table, evenly spaced in the sine of the elevation from -1 (down) to 1 (up)."""


@dataclass(frozen=True)
class Textures:
    """What the analytic and the torch renderers sample.

    texels: all mip levels of all textures, from 1024x1024 to 1x1 each, one after the other, ``(texels, 3)``.
    level_start: row of ``texels`` where a level begins, ``(textures, levels)``.
    size: edge of level 0 in texels.
    sky: colour in [0, 255] by sine of elevation.
    digest: sha256 of all that, hexadecimal.
    """

    texels: UInt8[np.ndarray, "texels 3"]
    level_start: Int64[np.ndarray, "textures levels"]
    size: int
    sky: Float32[np.ndarray, "steps 3"]
    digest: str


def halve(level: UInt8[np.ndarray, "size size 3"]) -> UInt8[np.ndarray, "half half 3"]:
    """The next mip level: means of 2x2 texels, rounded to the nearest."""
    wide = level.astype(np.uint16)
    total = wide[::2, ::2] + wide[1::2, ::2] + wide[::2, 1::2] + wide[1::2, 1::2]
    return ((total + 2) // 4).astype(np.uint8)


def _sky_table(cube: UInt8[np.ndarray, "six size size 3"]) -> Float32[np.ndarray, "steps 3"]:
    """Colours of MuJoCo's gradient skybox, which depend on the elevation alone, along the middle of its faces.

    Faces in MuJoCo's order: right, left, up, down, front, back. The table follows one meridian: across the down face,
    up a side face, across the up face.
    """
    size = cube.shape[1]
    sine = np.linspace(-1, 1, SKY_STEPS)
    cosine = np.sqrt(1 - sine**2)
    middle = size // 2
    side = cube[0][:, middle - 1 : middle + 1].mean(1)
    caps = {1: cube[2][:, middle - 1 : middle + 1].mean(1), -1: cube[3][:, middle - 1 : middle + 1].mean(1)}
    texel = np.arange(size)
    table = np.empty((SKY_STEPS, 3), np.float32)
    for channel in range(3):
        on_side = np.interp((1 - sine / np.maximum(cosine, 1e-9)) / 2 * size - 0.5, texel, side[:, channel])
        ratio = cosine / np.maximum(np.abs(sine), 1e-9)
        place = (1 - ratio) / 2 * size - 0.5
        up, down = (np.interp(place, texel, caps[sign][:, channel]) for sign in (1, -1))
        table[:, channel] = np.where(np.abs(sine) <= cosine, on_side, np.where(sine > 0, up, down))
    return table


@functools.lru_cache(maxsize=1)
def load_textures() -> Textures:
    """Read the textures from the installed packages; once per process (42 MB)."""
    model = texture_model()
    levels, starts, total = [], [], 0
    for texture in range(1, model.ntex):  # 0 is the sky
        size = int(model.tex_width[texture])
        begin = int(model.tex_adr[texture])
        level = model.tex_data[begin : begin + size * size * 3].reshape(size, size, 3)
        row = []
        while True:
            levels.append(level.reshape(-1, 3))
            row.append(total)
            total += level.shape[0] ** 2
            if level.shape[0] == 1:
                break
            level = halve(level)
        starts.append(row)
    width = int(model.tex_width[0])
    sky = _sky_table(model.tex_data[: 6 * width * width * 3].reshape(6, width, width, 3))
    texels = np.ascontiguousarray(np.concatenate(levels))
    digest = hashlib.sha256(texels.tobytes() + sky.tobytes()).hexdigest()
    return Textures(texels, np.array(starts, np.int64), int(model.tex_width[1]), sky, digest)
