"""Frames per second of making data, in one run: stepping an environment, its vectorised forms, and a device's share.

python -m benchmark.generation_speed
python -m benchmark.generation_speed --envs distracting_memory_100 --seconds 5
python -m benchmark.generation_speed --envs four_rooms --device cuda

The first three rates are of one core, by processor time: stepping and rendering as a user of Gymnasium would; seeds to
files of states; states to frames. The others end on the device, by the clock on the wall: rows of files that are
already in memory to batches, as training asks for them after a first epoch; and, of the rooms, the torch renderer
alone, its scenes and poses being there.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import envs
from benchmark import collect, machine
from benchmark.cli import parse
from benchmark.dataset import Dataset
from benchmark.errors import command, user_input
from benchmark.loader import BatchMaker
from envs.episode import episode_seeds
from envs.spec import EnvSpec
from scripted_policies import POLICIES

DEFAULT = (
    "distracting_memory_16",
    "distracting_memory_100",
    "distracting_memory_400",
    "multi_doors_keys_3",
    "multi_doors_keys_7",
)
BATCH = 16
"""Episodes of a batch."""
DRAWN = 16
"""Frames of each that the renderer alone draws at once."""


@dataclass(frozen=True, kw_only=True)
class SpeedOptions:
    """Measure how fast episodes are made, on one core, and come to a device."""

    envs: tuple[str, ...] = DEFAULT
    seconds: float = 3.0
    """Time of each measurement, about: processor time, or that of the clock on the wall for what ends on a device."""
    device: str = "auto"
    """Where batches go to: auto, cpu, cuda."""


def rate(work: Callable[[int], int], seconds: float, clock: Callable[[], float] = time.process_time) -> float:
    """Frames per second of ``clock``, which is processor time unless given; ``work(k)`` does its k-th part and returns
    its frames. Part 0, which fills caches and compiles, is not timed."""
    work(0)
    frames, part, began = 0, 1, clock()
    while clock() - began < seconds:
        frames += work(part)
        part += 1
    return frames / (clock() - began)


def stepped(env: EnvSpec, seconds: float) -> float:
    """Rate of stepping the Gymnasium environment with its scripted policy; each step renders."""

    def work(part: int) -> int:
        env_seed, policy_seed = episode_seeds(0, "train", part)
        world = envs.make(env.name, **env.gym_kwargs)
        world.reset(seed=env_seed)
        frames = 1
        for action in POLICIES[env.policy](world, np.random.default_rng(policy_seed)):
            _, _, terminated, truncated, _ = world.step(action)
            frames += 1
            if terminated or truncated:
                break
        return frames

    return rate(work, seconds)


def to_files(env: EnvSpec, seconds: float) -> float:
    """Rate of seeds to files of states."""
    batch = max(1, (50_000 if envs.tile_atlas(env) is not None else 4_000) // env.length)
    request = collect.Request(env.name, 0, "states", {"train": batch * 10_000, "val": 1, "test": 1})
    with tempfile.TemporaryDirectory() as folder:

        def work(part: int) -> int:
            collect.make_shard(collect.ShardJob(request, "train", part * batch, batch, Path(folder)))
            return batch * env.length

        return rate(work, seconds)


def to_frames(env: EnvSpec, seconds: float) -> float:
    """Rate of states to frames."""
    stored = envs.simulate(env, [episode_seeds(0, "train", index) for index in range(BATCH)])
    return rate(lambda part: len(envs.render(env, stored[part % len(stored)])), seconds)


def to_batches(env: EnvSpec, seconds: float, device: torch.device) -> float:
    """Rate of stored rows, in the dataset's cache from the second time on, to batches on the device."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        collect.collect(collect.Request(env.name, 0, "states", {"train": BATCH, "val": 1, "test": 1}), folder, 1)
        maker = BatchMaker(Dataset(folder), device)

        def work(part: int) -> int:
            rows, frames = maker.episodes("train", range(BATCH)).shape
            _wait_for(device)
            return rows * frames

        return rate(work, seconds, time.perf_counter)


def drawn_on_device(env: EnvSpec, seconds: float, device: torch.device) -> float | None:
    """Rate of ``BatchRenderer.render`` alone; none where it does not draw the environment."""
    if not envs.drawn_from_surfaces(env):
        return None
    from benchmark.render_rooms import BatchRenderer, SceneBatch
    from envs.rooms.textures import load_textures

    episodes = envs.simulate(env, [episode_seeds(0, "train", index) for index in range(BATCH)])
    scenes = SceneBatch.stack([envs.surfaces(env, episode) for episode in episodes], device)
    poses = torch.from_numpy(np.stack([episode.state["pose"] for episode in episodes])).to(device)
    renderer = BatchRenderer(load_textures(), device)

    def work(part: int) -> int:
        start = part * DRAWN % (env.length - DRAWN)
        rows, frames = renderer.render(scenes, poses[:, start : start + DRAWN]).shape[:2]
        _wait_for(device)
        return rows * frames

    return rate(work, seconds, time.perf_counter)


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@command
def main(arguments: list[str]) -> None:
    options = parse(SpeedOptions, arguments, "python -m benchmark.generation_speed")
    with user_input():
        specs = [envs.spec(name) for name in options.envs]
        device = machine.device(options.device)
    where = machine.device_name(device)
    print(
        "| environment | stepped and rendered, frames/s | seeds to files | ratio | states to frames | ratio "
        f"| stored rows to batches on {where} | renderer alone on {where} |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for env in specs:
        slow, written, drawn = (measured(env, options.seconds) for measured in (stepped, to_files, to_frames))
        ratios = f"{written:,.0f} | {written / slow:.0f}x | {drawn:,.0f} | {drawn / slow:.0f}x"
        batches, alone = (measured(env, options.seconds, device) for measured in (to_batches, drawn_on_device))
        on_device = f"{batches:,.0f} | " + ("" if alone is None else f"{alone:,.0f}")
        print(f"| {env.name} | {slow:,.0f} | {ratios} | {on_device} |", flush=True)


if __name__ == "__main__":
    main()
