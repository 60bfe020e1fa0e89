"""The rolling walker in a compiled model: Memory Maze's six actions at 4 Hz, 50 substeps each."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

ACTION_NAMES = ("noop", "forward", "left", "right", "forward_left", "forward_right")
CONTROLS = np.array([(0, 0), (-1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1)], np.float64)
"""``(roll, steer)`` of each action, as in Memory Maze."""
NOOP = ACTION_NAMES.index("noop")
SUBSTEPS = 50
REST_HEIGHT = -3.7e-4
"""Height coordinate of the walker at rest, metres. It stays within some 2 mm of it; frames are drawn as if it were at
rest, so that a pose ``(x, y, heading)`` determines its frame."""
_SETTLING_STEPS = 8
"""Control steps after which a walker that was put down rests on the floor."""


def controls(action: int) -> Float64[np.ndarray, 2]:
    """``(roll, steer)`` of an action; ``ValueError`` for a number that stands for none."""
    if not 0 <= action < len(CONTROLS):
        names = ", ".join(f"{index} {name}" for index, name in enumerate(ACTION_NAMES))
        raise ValueError(f"unknown action {action}; allowed: {names}")
    return CONTROLS[action]


class Walker:
    """Steps a MuJoCo model that holds Memory Maze's walker. Joints: x, y, z, steer, roll, in this order."""

    def __init__(self, model: Any) -> None:
        import mujoco

        self._mujoco = mujoco
        self.model = model
        self.data = mujoco.MjData(model)

    def place(self, pose: Float32[np.ndarray, 3]) -> None:
        """Put the walker at rest at a pose ``(x, y, heading)`` and let it settle on the floor."""
        self._mujoco.mj_resetData(self.model, self.data)
        x, y, heading = pose.astype(np.float64)
        self.data.qpos[:] = (x, y, 0.0, -heading, 0.0)  # the steering joint turns clockwise
        self._mujoco.mj_step(self.model, self.data, SUBSTEPS * _SETTLING_STEPS)

    def step(self, action: int) -> None:
        """One control step of 0.25 s: bit-identical to Memory Maze's, at a sixth of its cost."""
        self.data.ctrl[:] = controls(action)
        self._mujoco.mj_step(self.model, self.data, SUBSTEPS)

    @property
    def pose(self) -> Float32[np.ndarray, 3]:
        """``(x, y, heading)``: metres, radians counter-clockwise from the x axis."""
        x, y, _, steer, _ = self.data.qpos
        return np.array([x, y, -np.remainder(steer + np.pi, 2 * np.pi) + np.pi], np.float32)

    def snapshot(self) -> Float64[np.ndarray, " state"]:
        """Everything the future depends on; see ``restore``."""
        kind = self._mujoco.mjtState.mjSTATE_INTEGRATION
        state = np.empty(self._mujoco.mj_stateSize(self.model, kind))
        self._mujoco.mj_getState(self.model, self.data, state, kind)
        return state

    def restore(self, state: Float64[np.ndarray, " state"]) -> None:
        """Go back to a snapshot: the same actions then lead to the same poses, bit for bit."""
        self._mujoco.mj_setState(self.model, self.data, state, self._mujoco.mjtState.mjSTATE_INTEGRATION)
