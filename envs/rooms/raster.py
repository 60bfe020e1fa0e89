"""The analytic renderer's inner loops, compiled by numba: a small software rasteriser.

It repeats what OpenGL does with MuJoCo's scene. Four samples a pixel decide what is visible; a pixel is shaded once per
thing visible in it, at its centre: trilinear texture, mip level from the differences within 2x2 pixels, light from the
camera's direction. Written for 64x64 frames of flat walls: a face covers an interval of each row of samples, so nothing
is tested per sample but depth.

Compiled without fast-math: frames agree between machines, up to the last bit of logarithms, sines and cosines.
"""

# mypy: disable-error-code="no-untyped-def"
# (numba compiles the plain functions; annotations would be checked on every call in tests)

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np

SIZE = 64
SAMPLES = np.array([(0.375, 0.125), (0.875, 0.375), (0.125, 0.625), (0.625, 0.875)], np.float32)
"""Where a pixel is sampled, ``(right, down)`` from its top left corner: the standard pattern of 4."""
TANGENT = float(np.float32(math.tan(math.radians(40.0))))
"""Half the camera's field of view of 80 degrees."""
CAMERA_FORWARD, CAMERA_HEIGHT = 0.15, 0.9 - 3.7e-4
PITCH_COSINE, PITCH_SINE = 0.99503719021, 0.09950371902
NEAR = 1e-3
AMBIENT, DIFFUSE = 0.3, 0.6
SPHERE_SCALE = 1.0
SKY = -1


def _jit(function: Any) -> Any:
    """Compile with numba; ``ModuleNotFoundError`` says how to install it."""
    try:
        import numba
    except ModuleNotFoundError as error:
        from envs.rooms.model import EXTRA_HINT

        raise ModuleNotFoundError(f"the analytic renderer needs numba; {EXTRA_HINT}") from error
    return numba.njit(cache=True, nogil=True)(inspect.unwrap(function))


@_jit
def camera_axes(pose):
    """Position, forward, right and up of the camera of a walker at ``(x, y, heading)``: rows of a 4x3 array."""
    heading = np.float64(pose[2])
    cosine, sine = math.cos(heading), math.sin(heading)
    axes = np.empty((4, 3), np.float32)
    axes[0] = (pose[0] + CAMERA_FORWARD * cosine, pose[1] + CAMERA_FORWARD * sine, CAMERA_HEIGHT)
    axes[1] = (PITCH_COSINE * cosine, PITCH_COSINE * sine, -PITCH_SINE)
    axes[2] = (sine, -cosine, 0.0)
    axes[3] = (PITCH_SINE * cosine, PITCH_SINE * sine, PITCH_COSINE)
    return axes


@_jit
def project_faces(faces, axes, plane, rows, visible):
    """Faces that may be seen. For face ``k`` of them, ``plane[k]`` turns ``(1, x, y)`` on the image plane into
    ``(right, down, 1) * inverse depth`` of the face's own coordinates; ``rows[k]`` are the pixel rows it spans.
    Returns how many.
    """
    count = 0
    ray = axes[1:]
    for index in range(faces.shape[0]):
        face = faces[index]
        p = face[:3] - axes[0]
        u, d = face[3:6], face[6:9]
        normal = np.array(
            [u[1] * d[2] - u[2] * d[1], u[2] * d[0] - u[0] * d[2], u[0] * d[1] - u[1] * d[0]], np.float32
        )
        volume = normal[0] * p[0] + normal[1] * p[1] + normal[2] * p[2]
        if volume <= 1e-6:
            continue  # seen from behind, or edge on
        # Corners in the camera's axes: all on one outer side of the view means out of sight.
        inside, left, right, over, under = 0, 0, 0, 0, 0
        top, bottom = 1e9, -1e9
        for corner in range(4):
            q = p.copy()
            if corner == 1 or corner == 2:
                q = q + u
            if corner >= 2:
                q = q + d
            z = q[0] * ray[0, 0] + q[1] * ray[0, 1] + q[2] * ray[0, 2]
            x = q[0] * ray[1, 0] + q[1] * ray[1, 1] + q[2] * ray[1, 2]
            y = q[0] * ray[2, 0] + q[1] * ray[2, 1] + q[2] * ray[2, 2]
            if z > NEAR:
                inside += 1
                top, bottom = min(top, -y / z), max(bottom, -y / z)
            left += x < -TANGENT * z
            right += x > TANGENT * z
            over += y > TANGENT * z
            under += y < -TANGENT * z
        if inside == 0 or left == 4 or right == 4 or over == 4 or under == 4:
            continue
        rows[count, 0], rows[count, 1] = 0, SIZE - 1
        if inside == 4:
            rows[count, 0] = max(0, int((top / TANGENT + 1) * (SIZE / 2)))
            rows[count, 1] = min(SIZE - 1, int((bottom / TANGENT + 1) * (SIZE / 2)))
        for k in range(3):
            r = ray[k]
            # Cramer's rule for r = right * u + down * d + inverse * p.
            plane[count, 0, k] = (
                r[0] * (d[1] * p[2] - d[2] * p[1]) + r[1] * (d[2] * p[0] - d[0] * p[2]) + r[2] * (d[0] * p[1] - d[1] * p[0])
            ) / volume
            plane[count, 1, k] = (
                r[0] * (p[1] * u[2] - p[2] * u[1]) + r[1] * (p[2] * u[0] - p[0] * u[2]) + r[2] * (p[0] * u[1] - p[1] * u[0])
            ) / volume
            plane[count, 2, k] = (r[0] * normal[0] + r[1] * normal[1] + r[2] * normal[2]) / volume
        visible[count] = index
        count += 1
    return count


@_jit
def cover_faces(plane, rows, count, nearest, owner):
    """For every sample, the nearest face (``owner``, -1 is the sky) and its inverse depth (``nearest``)."""
    step = np.float32(2 * TANGENT / SIZE)
    for k in range(count):
        a, b, w = plane[k, 0], plane[k, 1], plane[k, 2]
        for row in range(rows[k, 0], rows[k, 1] + 1):
            for sample in range(4):
                y = np.float32(TANGENT) - (row + SAMPLES[sample, 1]) * step
                first, last = np.float32(0.0), np.float32(SIZE - 1)
                x0 = SAMPLES[sample, 0] * step - np.float32(TANGENT)
                # Inside the face while 0 <= a <= w and 0 <= b <= w, each linear along the row.
                for condition in range(4):
                    if condition == 0:
                        c0, c1 = a[0] + a[2] * y, a[1]
                    elif condition == 1:
                        c0, c1 = w[0] - a[0] + (w[2] - a[2]) * y, w[1] - a[1]
                    elif condition == 2:
                        c0, c1 = b[0] + b[2] * y, b[1]
                    else:
                        c0, c1 = w[0] - b[0] + (w[2] - b[2]) * y, w[1] - b[1]
                    start, slope = c0 + c1 * x0, c1 * step
                    if slope > 0:
                        first = max(first, -start / slope)
                    elif slope < 0:
                        last = min(last, -start / slope)
                    elif start < 0:
                        last = np.float32(-1.0)
                if first > last:
                    continue
                i0, i1 = int(math.ceil(first)), int(math.floor(last))
                inverse, rise = w[0] + w[2] * y + w[1] * x0, w[1] * step
                for column in range(i0, i1 + 1):
                    depth = inverse + rise * column
                    if depth > nearest[row, column, sample]:
                        nearest[row, column, sample] = depth
                        owner[row, column, sample] = k


@_jit
def sphere_depth(centre, radius, axes, x, y):
    """Inverse depth at which the ray through ``(x, y)`` of the image plane meets a sphere; 0 if it misses."""
    dx = axes[1, 0] + x * axes[2, 0] + y * axes[3, 0]
    dy = axes[1, 1] + x * axes[2, 1] + y * axes[3, 1]
    dz = axes[1, 2] + x * axes[2, 2] + y * axes[3, 2]
    cx, cy, cz = centre[0] - axes[0, 0], centre[1] - axes[0, 1], centre[2] - axes[0, 2]
    along, square = dx * cx + dy * cy + dz * cz, dx * dx + dy * dy + dz * dz
    root = along * along - square * (cx * cx + cy * cy + cz * cz - radius * radius)
    if root <= 0 or along <= 0:
        return np.float32(0.0)
    return np.float32(square / (along - math.sqrt(root)))


@_jit
def cover_spheres(spheres, axes, first_owner, nearest, owner):
    """Add half-spheres ``(x, y, z, radius, red, green, blue)`` on the floor; radius 0 means none."""
    step = np.float32(2 * TANGENT / SIZE)
    for k in range(spheres.shape[0]):
        radius = spheres[k, 3] * SPHERE_SCALE
        if radius <= 0:
            continue
        c = spheres[k, :3] - axes[0]
        z = c[0] * axes[1, 0] + c[1] * axes[1, 1] + c[2] * axes[1, 2]
        x = c[0] * axes[2, 0] + c[1] * axes[2, 1] + c[2] * axes[2, 2]
        y = c[0] * axes[3, 0] + c[1] * axes[3, 1] + c[2] * axes[3, 2]
        if z < -radius:
            continue
        i0, i1, j0, j1 = 0, SIZE - 1, 0, SIZE - 1
        if z > 1.05 * radius:
            # The cube around the sphere lies in [z - radius, z + radius]; each side is widest at one of the two.
            near, far = 1 / (z - radius), 1 / (z + radius)
            i0 = max(0, int((max(-1.0, min((x - radius) * near, (x - radius) * far) / TANGENT) + 1) * (SIZE / 2)))
            i1 = min(SIZE - 1, int((min(1.0, max((x + radius) * near, (x + radius) * far) / TANGENT) + 1) * (SIZE / 2)))
            j0 = max(0, int((1 - min(1.0, max((y + radius) * near, (y + radius) * far) / TANGENT)) * (SIZE / 2)))
            j1 = min(SIZE - 1, int((1 - max(-1.0, min((y - radius) * near, (y - radius) * far) / TANGENT)) * (SIZE / 2)))
        for row in range(j0, j1 + 1):
            for column in range(i0, i1 + 1):
                for sample in range(4):
                    px = (column + SAMPLES[sample, 0]) * step - np.float32(TANGENT)
                    py = np.float32(TANGENT) - (row + SAMPLES[sample, 1]) * step
                    depth = sphere_depth(spheres[k, :3], radius, axes, px, py)
                    if depth > nearest[row, column, sample]:
                        nearest[row, column, sample] = depth
                        owner[row, column, sample] = first_owner + k


@_jit
def bilinear(texels, start, size, u, v, out, weight):
    """Add ``weight`` times the texture at ``(u, v)`` (in repeats) of the mip level that begins at ``start``."""
    x, y = u * size - np.float32(0.5), v * size - np.float32(0.5)
    x0, y0 = math.floor(x), math.floor(y)
    fx, fy = np.float32(x - x0), np.float32(y - y0)
    mask = size - 1
    i0, j0 = int(x0) & mask, int(y0) & mask
    i1, j1 = (i0 + 1) & mask, (j0 + 1) & mask
    a, b = start + j0 * size + i0, start + j0 * size + i1
    c, d = start + j1 * size + i0, start + j1 * size + i1
    for channel in range(3):
        upper = texels[a, channel] + fx * (np.float32(texels[b, channel]) - np.float32(texels[a, channel]))
        lower = texels[c, channel] + fx * (np.float32(texels[d, channel]) - np.float32(texels[c, channel]))
        out[channel] += weight * (upper + fy * (lower - upper))


@_jit
def texture_at(plane, repeats, row, column, texels, levels, size, out):
    """Trilinear texture of a face at the centre of a pixel; also where the face itself does not reach the centre."""
    step = np.float32(2 * TANGENT / SIZE)
    u, v = np.empty(3, np.float32), np.empty(3, np.float32)
    # Differences are taken once for each block of 2x2 pixels; OpenGL counts rows from below.
    base_row, base_column = (row & ~1) + 1, column & ~1
    for k in range(3):
        x = np.float32(-TANGENT) + (base_column + (k == 1) + np.float32(0.5)) * step
        y = np.float32(TANGENT) - (base_row - (k == 2) + np.float32(0.5)) * step
        inverse = plane[2, 0] + plane[2, 1] * x + plane[2, 2] * y
        u[k] = repeats[0] * (plane[0, 0] + plane[0, 1] * x + plane[0, 2] * y) / inverse
        v[k] = repeats[1] * (plane[1, 0] + plane[1, 1] * x + plane[1, 2] * y) / inverse
    rho = max(max(abs(u[1] - u[0]), abs(u[2] - u[0])), max(abs(v[1] - v[0]), abs(v[2] - v[0]))) * size
    x = np.float32(-TANGENT) + (column + np.float32(0.5)) * step
    y = np.float32(TANGENT) - (row + np.float32(0.5)) * step
    inverse = plane[2, 0] + plane[2, 1] * x + plane[2, 2] * y
    uu = repeats[0] * (plane[0, 0] + plane[0, 1] * x + plane[0, 2] * y) / inverse
    vv = repeats[1] * (plane[1, 0] + plane[1, 1] * x + plane[1, 2] * y) / inverse
    lod = np.float32(0.0)
    if rho > 1:
        lod = min(np.float32(math.log2(rho)), np.float32(levels.shape[0] - 1))
    level = int(lod)
    fraction = lod - level
    out[:] = 0
    bilinear(texels, levels[level], size >> level, uu, vv, out, 1 - fraction)
    if fraction > 0:
        bilinear(texels, levels[level + 1], size >> (level + 1), uu, vv, out, fraction)


@_jit
def shade(thing, count, plane, visible, faces, face_texture, spheres, axes, row, column, textures, sky, out):
    """Colour of one thing (a visible face, a sphere, the sky) at the centre of a pixel, rounded to grey levels."""
    texels, level_start, size = textures
    step = np.float32(2 * TANGENT / SIZE)
    x = np.float32(-TANGENT) + (column + np.float32(0.5)) * step
    y = np.float32(TANGENT) - (row + np.float32(0.5)) * step
    if thing == SKY:
        dz = axes[1, 2] + x * axes[2, 2] + y * axes[3, 2]
        sine = dz / math.sqrt(1 + x * x + y * y)
        place = (sine + 1) * np.float32(0.5) * (sky.shape[0] - 1)
        low = min(int(place), sky.shape[0] - 2)
        for channel in range(3):
            out[channel] = sky[low, channel] + (place - low) * (sky[low + 1, channel] - sky[low, channel])
    elif thing < count:
        face = faces[visible[thing]]
        nx, ny, nz = (
            face[4] * face[8] - face[5] * face[7],
            face[5] * face[6] - face[3] * face[8],
            face[3] * face[7] - face[4] * face[6],
        )
        facing = (nx * axes[1, 0] + ny * axes[1, 1] + nz * axes[1, 2]) / math.sqrt(nx * nx + ny * ny + nz * nz)
        light = np.float32(AMBIENT + DIFFUSE * max(0.0, facing))
        levels = level_start[face_texture[visible[thing]]]
        texture_at(plane[thing], face[9:11], row, column, texels, levels, size, out)
        for channel in range(3):
            out[channel] *= light
    else:
        sphere = spheres[thing - count]
        depth = sphere_depth(sphere[:3], sphere[3], axes, x, y)
        facing = np.float32(0.0)
        if depth > 0:
            for k in range(3):
                hit = axes[0, k] + (axes[1, k] + x * axes[2, k] + y * axes[3, k]) / depth
                facing += -(hit - sphere[k]) / sphere[3] * axes[1, k]
        light = np.float32(AMBIENT + DIFFUSE * max(np.float32(0.0), facing))
        for channel in range(3):
            out[channel] = 255 * min(np.float32(1.0), sphere[4 + channel] * light)
    for channel in range(3):
        out[channel] = math.floor(min(out[channel], np.float32(255.0)) + np.float32(0.5))


@_jit
def resolve(count, plane, visible, faces, face_texture, spheres, axes, owner, textures, sky, frame):
    """Shade every pixel: the mean over its samples, each thing shaded once."""
    colour, total = np.empty(3, np.float32), np.empty(3, np.float32)
    for row in range(SIZE):
        for column in range(SIZE):
            things = owner[row, column]
            total[:] = 0
            for sample in range(4):
                new, weight = True, 0
                for other in range(4):
                    if things[other] == things[sample]:
                        weight += 1
                        new = new and other >= sample
                if new:
                    shade(
                        things[sample], count, plane, visible, faces, face_texture, spheres, axes,
                        row, column, textures, sky, colour,
                    )  # fmt: skip
                    total += weight * colour
            for channel in range(3):
                frame[row, column, channel] = np.uint8(total[channel] * np.float32(0.25) + np.float32(0.5))


@_jit
def draw(faces, face_texture, spheres, poses, texels, level_start, size, sky, frames):
    """All frames ``(T, 64, 64, 3)`` of one scene."""
    plane = np.empty((faces.shape[0], 3, 3), np.float32)
    rows = np.empty((faces.shape[0], 2), np.int64)
    visible = np.empty(faces.shape[0], np.int64)
    nearest = np.empty((SIZE, SIZE, 4), np.float32)
    owner = np.empty((SIZE, SIZE, 4), np.int64)
    for t in range(poses.shape[0]):
        axes = camera_axes(poses[t])
        count = project_faces(faces, axes, plane, rows, visible)
        nearest[:], owner[:] = 0, SKY
        cover_faces(plane, rows, count, nearest, owner)
        cover_spheres(spheres, axes, count, nearest, owner)
        resolve(
            count, plane, visible, faces, face_texture, spheres, axes, owner,
            (texels, level_start, size), sky, frames[t],
        )  # fmt: skip


@_jit
def count_visible(faces, spheres, poses, pixels):
    """``pixels[t, k]``: quarter pixels in which face ``k`` (then sphere ``k - faces``) is what one sees at time t."""
    plane = np.empty((faces.shape[0], 3, 3), np.float32)
    rows = np.empty((faces.shape[0], 2), np.int64)
    visible = np.empty(faces.shape[0], np.int64)
    nearest = np.empty((SIZE, SIZE, 4), np.float32)
    owner = np.empty((SIZE, SIZE, 4), np.int64)
    for t in range(poses.shape[0]):
        axes = camera_axes(poses[t])
        count = project_faces(faces, axes, plane, rows, visible)
        nearest[:], owner[:] = 0, SKY
        cover_faces(plane, rows, count, nearest, owner)
        cover_spheres(spheres, axes, count, nearest, owner)
        for thing in owner.ravel():
            if thing >= count:
                pixels[t, faces.shape[0] + thing - count] += 1
            elif thing != SKY:
                pixels[t, visible[thing]] += 1
