"""Times and memory of all contests, on one thread: run it by `make bench`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from envs.rooms.gl_context import GLUnavailableError
from tests.bench import CONTESTS
from tests.bench.contest import Contest, peak_bytes

PLACES = [(make, place) for make in CONTESTS for place in range(len(make(True).contenders))]


@pytest.fixture(autouse=True)
def unwritten_memory_is_nan() -> Iterator[None]:
    """Not here: it costs time."""
    yield


@pytest.mark.parametrize(("make", "place"), PLACES, ids=[f"{make.__name__}-{place}" for make, place in PLACES])
@pytest.mark.filterwarnings("ignore")  # of other packages
def test_speed(benchmark: BenchmarkFixture, make: Callable[[bool], Contest], place: int) -> None:
    torch.set_num_threads(1)
    contest = make(False)
    contender = contest.contenders[place]
    benchmark.group = contest.title
    benchmark.extra_info |= {
        "contender": contender.name,
        "role": contender.role,
        "target": contender.target,
        "items": contest.items,
    }
    if contender.missing is not None:
        pytest.skip(contender.missing)
    try:
        work = contender.prepare()
    except GLUnavailableError as error:
        pytest.skip(str(error))
    work()
    benchmark.extra_info["peak_bytes"] = peak_bytes(work)
    benchmark(work)
