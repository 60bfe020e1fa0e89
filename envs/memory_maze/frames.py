"""From stored trajectories of Memory Maze to frames and to the observations that probes are trained on."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, UInt8

from envs.episode import Trajectory
from envs.memory_maze.maze import target_positions, to_cells, without_hidden
from envs.rooms import analytic
from envs.rooms.layouts import CELL

BORDER = 2
_BORDER_BRIGHTNESS = 0.7


def draw_border(
    frames: UInt8[np.ndarray, "T 64 64 3"], colours: Float32[np.ndarray, "T 3"]
) -> UInt8[np.ndarray, "T 64 64 3"]:
    """Frames framed, two pixels wide, in the colours of the wanted targets, as Memory Maze does."""
    framed = np.empty_like(frames)
    # Colours were rounded to grey levels for drawing; upstream's border truncates the unrounded ones.
    framed[:] = (_unrounded(colours) * 255 * _BORDER_BRIGHTNESS).astype(np.uint8)[:, None, None]
    framed[:, BORDER:-BORDER, BORDER:-BORDER] = frames[:, BORDER:-BORDER, BORDER:-BORDER]
    return framed


def _unrounded(colours: Float32[np.ndarray, "T 3"]) -> np.ndarray:
    """Memory Maze's target colours are multiples of 1/220."""
    return np.round(colours.astype(np.float64) * 220) / 220


def observe(
    poses: Float32[np.ndarray, "T 3"], spheres: Float32[np.ndarray, "targets 7"], size: int
) -> dict[str, np.ndarray]:
    """Memory Maze's observations of a walk, in cells.

    ``agent_pos (T, 2)``, ``agent_dir (T, 2)``, ``targets_pos (k, 2)``, and ``targets_vec (T, k, 2)``: how far to the
    right and how far ahead of the agent each target is.
    """
    heading = poses[:, 2].astype(np.float64)
    ahead = np.stack([np.cos(heading), np.sin(heading)], 1)
    right = np.stack([ahead[:, 1], -ahead[:, 0]], 1)
    offset = (spheres[None, :, :2] - poses[:, None, :2]) / CELL
    vec = np.stack([(offset * right[:, None]).sum(-1), (offset * ahead[:, None]).sum(-1)], -1)
    return {
        "agent_pos": to_cells(poses[:, :2], size).astype(np.float32),
        "agent_dir": ahead.astype(np.float32),
        "targets_pos": target_positions(spheres, size),
        "targets_vec": vec.astype(np.float32),
    }


def observations(trajectory: Trajectory) -> dict[str, np.ndarray]:
    """``observe`` of a stored trajectory or of a slice of one, and its ``maze_layout (n, n)``."""
    layout = trajectory.scene["maze_layout"]
    return observe(trajectory.state["pose"], trajectory.scene["spheres"], len(layout)) | {"maze_layout": layout}


def render(trajectory: Trajectory) -> UInt8[np.ndarray, "T 64 64 3"]:
    """Frames of a stored trajectory, or of a slice of one, by the analytic renderer."""
    scene, state = trajectory.scene, trajectory.state
    frames = np.empty((len(state["pose"]), 64, 64, 3), np.uint8)
    surfaces = analytic.Surfaces(scene["faces"], scene["face_texture"].astype(np.int64), scene["spheres"])
    for hidden in np.unique(state["hidden"]):
        chosen = state["hidden"] == hidden
        frames[chosen] = analytic.render(without_hidden(surfaces, int(hidden)), state["pose"][chosen])
    return draw_border(frames, scene["spheres"][state["target"], 4:])
