"""Frames per second and core of making data: stepping the environment against the vectorised forms, in one run.

python -m benchmark.generation_speed
python -m benchmark.generation_speed --envs distracting_memory_100 --seconds 5
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import envs
from benchmark import collect
from benchmark.cli import parse
from benchmark.errors import command, user_input
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


@dataclass(frozen=True, kw_only=True)
class SpeedOptions:
    """Measure how fast episodes are made, on one core."""

    envs: tuple[str, ...] = DEFAULT
    seconds: float = 3.0
    """Processor time for each measurement, about."""


def rate(work: Callable[[int], int], seconds: float) -> float:
    """Frames per second of processor time; ``work(k)`` does its k-th part and returns its frames."""
    work(0)  # caches
    frames, part, began = 0, 1, time.process_time()
    while time.process_time() - began < seconds:
        frames += work(part)
        part += 1
    return frames / (time.process_time() - began)


def measure(env: EnvSpec, seconds: float) -> dict[str, float]:
    """Rates of stepping with rendering, of seeds to files of states, and of stored states to frames."""
    batch = max(1, 50_000 // env.length)

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

    return {"stepped": rate(stepped, seconds), "to_files": written, "to_frames": rate(to_frames, seconds)}


@command
def main(arguments: list[str]) -> None:
    options = parse(SpeedOptions, arguments, "python -m benchmark.generation_speed")
    with user_input():
        specs = [envs.spec(name) for name in options.envs]
    print("| environment | stepped and rendered, frames/s | seeds to files | ratio | states to frames | ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    for env in specs:
        found = measure(env, options.seconds)
        slow, written, drawn = found["stepped"], found["to_files"], found["to_frames"]
        ratios = f"{written:,.0f} | {written / slow:.0f}x | {drawn:,.0f} | {drawn / slow:.0f}x"
        print(f"| {env.name} | {slow:,.0f} | {ratios} |")


if __name__ == "__main__":
    main()
