"""Two, Four and Ten Rooms as Gymnasium environments."""

from __future__ import annotations

from typing import Any, SupportsInt

import gymnasium
import numpy as np
from jaxtyping import Float32, UInt8

from envs.rooms import analytic
from envs.rooms.floor_map import MAP_WIDTH, draw_map
from envs.rooms.layouts import layout
from envs.rooms.model import build
from envs.rooms.physics import ACTION_NAMES, NOOP, Walker
from envs.rooms.rendering import FrameSource, frame_source
from envs.rooms.scene import Scene, sample_scene, sample_start
from envs.rooms.teleport import TELEPORT, start_count

SIZE = 64


class RoomsEnv(gymnasium.Env[np.ndarray, int]):
    """Rooms to remember.

    Description. A ring of rooms whose wall sides and objects change colour and place with every episode. The agent,
    Memory Maze's rolling ball, sees them through a camera; there is nothing to win. A world model shows what it
    remembers when it predicts the frames of a second tour.

    Action space. ``Discrete(6)``: noop, forward, left, right, forward and left, forward and right, at 4 Hz. With
    ``teleport``, ``Discrete(7)``: action 6, taken right after the context, puts the agent back to where (and how fast)
    it was at a random moment of its past; at any other time it is a noop.

    Observation space. ``Box(0, 255, (64, 64, 3), uint8)``. ``info["pose"]`` is ``(x, y, heading)``, metres and radians.

    Rewards. None (0).

    Termination. Never; truncated after ``steps`` actions.

    Rendering. ``render()`` gives the map from above: the agent, what it sees, and the way it came.

    Arguments. ``name``: ``two_rooms``, ``four_rooms`` or ``ten_rooms``. ``steps``: of an episode. ``context_steps``: of
    its first tour. ``renderer``: ``analytic`` or ``mujoco``. ``teleport``: see above.
    ``ValueError`` for an unknown name or renderer.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}

    def __init__(
        self,
        name: str = "four_rooms",
        steps: int = 1000,
        context_steps: int = 500,
        renderer: str = "analytic",
        teleport: bool = False,
        render_mode: str | None = None,
    ) -> None:
        self.layout = layout(name)
        self.steps, self.context_steps, self.teleport = steps, context_steps, teleport
        self.render_mode = render_mode
        self.walker = Walker(build(name))
        self.renderer = renderer
        self._frames: FrameSource = frame_source(renderer)
        self.action_space = gymnasium.spaces.Discrete(len(ACTION_NAMES) + teleport)  # type: ignore[assignment]
        self.observation_space = gymnasium.spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)
        self.scene: Scene
        self.time = 0

    @property
    def pose(self) -> Float32[np.ndarray, "3"]:
        """``(x, y, heading)``: metres, radians counter-clockwise from the x axis."""
        return self.walker.pose

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[UInt8[np.ndarray, "64 64 3"], dict[str, Any]]:
        self.reset_state(seed=seed)
        return self.frame(), {"pose": self.pose}

    def reset_state(self, seed: int | None = None) -> None:
        """``reset`` without the frame."""
        super().reset(seed=seed)
        self.scene = sample_scene(self.layout, self.np_random)
        self.walker.place(sample_start(self.layout, self.scene, self.np_random))
        self.time = 0
        self._path = [self.pose]
        self.return_to = int(self.np_random.integers(start_count(self.context_steps + 1))) if self.teleport else None
        self._snapshots = [self.walker.snapshot()] if self.teleport else []

    def advance(self, action: int) -> None:
        """``step`` without the frame, for whoever wants only poses."""
        if self.teleport and action == TELEPORT and self.time == self.context_steps:
            assert self.return_to is not None
            self.walker.restore(self._snapshots[self.return_to])
        else:
            # A random agent may ask for a teleport at any time, so that is no error.
            self.walker.step(NOOP if self.teleport and action == TELEPORT else int(action))
            if self.teleport and self.time < self.context_steps:
                self._snapshots.append(self.walker.snapshot())
        self.time += 1
        self._path.append(self.pose)

    def step(self, action: SupportsInt) -> tuple[UInt8[np.ndarray, "64 64 3"], float, bool, bool, dict[str, Any]]:
        self.advance(int(action))
        return self.frame(), 0.0, False, self.time >= self.steps, {"pose": self.pose}

    def frame(self) -> UInt8[np.ndarray, "64 64 3"]:
        """What the camera sees now."""
        return self._frames(self.layout, self.scene, self.pose[None])[0]

    def top_down(self, width: int = MAP_WIDTH) -> UInt8[np.ndarray, "height width 3"]:
        """The whole map, at most ``width`` pixels wide (``envs.rooms.floor_map``)."""
        return draw_map(self.layout.free, analytic.surfaces(self.layout, self.scene), np.stack(self._path), width)

    def render(self) -> UInt8[np.ndarray, "height width 3"] | None:  # type: ignore[override]
        return None if self.render_mode is None else self.top_down()
