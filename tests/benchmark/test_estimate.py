"""What a dataset is said to take is about what it takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import envs
from benchmark import collect, estimate

UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
SIZES = {"train": 40, "val": 4, "test": 4}


def numbers(line: str) -> tuple[int, float]:
    """Frames and bytes of a line."""
    found = re.search(r"= ([\d,]+) frames, about ([\d,.]+) ([KMG]iB) and \d+(\.\d)? (seconds|minutes|hours) on", line)
    assert found, line
    frames, size, unit = found.groups()[:3]
    return int(frames.replace(",", "")), float(size.replace(",", "")) * UNITS[unit]


@pytest.mark.parametrize("store", ["states", "frames"])
@pytest.mark.parametrize("name", ["distracting_memory_14", "multi_doors_keys_3"])
def test_frames_are_exact_and_bytes_about_right(name: str, store: str, tmp_path: Path) -> None:
    scale = 20 if store == "states" else 1  # of few small episodes most bytes are the file's own
    request = collect.Request(name, 0, store, {split: scale * count for split, count in SIZES.items()})
    head, asked, published = collect.estimate(request).splitlines()
    env = envs.spec(name)
    assert head.startswith(f"{name}, ")
    assert "published" not in asked
    frames, size = numbers(asked)
    assert frames == scale * 48 * env.length
    made = sum(entry.bytes for entry in collect.collect(request, tmp_path, workers=1).shards)
    assert 0.5 < size / made < 2
    assert published.strip().startswith("published size: ") and published.endswith("(--episodes paper)")
    total = sum(env.paper_episodes.values())
    frames, published_size = numbers(published)
    assert frames == total * env.length
    assert published_size / total == pytest.approx(size / (scale * 48), rel=0.05)


def test_of_published_sizes_there_is_one_line() -> None:
    env = envs.spec("distracting_memory_14")
    request = collect.Request(env.name, 0, "states", dict(env.paper_episodes))
    _, only = collect.estimate(request).splitlines()
    assert only.strip().startswith("published size: 8,000 + 1,000 + 1,000 episodes") and "--episodes" not in only
    assert numbers(only)[0] == 10_000 * env.length


def test_units() -> None:
    assert [estimate._size(2.0**power) for power in (9, 19, 21, 31)] == ["0 KiB", "512 KiB", "2.0 MiB", "2.0 GiB"]
    found = [estimate._duration(seconds) for seconds in (2.0, 89.0, 90.0, 5399.0, 5400.0)]
    assert found == ["2 seconds", "89 seconds", "1.5 minutes", "90.0 minutes", "1.5 hours"]
