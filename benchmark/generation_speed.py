"""Frames per second and core of making data: stepping the environment against the vectorised forms, in one run.

python -m benchmark.generation_speed
python -m benchmark.generation_speed --envs distracting_memory_100 --seconds 5
python -m benchmark.generation_speed --envs four_rooms --device cuda
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

import envs
from benchmark import collect, machine
from benchmark.cli import parse
from benchmark.dataset import Dataset
from benchmark.errors import command, user_input
from benchmark.loader import BatchMaker
from envs.episode import episode_seeds
from envs.spec import EnvSpec
from scripted_policies.rollout import roll_out

DEFAULT = (
    "distracting_memory_16",
    "distracting_memory_100",
    "distracting_memory_400",
    "multi_doors_keys_3",
    "multi_doors_keys_7",
)


BATCH = 16
"""Episodes of a batch."""


@dataclass(frozen=True, kw_only=True)
class SpeedOptions:
    """Measure how fast episodes are made, on one core."""

    envs: tuple[str, ...] = DEFAULT
    seconds: float = 3.0
    """Processor time for each measurement, about."""

    device: str = "auto"
    """Where batches go to: auto, cpu, cuda."""


def rate(work: Callable[[int], int], seconds: float, clock: Callable[[], float] = time.process_time) -> float:
    """Frames per second of processor time; ``work(k)`` does its k-th part and returns its frames."""
    work(0)  # caches
    frames, part, began = 0, 1, clock()
    while clock() - began < seconds:
        frames += work(part)
        part += 1
    return frames / (clock() - began)


def measure(env: EnvSpec, seconds: float, device: torch.device) -> dict[str, float]:
    """Rates of stepping with rendering, of seeds to files of states, of stored states to frames, and of files of states
    to batches on the device (by the clock on the wall)."""
    batch = max(1, (50_000 if envs.tile_atlas(env) is not None else 4_000) // env.length)

    def stepped(part: int) -> int:
        roll_out(env, *episode_seeds(0, "train", part))
        return env.length

    with tempfile.TemporaryDirectory() as folder:
        request = collect.Request(env.name, 0, "states", {"train": batch * 10_000, "val": 1, "test": 1})

        def to_files(part: int) -> int:
            job = collect.ShardJob(request, "train", part * batch, batch, Path(folder))
            collect.make_shard(job)
            return batch * env.length

        written = rate(to_files, seconds)
    stored = envs.simulate(env, [episode_seeds(0, "train", index) for index in range(16)])

    def to_frames(part: int) -> int:
        return len(envs.render(env, stored[part % len(stored)]))

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        collect.collect(collect.Request(env.name, 0, "states", {"train": BATCH, "val": 1, "test": 1}), folder, 1)
        maker = BatchMaker(Dataset(folder), device)

        def to_batches(part: int) -> int:
            rows, frames = maker.episodes("train", range(BATCH)).shape
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            return rows * frames

        on_device = rate(to_batches, seconds, time.perf_counter)
    return {
        "stepped": rate(stepped, seconds),
        "to_files": written,
        "to_frames": rate(to_frames, seconds),
        "to_batches": on_device,
    }


@command
def main(arguments: list[str]) -> None:
    options = parse(SpeedOptions, arguments, "python -m benchmark.generation_speed")
    with user_input():
        specs = [envs.spec(name) for name in options.envs]
        device = machine.device(options.device)
    print(
        "| environment | stepped and rendered, frames/s | seeds to files | ratio | states to frames | ratio "
        f"| files to batches on {machine.device_name(device)} |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for env in specs:
        found = measure(env, options.seconds, device)
        slow, written, drawn = found["stepped"], found["to_files"], found["to_frames"]
        ratios = (
            f"{written:,.0f} | {written / slow:.0f}x | {drawn:,.0f} | {drawn / slow:.0f}x | {found['to_batches']:,.0f}"
        )
        print(f"| {env.name} | {slow:,.0f} | {ratios} |")


if __name__ == "__main__":
    main()
