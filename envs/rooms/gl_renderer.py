"""The reference renderer: MuJoCo's own, through OpenGL."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from envs.rooms.gl_context import GLUnavailableError, ensure_context
from envs.rooms.physics import REST_HEIGHT

SIZE = 64


def check_frame(frame: UInt8[np.ndarray, "height width 3"], source: str) -> None:
    """Raise ``GLUnavailableError`` if a frame is black or constant: no view of a room looks like that."""
    if (frame == frame[0, 0]).all():
        colour = tuple(frame[0, 0].tolist())
        name = f"of the one colour {colour}" if any(colour) else "black"
        raise GLUnavailableError(
            f"a frame from {source} is {name}: the OpenGL library gives no usable frames. Nothing was written; use "
            "renderer 'analytic', or see python -m benchmark.doctor"
        )


class GLRenderer:
    """Renders a MuJoCo model from the walker's camera, 64x64 unless told otherwise.

    Raises ``GLUnavailableError`` where no OpenGL library works.
    """

    def __init__(self, model: Any, camera: str, size: int = SIZE) -> None:
        import mujoco

        self.backend = ensure_context()
        self._mujoco = mujoco
        self.model = model
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = model.camera(camera).id
        self._options = mujoco.MjvOption()
        self._options.geomgroup[:] = (1, 1, 1, 0, 0, 0)
        self._scene = mujoco.MjvScene(model, maxgeom=1000)
        # dm_control renders without them; with a headlight only they change nothing but cost time.
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self._scene.flags[flag] = False
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50)
        mujoco.mjr_resizeOffscreen(size, size, self._context)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._viewport = mujoco.MjrRect(0, 0, size, size)
        self._data = mujoco.MjData(model)

    def draw(self, data: Any) -> UInt8[np.ndarray, "size size 3"]:
        """The frame of a MuJoCo state whose positions are up to date (``mj_kinematics``, ``mj_camlight``).

        Raises ``GLUnavailableError`` if it is black or constant.
        """
        mujoco = self._mujoco
        # Another package may have made a context of its own current; frames would be garbage then, silently.
        ensure_context()
        # Another renderer may have left its own buffer bound: the frame would go there, and a stale one come back.
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        mujoco.mjv_updateScene(
            self.model, data, self._options, None, self._camera, mujoco.mjtCatBit.mjCAT_ALL, self._scene
        )
        frame = np.empty((self._viewport.height, self._viewport.width, 3), np.uint8)
        mujoco.mjr_render(self._viewport, self._scene, self._context)
        mujoco.mjr_readPixels(frame, None, self._viewport, self._context)
        check_frame(frame, f"MuJoCo ({self.backend})")
        return frame[::-1]

    def render(self, poses: Float32[np.ndarray, "T 3"]) -> UInt8[np.ndarray, "T size size 3"]:
        """Frames of poses ``(x, y, heading)``, each checked as by ``draw``."""
        size = self._viewport.height
        frames = np.empty((len(poses), size, size, 3), np.uint8)
        for frame, (x, y, heading) in zip(frames, poses.astype(np.float64), strict=True):
            self._data.qpos[:] = (x, y, REST_HEIGHT, -heading, 0.0)
            self._mujoco.mj_kinematics(self.model, self._data)
            self._mujoco.mj_camlight(self.model, self._data)
            frame[...] = self.draw(self._data)
        return frames

    def close(self) -> None:
        """Free what the renderer holds on the GPU; the process keeps its OpenGL context."""
        ensure_context()
        self._context.free()
