"""What a backbone is: the contract between a world model and whoever trains, scores or probes it.

Letters of shapes: ``B`` batch, ``T`` frames, ``H`` frames to imagine, ``A`` size of an action, ``D`` width of a
layer, ``N`` state size. Batch comes first, time second, always. Image axes are spelled ``C height width``.

Time. Index ``t`` holds what is known when frame ``t`` arrives: the action that led to it, the reward that it
brought, the observation. ``previous_action[:, 0]`` means "none": -1 where actions are discrete, NaN-free zeros where
they are continuous; ``reward[:, 0]`` is 0. Hence imagining with ``H`` actions gives exactly ``H`` frames.

State is an argument and a result, never an attribute, and comes back detached. A row of a batch never crosses an
episode boundary: it begins at frame 0 (``starts`` is true, any state handed over for that row is ignored) or
continues its own episode.

Two doors lead in. A :class:`SequenceCore` is a causal map over time; ``backbones.parts.latent_world_model`` makes a
world model of it. Whatever does not fit that mould implements :class:`WorldModel` itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

Noise = torch.Generator | Sequence[torch.Generator] | None
"""Where samples come from: one generator for the batch, one per row (so that a row does not depend on its
neighbours), or none, which means the mode of every distribution instead of a sample."""

State = Any
"""A nest of dicts, tuples and lists with tensors ``(B, ...)`` at its leaves, or None. Opaque to everybody but its
model. Plain Python numbers may stand beside the tensors where they are the same for every row."""


@dataclass(frozen=True)
class ImageSpec:
    """Observations are images, ``(channels, height, width)`` uint8."""

    height: int
    width: int
    channels: int = 3

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.channels, self.height, self.width)


@dataclass(frozen=True)
class VectorSpec:
    """Observations are vectors of ``size`` float32 values, standardised by whoever made the dataset."""

    size: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size,)


@dataclass(frozen=True)
class DiscreteSpec:
    """Actions are integers 0..count-1; -1 stands for "no action yet"."""

    count: int

    @property
    def size(self) -> int:
        """Width of an action as a model reads it (one-hot)."""
        return self.count


@dataclass(frozen=True)
class ContinuousSpec:
    """Actions are vectors of ``size`` float32 values; zeros stand for "no action yet"."""

    size: int


@dataclass(frozen=True)
class WorldSpec:
    """Everything that a model may know about its world before it sees data.

    ``context_length`` and ``query_length`` count observations; an episode is context and query together.
    """

    observation: ImageSpec | VectorSpec
    action: DiscreteSpec | ContinuousSpec
    context_length: int
    query_length: int
    has_reward: bool = True

    @property
    def length(self) -> int:
        return self.context_length + self.query_length


@dataclass(frozen=True)
class Batch:
    """Pieces of episodes, one a row, all on one device.

    observation: ``(B, T, C, height, width)`` uint8 or ``(B, T, O)`` float32. ``as_float`` turns either into what a
        network reads.
    previous_action: ``(B, T)`` int64, or ``(B, T, A)`` float32.
    reward: ``(B, T)`` float32, the reward that arrived with the frame.
    starts: ``(B,)`` true where the row's first frame is frame 0 of its episode.
    valid: ``(B, T)`` false where a row is padding (at the end of a row only). Losses leave it out.
    final: ``(B, T)`` true at the last frame of an episode, where a delayed reward is due.
    """

    observation: Shaped[Tensor, "B T *obs"]
    previous_action: Shaped[Tensor, "B T *act"]
    reward: Float[Tensor, "B T"]
    starts: Bool[Tensor, " B"]
    valid: Bool[Tensor, "B T"]
    final: Bool[Tensor, "B T"]

    @property
    def shape(self) -> tuple[int, int]:
        """``(B, T)``"""
        return self.reward.shape[0], self.reward.shape[1]

    def rows(self, start: int, stop: int) -> Batch:
        """Rows ``start`` to ``stop``."""
        return Batch(**{name: value[start:stop] for name, value in vars(self).items()})

    def frames(self, start: int, stop: int) -> Batch:
        """Frames ``start`` to ``stop`` of every row; a piece that does not begin at 0 starts no episode."""
        cut = {name: value[:, start:stop] for name, value in vars(self).items() if name != "starts"}
        return Batch(**cut, starts=self.starts if start == 0 else torch.zeros_like(self.starts))

    def to(self, device: torch.device | str) -> Batch:
        return Batch(**{name: value.to(device, non_blocking=True) for name, value in vars(self).items()})


class Latents(dict[str, Tensor]):
    """What a model knows at each frame: named tensors ``(B, T, ...)``. ``latents[:, a:b]`` slices all of them."""

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return super().__getitem__(key)
        return Latents({name: value[key] for name, value in self.items()})


@dataclass(frozen=True)
class Prediction:
    """Decoded frames: ``observation`` ``(B, T, *shape)`` float in [0, 1] for images (not clipped), and the expected
    ``reward`` ``(B, T)``."""

    observation: Float[Tensor, "B T *obs"]
    reward: Float[Tensor, "B T"]


def as_float(observation: Shaped[Tensor, "B T *obs"]) -> Float[Tensor, "B T *obs"]:
    """Images to [0, 1]; vectors unchanged. Raises ``ValueError`` for any other type of number."""
    if observation.dtype == torch.uint8:
        return observation.float().div_(255)
    if not observation.is_floating_point():
        raise ValueError(f"observations are {observation.dtype}; allowed: uint8 for images, float32 for vectors")
    return observation


def encode_action(previous_action: Shaped[Tensor, "B T *act"], spec: DiscreteSpec | ContinuousSpec) -> Tensor:
    """Actions as a network reads them, ``(B, T, A)``: one-hot where discrete (all zeros for -1), unchanged else.

    Raises ``ValueError`` for discrete actions that are not integers and continuous ones that are.
    """
    continuous = isinstance(spec, ContinuousSpec)
    if previous_action.is_floating_point() != continuous:
        kind, wanted = ("continuous", "float32") if continuous else ("discrete", "int64")
        raise ValueError(f"actions are {previous_action.dtype}, but the world's are {kind}: give {wanted}")
    if isinstance(spec, ContinuousSpec):
        return previous_action
    classes = torch.arange(spec.count, device=previous_action.device)
    return (previous_action.unsqueeze(-1) == classes).float()


class WorldModel(nn.Module, ABC):
    """A model that can be trained on episodes, read a context, and imagine what follows."""

    @abstractmethod
    def loss(
        self, batch: Batch, state: State = None, generator: Noise = None
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor], State]:
        """Loss to minimise (mean over the valid frames), detached scalars to log, and the state after the batch
        (None where the configuration does not carry it to the next update).

        The first frame of an episode counts in no loss. A scalar is NaN where the batch has nothing to measure it on
        (a piece of an episode without its last frame, for instance).
        """

    @abstractmethod
    def observe(self, batch: Batch, state: State = None, generator: Noise = None) -> tuple[Latents, State]:
        """Read frames. Latents at ``t`` know the observations up to and including ``t``."""

    @abstractmethod
    def imagine(
        self, previous_action: Shaped[Tensor, "B H *act"], state: State, generator: Noise = None
    ) -> tuple[Latents, State]:
        """Continue from ``state`` for one frame an action, without any observation.

        All actions are given at once because a model may plan with the coming ones (MTS3's slow level does).
        """

    @abstractmethod
    def decode(self, latents: Latents) -> Prediction:
        """Frames and rewards of latents. Pure: a slice of the latents gives that slice of the prediction."""

    @abstractmethod
    def features(self, latents: Latents) -> Float[Tensor, "B T F"]:
        """What a probe may read at each frame."""

    def parameter_groups(self, training: TrainingConfig) -> list[dict[str, Any]]:
        """Groups for the optimiser. State space parameters get their own rate and no weight decay."""
        special = {
            id(p) for module in self.modules() if isinstance(module, SequenceCore) for p in module.ssm_parameters()
        }
        ordinary = [p for p in self.parameters() if id(p) not in special]
        groups: list[dict[str, Any]] = [{"params": ordinary, "weight_decay": training.weight_decay}]
        if special:
            ssm = [p for p in self.parameters() if id(p) in special]
            rate = training.ssm_learning_rate or training.learning_rate
            groups.append({"params": ssm, "lr": rate, "weight_decay": 0.0})
        return groups


class SequenceCore(nn.Module, ABC):
    """A causal map over time ``(B, T, D) -> (B, T, D)`` with two equal forms: parallel and step by step."""

    @abstractmethod
    def initial_state(self, batch_size: int) -> State:
        """State before the first frame, on the device of the parameters. None, alone or within, stands for zeros."""

    @abstractmethod
    def forward(self, x: Float[Tensor, "B T D"], state: State) -> tuple[Float[Tensor, "B T D"], State]:
        """All frames at once; output ``t`` sees inputs up to and including ``t``."""

    def outputs(self, x: Float[Tensor, "B T D"], state: State) -> Float[Tensor, "B T D"]:
        """``forward`` without the state after it. Override where that state costs extra: training rarely needs it."""
        return self(x, state)[0]

    @abstractmethod
    def step(self, x: Float[Tensor, "B D"], state: State) -> tuple[Float[Tensor, "B D"], State]:
        """One frame."""

    def prepare(self) -> None:
        """Called once before a run of ``step`` calls with fixed weights: fold what depends on weights only.

        Optional. ``step`` must give the same result without it.
        """

    def ssm_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters that take ``ssm_learning_rate`` and no weight decay (S4 convention). None by default."""
        return iter(())


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a backbone wants to be trained. The loop reads this and never asks for a backbone's name."""

    learning_rate: float = 1e-3
    """Peak learning rate of AdamW."""
    ssm_learning_rate: float | None = None
    """Learning rate of state space parameters; the same as ``learning_rate`` if none."""
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    clip_norm: float = 1000.0
    """Largest norm of the gradient; makes sense for losses that are summed over pixels."""
    batch_size: int = 16
    """Rows per optimiser update."""
    accumulate: int = 1
    """Parts that a batch is cut into so that it fits into memory; the update is the same."""
    schedule: str = "constant"
    """After warm-up: ``constant``, or ``cosine`` down to zero at the end of the budget."""
    warmup_updates: int = 1000
    """Updates of linear warm-up, at most 5 % of the budget."""

    def __post_init__(self) -> None:
        if self.schedule not in ("constant", "cosine"):
            raise ValueError(f"schedule is {self.schedule!r}; allowed: 'constant', 'cosine'")
        if self.batch_size < 1 or self.accumulate < 1 or self.batch_size % self.accumulate:
            raise ValueError(
                f"batch_size {self.batch_size} cannot be cut into accumulate={self.accumulate} equal parts; "
                "choose a positive divisor of the batch size"
            )


@dataclass(frozen=True, kw_only=True)
class BackboneConfig(ABC):
    """Everything that defines a model before it sees data. One subclass named ``Config`` per backbone module."""

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {}
    """Field values by preset name. ``paper`` stands for ``paper_2d`` or ``paper_3d``, chosen by the image."""

    training: TrainingConfig = field(default_factory=TrainingConfig)
    train_length: int | None = None
    """Frames of a training row; none for whole episodes."""
    carries_state: bool = False
    """Consecutive rows of one episode hand on their (detached) state between updates: truncated BPTT."""

    time_multiple: ClassVar[int] = 1
    """Episodes may be cut into pieces at multiples of this many frames without a change of the result."""
    reads_own_window: ClassVar[bool] = False
    """Latents may use later observations of the same window (only ``mts3_published``, as published)."""
    parameter_dial: ClassVar[tuple[str, int] | None] = None
    """Field, and its step, by which the preset ``matched_parameters`` tunes the number of parameters."""

    @abstractmethod
    def build(self, spec: WorldSpec) -> WorldModel:
        """The model, freshly initialised from torch's global generator."""

    @classmethod
    def preset(cls, name: str, spec: WorldSpec, **overrides: Any) -> BackboneConfig:
        """The configuration called ``name`` for this world.

        Values of base classes come first, then the class's own. ``matched_parameters`` and ``matched_state`` are
        changes to ``standard``; the first then has as many parameters as S4WM's ``standard`` (``matching.py``).
        Raises ``ValueError`` for an unknown name.
        """
        if name == "paper":
            tall = isinstance(spec.observation, ImageSpec) and spec.observation.height >= 64
            name = "paper_3d" if tall else "paper_2d"
        names = ("standard", name) if name in ("matched_parameters", "matched_state") else (name,)
        values: dict[str, Any] = {}
        known: set[str] = set()
        for layer in names:
            for base in reversed(cls.__mro__):
                presets = vars(base).get("PRESETS", {})
                known |= presets.keys()
                values |= presets.get(layer, {})
        if name not in known and name != "matched_parameters":
            raise ValueError(f"unknown preset {name!r}; allowed: {', '.join(sorted(known | {'paper'}))}")
        config = cls(**(values | overrides))
        if name != "matched_parameters":
            return config
        from backbones.matching import match_parameters  # which imports a backbone, which imports this module

        return match_parameters(config, spec)
