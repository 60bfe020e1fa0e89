"""Operations on states: nests of dicts, tuples and lists with tensors ``(B, ...)``, numbers or None at the leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from backbones.interface import State


def map_leaves(function: Callable[..., Any], *states: State) -> State:
    """``function`` of the leaves that stand at the same place in states of the same form."""
    first = states[0]
    if isinstance(first, dict):
        return {key: map_leaves(function, *(state[key] for state in states)) for key in first}
    if isinstance(first, (list, tuple)):
        items = [map_leaves(function, *group) for group in zip(*states, strict=True)]
        return type(first)(*items) if hasattr(first, "_fields") else type(first)(items)
    return function(*states)


def leaves(state: State) -> Iterator[Any]:
    """All leaves."""
    if isinstance(state, dict):
        state = tuple(state.values())
    if isinstance(state, (list, tuple)):
        for item in state:
            yield from leaves(item)
    else:
        yield state


def detached(state: State) -> State:
    """The same values without their history."""
    return map_leaves(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, state)


def merged(chosen: Bool[Tensor, " B"], first: State, second: State) -> State:
    """Rows of ``first`` where ``chosen``, of ``second`` elsewhere. None stands for zeros.

    Raises ``ValueError`` where the two hold different numbers, or tensors of different shapes, at the same place:
    such rows are not at the same point of their computation and cannot share a batch.
    """

    def merge(one: Any, other: Any) -> Any:
        if one is None and isinstance(other, Tensor):
            one = torch.zeros_like(other)
        if other is None and isinstance(one, Tensor):
            other = torch.zeros_like(one)
        if not isinstance(one, Tensor):
            if one != other:
                raise ValueError(f"rows with {one} and rows with {other} in their state cannot share a batch")
            return one
        if one.shape != other.shape:
            raise ValueError(
                f"rows with a state of shape {tuple(one.shape)} and rows with one of shape {tuple(other.shape)} "
                "cannot share a batch: begin all of its episodes at once, or give each its own batch"
            )
        return torch.where(chosen.view(-1, *[1] * (one.ndim - 1)), one, other)

    return map_leaves(merge, first, second)
