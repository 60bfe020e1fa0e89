"""The environments of the benchmark: ``spec(name)``, ``make(name)``, ``simulate``, ``render``.

An environment family is one module. It offers

``NAMES``: names to show in help and tests (a family may accept more, such as other widths);
``parse(name) -> EnvSpec | None``: the spec of a name of this family; ``None`` if the name is another family's;
    ``ValueError`` if it is this family's but out of range;
``simulate(spec, seeds) -> list[Trajectory]``: whole episodes from ``(env_seed, policy_seed)`` pairs, as fast as
    possible, equal to stepping the Gymnasium environment with its policy;
``render(spec, trajectory) -> frames``: ``(T, height, width, 3)`` uint8;
``content_age(spec, trajectory)``: how long ago what a query frame shows was last seen, see below;
``renderer_info(spec) -> dict``: JSON values that name the renderer and fingerprint its output, kept in manifests;
where frames are made of tiles, ``tile_atlas(spec)``, the pictures that tile ids stand for (``envs.tiles``);
where frames may be drawn from flat faces and spheres, ``surfaces(spec, trajectory)`` and
    ``drawn_from_surfaces(spec)``, for who draws poses elsewhere (``benchmark.render_rooms``);
where a family has options, ``OPTIONS``, their names, and ``vary(spec, **options) -> EnvSpec``, the spec with other
    values of them in its ``gym_kwargs``; ``ValueError`` for values out of range.

Families are named here, not imported: some need packages that are not always installed.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from difflib import get_close_matches
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Shaped, UInt8

from envs.episode import Trajectory
from envs.registration import register
from envs.spec import EnvSpec

FAMILIES = (
    "distracting_memory",
    "multi_doors_keys",
    "rooms",
    "memory_maze",
)

# Gymnasium 1.0 stopped to load the entry point of a package, so an import has to do: `import envs`, or the id
# "envs:WMBench/DistractingMemory-v0". It costs nothing, since classes are only named.
register()


def _family(name: str) -> ModuleType:
    return importlib.import_module(f"envs.{name}")


def names() -> list[str]:
    """Names for help texts and tests."""
    return [name for family in FAMILIES for name in _family(family).NAMES]


def spec(name: str, **options: Any) -> EnvSpec:
    """The environment called ``name``, with other than the default options where the family has any.

    Raises ``ValueError`` for an unknown name (with the nearest one), for sizes out of range and for wrong options.
    """
    for family in FAMILIES:
        found = _family(family).parse(name)
        if found is not None:
            return _vary(found, options) if options else found
    near = get_close_matches(name, names(), n=1, cutoff=0.5)
    hint = f", did you mean {near[0]!r}" if near else ""
    raise ValueError(f"unknown environment {name!r}{hint}. Allowed: {', '.join(names())}")


def _vary(env: EnvSpec, options: dict[str, Any]) -> EnvSpec:
    allowed = getattr(_family(env.family), "OPTIONS", ())
    unknown = [option for option in options if option not in allowed]
    if unknown:
        raise ValueError(f"{env.name} has no option {unknown[0]!r}. Allowed: {', '.join(allowed) or 'none'}")
    return _family(env.family).vary(env, **options)


def make(name: str, /, **kwargs: Any) -> gymnasium.Env:
    """The Gymnasium environment called ``name``; ``kwargs`` go to its class."""
    found = spec(name)
    return gymnasium.make(found.gym_id, **(found.gym_kwargs | kwargs)).unwrapped


def simulate(env: EnvSpec, seeds: Sequence[tuple[int, int]]) -> list[Trajectory]:
    """Episodes from pairs ``(env_seed, policy_seed)`` (see ``envs.episode.episode_seeds``)."""
    return _family(env.family).simulate(env, seeds)


def render(env: EnvSpec, trajectory: Trajectory) -> UInt8[np.ndarray, "T height width 3"]:
    """All frames of a trajectory, or of a slice of one."""
    return _family(env.family).render(env, trajectory)


def tile_atlas(env: EnvSpec) -> UInt8[np.ndarray, "tiles size size 3"] | None:
    """Pictures of tiles by tile id, for who gathers frames elsewhere; none if frames are not made of tiles."""
    family = _family(env.family)
    return family.tile_atlas(env) if hasattr(family, "tile_atlas") else None


def drawn_from_surfaces(env: EnvSpec) -> bool:
    """Whether frames are the analytic renderer's, of the poses of trajectories among their :func:`surfaces`."""
    family = _family(env.family)
    return hasattr(family, "drawn_from_surfaces") and family.drawn_from_surfaces(env)


def surfaces(env: EnvSpec, trajectory: Trajectory) -> Any:
    """``envs.rooms.analytic.Surfaces`` of the world of a trajectory; ask :func:`drawn_from_surfaces` before."""
    return _family(env.family).surfaces(env, trajectory)


def content_age(env: EnvSpec, trajectory: Trajectory) -> Shaped[np.ndarray, "T rows columns"]:
    """Steps since the content of each patch of each query frame was last in view in the context; 0 if it never was,
    and in the context. 2D: a patch is a tile; 3D: the whole frame is one."""
    return _family(env.family).content_age(env, trajectory)


def renderer_info(env: EnvSpec) -> dict[str, Any]:
    """Name and fingerprint of the renderer, for manifests."""
    return _family(env.family).renderer_info(env)


def check_renderer(env: EnvSpec, stored: dict[str, Any]) -> None:
    """Compares the ``renderer_info`` of a manifest with this installation.

    Raises ``ValueError`` if frames would differ. A family without tolerance of its own asks for equality.
    """
    family = _family(env.family)
    if hasattr(family, "check_renderer"):
        family.check_renderer(env, stored)
    elif (here := renderer_info(env)) != stored:
        raise ValueError(
            f"the data was made for renderer {stored}, installed is {here}; install the packages of constraints.txt or "
            "make the dataset again"
        )
