"""The analytic renderer's inner loops, compiled by numba: a small software rasteriser.

It repeats what OpenGL does with MuJoCo's scene. Four samples a pixel decide what is visible; a pixel is shaded once per
thing visible in it, at its centre: trilinear texture, mip level from the differences within 2x2 pixels, light from the
camera's direction. Written for 64x64 frames of flat walls: a face covers an interval of each row of samples, so nothing
is tested per sample but depth.

Compiled without fast-math: frames agree between machines, up to the last bit of a logarithm. All in one file, because
numba's cache notices changes of a function's own file only. ``axes`` are the rows of ``camera.camera_axes``.
"""

# mypy: disable-error-code="no-untyped-def"
# (numba compiles the plain functions; annotations would be checked on every call in tests)

from __future__ import annotations

import math

import numpy as np

from envs.rooms.camera import (
    AMBIENT,
    DIFFUSE,
    SAMPLES,
    SIZE,
    SPHERE_SCALE,
    STEP,
    TANGENT,
    VERSION,
)
from envs.rooms.compiled import compiled

assert VERSION == 1, "raise this number too: the edit makes numba compile the constants of camera.py anew"

NEAR = 1e-3
ONE, HALF = np.float32(1.0), np.float32(0.5)
SKY = -1


@compiled
def dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@compiled
def triple(a, b, c):
    """``a . (b x c)``"""
    x, y, z = b[1] * c[2] - b[2] * c[1], b[2] * c[0] - b[0] * c[2], b[0] * c[1] - b[1] * c[0]
    return a[0] * x + a[1] * y + a[2] * z


@compiled
def on_plane(row, column, down, right):
    """Point ``(x, y)`` of the image plane at the place ``(right, down)`` in a pixel; both are 1/2 in its centre."""
    return (np.float32(column) + right) * STEP - TANGENT, TANGENT - (np.float32(row) + down) * STEP


@compiled
def project_faces(faces, axes, plane, rows, visible):
    """Faces that may be seen. For face ``k`` of them, ``plane[k]`` turns ``(1, x, y)`` on the image plane into
    ``(right, down, 1) * inverse depth`` of the face's own coordinates; ``rows[k]`` are the pixel rows it spans.
    Returns how many.
    """
    count = 0
    ray = axes[1:]
    for index in range(faces.shape[0]):
        face = faces[index]
        p, u, d = face[:3] - axes[0], face[3:6], face[6:9]
        volume = triple(p, u, d)
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
            z, x, y = dot(q, ray[0]), dot(q, ray[1]), dot(q, ray[2])
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
            # Cramer's rule for ray = right * u + down * d + inverse * p.
            plane[count, 0, k] = triple(ray[k], d, p) / volume
            plane[count, 1, k] = triple(ray[k], p, u) / volume
            plane[count, 2, k] = triple(ray[k], u, d) / volume
        visible[count] = index
        count += 1
    return count


@compiled
def cover_faces(plane, rows, count, nearest, owner):
    """For every sample, the nearest face (``owner``, -1 is the sky) and its inverse depth (``nearest``)."""
    for k in range(count):
        a, b, w = plane[k, 0], plane[k, 1], plane[k, 2]
        for row in range(rows[k, 0], rows[k, 1] + 1):
            for sample in range(4):
                x0, y = on_plane(row, 0, SAMPLES[sample, 1], SAMPLES[sample, 0])
                first, last = np.float32(0.0), np.float32(SIZE - 1)
                # Inside the face while 0 <= a <= w and 0 <= b <= w, each linear along the row.
                for condition in range(4):
                    inner = a if condition < 2 else b
                    c0, c1 = inner[0] + inner[2] * y, inner[1]
                    if condition & 1:
                        c0, c1 = w[0] + w[2] * y - c0, w[1] - c1
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


@compiled
def meet_sphere(sphere, radius, axes, x, y):
    """Where the ray through ``(x, y)`` meets a sphere, or else comes nearest to it.

    Returns the depth, whether it is met, and the vector from the centre of the sphere to that point.
    """
    rx = axes[1, 0] + x * axes[2, 0] + y * axes[3, 0]
    ry = axes[1, 1] + x * axes[2, 1] + y * axes[3, 1]
    rz = axes[1, 2] + x * axes[2, 2] + y * axes[3, 2]
    cx, cy, cz = sphere[0] - axes[0, 0], sphere[1] - axes[0, 1], sphere[2] - axes[0, 2]
    along, square = rx * cx + ry * cy + rz * cz, rx * rx + ry * ry + rz * rz
    root = along * along - square * (cx * cx + cy * cy + cz * cz - radius * radius)
    distance = (along - math.sqrt(max(root, np.float32(0.0)))) / square
    return distance, root > 0 and along > 0, (distance * rx - cx, distance * ry - cy, distance * rz - cz)


@compiled
def pixel_span(centre, radius, near, far):
    """First and last pixel that the interval around ``centre`` may cover, at inverse depths between two."""
    low = min((centre - radius) * near, (centre - radius) * far) / TANGENT
    high = max((centre + radius) * near, (centre + radius) * far) / TANGENT
    first = int((max(-ONE, min(low, ONE)) + 1) * (SIZE / 2))
    return first, min(SIZE - 1, int((min(ONE, max(high, -ONE)) + 1) * (SIZE / 2)))


@compiled
def cover_spheres(spheres, axes, first_owner, nearest, owner):
    """Add half-spheres ``(x, y, z, radius, red, green, blue)`` on the floor; radius 0 means none."""
    for k in range(spheres.shape[0]):
        radius = spheres[k, 3] * SPHERE_SCALE
        to = spheres[k, :3] - axes[0]
        z = dot(to, axes[1])
        if radius <= 0 or z < -radius:
            continue
        columns, rows = (0, SIZE - 1), (0, SIZE - 1)
        if z > np.float32(1.05) * radius:
            near, far = ONE / (z - radius), ONE / (z + radius)
            columns = pixel_span(dot(to, axes[2]), radius, near, far)
            rows = pixel_span(-dot(to, axes[3]), radius, near, far)
        for row in range(rows[0], rows[1] + 1):
            for column in range(columns[0], columns[1] + 1):
                for sample in range(4):
                    x, y = on_plane(row, column, SAMPLES[sample, 1], SAMPLES[sample, 0])
                    distance, met, _ = meet_sphere(spheres[k], radius, axes, x, y)
                    if met and distance * nearest[row, column, sample] < ONE:
                        nearest[row, column, sample] = ONE / distance
                        owner[row, column, sample] = first_owner + k


@compiled
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


@compiled
def texture_place(plane, repeats, row, column):
    """Texture coordinates, in repeats, at the centre of a pixel."""
    x, y = on_plane(row, column, HALF, HALF)
    depth = ONE / (plane[2, 0] + plane[2, 1] * x + plane[2, 2] * y)
    u = repeats[0] * (plane[0, 0] + plane[0, 1] * x + plane[0, 2] * y) * depth
    v = repeats[1] * (plane[1, 0] + plane[1, 1] * x + plane[1, 2] * y) * depth
    return u, v


@compiled
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


@compiled
def trilinear(texels, levels, size, lod, u, v):
    """The texture at ``(u, v)``, between the two mip levels around ``lod``."""
    level = int(lod)
    red, green, blue = bilinear(texels, levels[level], size >> level, u, v)
    part = lod - np.float32(level)
    if part > 0:
        red1, green1, blue1 = bilinear(texels, levels[level + 1], size >> (level + 1), u, v)
        red, green, blue = red + part * (red1 - red), green + part * (green1 - green), blue + part * (blue1 - blue)
    return red, green, blue


@compiled
def block_places(plane, repeats, row, column):
    """Texture coordinates at the centres of the 2x2 pixels whose upper left one is given: two tuples of four."""
    u0, v0 = texture_place(plane, repeats, row, column)
    u1, v1 = texture_place(plane, repeats, row, column + 1)
    u2, v2 = texture_place(plane, repeats, row + 1, column)
    u3, v3 = texture_place(plane, repeats, row + 1, column + 1)
    return (u0, u1, u2, u3), (v0, v1, v2, v3)


@compiled
def sphere_light(sphere, axes, row, column):
    """Light on a sphere at the centre of a pixel; beside the sphere, that of its nearest rim."""
    x, y = on_plane(row, column, HALF, HALF)
    _, _, normal = meet_sphere(sphere, sphere[3], axes, x, y)
    facing = -dot(normal, axes[1]) / math.sqrt(dot(normal, normal))
    return AMBIENT + DIFFUSE * max(np.float32(0.0), facing)


@compiled
def grey_level(value):
    """Rounded as OpenGL stores a colour."""
    return np.float32(math.floor(min(max(value, np.float32(0.0)), np.float32(255.0)) + HALF))


@compiled
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


@compiled
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


@compiled
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


@compiled
def dress_faces(faces, face_texture, visible, count, axes, view):
    """Light, texture and its repeats of the visible faces. One light each: it comes from the camera's direction."""
    _, lights, repeats, texture = view
    for k in range(count):
        face = faces[visible[k]]
        repeats[k] = face[9:]
        texture[k] = face_texture[visible[k]]
        right, down = face[3:6], face[6:9]
        facing = triple(axes[1], right, down) / math.sqrt(dot(right, right) * dot(down, down))
        lights[k] = AMBIENT + DIFFUSE * max(np.float32(0.0), facing)


@compiled
def look(faces, spheres, axes, plane, rows, visible, nearest, owner):
    """What every sample of a frame shows (``owner``); returns how many faces may be in view."""
    count = project_faces(faces, axes, plane, rows, visible)
    nearest[:], owner[:] = 0, SKY
    cover_faces(plane, rows, count, nearest, owner)
    cover_spheres(spheres, axes, count, nearest, owner)
    return count


@compiled
def buffers(face_count):
    """Working memory of ``look``: plane, rows, visible, nearest, owner."""
    return (
        np.empty((face_count, 3, 3), np.float32),
        np.empty((face_count, 2), np.int64),
        np.empty(face_count, np.int64),
        np.empty((SIZE, SIZE, 4), np.float32),
        np.empty((SIZE, SIZE, 4), np.int16),
    )


@compiled
def draw(faces, face_texture, spheres, cameras, textures, frames):
    """All frames ``(T, 64, 64, 3)`` of one scene. ``textures``: texels, level_start, size, sky ``(64, 64, 3)``."""
    plane, rows, visible, nearest, owner = buffers(faces.shape[0])
    lights, repeats = np.empty(faces.shape[0], np.float32), np.empty((faces.shape[0], 2), np.float32)
    view = (plane, lights, repeats, np.empty(faces.shape[0], np.int64))
    for t in range(cameras.shape[0]):
        axes = cameras[t]
        count = look(faces, spheres, axes, plane, rows, visible, nearest, owner)
        dress_faces(faces, face_texture, visible, count, axes, view)
        resolve(count, view, spheres, axes, owner, textures, frames[t])


@compiled
def count_visible(faces, spheres, cameras, pixels):
    """``pixels[t, k]``: samples in which face ``k`` (then sphere ``k - faces``) is what one sees at time ``t``."""
    plane, rows, visible, nearest, owner = buffers(faces.shape[0])
    for t in range(cameras.shape[0]):
        count = look(faces, spheres, cameras[t], plane, rows, visible, nearest, owner)
        for thing in owner.ravel():
            if thing >= count:
                pixels[t, faces.shape[0] + thing - count] += 1
            elif thing != SKY:
                pixels[t, visible[thing]] += 1
