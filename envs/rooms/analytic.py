"""The analytic renderer: frames of plain arrays, without OpenGL. Its loops are in ``raster``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt8

from envs.rooms.camera import SIZE, camera_axes, sky_frame
from envs.rooms.layouts import JAMB, Layout
from envs.rooms.scene import FLOOR_TEXTURE, JAMB_TEXTURE, NO_OBJECT, OBJECT_COLOURS, OBJECT_RADIUS, Scene
from envs.rooms.textures import load_textures


@dataclass(frozen=True)
class Surfaces:
    """A scene as the analytic and the torch renderers take it. Metres; colours in [0, 1].

    faces: top-left corner, edge to the right, edge down (3 each), texture repeats to the right and down.
    face_texture: index of the texture, walls first (``scene.WALL_TEXTURES``), then floors.
    spheres: x, y, z, radius (0: absent), red, green, blue.
    """

    faces: Float32[np.ndarray, "faces 11"]
    face_texture: Int64[np.ndarray, "faces"]
    spheres: Float32[np.ndarray, "spheres 7"]


def surfaces(layout: Layout, scene: Scene) -> Surfaces:
    """The arrays of an episode. Episodes of one layout have equal shapes and equal ``faces``."""
    side = layout.face_side
    fixed = np.where(side == JAMB, JAMB_TEXTURE, FLOOR_TEXTURE)
    texture = np.where(side >= 0, scene.wall_texture[np.maximum(side, 0)], fixed).astype(np.int64)
    there = scene.object_colour != NO_OBJECT
    spheres = np.zeros((len(there), 7), np.float32)
    spheres[:, :2] = scene.object_xy
    spheres[:, 3] = np.where(there, OBJECT_RADIUS, 0)
    spheres[there, 4:] = OBJECT_COLOURS[scene.object_colour[there]]
    return Surfaces(layout.faces, texture, spheres)


def render(scene: Surfaces, poses: Float32[np.ndarray, "T 3"]) -> UInt8[np.ndarray, "T 64 64 3"]:
    """Frames of poses ``(x, y, heading)`` in one scene."""
    from envs.rooms import raster

    textures = load_textures()
    frames = np.empty((len(poses), SIZE, SIZE, 3), np.uint8)
    raster.draw(
        scene.faces,
        scene.face_texture,
        scene.spheres,
        camera_axes(poses),
        (textures.texels, textures.level_start, textures.size, sky_frame(textures.sky)),
        frames,
    )
    return frames


def visible_area(scene: Surfaces, poses: Float32[np.ndarray, "T 3"]) -> Int32[np.ndarray, "T things"]:
    """How much of every face, then of every sphere, is in view: quarters of a pixel, of 4 * 4096 in a frame."""
    from envs.rooms import raster

    pixels = np.zeros((len(poses), len(scene.faces) + len(scene.spheres)), np.int32)
    raster.count_visible(scene.faces, scene.spheres, camera_axes(poses), pixels)
    return pixels
