"""Memory Maze itself, for probing: ``memory_maze_9x9`` and ``memory_maze_15x15`` (also 11x11 and 13x13).

Upstream's mazes, physics and rewards, with our stepping and rendering; episodes of 1001 observations as in its offline
datasets. Names may end in ``_mujoco`` for the Gymnasium environment to draw with OpenGL; stored trajectories are always
drawn by the analytic renderer.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from envs.episode import Trajectory
from envs.rooms.physics import ACTION_NAMES
from envs.spec import EnvSpec

SIZES = (9, 11, 13, 15)
NAMES = ("memory_maze_9x9", "memory_maze_15x15")
STEPS = 1000
_REFERENCE = "two_rooms"
"""Floor plan of the frames that fingerprint the renderer."""


def parse(name: str) -> EnvSpec | None:
    """The spec of a name as above; None for anything else; ``ValueError`` for a size that does not exist."""
    match = re.fullmatch(r"memory_maze_(\d+)x(\d+)(_mujoco)?", name)
    if match is None:
        return None
    width, height = int(match[1]), int(match[2])
    if width != height or width not in SIZES:
        sizes = ", ".join(f"memory_maze_{size}x{size}" for size in SIZES)
        raise ValueError(f"Memory Maze has no size {width}x{height}; allowed: {sizes}")
    return EnvSpec(
        name=name,
        family="memory_maze",
        gym_id=f"WMBench/MemoryMaze{width}x{width}-v0",
        gym_kwargs={"size": width, "steps": STEPS, "renderer": "mujoco" if match[3] else "analytic"},
        image_shape=(64, 64, 3),
        action_names=ACTION_NAMES,
        context_length=501,
        query_length=500,
        has_reward=False,
        policy="visit_targets",
        memory=f"Walls and targets of a maze of {width}x{width} cells, for up to {STEPS} steps.",
        paper_episodes={"train": 28_000, "val": 1_000, "test": 1_000},
        default_episodes={"train": 1_000, "val": 50, "test": 100},
        metrics=("probe_walls", "probe_targets"),
    )


def simulate(spec: EnvSpec, seeds: Sequence[tuple[int, int]]) -> list[Trajectory]:
    """Episodes of the policy that walks to random points, from pairs ``(env_seed, policy_seed)``.

    Memory Maze's rewards are no part of the task here: they are kept as the state ``touched``.
    """
    from envs.memory_maze.environment import MemoryMazeEnv
    from envs.memory_maze.walk import policy

    env = MemoryMazeEnv(**spec.gym_kwargs)
    episodes = []
    for env_seed, policy_seed in seeds:
        env.reset_state(seed=env_seed)
        state = [(env.pose, env.target, env.hidden)]
        actions, touched = [-1], [0.0]
        for action in itertools.islice(policy(env, np.random.default_rng(policy_seed)), spec.length - 1):
            touched.append(env.advance(action))
            actions.append(action)
            state.append((env.pose, env.target, env.hidden))
        poses, targets, hidden = zip(*state, strict=True)
        episodes.append(
            Trajectory(
                state={
                    "pose": np.stack(poses),
                    "target": np.array(targets, np.uint8),
                    "hidden": np.array(hidden, np.uint8),
                    "touched": np.array(touched, np.uint8),
                },
                previous_action=np.array(actions, np.int64),
                reward=np.zeros(spec.length, np.float32),
                scene={
                    "faces": env.surfaces.faces,
                    "face_texture": env.surfaces.face_texture.astype(np.uint8),
                    "spheres": env.surfaces.spheres,
                    "maze_layout": env.layout,
                },
                facts={"targets_touched": int(np.sum(touched))},
            )
        )
    return episodes


def render(spec: EnvSpec, trajectory: Trajectory) -> UInt8[np.ndarray, "T 64 64 3"]:
    """Frames of a trajectory by the analytic renderer."""
    from envs.memory_maze import frames

    return frames.render(trajectory)


def renderer_info(spec: EnvSpec) -> dict[str, Any]:
    """The analytic renderer's fingerprint (see ``envs.rooms.fingerprint``), on reference frames of rooms."""
    from envs.rooms.fingerprint import fingerprint

    return fingerprint("analytic", _REFERENCE)


def check_renderer(spec: EnvSpec, stored: dict[str, Any]) -> None:
    """``ValueError`` if frames drawn here would differ from those of data with this ``renderer_info``."""
    from envs.rooms.fingerprint import check

    check(stored, _REFERENCE)
