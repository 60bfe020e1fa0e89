"""How the observations of stored episodes come to the device where a model trains.

Tiles are gathered there from their ids. On a GPU the rooms are drawn there from poses; a CPU's frames are drawn by
``envs``, and stored frames and vectors are copied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor

import envs
from backbones.interface import ImageSpec
from benchmark.dataset import Dataset
from envs.episode import Trajectory

ObservationSource = Callable[[Sequence[Trajectory]], Tensor]
"""Rows of equal length to observations ``(B, T, C, height, width)`` uint8 or ``(B, T, O)`` float32 on the device."""


def observation_source(dataset: Dataset, device: torch.device) -> ObservationSource:
    """The fastest exact way for this dataset and device (the rooms: within one grey level of ``envs.render``)."""
    env = dataset.env if dataset.manifest.store == "states" else None
    if env is not None and (atlas := envs.tile_atlas(env)) is not None:
        return _Tiles(torch.tensor(atlas, device=device))
    if env is not None and device.type == "cuda" and envs.drawn_from_surfaces(env):
        return Rooms(env, device)
    return _Copied(dataset, device)


class Rooms:
    """Rooms drawn on the device by the torch form of the analytic renderer."""

    def __init__(self, env: envs.EnvSpec, device: torch.device) -> None:
        from benchmark.render_rooms import BatchRenderer
        from envs.rooms.textures import load_textures

        self._env, self._device = env, device
        self._renderer = BatchRenderer(load_textures(), device)

    def __call__(self, rows: Sequence[Trajectory]) -> UInt8[Tensor, "B T 3 height width"]:
        from benchmark.render_rooms import SceneBatch

        scenes = SceneBatch.stack([envs.surfaces(self._env, row) for row in rows], self._device)
        poses = _stacked([row.state["pose"] for row in rows], self._device)
        return self._renderer.render(scenes, poses).movedim(-1, 2)


class _Tiles:
    def __init__(self, atlas: UInt8[Tensor, "tiles size size 3"]) -> None:
        self._atlas = atlas

    def __call__(self, rows: Sequence[Trajectory]) -> UInt8[Tensor, "B T 3 height width"]:
        from benchmark.render_tiles import render_tiles

        return render_tiles(self._atlas, _stacked([row.state["tiles"] for row in rows], self._atlas.device))


class _Copied:
    def __init__(self, dataset: Dataset, device: torch.device) -> None:
        self._dataset, self._device = dataset, device

    def __call__(self, rows: Sequence[Trajectory]) -> Shaped[Tensor, "B T *obs"]:
        observations = _stacked([self._dataset.render(row) for row in rows], self._device)
        return observations.movedim(-1, 2) if isinstance(self._dataset.world.observation, ImageSpec) else observations


def _stacked(arrays: Sequence[np.ndarray], device: torch.device) -> Tensor:
    return torch.from_numpy(np.stack(arrays)).to(device, non_blocking=True)
