"""The MuJoCo model of a floor plan: Memory Maze's walker between our walls, compiled once per layout and process.

The walker (dm_control's rolling ball with a head) and the textures (labmaze) are read from the installed packages when
a model is built. What Memory Maze changes about the walker is repeated here: its damping, the height of its camera,
the joints that let it slide. A test compares every number with a model of Memory Maze itself.

An episode changes only which material a wall face wears (``geom_matid``) and where the objects are (``geom_pos``,
``geom_rgba``), so a reset never compiles.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from envs.rooms.layouts import JAMB, WALL_HEIGHT, Layout, layout
from envs.rooms.scene import (
    FLOOR_TEXTURE,
    FLOOR_TEXTURES,
    JAMB_TEXTURE,
    MAX_OBJECTS,
    NO_OBJECT,
    OBJECT_COLOURS,
    OBJECT_RADIUS,
    WALL_TEXTURES,
    Scene,
)

EXTRA_HINT = "install the extra: pip install 'world-model-memory-benchmark[mujoco]'"
WALKER = "walker/"
CAMERA = WALKER + "egocentric"
TIMESTEP = 0.005
_CAMERA_HEIGHT = 0.3
_ROLL_DAMPING, _STEER_DAMPING = 5.0, 20.0
_HIDDEN_GROUP = 3
"""Boxes that the walker bumps into; the textured faces in front of them are what is drawn."""


def package_folder(name: str) -> Path:
    """Where an installed package lies, without importing it. ``ModuleNotFoundError`` with the remedy if it does not."""
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(f"the rooms need the package {name!r}, which is not installed; {EXTRA_HINT}")
    return Path(next(iter(found.submodule_search_locations)))


def texture_files() -> list[Path]:
    """The walls' then the floors' textures, in the order of their indices."""
    style = package_folder("labmaze") / "assets" / "style_01"
    return [style / f"wall_{name}_d.png" for name in WALL_TEXTURES] + [
        style / f"floor_{name}_d.png" for name in FLOOR_TEXTURES
    ]


def _walker_file() -> Path:
    walkers = package_folder("dm_control") / "locomotion" / "walkers"
    return walkers / "assets" / "jumping_ball" / "jumping_ball_with_head.xml"


def _walker() -> Any:
    """dm_control's walker, changed as Memory Maze does: no kick, a fixed camera, more damping, three slides."""
    import mujoco

    spec = mujoco.MjSpec.from_file(str(_walker_file()))
    for name in ("kick", "camera_height", "camera_tilt"):
        spec.delete(spec.actuator(name))
        spec.delete(spec.joint(name))
    spec.joint("roll").damping = (_ROLL_DAMPING, 0.0, 0.0)  # the linear term, then higher ones
    spec.joint("steer").damping = (_STEER_DAMPING, 0.0, 0.0)
    camera_body = spec.body("egocentric_camera")
    camera_body.pos = (*camera_body.pos[:2], _CAMERA_HEIGHT)
    return spec


def _options(spec: Any) -> None:
    import mujoco

    # The body between the slides has no mass of its own; MuJoCo asks for a little.
    spec.compiler.boundmass, spec.compiler.boundinertia = 1e-5, 1e-11
    spec.option.timestep = TIMESTEP
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.noslip_iterations = 5
    spec.option.noslip_tolerance = 0.0
    spec.visual.map.znear = 0.0005
    spec.visual.headlight.ambient = (0.3, 0.3, 0.3)
    spec.visual.headlight.diffuse = (0.6, 0.6, 0.6)
    spec.visual.headlight.specular = (0.0, 0.0, 0.0)
    spec.add_texture(
        name="skybox",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=(0.4, 0.6, 0.8),
        rgb2=(0, 0, 0),
        width=100,
        height=600,
    )


def _texture(spec: Any, index: int, file: Path) -> str:
    import mujoco

    name = f"texture_{index}"
    spec.add_texture(name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, file=str(file))
    return name


def _material(spec: Any, texture: str, repeats: tuple[float, float]) -> str:
    """The material of a texture repeated so often; added to the model when first asked for."""
    import mujoco

    name = f"{texture}_{repeats[0]:g}_{repeats[1]:g}"
    if spec.material(name) is None:
        textures = [""] * int(mujoco.mjtTextureRole.mjNTEXROLE)
        textures[int(mujoco.mjtTextureRole.mjTEXROLE_RGB)] = texture
        spec.add_material(name=name, textures=textures, texrepeat=repeats)
    return name


@functools.lru_cache(maxsize=1)
def texture_model() -> Any:
    """A model with nothing but the textures and the sky, as MuJoCo decodes and builds them (no GL involved)."""
    import mujoco

    spec = mujoco.MjSpec()
    _options(spec)
    for index, file in enumerate(texture_files()):
        _material(spec, _texture(spec, index, file), (1.0, 1.0))
    return spec.compile()


def _orientation(x_axis: np.ndarray, y_axis: np.ndarray) -> np.ndarray:
    """The quaternion of a frame with these unit axes."""
    import mujoco

    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, np.stack([x_axis, y_axis, np.cross(x_axis, y_axis)], axis=1).ravel())
    return quat


def _add_faces(spec: Any, plan: Layout, textures: list[str]) -> None:
    """One plane per face, and the materials of every texture at the sizes that walls have."""
    import mujoco

    for index, (face, side) in enumerate(zip(plan.faces.astype(float), plan.face_side, strict=True)):
        corner, right, down, repeats = face[:3], face[3:6], face[6:9], (float(face[9]), float(face[10]))
        wanted = range(len(WALL_TEXTURES)) if side >= 0 else [JAMB_TEXTURE if side == JAMB else FLOOR_TEXTURE]
        materials = [_material(spec, textures[texture], repeats) for texture in wanted]
        width, height = np.linalg.norm(right), np.linalg.norm(down)
        spec.worldbody.add_geom(
            name=f"face_{index}",
            type=mujoco.mjtGeom.mjGEOM_PLANE,
            pos=corner + (right + down) / 2,
            size=(width / 2, height / 2, 2.0),
            quat=_orientation(right / width, -down / height),
            material=materials[0],
            contype=0,
            conaffinity=0,
        )


@functools.lru_cache(maxsize=3)
def build(name: str) -> Any:
    """The compiled model (``mujoco.MjModel``) of the layout ``name``. One object a process: copy it to change physics.

    Raises ``ValueError`` for an unknown layout and ``ModuleNotFoundError`` without the ``mujoco`` extra.
    """
    import mujoco

    plan = layout(name)
    spec = mujoco.MjSpec()
    _options(spec)
    textures = [_texture(spec, index, file) for index, file in enumerate(texture_files())]
    _add_faces(spec, plan, textures)
    width, height = plan.half_extent
    spec.worldbody.add_geom(
        name="ground", type=mujoco.mjtGeom.mjGEOM_PLANE, size=(width, height, 1.0), rgba=(0, 0, 0, 0)
    )
    for index, box in enumerate(plan.solid):
        spec.worldbody.add_geom(
            name=f"solid_{index}",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=(*box.centre, WALL_HEIGHT / 2),
            size=((box.right - box.left) / 2, (box.top - box.bottom) / 2, WALL_HEIGHT / 2),
            group=_HIDDEN_GROUP,
        )
    for place in range(MAX_OBJECTS * len(plan.rooms)):
        spec.worldbody.add_geom(
            name=f"object_{place}",
            type=mujoco.mjtGeom.mjGEOM_SPHERE,
            pos=(
                1.0 + place,
                0.0,
                0.0,
            ),  # a geom compiled at the origin would stay there: MuJoCo takes the body's frame
            size=(OBJECT_RADIUS, 0, 0),
            contype=0,
            conaffinity=0,
        )
    frame = spec.worldbody.add_body(name=WALKER)
    for axis, direction in zip("xyz", np.eye(3), strict=True):
        frame.add_joint(name=f"{WALKER}root_{axis}", type=mujoco.mjtJoint.mjJNT_SLIDE, axis=direction)
    frame.add_frame().attach_body(_walker().body("head_body"), WALKER, "")
    return spec.compile()


def dress(model: Any, plan: Layout, scene: Scene) -> None:
    """Put the colours and objects of an episode into a compiled model, in place."""
    for index, (face, side) in enumerate(zip(plan.faces.astype(float), plan.face_side, strict=True)):
        if side >= 0:
            material = f"texture_{scene.wall_texture[side]}_{face[9]:g}_{face[10]:g}"
            model.geom_matid[model.geom(f"face_{index}").id] = model.material(material).id
    for place, (xy, colour) in enumerate(zip(scene.object_xy, scene.object_colour, strict=True)):
        geom = model.geom(f"object_{place}").id
        there = colour != NO_OBJECT
        model.geom_pos[geom] = (*xy, 0.0)
        model.geom_rgba[geom] = (*OBJECT_COLOURS[colour], 1.0) if there else (0, 0, 0, 0)
