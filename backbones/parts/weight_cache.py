"""Values that depend on weights only, computed once for many steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import torch
from torch import nn

Value = TypeVar("Value")


class WeightCache(Generic[Value]):
    """Keeps a value until one of the weights behind it changes, but nothing while a graph is recorded."""

    def __init__(self) -> None:
        self._stamp: tuple[tuple[int, int], ...] | None = None
        self._value: Value | None = None

    def get(self, weights: Iterable[nn.Parameter], compute: Callable[[], Value]) -> Value:
        """``compute()``, or what it gave last time."""
        if torch.is_grad_enabled():
            return compute()
        # Moving a module or casting it replaces the memory, an update in place raises the version.
        stamp = tuple((weight.data_ptr(), 0 if weight.is_inference() else weight._version) for weight in weights)
        if self._value is None or stamp != self._stamp:
            self._value, self._stamp = compute(), stamp
        return self._value

    def __deepcopy__(self, memo: dict[int, object]) -> WeightCache[Value]:
        return WeightCache()
