"""Where a run happened: device, versions, commit, memory."""

from __future__ import annotations

import hashlib
import os
import platform
import resource
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from benchmark.errors import UserError

PACKAGES = ("torch", "numpy", "gymnasium", "minigrid", "pyarrow", "mujoco")
TRAINING = ("budget", "loader", "observations", "open_loop", "render_rooms", "render_tiles", "train")
"""Modules of this package that the result of a run depends on."""


def device(name: str) -> torch.device:
    """``auto`` is CUDA where there is a GPU and the CPU elsewhere. Raises ``UserError`` for CUDA without a GPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device 'cuda': torch sees no GPU here; use --device cpu, or install a CUDA build of torch")
    if name not in ("cuda", "cpu"):
        raise UserError(f"device {name!r}; allowed: auto, cpu, cuda")
    return torch.device(name)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device_name(used: torch.device) -> str:
    """Name of the device as leaderboards group by it."""
    if used.type == "cuda":
        return torch.cuda.get_device_name(used)
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{model}, {cores()} cores, {torch.get_num_threads()} torch threads"


def peak_memory_bytes(used: torch.device) -> dict[str, float | None]:
    """Peak of the GPU allocator, or the peak resident size of this process; the other one is ``None``."""
    if used.type == "cuda":
        return {"peak_gpu_memory_gib": torch.cuda.max_memory_allocated(used) / 2**30, "peak_resident_gib": None}
    unit = 1 if sys.platform == "darwin" else 1024
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {"peak_gpu_memory_gib": None, "peak_resident_gib": resident / 2**30}


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git() -> dict[str, str | bool]:
    """Commit of this repository and whether files differ from it."""

    def ask(*words: str) -> str:
        folder = Path(__file__).parent
        answer = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False)
        return answer.stdout.strip()

    try:
        return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain", "--untracked-files=no"))}
    except OSError:
        return {"commit": "", "dirty": True}


def code_digest(modules: list[str]) -> str:
    """Hash of the source files of ``backbones``, of the training loop and what draws its frames on a GPU, and of a
    plug-in's module."""
    files = sorted(Path(sys.modules["backbones"].__file__ or "").parent.rglob("*.py"))
    files += [Path(__file__).parent / f"{name}.py" for name in TRAINING]
    files += [Path(sys.modules[name].__file__ or "") for name in modules if name.split(".")[0] != "backbones"]
    whole = hashlib.sha256()
    for path in files:
        whole.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return whole.hexdigest()
