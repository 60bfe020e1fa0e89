"""What keys do to doors in Multi Doors Keys, and the record of every attempt to open one."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from envs.doors_keys_map import DoorsKeysMap
from envs.doors_keys_plan import context_length, query_attempts

OPENED, STAYED_LOCKED, ALREADY_OPEN = OUTCOMES = ("opened", "stayed_locked", "already_open")


class Attempt(NamedTuple):
    """A door that was tried."""

    step: int
    """Index of the first frame that shows the outcome."""
    door: int
    """Its column."""
    outcome: str
    """One of ``OUTCOMES``."""
    keys_used: int
    """Keys that had been used before."""


class Locks:
    """Which doors are open and which keys are carried. A key opens one locked door of its colour and is gone."""

    def __init__(self, drawn: DoorsKeysMap):
        self.attempts: list[Attempt] = []
        self._door_colors: list[int] = drawn.door_colors.tolist()
        self._key_colors: list[int] = drawn.key_colors.tolist()
        self._open = [False] * len(self._door_colors)
        self._carried: Counter[int] = Counter()
        self._keys_used = 0

    def take_key(self, column: int) -> None:
        self._carried[self._key_colors[column]] += 1

    def try_door(self, column: int, step: int) -> str:
        """The outcome, one of ``OUTCOMES``; frame ``step`` will be the first to show it."""
        color = self._door_colors[column]
        keys_used = self._keys_used
        if self._open[column]:
            outcome = ALREADY_OPEN
        elif not self._carried[color]:
            outcome = STAYED_LOCKED
        else:
            outcome = OPENED
            self._open[column] = True
            self._carried[color] -= 1
            self._keys_used += 1
        self.attempts.append(Attempt(step, column, outcome, keys_used))
        return outcome

    def facts(self) -> dict[str, Any]:
        """JSON values: all attempts, and where the script's task ends and padding begins.

        ``context_end`` and ``query_end`` are the indices of the first padded frames; none if an episode of another
        policy did not get so far.
        """
        keys = len(self._door_colors)
        context, task = context_length(keys), query_attempts(keys)
        seen = [attempt for attempt in self.attempts if attempt.step < context]
        asked = [attempt for attempt in self.attempts if attempt.step >= context]
        return {
            "attempts": [attempt._asdict() for attempt in self.attempts],
            "context_end": seen[keys - 1].step + 1 if len(seen) >= keys else None,
            "query_end": asked[task - 1].step + 1 if len(asked) >= task else None,
        }
