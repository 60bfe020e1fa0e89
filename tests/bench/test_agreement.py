"""At small sizes every contender runs, and twins and other forms give what ours gives, gradients included."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("mujoco", reason="some contests need the mujoco extra")
pytest.importorskip("numba", reason="some contests need the mujoco extra")

from envs.rooms.gl_context import GLUnavailableError
from tests.bench import CONTESTS
from tests.bench.contest import OURS, PEER, Contest


@pytest.mark.parametrize("contest", CONTESTS, ids=lambda make: make.__name__)
def test_twins_agree(contest: Callable[[bool], Contest]):
    ours, *others = contest(True).contenders
    assert ours.role == OURS
    try:
        expected = ours.prepare()()
        found = {other: other.prepare()() for other in others if other.missing is None}
    except GLUnavailableError as error:
        pytest.skip(str(error))
    for other, result in found.items():
        if other.role == PEER:
            continue
        assert len(result) == len(expected)
        for mine, theirs in zip(expected, result, strict=True):
            assert mine.shape == theirs.shape
            if not mine.is_complex():
                mine, theirs = mine.double(), theirs.double()  # bytes must not wrap around
            assert (mine - theirs).abs().max() <= contest(True).tolerance * theirs.abs().max()
