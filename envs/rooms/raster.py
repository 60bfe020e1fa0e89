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

from envs.rooms.camera import (
    AMBIENT,
    CAMERA_FORWARD,
    CAMERA_HEIGHT,
    DIFFUSE,
    PITCH_COSINE,
    PITCH_SINE,
    SAMPLES,
    SIZE,
    SPHERE_SCALE,
    STEP,
    TANGENT,
)

NEAR = 1e-3
ONE, HALF = np.float32(1.0), np.float32(0.5)
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
    for k in range(count):
        a, b, w = plane[k, 0], plane[k, 1], plane[k, 2]
        for row in range(rows[k, 0], rows[k, 1] + 1):
            for sample in range(4):
                y = TANGENT - (np.float32(row) + SAMPLES[sample, 1]) * STEP
                first, last = np.float32(0.0), np.float32(SIZE - 1)
                x0 = SAMPLES[sample, 0] * STEP - TANGENT
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
                    start, slope = c0 + c1 * x0, c1 * STEP
                    if slope > 0:
                        first = max(first, -start / slope)
                    elif slope < 0:
                        last = min(last, -start / slope)
                    elif start < 0:
                        last = np.float32(-1.0)
                if first > last:
                    continue
                i0, i1 = int(math.ceil(first)), int(math.floor(last))
                inverse, rise = w[0] + w[2] * y + w[1] * x0, w[1] * STEP
                for column in range(i0, i1 + 1):
                    depth = inverse + rise * np.float32(column)
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
    return square / (along - math.sqrt(root))


@_jit
def cover_spheres(spheres, axes, first_owner, nearest, owner):
    """Add half-spheres ``(x, y, z, radius, red, green, blue)`` on the floor; radius 0 means none."""
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
                    px = (np.float32(column) + SAMPLES[sample, 0]) * STEP - TANGENT
                    py = TANGENT - (np.float32(row) + SAMPLES[sample, 1]) * STEP
                    depth = sphere_depth(spheres[k, :3], radius, axes, px, py)
                    if depth > nearest[row, column, sample]:
                        nearest[row, column, sample] = depth
                        owner[row, column, sample] = first_owner + k


@_jit
def sky_frame(sky):
    """The sky at every pixel centre ``(64, 64, 3)``, whole grey levels. The camera never tilts, so it is one frame."""
    frame = np.empty((SIZE, SIZE, 3), np.float32)
    for row in range(SIZE):
        for column in range(SIZE):
            x = (np.float32(column) + HALF) * STEP - TANGENT
            y = TANGENT - (np.float32(row) + HALF) * STEP
            sine = (y * PITCH_COSINE - PITCH_SINE) / math.sqrt(1 + x * x + y * y)
            place = (sine + 1) / 2 * (sky.shape[0] - 1)
            low = min(int(place), sky.shape[0] - 2)
            for channel in range(3):
                value = sky[low, channel] + (place - low) * (sky[low + 1, channel] - sky[low, channel])
                frame[row, column, channel] = math.floor(value + 0.5)
    return frame


@_jit
def bilinear(texels, start, size, u, v):
    """The texture at ``(u, v)`` (in repeats) of the mip level of edge ``size`` that begins at row ``start``."""
    x, y = u * np.float32(size) - HALF, v * np.float32(size) - HALF
    x0, y0 = math.floor(x), math.floor(y)
    fx, fy = x - np.float32(x0), y - np.float32(y0)
    mask = size - 1
    i0, j0 = int(x0) & mask, int(y0) & mask
    i1, j1 = (i0 + 1) & mask, (j0 + 1) & mask
    a, b = start + j0 * size + i0, start + j0 * size + i1
    c, d = start + j1 * size + i0, start + j1 * size + i1
    wa, wb, wc, wd = (ONE - fx) * (ONE - fy), fx * (ONE - fy), (ONE - fx) * fy, fx * fy
    red = wa * texels[a, 0] + wb * texels[b, 0] + wc * texels[c, 0] + wd * texels[d, 0]
    green = wa * texels[a, 1] + wb * texels[b, 1] + wc * texels[c, 1] + wd * texels[d, 1]
    blue = wa * texels[a, 2] + wb * texels[b, 2] + wc * texels[c, 2] + wd * texels[d, 2]
    return red, green, blue


@_jit
def texture_place(plane, repeats, row, column):
    """Texture coordinates, in repeats, at the centre of a pixel."""
    x = (np.float32(column) + HALF) * STEP - TANGENT
    y = TANGENT - (np.float32(row) + HALF) * STEP
    depth = ONE / (plane[2, 0] + plane[2, 1] * x + plane[2, 2] * y)
    u = repeats[0] * (plane[0, 0] + plane[0, 1] * x + plane[0, 2] * y) * depth
    v = repeats[1] * (plane[1, 0] + plane[1, 1] * x + plane[1, 2] * y) * depth
    return u, v


@_jit
def mip_level(u, v, size, level_count):
    """Level of detail of a block of 2x2 pixels from its texture coordinates: upper left, right, lower left, right.

    OpenGL takes differences once for each block, from its lower left pixel.
    """
    across = max(abs(u[3] - u[2]), abs(v[3] - v[2]))
    along = max(abs(u[0] - u[2]), abs(v[0] - v[2]))
    rho = max(across, along) * np.float32(size)
    if rho <= ONE:
        return np.float32(0.0)
    return min(np.float32(math.log2(rho)), np.float32(level_count - 1))


@_jit
def trilinear(texels, levels, size, lod, u, v):
    """The texture at ``(u, v)``, between the two mip levels around ``lod``."""
    level = int(lod)
    red, green, blue = bilinear(texels, levels[level], size >> level, u, v)
    part = lod - np.float32(level)
    if part > 0:
        red1, green1, blue1 = bilinear(texels, levels[level + 1], size >> (level + 1), u, v)
        red, green, blue = red + part * (red1 - red), green + part * (green1 - green), blue + part * (blue1 - blue)
    return red, green, blue


@_jit
def block_places(plane, repeats, row, column):
    """Texture coordinates at the centres of the 2x2 pixels whose upper left one is given: two tuples of four."""
    u0, v0 = texture_place(plane, repeats, row, column)
    u1, v1 = texture_place(plane, repeats, row, column + 1)
    u2, v2 = texture_place(plane, repeats, row + 1, column)
    u3, v3 = texture_place(plane, repeats, row + 1, column + 1)
    return (u0, u1, u2, u3), (v0, v1, v2, v3)


@_jit
def sphere_light(sphere, axes, row, column):
    """Light on a sphere at the centre of a pixel; beside the sphere, that of its nearest rim."""
    x = (np.float32(column) + HALF) * STEP - TANGENT
    y = TANGENT - (np.float32(row) + HALF) * STEP
    ray = axes[1] + x * axes[2] + y * axes[3]
    to = sphere[:3] - axes[0]
    along = ray[0] * to[0] + ray[1] * to[1] + ray[2] * to[2]
    square = ray[0] * ray[0] + ray[1] * ray[1] + ray[2] * ray[2]
    reach = to[0] * to[0] + to[1] * to[1] + to[2] * to[2] - sphere[3] * sphere[3]
    distance = (along - math.sqrt(max(np.float32(0.0), along * along - square * reach))) / square
    normal = distance * ray - to
    length = math.sqrt(normal[0] * normal[0] + normal[1] * normal[1] + normal[2] * normal[2])
    facing = -(normal[0] * axes[1, 0] + normal[1] * axes[1, 1] + normal[2] * axes[1, 2]) / length
    return AMBIENT + DIFFUSE * max(np.float32(0.0), facing)


@_jit
def grey_level(value):
    """Rounded as OpenGL stores a colour."""
    return np.float32(math.floor(min(max(value, np.float32(0.0)), np.float32(255.0)) + HALF))


@_jit
def shade(thing, count, view, spheres, axes, row, column, textures):
    """Colour of a visible face, a sphere or the sky at the centre of a pixel, whole grey levels.

    A face is shaded there even where it does not reach the centre, as in OpenGL.
    """
    texels, level_start, size, sky = textures
    if thing == SKY:
        return sky[row, column, 0], sky[row, column, 1], sky[row, column, 2]
    if thing < count:
        plane, lights, repeats, texture = view
        light, levels = lights[thing], level_start[texture[thing]]
        u, v = block_places(plane[thing], repeats[thing], row & ~1, column & ~1)
        pixel = 2 * (row & 1) + (column & 1)
        lod = mip_level(u, v, size, levels.shape[0])
        red, green, blue = trilinear(texels, levels, size, lod, u[pixel], v[pixel])
    else:
        sphere = spheres[thing - count]
        light = np.float32(255.0) * sphere_light(sphere, axes, row, column)
        red, green, blue = sphere[4], sphere[5], sphere[6]
    return grey_level(red * light), grey_level(green * light), grey_level(blue * light)


@_jit
def resolve_pixel(count, view, spheres, axes, owner, row, column, textures, frame):
    """The mean over a pixel's samples, each thing in it shaded once."""
    quarter = np.float32(0.25)
    red, green, blue = np.float32(0.0), np.float32(0.0), np.float32(0.0)
    for sample in range(4):
        thing = owner[row, column, sample]
        new, weight = True, np.float32(0.0)
        for other in range(4):
            if owner[row, column, other] == thing:
                weight += quarter
                new = new and other >= sample
        if new:
            r, g, b = shade(thing, count, view, spheres, axes, row, column, textures)
            red, green, blue = red + weight * r, green + weight * g, blue + weight * b
    frame[row, column, 0] = np.uint8(red + HALF)
    frame[row, column, 1] = np.uint8(green + HALF)
    frame[row, column, 2] = np.uint8(blue + HALF)


@_jit
def resolve(count, view, spheres, axes, owner, textures, frame):
    """Shade a frame in blocks of 2x2 pixels; those that one face or the sky fills, in one go."""
    texels, level_start, size, sky = textures
    plane, lights, repeats, texture = view
    for row in range(0, SIZE, 2):
        for column in range(0, SIZE, 2):
            thing = owner[row, column, 0]
            whole = thing < count
            for sample in range(4):
                whole = whole and owner[row, column, sample] == thing and owner[row, column + 1, sample] == thing
                whole = whole and owner[row + 1, column, sample] == thing
                whole = whole and owner[row + 1, column + 1, sample] == thing
            if whole and thing != SKY:
                u, v = block_places(plane[thing], repeats[thing], row, column)
                levels, light = level_start[texture[thing]], lights[thing]
                lod = mip_level(u, v, size, levels.shape[0])
                for pixel in range(4):
                    i, j = row + (pixel >> 1), column + (pixel & 1)
                    red, green, blue = trilinear(texels, levels, size, lod, u[pixel], v[pixel])
                    frame[i, j, 0] = np.uint8(red * light + HALF)
                    frame[i, j, 1] = np.uint8(green * light + HALF)
                    frame[i, j, 2] = np.uint8(blue * light + HALF)
            else:
                for pixel in range(4):
                    i, j = row + (pixel >> 1), column + (pixel & 1)
                    if whole:
                        frame[i, j] = sky[i, j]
                    else:
                        resolve_pixel(count, view, spheres, axes, owner, i, j, textures, frame)


@_jit
def dress_faces(faces, face_texture, visible, count, axes, view):
    """Light, texture and its repeats of the visible faces. One light each: it comes from the camera's direction."""
    _, lights, repeats, texture = view
    for k in range(count):
        face = faces[visible[k]]
        repeats[k] = face[9:]
        texture[k] = face_texture[visible[k]]
        nx = face[4] * face[8] - face[5] * face[7]
        ny = face[5] * face[6] - face[3] * face[8]
        nz = face[3] * face[7] - face[4] * face[6]
        facing = (nx * axes[1, 0] + ny * axes[1, 1] + nz * axes[1, 2]) / math.sqrt(nx * nx + ny * ny + nz * nz)
        lights[k] = AMBIENT + DIFFUSE * max(np.float32(0.0), facing)


@_jit
def draw(faces, face_texture, spheres, poses, texels, level_start, size, sky, frames):
    """All frames ``(T, 64, 64, 3)`` of one scene."""
    plane = np.empty((faces.shape[0], 3, 3), np.float32)
    rows = np.empty((faces.shape[0], 2), np.int64)
    visible = np.empty(faces.shape[0], np.int64)
    lights, repeats = np.empty(faces.shape[0], np.float32), np.empty((faces.shape[0], 2), np.float32)
    view = (plane, lights, repeats, np.empty(faces.shape[0], np.int64))
    nearest = np.empty((SIZE, SIZE, 4), np.float32)
    owner = np.empty((SIZE, SIZE, 4), np.int16)
    textures = (texels, level_start, size, sky_frame(sky))
    for t in range(poses.shape[0]):
        axes = camera_axes(poses[t])
        count = project_faces(faces, axes, plane, rows, visible)
        nearest[:], owner[:] = 0, SKY
        cover_faces(plane, rows, count, nearest, owner)
        cover_spheres(spheres, axes, count, nearest, owner)
        dress_faces(faces, face_texture, visible, count, axes, view)
        resolve(count, view, spheres, axes, owner, textures, frames[t])


@_jit
def count_visible(faces, spheres, poses, pixels):
    """``pixels[t, k]``: samples in which face ``k`` (then sphere ``k - faces``) is what one sees at time ``t``."""
    plane = np.empty((faces.shape[0], 3, 3), np.float32)
    rows = np.empty((faces.shape[0], 2), np.int64)
    visible = np.empty(faces.shape[0], np.int64)
    nearest = np.empty((SIZE, SIZE, 4), np.float32)
    owner = np.empty((SIZE, SIZE, 4), np.int16)
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
