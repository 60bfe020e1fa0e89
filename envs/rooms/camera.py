"""The camera and how MuJoCo and OpenGL turn a scene into pixels: constants shared by all analytic renderers."""

from __future__ import annotations

import math

import numpy as np

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
"""MuJoCo draws spheres as polyhedra inside them; this radius comes nearest (see ``VERSION`` in ``analytic``)."""
