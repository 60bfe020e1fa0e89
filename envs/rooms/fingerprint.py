"""Which renderer made these frames? Names, versions and reference frames, kept in manifests and checked on opening."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from typing import Any

import numpy as np
from jaxtyping import Float32

from envs.rooms.camera import VERSION
from envs.rooms.layouts import Layout, layout
from envs.rooms.model import texture_files
from envs.rooms.rendering import frame_source
from envs.rooms.scene import Scene, sample_scene, sample_start

_FRAMES = 4
_BLOCKS = 8
_EXACT_KEYS = ("name", "version", "textures_sha256")
_FRAME_KEYS = ("frames_sha256", "frames_mean")


def reference_episode(plan: Layout) -> tuple[Scene, Float32[np.ndarray, "frames 3"]]:
    """A fixed scene and poses, drawn from a generator whose stream never changes."""
    rng = np.random.Generator(np.random.PCG64(20_240_601))
    scene = sample_scene(plan, rng)
    return scene, np.stack([sample_start(plan, scene, rng) for _ in range(_FRAMES)])


def _textures_digest() -> str:
    digest = hashlib.sha256()
    for file in texture_files():
        digest.update(file.read_bytes())
    return digest.hexdigest()


def gl_name() -> str:
    """Vendor, renderer and version of the OpenGL implementation in use; needs a current context."""
    from OpenGL import GL

    return " / ".join(GL.glGetString(key).decode() for key in (GL.GL_VENDOR, GL.GL_RENDERER, GL.GL_VERSION))


def fingerprint(renderer: str, name: str) -> dict[str, Any]:
    """JSON values: renderer, its version, packages, textures, and reference frames of the layout ``name``.

    ``frames_sha256`` is exact; ``frames_mean`` are means over 8x8 blocks, for machines whose last bits differ.
    """
    plan = layout(name)
    frames = frame_source(renderer)(plan, *reference_episode(plan))
    edge = frames.shape[1] // _BLOCKS
    means = frames.reshape(len(frames), _BLOCKS, edge, _BLOCKS, edge, 3).mean((2, 4))
    info = {
        "name": renderer,
        "version": str(VERSION) if renderer == "analytic" else version("mujoco"),
        "textures_sha256": _textures_digest(),
        "frames_sha256": hashlib.sha256(frames.tobytes()).hexdigest(),
        "frames_mean": [round(float(value), 2) for value in means.ravel()],
    }
    return info | {"opengl": gl_name()} if renderer == "mujoco" else info


def check(stored: dict[str, Any], name: str) -> None:
    """Raise ``ValueError`` unless this machine's renderer draws what the stored fingerprint says.

    Equal hashes pass; otherwise the reference frames may differ by one grey level in the mean of any 8x8 block.
    """
    absent = [key for key in (*_EXACT_KEYS, *_FRAME_KEYS) if key not in stored]
    if absent:
        raise ValueError(f"what the data says of its renderer lacks {absent[0]!r}; make the dataset again")
    renderer = stored["name"]
    here = fingerprint(renderer, name)
    for key in _EXACT_KEYS:
        if stored[key] != here[key]:
            raise ValueError(
                f"the data was made with {key} {stored[key]!r}, this installation has {here[key]!r}: frames would "
                "differ. Install the versions of the manifest or make the dataset again"
            )
    if stored["frames_sha256"] == here["frames_sha256"]:
        return
    apart = float(np.abs(np.array(stored["frames_mean"]) - np.array(here["frames_mean"])).max())
    if apart > 1.0:
        raise ValueError(
            f"renderer {renderer!r} draws reference frames of {name} {apart:.1f} grey levels apart from the data's (1 "
            "is allowed); another OpenGL driver? Make the dataset again or use the analytic renderer"
        )
