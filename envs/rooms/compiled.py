"""Compilation by numba, which is part of the optional ``mujoco`` extra."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: compile to machine code when first called, and keep it on disk.

    Raises ``ModuleNotFoundError`` with the remedy if numba is not installed.
    """
    try:
        import numba
    except ModuleNotFoundError as error:
        from envs.rooms.model import EXTRA_HINT

        raise ModuleNotFoundError(f"the analytic renderer needs numba; {EXTRA_HINT}") from error
    # Checks that tests wrap around functions are taken off: numba compiles plain functions only.
    return numba.njit(cache=True, nogil=True)(inspect.unwrap(function))
