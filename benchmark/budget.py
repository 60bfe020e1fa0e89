"""What a run has spent, and when it must stop."""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmark.config import Budget


@dataclass
class BudgetMeter:
    """Counts frames, updates and seconds of training against a budget."""

    budget: Budget
    frames: int = 0
    updates: int = 0
    seconds: float = 0.0

    def spend(self, frames: int, seconds: float) -> None:
        """One update."""
        self.frames += frames
        self.seconds += seconds
        self.updates += 1

    @property
    def fractions(self) -> dict[str, float]:
        """Share of each limit that is spent."""
        limit = self.budget
        spent = {"frames": self.frames, "updates": self.updates, "minutes": self.seconds / 60}
        return {name: spent[name] / getattr(limit, name) for name in spent if getattr(limit, name) is not None}

    @property
    def fraction(self) -> float:
        """Share of the tightest limit, at most 1."""
        return min(1.0, max(self.fractions.values()))

    @property
    def stopped_by(self) -> str | None:
        """The limit that is reached, if any."""
        reached = [name for name, share in self.fractions.items() if share >= 1]
        return reached[0] if reached else None

    def learning_rate_factor(self, schedule: str, warmup_updates: int) -> float:
        """Factor on the peak learning rate before the next update: a function of the spent share.

        Linear warm-up over ``warmup_updates`` but at most 5 % of the budget, then constant or a half cosine to zero.
        """
        if not self.updates:
            return 1.0 / max(warmup_updates, 1)
        spent = self.fraction
        expected_updates = self.updates / spent
        warmup = max(1.0, min(warmup_updates, 0.05 * expected_updates))
        decay = 1.0 if schedule == "constant" else 0.5 * (1 + math.cos(math.pi * spent))
        return min(1.0, (self.updates + 1) / warmup) * decay
