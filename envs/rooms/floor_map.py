"""A map of a 3D world from above: walls in their colours, objects, the agent, what it sees, and the way it came.

Drawn from the arrays of the analytic renderer, so rooms and mazes share it. Each picture is drawn enlarged and shrunk,
which smooths edges.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32, Float64, UInt8
from PIL import Image, ImageDraw

from envs.rooms.analytic import Surfaces
from envs.rooms.camera import CAMERA_FORWARD, TANGENT
from envs.rooms.layouts import Rectangle
from envs.rooms.textures import load_textures

MAP_WIDTH = 600
"""Pixels that a map may be wide, unless somebody says otherwise."""
LARGEST_SCALE = 14
"""Pixels a metre; a map that may be wider is not drawn larger."""
_ENLARGED = 3
_WALL, _MARGIN, _AGENT, _LINE = 0.5, 0.8, 1.8, 0.14
"""Metres: how thick a wall is drawn, how far the map reaches beyond the rooms, length of the arrow, width of lines."""
_SOLID, _FLOOR, _VIEW = (219, 221, 224), (250, 250, 248), (255, 232, 160)
_AGENT_COLOUR, _OUTLINE = (25, 25, 30), (70, 72, 78)
_PATH, _RECENT_PATH, _RECENT_STEPS = (209, 202, 219), (128, 104, 158), 30
_LONGEST_STEP = 1.0
"""Metres. Poses further apart are no step but a teleport, and no line joins them."""
_ARROW = np.array([(0.6, 0.0), (-0.4, 0.35), (-0.2, 0.0), (-0.4, -0.35)])
"""Corners ahead and to the left, in lengths of the agent."""


def wall_colours() -> UInt8[np.ndarray, "textures 3"]:
    """The mean colour of every texture, walls first, then floors."""
    textures = load_textures()
    return textures.texels[textures.level_start[:, -1]]


def _behind(start: np.ndarray, edge: np.ndarray, longer: float) -> Float64[np.ndarray, "4 2"]:
    """Corners of the wall behind a face, which is ``longer`` at both ends of its back."""
    along = edge / np.hypot(*edge)
    back = np.array([-along[1], along[0]]) * _WALL
    return np.stack([start, start + edge, start + edge + back + longer * along, start + back - longer * along])


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def visible_polygon(
    faces: Float32[np.ndarray, "faces 11"], pose: Float32[np.ndarray, "3"]
) -> Float64[np.ndarray, "n 2"]:
    """Corners of the part of the floor plan that is in view, the camera first: rays that end at the nearest wall."""
    forward = np.array([np.cos(pose[2]), np.sin(pose[2])])
    camera = pose[:2] + CAMERA_FORWARD * forward
    aside = np.linspace(-TANGENT, TANGENT, 257)[:, None]
    rays = forward + aside * np.array([-forward[1], forward[0]])
    walls = faces[faces[:, 8] != 0].astype(np.float64)
    edge, offset = walls[:, 3:5], walls[:, :2] - camera
    # camera + far * ray = corner + along * edge
    with np.errstate(divide="ignore", invalid="ignore"):
        parallel = _cross(rays[:, None], edge)
        far = _cross(offset, edge) / parallel
        along = _cross(offset, rays[:, None]) / parallel
    hit = (far > 0) & (along > -1e-6) & (along < 1 + 1e-6)
    nearest = np.where(hit, far, np.inf).min(1)
    return np.concatenate([camera[None], camera + np.where(np.isfinite(nearest), nearest, 0)[:, None] * rays])


class _Sheet:
    """An enlarged picture with axes in metres, y upwards."""

    def __init__(self, free: Sequence[Rectangle], width: int) -> None:
        self.left = min(piece.left for piece in free) - _MARGIN
        self.top = max(piece.top for piece in free) + _MARGIN
        across = max(piece.right for piece in free) + _MARGIN - self.left
        down = self.top - min(piece.bottom for piece in free) + _MARGIN
        self.scale = min(LARGEST_SCALE, width / across) * _ENLARGED
        size = (int(across * self.scale) // _ENLARGED * _ENLARGED, int(down * self.scale) // _ENLARGED * _ENLARGED)
        self.image = Image.new("RGB", size, _SOLID)
        self.pen = ImageDraw.Draw(self.image)

    def pixels(self, points: Float[np.ndarray, "n 2"]) -> list[tuple[float, float]]:
        return [((x - self.left) * self.scale, (self.top - y) * self.scale) for x, y in points.tolist()]

    def polygon(
        self, points: Float[np.ndarray, "n 2"], colour: tuple[int, ...], outline: tuple[int, ...] | None = None
    ) -> None:
        self.pen.polygon(self.pixels(points), fill=colour, outline=outline, width=round(_LINE * self.scale))

    def rectangle(self, piece: Rectangle, colour: tuple[int, ...]) -> None:
        self.pen.rectangle(self.pixels(np.array([(piece.left, piece.top), (piece.right, piece.bottom)])), fill=colour)

    def disc(self, centre: Float[np.ndarray, "2"], radius: float, colour: tuple[int, ...]) -> None:
        ((x, y),) = self.pixels(centre[None])
        self.pen.circle((x, y), radius * self.scale, fill=colour)

    def way(self, points: Float[np.ndarray, "n 2"], colour: tuple[int, ...]) -> None:
        for steps in np.split(points, np.flatnonzero(np.hypot(*np.diff(points, axis=0).T) > _LONGEST_STEP) + 1):
            self.pen.line(self.pixels(steps), fill=colour, width=round(_LINE * self.scale), joint="curve")


def draw_map(
    free: Sequence[Rectangle],
    scene: Surfaces,
    path: Float32[np.ndarray, "T 3"],
    width: int,
    wanted: int | None = None,
) -> UInt8[np.ndarray, "height width 3"]:
    """The map, at most ``width`` pixels wide, of an agent that came along the poses ``path`` and is at the last.

    free: where one can walk. ``wanted``: index of the sphere to mark.
    """
    sheet = _Sheet(free, width)
    colours = [tuple(colour) for colour in wall_colours()[scene.face_texture].tolist()]
    # Walls meet in mitres at the corners of rooms and end straight elsewhere; what reaches into doors is painted over.
    for longer in (_WALL, 0.0):
        # Backwards, because the last faces of rooms are the insides of doors, and walls reach up to doors.
        for face, colour in zip(scene.faces[::-1].astype(np.float64), colours[::-1], strict=True):
            if face[8]:  # a floor has no height
                sheet.polygon(_behind(face[:2], face[3:5], longer), colour)
    for piece in free:
        sheet.rectangle(piece, _FLOOR)
    sheet.polygon(visible_polygon(scene.faces, path[-1]), _VIEW)
    sheet.way(path[:, :2], _PATH)
    sheet.way(path[-_RECENT_STEPS:, :2], _RECENT_PATH)
    for index, (x, y, _, radius, *rgb) in enumerate(scene.spheres.tolist()):
        if radius:
            centre = np.array([x, y])
            if index == wanted:
                sheet.disc(centre, radius + 3 * _LINE, _OUTLINE)
                sheet.disc(centre, radius + 2 * _LINE, _FLOOR)
            sheet.disc(centre, radius + _LINE / 2, _OUTLINE)
            sheet.disc(centre, radius - _LINE / 2, tuple(round(255 * value) for value in rgb))
    x, y, heading = path[-1].tolist()
    turn = np.array([(np.cos(heading), np.sin(heading)), (-np.sin(heading), np.cos(heading))])
    sheet.polygon(np.array([x, y]) + _AGENT * _ARROW @ turn, _AGENT_COLOUR, outline=_FLOOR)
    return np.asarray(sheet.image.reduce(_ENLARGED))
