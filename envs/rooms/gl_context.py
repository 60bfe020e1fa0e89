"""The one OpenGL context of this process.

A second EGL context in one process gives garbage frames without an error (measured), so ``open_context`` refuses to
make one; every MuJoCo renderer shares the first, and makes it current before each frame in case that another package
has made its own.
"""

from __future__ import annotations

import atexit
import importlib
import os
from typing import Any

BACKENDS = ("egl", "osmesa")
INSTALL_HINT = "on Debian or Ubuntu: apt-get install libegl1 libgl1-mesa-dri, or libosmesa6"
_LARGEST = 512
"""Largest frame, pixels: the size of the context's own surface."""

_context: Any = None
_backend: str | None = None


class GLUnavailableError(ValueError):
    """No OpenGL library for the backend that was asked for, or it gives no usable frames.

    A ``ValueError``, because it is the renderer that was asked for that this machine does not offer.
    """


def open_context(backend: str) -> None:
    """Make the context of this process and make it current.

    Raises ``ValueError`` for an unknown backend, ``GLUnavailableError`` if its library does not load, ``RuntimeError``
    if this process has a context already.
    """
    global _context, _backend
    if backend not in BACKENDS:
        raise ValueError(f"unknown OpenGL backend {backend!r}; allowed: {', '.join(BACKENDS)}")
    if _context is not None:
        raise RuntimeError(
            f"this process has an OpenGL context already ({_backend}); a second one gives garbage frames silently. "
            "Use the first (ensure_context) or start another process"
        )
    os.environ.setdefault("PYOPENGL_PLATFORM", backend)
    try:
        made = importlib.import_module(f"mujoco.{backend}").GLContext(_LARGEST, _LARGEST)
        made.make_current()
    except Exception as error:  # each library fails in its own way: ImportError, AttributeError, GLError, ...
        raise GLUnavailableError(f"OpenGL backend {backend!r} does not start ({error}); {INSTALL_HINT}") from error
    _context, _backend = made, backend
    atexit.register(made.free)  # while the libraries that it needs are still there


def ensure_context() -> str:
    """The backend of this process; opens ``$MUJOCO_GL`` or else the first one that works.

    Raises ``GLUnavailableError`` if none does.
    """
    if _backend is not None:
        _context.make_current()
        return _backend
    wanted = os.environ.get("MUJOCO_GL", "").lower()
    reasons: list[str] = []
    for backend in [wanted] if wanted in BACKENDS else BACKENDS:
        # PyOpenGL binds to one platform per process: a failed attempt must not decide for the next.
        previous = os.environ.pop("PYOPENGL_PLATFORM", None) if not reasons else None
        try:
            open_context(backend)
        except GLUnavailableError as error:
            reasons.append(str(error))
            if previous is not None:
                os.environ["PYOPENGL_PLATFORM"] = previous
        else:
            return backend
    raise GLUnavailableError("; ".join(reasons))
