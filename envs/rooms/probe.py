"""Which OpenGL backends work here? Each draws the same frame in a process of its own, and the frames are compared.

``probe()`` is what ``python -m benchmark.doctor`` prints. Run as a program, this module draws frames with one backend:
``python -m envs.rooms.probe egl frame.npy``.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from envs.rooms.gl_context import BACKENDS, INSTALL_HINT

LAYOUT = "four_rooms"
_TIME_LIMIT = 120


@dataclass(frozen=True)
class BackendReport:
    """What became of one renderer.

    backend: ``egl`` or ``osmesa`` (MuJoCo), or ``analytic``.
    works: it drew frames that are neither black nor constant.
    detail: the OpenGL implementation, or why it does not work, in one line.
    psnr: of its frames against the first backend that works, in decibels; infinite if equal, None without either.
    """

    backend: str
    works: bool
    detail: str
    psnr: float | None = None


def draw_reference(backend: str) -> tuple[UInt8[np.ndarray, "frames 64 64 3"], str]:
    """The reference frames by MuJoCo through ``backend``, in this process, and the name of the OpenGL implementation.

    Raises ``GLUnavailableError`` if the backend does not work, ``RuntimeError`` if this process has a context already.
    """
    from envs.rooms.fingerprint import gl_name, reference_episode
    from envs.rooms.gl_context import open_context
    from envs.rooms.layouts import layout
    from envs.rooms.rendering import frame_source

    open_context(backend)
    plan = layout(LAYOUT)
    return frame_source("mujoco")(plan, *reference_episode(plan)), gl_name()


def _in_subprocess(backend: str, folder: Path) -> tuple[BackendReport, np.ndarray | None]:
    file = folder / f"{backend}.npy"
    command = [sys.executable, "-P", "-m", "envs.rooms.probe", backend, str(file)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIME_LIMIT, cwd=Path(__file__).parents[2], check=False
        )
    except subprocess.TimeoutExpired:
        return BackendReport(backend, False, f"drew nothing within {_TIME_LIMIT} s"), None
    if done.returncode != 0 or not file.exists():
        lines = done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"]
        return BackendReport(backend, False, lines[-1]), None
    return BackendReport(backend, True, done.stdout.strip().splitlines()[-1]), np.load(file)


def psnr(a: UInt8[np.ndarray, "*shape"], b: UInt8[np.ndarray, "*shape"]) -> float:
    """Peak signal-to-noise ratio in decibels; infinite for equal arrays."""
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def probe() -> list[BackendReport]:
    """A report for every OpenGL backend and for the analytic renderer. Never raises for a missing library."""
    from envs.rooms.fingerprint import reference_episode
    from envs.rooms.layouts import layout
    from envs.rooms.rendering import frame_source

    reports: list[tuple[BackendReport, np.ndarray | None]] = []
    with tempfile.TemporaryDirectory() as folder:
        reports += [_in_subprocess(backend, Path(folder)) for backend in BACKENDS]
    try:
        plan = layout(LAYOUT)
        frames = frame_source("analytic")(plan, *reference_episode(plan))
        reports.append((BackendReport("analytic", True, "numba, no OpenGL"), frames))
    except ImportError as error:
        reports.append((BackendReport("analytic", False, str(error)), None))
    reference = next((frames for report, frames in reports if report.works), None)
    return [
        BackendReport(
            report.backend,
            report.works,
            report.detail,
            None if frames is None or reference is None else psnr(frames, reference),
        )
        for report, frames in reports
    ]


def advice(reports: list[BackendReport]) -> str:
    """One line: which renderer will be used, and what to install for the other."""
    works = {report.backend for report in reports if report.works}
    if works & set(BACKENDS):
        return f"MuJoCo can draw here ({', '.join(b for b in BACKENDS if b in works)}); analytic is the default"
    return f"no OpenGL library works: the analytic renderer is used, which needs none ({INSTALL_HINT}, for MuJoCo's)"


def main() -> None:
    backend, file = sys.argv[1:]
    frames, name = draw_reference(backend)
    np.save(file, frames)
    print(name)


if __name__ == "__main__":
    main()
