"""Frames of Four Rooms by our paths, beside Memory Maze by its own package (the 9x9 maze has more walls)."""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import envs
from benchmark.render_rooms import BatchRenderer, SceneBatch
from envs.rooms import analytic
from envs.rooms.gl_context import ensure_context
from envs.rooms.layouts import Layout, layout
from envs.rooms.rendering import frame_source
from envs.rooms.scene import Scene
from envs.rooms.textures import load_textures
from tests.bench.contest import OTHER, OURS, PEER, Contender, Contest, Work

ACTIONS = (1, 1, 4, 2, 1, 5, 1, 3)


@functools.cache
def _upstream_process() -> subprocess.Popen[str]:
    environment = os.environ | {"MUJOCO_GL": ensure_context()}
    command = [sys.executable, str(Path(__file__).with_name("upstream_maze.py"))]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    atexit.register(child.kill)
    _expect(child, "ready\n")
    return child


def _expect(child: subprocess.Popen[str], answer: str) -> None:
    assert child.stdout is not None
    if (line := child.stdout.readline()) != answer:
        raise RuntimeError(f"memory-maze's process said {line!r} and ended with {child.poll()}; its errors are above")


def _upstream(count: int) -> Work:
    child = _upstream_process()

    def work() -> list[Tensor]:
        assert child.stdin is not None
        child.stdin.write(f"{count}\n")
        child.stdin.flush()
        _expect(child, "64 64 3\n")
        return []

    return work


def _stepped_with_mujoco(count: int) -> Work:
    ensure_context()
    world = envs.make("four_rooms_mujoco", steps=10**9)
    world.reset(seed=0)
    actions = itertools.cycle(ACTIONS)
    return lambda: [torch.from_numpy(world.step(next(actions))[0]) for _ in range(count)]


def _physics_then_analytic(count: int) -> Work:
    world = envs.make("four_rooms", steps=10**9)
    world.reset(seed=0)
    surfaces, actions = analytic.surfaces(world.layout, world.scene), itertools.cycle(ACTIONS)

    def work() -> list[Tensor]:
        poses = []
        for _ in range(count):
            world.advance(next(actions))
            poses.append(world.pose)
        return [torch.from_numpy(analytic.render(surfaces, np.stack(poses)))]

    return work


def _poses(count: int) -> tuple[Layout, Scene, np.ndarray]:
    """Evenly spaced over an episode."""
    env = envs.spec("four_rooms")
    (trajectory,) = envs.simulate(env, [(0, 0)])
    chosen = np.linspace(0, env.length - 1, count).round().astype(int)
    return layout("four_rooms"), Scene(**trajectory.scene), trajectory.state["pose"][chosen]


def _stored_analytic(count: int) -> Work:
    episode = _poses(count)
    return lambda: [torch.from_numpy(frame_source("analytic")(*episode))]


def _stored_torch(count: int) -> Work:
    plan, scene, poses = _poses(count)
    renderer, scenes = BatchRenderer(load_textures()), SceneBatch.stack([analytic.surfaces(plan, scene)])
    return lambda: [renderer.render(scenes, torch.from_numpy(poses)[None])[0]]


def _count(small: bool) -> int:
    return 3 if small else 50


def _against_upstream(small: bool, path: str, build: Callable[[int], Work], target: float) -> Contest:
    count = _count(small)
    return Contest(
        f"{count} frames of Four Rooms: {path}",
        (
            Contender(path, OURS, lambda: build(count)),
            Contender("memory-maze, 9x9", PEER, lambda: _upstream(count), "memory_maze", target),
        ),
        note="The same walker, physics and camera in other worlds: the maze has more walls and ten times the geoms. It "
        "always steps and renders, by the same OpenGL backend.",
        items=count,
    )


def with_mujoco(small: bool) -> Contest:
    return _against_upstream(small, "physics, MuJoCo's renderer", _stepped_with_mujoco, 10)


def with_physics(small: bool) -> Contest:
    return _against_upstream(small, "physics, analytic renderer", _physics_then_analytic, 20)


def stored(small: bool) -> Contest:
    return _against_upstream(small, "stored poses, analytic renderer", _stored_analytic, 45)


def stored_in_torch(small: bool) -> Contest:
    """Meant for GPUs; here against the same frames by the renderer for CPUs."""
    count = _count(small)
    return Contest(
        f"{count} frames of Four Rooms from stored poses, on the CPU",
        (
            Contender("analytic renderer, numba", OURS, lambda: _stored_analytic(count)),
            Contender("analytic renderer, torch", OTHER, lambda: _stored_torch(count)),
        ),
        tolerance=1.5 / 255,  # one grey level, of a brightest that is not quite white
        note="The torch form is for GPUs.",
        items=count,
    )


CONTESTS = (with_mujoco, with_physics, stored, stored_in_torch)
