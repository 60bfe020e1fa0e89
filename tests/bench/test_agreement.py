"""At small sizes every contender runs, and twins give what ours gives: outputs and gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.bench import CONTESTS
from tests.bench.contest import OURS, TWIN, Contest


@pytest.mark.parametrize("contest", CONTESTS, ids=lambda make: make.__name__)
def test_twins_agree(contest: Callable[[bool], Contest]):
    ours, *others = contest(True).contenders
    assert ours.role == OURS
    expected = ours.prepare()()
    for other in others:
        if other.missing is None:
            found = other.prepare()()
        if other.role != TWIN:
            continue
        assert len(found) == len(expected)
        for mine, theirs in zip(expected, found, strict=True):
            assert mine.shape == theirs.shape
            assert (mine - theirs).abs().max() <= contest(True).tolerance * theirs.abs().max()
