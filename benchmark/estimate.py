"""How many frames, bytes and seconds a dataset would take, from making a few of its episodes."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmark.machine import cores
from envs.spec import EnvSpec

SAMPLE = 4
"""Episodes that are made to measure."""


def describe(env: EnvSpec, episodes: dict[str, int], make: Callable[[int, int], bytes]) -> str:
    """Lines about a dataset with these split sizes and about the published ones; one line where they are the same.

    ``make(first, count)`` simulates and encodes ``count`` episodes, from ``first`` on.
    """
    overhead = len(make(0, 1))  # of a shard, with one episode; the first call compiles, too
    began = time.process_time()
    size = len(make(0, 1 + SAMPLE)) - overhead
    seconds = time.process_time() - began

    def line(sizes: dict[str, int]) -> str:
        total = sum(sizes.values())
        counts = " + ".join(f"{count:,}" for count in sizes.values())
        return (
            f"{counts} episodes of {env.length} frames = {total * env.length:,} frames, about "
            f"{_size(total * size / SAMPLE)} and {_duration(total * seconds / (1 + SAMPLE))} on one core"
        )

    lines = [f"published size: {line(env.paper_episodes)}"]
    if episodes != env.paper_episodes:
        lines = [line(episodes), f"{lines[0]} (--episodes paper)"]
    return f"{env.name}, {cores()} cores here:\n" + "\n".join(f"  {one}" for one in lines)


def _duration(seconds: float) -> str:
    for unit, length in (("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def _size(count: float) -> str:
    for unit, length in (("GiB", 2**30), ("MiB", 2**20)):
        if count >= length:
            return f"{count / length:,.1f} {unit}"
    return f"{count / 2**10:,.0f} KiB"
