"""Pre-norm residual stacks: ``x <- x + layer(LayerNorm(x))``, and a LayerNorm at the end."""

from __future__ import annotations

from collections.abc import Iterable

from jaxtyping import Float
from torch import Tensor, nn

from backbones.interface import SequenceCore, State


class FeedForward(nn.Sequential):
    """Linear to ``expansion`` times the width, GELU, linear back: ``(..., D) -> (..., D)``."""

    def __init__(self, width: int, expansion: int) -> None:
        super().__init__(nn.Linear(width, expansion * width), nn.GELU(), nn.Linear(expansion * width, width))


class ResidualStack(SequenceCore):
    """Layers of any kind around a residual stream; those that are cores themselves carry a state.

    State: a list, one entry a layer (None for layers without state).
    """

    def __init__(self, width: int, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in self.layers)
        self.last_norm = nn.LayerNorm(width)

    def initial_state(self, batch_size: int) -> State:
        return [layer.initial_state(batch_size) if isinstance(layer, SequenceCore) else None for layer in self.layers]

    def forward(self, x: Float[Tensor, "B T D"], state: State) -> tuple[Float[Tensor, "B T D"], State]:
        after: list[State] = []
        for layer, norm, before in zip(self.layers, self.norms, state, strict=True):
            change, left = layer(norm(x), before) if isinstance(layer, SequenceCore) else (layer(norm(x)), None)
            x = x + change
            after.append(left)
        return self.last_norm(x), after

    def outputs(self, x: Float[Tensor, "B T D"], state: State) -> Float[Tensor, "B T D"]:
        for layer, norm, before in zip(self.layers, self.norms, state, strict=True):
            x = x + (layer.outputs(norm(x), before) if isinstance(layer, SequenceCore) else layer(norm(x)))
        return self.last_norm(x)

    def step(self, x: Float[Tensor, "B D"], state: State) -> tuple[Float[Tensor, "B D"], State]:
        after: list[State] = []
        for layer, norm, before in zip(self.layers, self.norms, state, strict=True):
            change, left = layer.step(norm(x), before) if isinstance(layer, SequenceCore) else (layer(norm(x)), None)
            x = x + change
            after.append(left)
        return self.last_norm(x), after

    def prepare(self) -> None:
        for layer in self.layers:
            if isinstance(layer, SequenceCore):
                layer.prepare()
