"""The analytic renderer of the rooms for batches, in torch: frames appear where the training batch is.

The same function of scene and pose as ``envs.rooms.raster`` (which explains it), fed by the plain arrays that ``envs``
exports. Whole batches are drawn at once; every face is tested against every sample of its frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

from envs.rooms import camera
from envs.rooms.analytic import Surfaces
from envs.rooms.camera import CAMERA_FORWARD, CAMERA_HEIGHT, PITCH_COSINE, PITCH_SINE, SAMPLES
from envs.rooms.textures import Textures

SIZE = camera.SIZE
# Plain numbers: a numpy scalar on the left of an operator would turn a tensor into an array.
STEP, TANGENT, SPHERE_SCALE = float(camera.STEP), float(camera.TANGENT), float(camera.SPHERE_SCALE)
AMBIENT, DIFFUSE = float(camera.AMBIENT), float(camera.DIFFUSE)
_SKY = -1


@dataclass(frozen=True)
class SceneBatch:
    """Scenes of equal shapes, stacked; see ``envs.rooms.analytic.Surfaces``."""

    faces: Float32[Tensor, "S F 11"]
    face_texture: Int64[Tensor, "S F"]
    spheres: Float32[Tensor, "S O 7"]

    @classmethod
    def stack(cls, scenes: list[Surfaces], device: torch.device | str = "cpu") -> SceneBatch:
        """On ``device``. Scenes with fewer faces or spheres than others are padded with ones of no size."""

        def padded(arrays: list[Tensor]) -> Tensor:
            return torch.nn.utils.rnn.pad_sequence(arrays, batch_first=True).to(device)

        return cls(
            padded([torch.from_numpy(scene.faces) for scene in scenes]),
            padded([torch.from_numpy(scene.face_texture) for scene in scenes]),
            padded([torch.from_numpy(scene.spheres) for scene in scenes]),
        )


class BatchRenderer:
    """Holds the textures on a device; ``render`` draws.

    frames_at_once: bounds memory; about 1 MB a frame is in use while it is drawn.
    """

    def __init__(self, textures: Textures, device: torch.device | str = "cpu", frames_at_once: int = 256) -> None:
        self.device = torch.device(device)
        self.frames_at_once = frames_at_once
        self._texels = torch.from_numpy(textures.texels).to(self.device)
        self._level_start = torch.from_numpy(textures.level_start).to(self.device)
        self._size = textures.size
        pixel = torch.arange(SIZE, dtype=torch.float32)
        offsets = torch.from_numpy(SAMPLES)
        grid = torch.zeros(4, SIZE, SIZE)
        self._x = (((pixel + offsets[:, :1])[:, None] * STEP - TANGENT) + grid).reshape(1, -1).to(self.device)
        self._y = ((TANGENT - (pixel + offsets[:, 1:])[:, :, None] * STEP) + grid).reshape(1, -1).to(self.device)
        self._sky = torch.from_numpy(camera.sky_frame(textures.sky)).reshape(-1, 3).to(self.device)

    @torch.no_grad()
    def render(self, scenes: SceneBatch, poses: Float32[Tensor, "S T 3"]) -> UInt8[Tensor, "S T 64 64 3"]:
        """Frames of ``T`` poses ``(x, y, heading)`` in each of ``S`` scenes."""
        count, length = poses.shape[:2]
        scene = torch.arange(count, device=self.device).repeat_interleave(length)
        flat = poses.to(self.device).reshape(-1, 3)
        pieces = [
            self._draw(scenes, scene[i : i + self.frames_at_once], flat[i : i + self.frames_at_once])
            for i in range(0, len(flat), self.frames_at_once)
        ]
        return torch.cat(pieces).reshape(count, length, SIZE, SIZE, 3)

    def _draw(self, scenes: SceneBatch, scene: Int64[Tensor, "N"], poses: Float32[Tensor, "N 3"]) -> Tensor:
        axes = _camera_axes(poses)
        plane, light, order = _project(scenes.faces[scene], axes)
        face_texture = scenes.face_texture[scene].gather(1, order)
        repeats = scenes.faces[scene][..., 9:].gather(1, order[..., None].expand(-1, -1, 2))
        spheres = scenes.spheres[scene]
        owner = self._cover(plane, spheres, axes)
        faces = (plane, light, face_texture, repeats)
        # Most pixels show one thing: shade the first sample everywhere, the others only where they differ.
        pixel_count = SIZE * SIZE
        owner = owner.reshape(-1, 4, pixel_count).transpose(1, 2).reshape(-1, 4)
        everywhere = torch.arange(len(owner), device=self.device)
        first = self._shade(owner[:, 0], everywhere, faces, spheres, axes)
        total = 4 * first
        for sample in range(1, 4):
            (differs,) = (owner[:, sample] != owner[:, 0]).nonzero(as_tuple=True)
            total[differs] += self._shade(owner[differs, sample], differs, faces, spheres, axes) - first[differs]
        return torch.floor(total / 4 + 0.5).to(torch.uint8).reshape(-1, SIZE, SIZE, 3)

    def _cover(self, plane: Tensor, spheres: Tensor, axes: Tensor) -> Int64[Tensor, "N samples"]:
        """What each sample shows: a face, after the faces a sphere, or the sky."""
        x, y = self._x, self._y
        nearest = torch.zeros(len(plane), x.shape[1], device=self.device)
        owner = torch.full(nearest.shape, _SKY, dtype=torch.int64, device=self.device)
        for k in range(plane.shape[1]):
            right, down, depth = (
                plane[:, k, i, :1] + plane[:, k, i, 1:2] * x + plane[:, k, i, 2:] * y for i in range(3)
            )
            inside = (right >= 0) & (right <= depth) & (down >= 0) & (down <= depth) & (depth > nearest)
            nearest, owner = torch.where(inside, depth, nearest), torch.where(inside, k, owner)
        for k in range(spheres.shape[1]):
            radius = spheres[:, k, 3:4] * SPHERE_SCALE
            along, square, reach = _meet(spheres[:, k, :3], radius, axes, x, y)
            root = along * along - square * reach
            depth = square / (along - torch.sqrt(root.clamp(min=0)))
            inside = (root > 0) & (along > 0) & (radius > 0) & (depth > nearest)
            nearest = torch.where(inside, depth, nearest)
            owner = torch.where(inside, plane.shape[1] + k, owner)
        return owner

    def _shade(self, owner: Tensor, pixel: Tensor, faces: tuple[Tensor, ...], spheres: Tensor, axes: Tensor) -> Tensor:
        """Colour of ``owner[i]`` at the centre of pixel ``pixel[i]`` (counted over all frames), whole grey levels."""
        plane = faces[0]
        frame, place = pixel // (SIZE * SIZE), pixel % (SIZE * SIZE)
        colour = self._sky[place]
        is_face = (owner >= 0) & (owner < plane.shape[1])
        for chosen, of in ((is_face, self._shade_faces), (owner >= plane.shape[1], self._shade_spheres)):
            (index,) = chosen.nonzero(as_tuple=True)
            if len(index):
                row, column = place[index] // SIZE, place[index] % SIZE
                value = of(frame[index], owner[index], row, column, faces, spheres, axes)
                colour[index] = torch.floor(value.clamp(0, 255) + 0.5)
        return colour

    def _shade_faces(
        self, frame: Tensor, owner: Tensor, row: Tensor, column: Tensor, faces: tuple[Tensor, ...], *_: Tensor
    ) -> Tensor:
        plane, light, texture, repeats = (values[frame, owner] for values in faces)

        def place(i: Tensor, j: Tensor) -> Tensor:
            x, y = (j + 0.5) * STEP - TANGENT, TANGENT - (i + 0.5) * STEP
            value = plane[..., 0] + plane[..., 1] * x[:, None] + plane[..., 2] * y[:, None]
            return repeats * value[:, :2] / value[:, 2:]

        # The mip level is that of a block of 2x2 pixels, from its lower left one.
        low, left = row | 1, column & ~1
        corner = place(low, left)
        change = torch.maximum((place(low, left + 1) - corner).abs(), (place(low - 1, left) - corner).abs())
        levels = self._level_start.shape[1]
        lod = torch.log2((change.amax(1) * self._size).clamp(min=1)).clamp(max=levels - 1)
        level = lod.long()
        uv = place(row, column)
        fine = self._bilinear(texture, level, uv)
        coarse = self._bilinear(texture, (level + 1).clamp(max=levels - 1), uv)
        return torch.lerp(fine, coarse, (lod - level)[:, None]) * light[:, None]

    def _bilinear(self, texture: Tensor, level: Tensor, uv: Tensor) -> Tensor:
        size = self._size >> level
        start = self._level_start[texture, level]
        place = uv * size[:, None] - 0.5
        whole = torch.floor(place)
        part = place - whole
        near = whole.long() & (size - 1)[:, None]
        far = (near + 1) & (size - 1)[:, None]

        def texel(i: Tensor, j: Tensor) -> Tensor:
            return self._texels[start + j * size + i].float()

        upper = torch.lerp(texel(near[:, 0], near[:, 1]), texel(far[:, 0], near[:, 1]), part[:, :1])
        lower = torch.lerp(texel(near[:, 0], far[:, 1]), texel(far[:, 0], far[:, 1]), part[:, :1])
        return torch.lerp(upper, lower, part[:, 1:])

    def _shade_spheres(
        self,
        frame: Tensor,
        owner: Tensor,
        row: Tensor,
        column: Tensor,
        faces: tuple[Tensor, ...],
        spheres: Tensor,
        axes: Tensor,
    ) -> Tensor:
        sphere, axis = spheres[frame, owner - faces[0].shape[1]], axes[frame]
        x, y = ((column + 0.5) * STEP - TANGENT)[:, None], (TANGENT - (row + 0.5) * STEP)[:, None]
        along, square, reach = _meet(sphere[:, :3], sphere[:, 3:4], axis, x, y)
        distance = (along - torch.sqrt((along * along - square * reach).clamp(min=0))) / square
        normal = distance * (axis[:, 1] + x * axis[:, 2] + y * axis[:, 3]) - (sphere[:, :3] - axis[:, 0])
        facing = -(normal * axis[:, 1]).sum(1, keepdim=True) / normal.norm(dim=1, keepdim=True)
        return 255 * sphere[:, 4:] * (AMBIENT + DIFFUSE * facing.clamp(min=0))


def _camera_axes(poses: Float32[Tensor, "N 3"]) -> Float32[Tensor, "N 4 3"]:
    """Position, forward, right, up of the camera."""
    x, y, heading = poses.double().unbind(1)
    cosine, sine, zero = heading.cos(), heading.sin(), torch.zeros_like(heading)
    rows = (
        (x + CAMERA_FORWARD * cosine, y + CAMERA_FORWARD * sine, zero + CAMERA_HEIGHT),
        (PITCH_COSINE * cosine, PITCH_COSINE * sine, zero - PITCH_SINE),
        (sine, -cosine, zero),
        (PITCH_SINE * cosine, PITCH_SINE * sine, zero + PITCH_COSINE),
    )
    return torch.stack([torch.stack(row, 1) for row in rows], 1).float()


def _project(faces: Float32[Tensor, "N F 11"], axes: Float32[Tensor, "N 4 3"]) -> tuple[Tensor, Tensor, Tensor]:
    """Planes ``(N, K, 3, 3)`` of the faces that may be seen, their light ``(N, K)``, and which they are ``(N, K)``.

    ``plane @ (1, x, y)`` is ``(right, down, 1) * inverse depth`` in a face's own coordinates. ``K`` is the most of any
    frame; frames with fewer are filled up with faces that cover nothing.
    """
    corner = faces[..., :3] - axes[:, None, 0]
    right, down = faces[..., 3:6], faces[..., 6:9]
    normal = torch.linalg.cross(right, down)
    volume = (normal * corner).sum(-1)
    view = axes[:, 1:].clone()
    points = torch.stack([corner, corner + right, corner + right + down, corner + down], 2) @ view[:, None].mT
    z, x, y = points.unbind(-1)
    edge = TANGENT * z
    outside = [z <= 1e-3, x < -edge, x > edge, y < -edge, y > edge]
    seen = (volume > 1e-6) & ~torch.stack([side.all(-1) for side in outside]).any(0)
    most = max(int(seen.sum(1).max()), 1)
    order = seen.int().argsort(dim=1, descending=True, stable=True)[:, :most]
    chosen = order[..., None].expand(-1, -1, 3)
    corner, right, down, normal = (values.gather(1, chosen) for values in (corner, right, down, normal))
    volume, seen = volume.gather(1, order), seen.gather(1, order)
    solve = torch.stack([torch.linalg.cross(down, corner), torch.linalg.cross(corner, right), normal], 2)
    plane = solve @ view[:, None].mT / torch.where(seen, volume, torch.ones_like(volume))[..., None, None]
    plane = torch.where(seen[..., None, None], plane, torch.zeros_like(plane))
    length = normal.norm(dim=-1).clamp(min=1e-9)
    facing = (normal * axes[:, None, 1]).sum(-1) / length
    return plane, AMBIENT + DIFFUSE * facing.clamp(min=0), order


def _meet(centre: Tensor, radius: Tensor, axes: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Coefficients of the quadratic for where rays through ``(x, y)`` meet spheres: half b, a and c."""
    ray = [axes[:, 1, i : i + 1] + x * axes[:, 2, i : i + 1] + y * axes[:, 3, i : i + 1] for i in range(3)]
    to = centre - axes[:, 0]
    along = ray[0] * to[:, :1] + ray[1] * to[:, 1:2] + ray[2] * to[:, 2:]
    square = ray[0] * ray[0] + ray[1] * ray[1] + ray[2] * ray[2]
    return along, square, (to * to).sum(1, keepdim=True) - radius * radius
