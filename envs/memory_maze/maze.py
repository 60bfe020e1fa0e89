"""A maze of Memory Maze as plain arrays: its layout, its targets, and its surfaces for the analytic renderers."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from envs.rooms.analytic import Surfaces
from envs.rooms.layouts import CELL, Rectangle
from envs.rooms.scene import FLOOR_TEXTURES, WALL_TEXTURES

TARGET_RADIUS = 0.6


def open_cells(task: Any) -> UInt8[np.ndarray, "n n"]:
    """1 where one can walk, without the outer wall; ``[y, x]``, y upwards, as ``maze_layout`` of Memory Maze."""
    inner = np.flip(np.asarray(task._maze_arena.maze.entity_layer)[1:-1, 1:-1], 0)
    return np.isin(inner, [" ", "P", "G"]).astype(np.uint8)


def to_cells(xy: np.ndarray, size: int) -> np.ndarray:
    """Metres (origin in the middle of the maze) to cells (origin in its lower left corner), as ``agent_pos``."""
    return xy / CELL + size / 2


def walkable(cells: UInt8[np.ndarray, "n n"]) -> list[Rectangle]:
    """The open cells, metres."""
    half = len(cells) / 2
    return [Rectangle(*(CELL * (edge - half) for edge in (x, y, x + 1, y + 1))) for y, x in np.argwhere(cells).tolist()]


def _texture_index(model: Any, geom: int) -> int:
    """Position of a geom's texture among ``WALL_TEXTURES + FLOOR_TEXTURES``; upstream has a copy for every wall."""
    roles = model.mat_texid[model.geom_matid[geom]]
    name = model.tex(int(roles[roles >= 0][0])).name.split("/")[-1]
    if model.geom(geom).name.startswith("floor"):
        return len(WALL_TEXTURES) + FLOOR_TEXTURES.index(name)
    return WALL_TEXTURES.index(name)


def _touches_open(centre: np.ndarray, right: np.ndarray, normal: np.ndarray, cells: np.ndarray) -> bool:
    """Is there an open cell in front of any part of a wall face? The others are buried between walls."""
    parts = max(round(float(np.linalg.norm(right)) / CELL), 1)
    offsets = (np.arange(parts) + 0.5) / parts - 0.5
    points = centre[:2] + offsets[:, None] * right[:2] + normal[:2] * CELL / 2
    x, y = np.floor(to_cells(points, len(cells))).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < len(cells)) & (y < len(cells))
    return bool(cells[y[inside], x[inside]].any())


def maze_surfaces(model: Any, task: Any, cells: UInt8[np.ndarray, "n n"]) -> Surfaces:
    """Walls and floors that can be seen, read from a compiled model, and the targets as half-spheres."""
    import mujoco

    faces, textures = [], []
    for geom in range(model.ngeom):
        name = model.geom(geom).name
        if model.geom_type[geom] != mujoco.mjtGeom.mjGEOM_PLANE or model.geom_matid[geom] < 0:
            continue
        rotation = np.zeros(9)
        mujoco.mju_quat2Mat(rotation, model.geom_quat[geom])
        x_axis, y_axis, normal = rotation.reshape(3, 3).T.round(6)
        is_floor = name.startswith("floor")
        if not is_floor and normal[2] > 0.5:
            continue  # tops of walls are above the camera
        right, down = 2 * model.geom_size[geom][0] * x_axis, -2 * model.geom_size[geom][1] * y_axis
        centre = model.geom_pos[geom]
        if is_floor or _touches_open(centre, right, normal, cells):
            repeats = model.mat_texrepeat[model.geom_matid[geom]]
            faces.append(np.concatenate([centre - (right + down) / 2, right, down, repeats]))
            textures.append(_texture_index(model, geom))
    spheres = np.zeros((len(task._targets), 7), np.float32)
    for row, target, colour in zip(spheres, task._targets, task._target_colors, strict=False):
        body = model.geom(target.geom.full_identifier)
        row[:2] = model.body_pos[int(body.bodyid[0])][:2]
        row[3], row[4:] = TARGET_RADIUS, np.round(255 * colour) / 255
    return Surfaces(np.array(faces, np.float32), np.array(textures, np.int64), spheres)


def without_hidden(scene: Surfaces, hidden: int) -> Surfaces:
    """The scene as it is drawn while the targets in the bits of ``hidden`` are not."""
    there = [not hidden >> index & 1 for index in range(len(scene.spheres))]
    spheres = scene.spheres.copy()
    spheres[:, 3] *= there
    return Surfaces(scene.faces, scene.face_texture, spheres)


def target_positions(spheres: Float32[np.ndarray, "targets 7"], size: int) -> Float32[np.ndarray, "targets 2"]:
    """``targets_pos`` of Memory Maze: cells."""
    return to_cells(spheres[:, :2], size).astype(np.float32)
