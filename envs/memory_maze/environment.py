"""Memory Maze as a Gymnasium environment with lean stepping and either renderer."""

from __future__ import annotations

from typing import Any, SupportsInt

import gymnasium
import numpy as np
from jaxtyping import Float32, UInt8

from envs.memory_maze.frames import draw_border, observe
from envs.memory_maze.maze import maze_surfaces, open_cells, walkable, without_hidden
from envs.memory_maze.upstream import make
from envs.rooms import analytic
from envs.rooms.floor_map import MAP_WIDTH, draw_map
from envs.rooms.gl_renderer import GLRenderer
from envs.rooms.physics import ACTION_NAMES, SUBSTEPS, controls
from envs.rooms.rendering import RENDERERS

_REACH = 1.6
"""Metres. Further from every target than that, no substep of a control step can touch one (0.8 m + 0.55 m)."""


class MemoryMazeEnv(gymnasium.Env[np.ndarray, int]):
    """Memory Maze (Pasukonis et al., 2022), as a source of episodes.

    Description. A random maze with coloured targets that stay where they are. The border of the image asks for one of
    them; touching it is rewarded, then another is asked for.

    Action space. ``Discrete(6)``: noop, forward, left, right, forward and left, forward and right, at 4 Hz.

    Observation space. ``Box(0, 255, (64, 64, 3), uint8)``; the border has the colour of the wanted target. ``info`` has
    Memory Maze's further observations: ``maze_layout (n, n)``, ``agent_pos (2,)``, ``agent_dir (2,)``,
    ``targets_pos (k, 2)``, ``targets_vec (k, 2)``, in cells; ``pose``, metres and radians; and ``target``, the index of
    the wanted one.

    Rewards. 1 on touching the wanted target.

    Termination. Never; truncated after ``steps`` actions. (Upstream's 15x15 runs for 4000; its datasets stop at 1000.)

    Rendering. ``render()`` gives the map from above: targets, the agent, what it sees, and the way it came.

    Arguments. ``size``: 9, 11, 13 or 15. ``steps``: of an episode. ``renderer``: ``analytic`` or ``mujoco``, which is
    upstream's image to the pixel. ``ValueError`` for others.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}

    def __init__(
        self, size: int = 9, steps: int = 1000, renderer: str = "analytic", render_mode: str | None = None
    ) -> None:
        if size not in (9, 11, 13, 15):
            raise ValueError(f"Memory Maze has no size {size}; allowed: 9, 11, 13, 15")
        if renderer not in RENDERERS:
            raise ValueError(f"unknown renderer {renderer!r}; allowed: {', '.join(RENDERERS)}")
        self.size, self.steps, self.renderer, self.render_mode = size, steps, renderer, render_mode
        self.action_space = gymnasium.spaces.Discrete(len(ACTION_NAMES))  # type: ignore[assignment]
        self.observation_space = gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)
        self._gl: GLRenderer | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[UInt8[np.ndarray, "64 64 3"], dict[str, Any]]:
        self.reset_state(seed)
        return self.frame(), self.observations()

    def reset_state(self, seed: int | None = None) -> None:
        """``reset`` without the frame. The maze is the first that upstream makes with ``seed``."""
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(2**31))
        self.upstream = make(self.size, seed)
        self.upstream.reset()
        self.task = self.upstream.task
        self.model, self.data = self.upstream.physics.model.ptr, self.upstream.physics.data.ptr
        self.layout = open_cells(self.task)
        self.surfaces = maze_surfaces(self.model, self.task, self.layout)
        self.time = 0
        self._path = [self.pose]
        self.close()

    @property
    def pose(self) -> Float32[np.ndarray, "3"]:
        """``(x, y, heading)``: metres from the middle of the maze, radians from the x axis."""
        x, y, _, steer, _ = self.data.qpos
        return np.array([x, y, -np.remainder(steer + np.pi, 2 * np.pi) + np.pi], np.float32)

    @property
    def target(self) -> int:
        """Index of the target that is asked for."""
        return int(self.task._current_target_ix)

    @property
    def hidden(self) -> int:
        """Targets that are not drawn, as bits. Upstream hides one that is touched while the episode is set up."""
        alpha = [self.upstream.physics.bind(target.material).rgba[3] for target in self.task._targets]
        return sum(1 << index for index, value in enumerate(alpha) if value == 0)

    def advance(self, action: int) -> float:
        """``step`` without the frame: the reward. Bit-identical with upstream."""
        import mujoco

        self.data.ctrl[:] = controls(action)
        near = np.hypot(*(self.surfaces.spheres[:, :2] - self.pose[:2]).T).min() < _REACH
        if near:
            # A touch counts in any substep, so each is looked at, as upstream does.
            for _ in range(SUBSTEPS):
                mujoco.mj_step2(self.model, self.data)
                mujoco.mj_step1(self.model, self.data)
                for target in self.task._targets:
                    target.after_substep(self.upstream.physics, None)
        else:
            mujoco.mj_step2(self.model, self.data)
            mujoco.mj_step(self.model, self.data, SUBSTEPS - 1)
            mujoco.mj_step1(self.model, self.data)
        self.task.after_step(self.upstream.physics, self.upstream.random_state)
        self.time += 1
        self._path.append(self.pose)
        return float(self.task.get_reward(self.upstream.physics))

    def step(self, action: SupportsInt) -> tuple[UInt8[np.ndarray, "64 64 3"], float, bool, bool, dict[str, Any]]:
        reward = self.advance(int(action))
        return self.frame(), reward, False, self.time >= self.steps, self.observations()

    def observations(self) -> dict[str, Any]:
        """Memory Maze's observations besides the image."""
        found = observe(self.pose[None], self.surfaces.spheres, self.size)
        return {
            "pose": self.pose,
            "maze_layout": self.layout.copy(),
            "agent_pos": found["agent_pos"][0],
            "agent_dir": found["agent_dir"][0],
            "targets_pos": found["targets_pos"],
            "targets_vec": found["targets_vec"][0],
            "target": self.target,
        }

    def frame(self) -> UInt8[np.ndarray, "64 64 3"]:
        """What the camera sees now, with the border."""
        if self.renderer == "mujoco":
            if self._gl is None:
                self._gl = GLRenderer(self.model, "walker/egocentric")
            image = self._gl.draw(self.data)
        else:
            image = analytic.render(without_hidden(self.surfaces, self.hidden), self.pose[None])[0]
        return draw_border(image[None], self.surfaces.spheres[self.target, None, 4:])[0]

    def top_down(self, width: int = MAP_WIDTH) -> UInt8[np.ndarray, "height width 3"]:
        """The whole map, at most ``width`` pixels wide, with the wanted target ringed (``envs.rooms.floor_map``)."""
        scene = without_hidden(self.surfaces, self.hidden)
        return draw_map(walkable(self.layout), scene, np.stack(self._path), width, self.target)

    def render(self) -> UInt8[np.ndarray, "height width 3"] | None:  # type: ignore[override]
        return None if self.render_mode is None else self.top_down()

    def close(self) -> None:
        if self._gl is not None:
            self._gl.close()
            self._gl = None
