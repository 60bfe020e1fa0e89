"""Two renderers behind one function."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from envs.rooms import analytic
from envs.rooms.layouts import Layout
from envs.rooms.scene import Scene

RENDERERS = ("analytic", "mujoco")

FrameSource = Callable[[Layout, Scene, np.ndarray], np.ndarray]
"""``(layout, scene, poses (T, 3)) -> frames (T, 64, 64, 3)``, uint8."""


def _analytic(layout: Layout, scene: Scene, poses: np.ndarray) -> np.ndarray:
    return analytic.render(analytic.surfaces(layout, scene), poses)


@functools.lru_cache(maxsize=3)
def _gl_renderer(name: str):  # type: ignore[no-untyped-def]
    import copy

    from envs.rooms.gl_renderer import GLRenderer
    from envs.rooms.model import CAMERA, build

    return GLRenderer(copy.copy(build(name)), CAMERA)  # a copy: dressing it must not change the walker's


def _mujoco(layout: Layout, scene: Scene, poses: np.ndarray) -> np.ndarray:
    from envs.rooms.model import dress

    renderer = _gl_renderer(layout.name)
    dress(renderer.model, layout, scene)
    return renderer.render(poses)


def frame_source(renderer: str) -> FrameSource:
    """The renderer called ``analytic`` (no OpenGL; the default everywhere) or ``mujoco`` (the reference).

    Raises ``ValueError`` for another name. ``mujoco`` raises ``GLUnavailableError`` when it draws, if OpenGL fails.
    """
    if renderer not in RENDERERS:
        raise ValueError(f"unknown renderer {renderer!r}; allowed: {', '.join(RENDERERS)}")
    return _analytic if renderer == "analytic" else _mujoco
