"""What has been in view: proof that an episode shows all that it will ask for, and how old a memory has to be."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32, Int32

from envs.rooms.analytic import Surfaces, surfaces, visible_area
from envs.rooms.layouts import FLOOR, Layout
from envs.rooms.scene import NO_OBJECT, Scene

SEEN_PIXELS = 40
"""A wall side or object counts as shown once some frame has that many of its 4096 pixels on it."""
_SAMPLES = 4


def side_area(layout: Layout, area: Int32[np.ndarray, "T things"]) -> Int32[np.ndarray, "T sides"]:
    """Area of each side of each room, its faces left and right of a door taken together."""
    total = np.zeros((len(area), layout.side_count), np.int32)
    for face, side in enumerate(layout.face_side):
        if side >= 0:
            total[:, side] += area[:, face]
    return total


def unseen(layout: Layout, scene: Scene, poses: Float32[np.ndarray, "T 3"]) -> list[str]:
    """Wall sides and objects that no frame of these poses shows well, such as ``side 6`` or ``object 3``."""
    area = visible_area(surfaces(layout, scene), poses)
    best_side = side_area(layout, area).max(0)
    best_object = area[:, len(layout.faces) :].max(0)
    enough = SEEN_PIXELS * _SAMPLES
    missing = [f"side {side}" for side in np.flatnonzero(best_side < enough)]
    there = scene.object_colour != NO_OBJECT
    return missing + [f"object {place}" for place in np.flatnonzero(there & (best_object < enough))]


def content_age(
    scene: Surfaces, landmark: Bool[np.ndarray, "things"], poses: Float32[np.ndarray, "T 3"], context_length: int
) -> Float32[np.ndarray, "T"]:
    """How many steps ago the content of each query frame was last in view during the context.

    The mean over what a frame shows of ``landmark`` things (walls and objects; not the floor), weighted by area, of the
    time since the last context frame that showed the thing. NaN for frames of the context and for frames that show
    nothing that the context showed.
    """
    area = visible_area(scene, poses) * landmark
    shown = area[:context_length] >= _SAMPLES
    last = np.where(shown.any(0), context_length - 1 - shown[::-1].argmax(0), -1)
    age = np.full(len(poses), np.nan, np.float32)
    for t in range(context_length, len(poses)):
        weight = np.where(last >= 0, area[t], 0)
        if weight.sum():
            age[t] = np.average(t - last, weights=weight)
    return age


def rooms_content_age(
    layout: Layout, scene: Scene, poses: Float32[np.ndarray, "T 3"], context_length: int
) -> Float32[np.ndarray, "T"]:
    """``content_age`` of an episode of the rooms."""
    landmark = np.append(layout.face_side != FLOOR, np.ones(len(scene.object_colour), bool))
    return content_age(surfaces(layout, scene), landmark, poses, context_length)
