"""Memory Maze's own environments from the installed package, imported so that they work with current packages.

The newest release imports the legacy package ``gym`` and fails without it; and dm_control opens an OpenGL context of
its own. For the time of the import, ``gym`` is an alias of gymnasium and dm_control's rendering is off. Upstream's code
then places walls, targets and walker and decides about rewards; stepping and drawing are ours.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

_GYM_MODULES = {f"gym{part}": f"gymnasium{part}" for part in ("", ".envs", ".envs.registration")}


@contextmanager
def _gymnasium_as_gym() -> Iterator[None]:
    import gymnasium  # noqa: F401 (fills sys.modules)

    saved = {name: sys.modules.get(name) for name in _GYM_MODULES}
    backend = os.environ.get("MUJOCO_GL")
    sys.modules.update({name: sys.modules[current] for name, current in _GYM_MODULES.items()})
    os.environ["MUJOCO_GL"] = "disabled"
    try:
        yield
    finally:
        for name, module in saved.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
        if backend is None:
            del os.environ["MUJOCO_GL"]
        else:
            os.environ["MUJOCO_GL"] = backend


def load_tasks() -> Any:
    """The module ``memory_maze.tasks``. ``ModuleNotFoundError`` with the remedy if it is not installed."""
    if "memory_maze.tasks" in sys.modules:
        return sys.modules["memory_maze.tasks"]
    from envs.rooms.model import package_folder

    package_folder("memory_maze")
    import mujoco  # noqa: F401 (before the variable below is set: mujoco reads it too)

    with _gymnasium_as_gym():
        from memory_maze import tasks
    # dm_control says with every episode that the walker cannot be given a velocity, which nobody asked for.
    logging.getLogger("absl").addFilter(lambda record: "no free joint" not in record.getMessage())
    return tasks


def make(size: int, seed: int) -> Any:
    """The ``dm_control.composer.Environment`` inside Memory Maze ``size`` x ``size``, before its wrappers.

    Its camera is off from the beginning; everything random happens as upstream with this seed.
    """
    tasks = load_tasks()

    class TaskWithoutCamera(tasks.MemoryMazeTask):  # type: ignore[misc, name-defined]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._walker.observables.egocentric_camera.enabled = False

    with mock.patch.object(tasks, "MemoryMazeTask", TaskWithoutCamera):
        wrapped = getattr(tasks, f"memory_maze_{size}x{size}")(seed=seed)
    while hasattr(wrapped, "env"):
        wrapped = wrapped.env
    return wrapped
