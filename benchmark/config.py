"""What a run is: everything that decides its result, in frozen dataclasses that go into the record as JSON."""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass, field
from typing import Any, TypeVar

from backbones.interface import BackboneConfig
from benchmark.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which dataset. It is made if it is not there."""

    env: str
    episodes: str = "default"
    """Split sizes (train=..,val=..,test=..), 'default' or 'paper'."""
    seed: int = 0
    """Seed of the dataset (not of the run)."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"data seed {self.seed} is negative; give 0 or more")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much training a run may use; the first limit that is reached ends it. Frames are the fair one: padding does
    not count, and what a model does with a frame is its own affair."""

    frames: int | None = None
    """Frames seen in training, counted again each time they are seen."""
    updates: int | None = None
    """Optimiser updates."""
    minutes: float | None = None
    """Minutes of training on this machine, without validation."""

    def __post_init__(self) -> None:
        limits = {name: value for name, value in vars(self).items() if value is not None}
        if not limits:
            raise ValueError("a budget needs at least one limit: frames, updates or minutes")
        for name, value in limits.items():
            if not value > 0:
                raise ValueError(f"budget {name} is {value}; it must be positive")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Validation and logging; the same for all backbones of a comparison."""

    validations: int = 10
    """How often in a budget the model is validated; the best one is scored. Not counted in the budget."""
    validation_episodes: int = 32
    """The first so many episodes of the validation split."""
    log_points: int = 100
    """Entries of the training curve."""
    checkpoint_seconds: float = 60.0
    """Pause between checkpoints; each is a place where a killed run continues."""

    def __post_init__(self) -> None:
        for name in ("validations", "validation_episodes", "log_points"):
            if getattr(self, name) < 1:
                raise ValueError(f"train {name} is {getattr(self, name)}; it must be at least 1")


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """How a trained model is scored."""

    episodes: int | None = None
    """The first so many episodes of the test split; all if none."""
    batch_size: int = 32
    """Episodes at once. Does not change the scores."""
    decode_frames: int = 1024
    """Frames decoded at once. Does not change the scores."""
    samples: int = 8
    """Futures whose mean image is a further column."""
    sample_episodes: int = 64
    """Episodes for that column (it costs ``samples`` imaginations each)."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "decode_frames", "samples", "sample_episodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"score {name} is {getattr(self, name)}; it must be at least 1")
        if self.episodes is not None and self.episodes < 2:
            raise ValueError(f"score episodes is {self.episodes}; at least 2 are needed for the wrong-context control")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One run: a backbone trained on a dataset within a budget, and scored."""

    backbone: str
    """Registered name, or module:Config of a plug-in."""
    model: BackboneConfig
    data: DataConfig
    budget: Budget
    train: TrainConfig = field(default_factory=TrainConfig)
    score: ScoreConfig = field(default_factory=ScoreConfig)
    preset: str
    """Name of the preset that this configuration started from."""
    seed: int = 0
    """Seed of the initialisation, of the order of episodes and of all sampling."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed {self.seed}; give 0..{2**31 - 1}")


def to_json(value: Any) -> Any:
    """A configuration as JSON values."""
    return dataclasses.asdict(value)


def from_json(kind: type[T], value: Any) -> T:
    """A dataclass from JSON values, strictly. Raises ``UserError`` for unknown, missing or mistyped fields."""
    if not isinstance(value, dict):
        raise UserError(f"{kind.__name__} must be an object, not {value!r}")
    hints = typing.get_type_hints(kind)
    fields = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown := set(value) - fields:
        raise UserError(f"{kind.__name__} has no field {sorted(unknown)}; it has {sorted(fields)}")
    try:
        return kind(**{name: _convert(hints[name], item, f"{kind.__name__}.{name}") for name, item in value.items()})
    except (TypeError, ValueError) as error:
        raise UserError(f"{kind.__name__}: {error}") from error


def _convert(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        choices = typing.get_args(hint)
        if value is None and type(None) in choices:
            return None
        fitting = [c for c in choices if isinstance(c, type) and isinstance(value, c)]
        return _convert((fitting or [c for c in choices if c is not type(None)])[0], value, where)
    if origin is typing.Literal:
        if value not in typing.get_args(hint):
            raise UserError(f"{where} is {value!r}; allowed: {', '.join(map(repr, typing.get_args(hint)))}")
        return value
    if origin is dict:
        if not isinstance(value, dict):
            raise UserError(f"{where} is {value!r}; it must be an object")
        return {key: _convert(typing.get_args(hint)[1], item, where) for key, item in value.items()}
    if origin is tuple:
        return tuple(_convert(typing.get_args(hint)[0], item, where) for item in value)
    if dataclasses.is_dataclass(hint):
        return from_json(hint, value)  # type: ignore[arg-type]
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and (not isinstance(value, hint) or (hint is int and isinstance(value, bool))):
        raise UserError(f"{where} is {value!r}; it must be {hint.__name__}")
    return value
