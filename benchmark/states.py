"""What the harness may do with a recurrent state without knowing what is in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from backbones.interface import State


def map_tensors(function: Callable[[Tensor], Any], state: State) -> Any:
    """The same nest with ``function`` of every tensor; other leaves stay."""
    if isinstance(state, Tensor):
        return function(state)
    if isinstance(state, dict):
        return type(state)({name: map_tensors(function, value) for name, value in state.items()})
    if isinstance(state, tuple) and hasattr(state, "_fields"):
        return type(state)(*(map_tensors(function, value) for value in state))
    if isinstance(state, list | tuple):
        return type(state)(map_tensors(function, value) for value in state)
    return state


def tensors(state: State) -> Iterator[Tensor]:
    found: list[Tensor] = []
    map_tensors(found.append, state)
    return iter(found)


def state_bytes(state: State, batch_size: int) -> int:
    """Bytes of recurrent state per episode."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors(state)) // batch_size


def rows(state: State, start: int, stop: int) -> State:
    """Rows of a batch of states."""
    return map_tensors(lambda tensor: tensor[start:stop], state)


def joined(states: list[State]) -> State:
    """The opposite of ``rows``."""
    if len(states) == 1:
        return states[0]
    columns = [list(tensors(state)) for state in states]
    whole = iter([torch.cat(parts) for parts in zip(*columns, strict=True)])
    return map_tensors(lambda _: next(whole), states[0])
