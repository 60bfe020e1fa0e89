"""The camera and how MuJoCo and OpenGL turn a scene into pixels: constants shared by all analytic renderers."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float32

VERSION = 1
"""Of the analytic renderers. Raised whenever frames change."""
SIZE = 64
SAMPLES = np.array([(0.375, 0.875), (0.875, 0.625), (0.125, 0.375), (0.625, 0.125)], np.float32)
"""Where a pixel is sampled, ``(right, down)`` from its top left corner: the standard pattern of 4."""
TANGENT = np.float32(math.tan(math.radians(40.0)))
"""Half the camera's field of view of 80 degrees."""
STEP = np.float32(2 * TANGENT / SIZE)
"""A pixel on the image plane at unit distance."""
CAMERA_FORWARD, CAMERA_HEIGHT = 0.15, 0.9 - 3.7e-4
PITCH_COSINE, PITCH_SINE = 0.99503719021, 0.09950371902
AMBIENT, DIFFUSE = np.float32(0.3), np.float32(0.6)
"""Light of Memory Maze's headlight: it shines where the camera looks."""
SPHERE_SCALE = np.float32(0.997)
"""MuJoCo draws spheres as polyhedra inside them; this radius comes nearest (found by comparison)."""


def camera_axes(poses: Float32[np.ndarray, "T 3"]) -> Float32[np.ndarray, "T 4 3"]:
    """Position, forward, right and up of the camera of a walker at poses ``(x, y, heading)``."""
    x, y, heading = poses.astype(np.float64).T
    cosine, sine, zero = np.cos(heading), np.sin(heading), np.zeros(len(poses))
    rows = (
        (x + CAMERA_FORWARD * cosine, y + CAMERA_FORWARD * sine, zero + CAMERA_HEIGHT),
        (PITCH_COSINE * cosine, PITCH_COSINE * sine, zero - PITCH_SINE),
        (sine, -cosine, zero),
        (PITCH_SINE * cosine, PITCH_SINE * sine, zero + PITCH_COSINE),
    )
    return np.array(rows, np.float32).transpose(2, 0, 1).copy()


def sky_frame(table: Float32[np.ndarray, "steps 3"]) -> Float32[np.ndarray, "64 64 3"]:
    """The sky at every pixel centre, whole grey levels, from its table by sine of elevation (``textures``).

    The camera never tilts and the sky looks the same all around, so one frame serves all.
    """
    centre = (np.arange(SIZE) + 0.5) * float(STEP) - float(TANGENT)
    y, x = np.meshgrid(-centre, centre, indexing="ij")
    sine = (y * PITCH_COSINE - PITCH_SINE) / np.sqrt(1 + x * x + y * y)
    place = (sine + 1) / 2 * (len(table) - 1)
    steps = np.arange(len(table))
    channels = [np.interp(place, steps, table[:, channel]) for channel in range(3)]
    return np.floor(np.stack(channels, -1) + 0.5).astype(np.float32)
