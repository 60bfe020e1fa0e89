"""Says what works on this machine: Python, torch, GPU, packages, and which OpenGL backends draw correct frames.

python -m benchmark.doctor
"""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from dataclasses import dataclass

import torch

import envs
from benchmark import machine
from benchmark.cli import parse
from benchmark.errors import command

EXIT_PROBLEM = 1


@dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """Check this machine."""

    gl: bool = True
    """Also draw a frame with each OpenGL backend."""


def lines(gl: bool) -> list[tuple[bool, str]]:
    """One line a finding; false where something is missing that the 2D benchmark needs."""
    version = platform.python_version_tuple()
    found = [
        (("3", "11") <= version[:2] <= ("3", "12"), f"Python {platform.python_version()} (3.11 or 3.12 is needed)")
    ]
    found.append((True, ", ".join(f"{name} {number}" for name, number in machine.versions().items())))
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        found.append((True, f"GPU: {torch.cuda.get_device_name(0)}, {memory:.0f} GiB"))
    else:
        found.append((True, "GPU: none that torch sees; runs take the CPU"))
    found.append((True, f"CPU: {machine.device_name(torch.device('cpu'))}, {os.cpu_count()} cores"))
    found.append(_atlas())
    if not gl:
        return found
    if importlib.util.find_spec("mujoco") is None:
        return [*found, (True, "3D rooms: MuJoCo is not installed; `make setup-3d` adds it")]
    from envs.rooms.probe import advice, probe

    reports = probe()
    for report in reports:
        against = "" if report.psnr is None else f", {report.psnr:.1f} dB against the first"
        found.append(
            (
                True,
                f"renderer {report.backend}: {'works' if report.works else 'does not work'}, {report.detail}{against}",
            )
        )
    return [*found, (True, advice(reports))]


def _atlas() -> tuple[bool, str]:
    try:
        info = envs.renderer_info(envs.spec("distracting_memory_16"))
        return True, f"MiniGrid draws the tiles that are expected (atlas {info['atlas_sha256'][:8]})"
    except Exception as error:  # whatever is wrong with the installation is the finding
        return False, f"MiniGrid: {error}"


@command
def main(arguments: list[str]) -> None:
    options = parse(DoctorOptions, arguments, "python -m benchmark.doctor")
    found = lines(options.gl)
    for good, text in found:
        print(("ok       " if good else "PROBLEM  ") + text)
    if not all(good for good, _ in found):
        sys.exit(EXIT_PROBLEM)


if __name__ == "__main__":
    main()
