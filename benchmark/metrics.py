"""The table of metrics: name, unit, direction, scale. Report, figures and tests read it.

``VERSION`` rises whenever a number would change for the same predictions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

VERSION = 1

Scale = Literal["log", "logit", "identity"]


@dataclass(frozen=True)
class Metric:
    """One column of a leaderboard. ``values`` gives one number an episode from a record's table of episodes, which is
    indexed by episode; episodes where it is not defined are left out."""

    name: str
    label: str
    unit: str
    better: Literal["lower", "higher"]
    scale: Scale
    explanation: str
    values: Callable[[pd.DataFrame], pd.Series]


def _column(name: str) -> Callable[[pd.DataFrame], pd.Series]:
    def values(table: pd.DataFrame) -> pd.Series:
        found = table[name] if name in table else pd.Series(dtype=float)
        return found.dropna()

    return values


def _reward_correct(name: str) -> Callable[[pd.DataFrame], pd.Series]:
    def values(table: pd.DataFrame) -> pd.Series:
        if name not in table or table["reward"].nunique() < 2:
            return pd.Series(dtype=float)
        known = table[table[name].notna()]
        return ((known[name] > 0.5) == (known["reward"] > 0.5)).astype(float)

    return values


def _mse(name: str, label: str, explanation: str) -> Metric:
    return Metric(name, label, "squared error per frame", "lower", "log", explanation, _column(name))


def _accuracy(name: str, label: str, column: str, explanation: str) -> Metric:
    return Metric(name, label, "share of episodes", "higher", "logit", explanation, _reward_correct(column))


_TABLE = (
    _mse(
        "generation_mse",
        "Generation MSE",
        "Query imagined from the context: one sample of the future, mean over its frames.",
    ),
    _accuracy(
        "imagination_reward_accuracy",
        "Imagination reward acc.",
        "imagination_reward",
        "Predicted reward of the last imagined frame is on the right side of 0.5.",
    ),
    _mse("final_frame_mse", "Final frame MSE", "The last imagined frame alone."),
    _mse(
        "reconstruction_mse",
        "Reconstruction MSE",
        "All frames but the first, context and query, decoded after the model saw them.",
    ),
    _accuracy(
        "inference_reward_accuracy",
        "Inference reward acc.",
        "inference_reward",
        "Predicted reward of the last frame after the model saw all frames.",
    ),
    Metric(
        "door_outcome_accuracy",
        "Door outcome acc.",
        "balanced share of tries",
        "higher",
        "logit",
        "Does the imagined frame after a try show the door as it is, open or locked? One answer always: 50 %.",
        _column("door_outcome"),
    ),
    _mse(
        "wrong_context_mse",
        "Wrong-context MSE",
        "Generation when the context is another episode's. As low as the generation MSE: the context is not used.",
    ),
    _accuracy(
        "wrong_context_reward_accuracy",
        "Wrong-context reward acc.",
        "wrong_context_reward",
        "Imagination reward accuracy when the context is another episode's: chance if memory makes the prediction.",
    ),
    _mse(
        "generation_mode_mse",
        "Generation MSE (mode)",
        "The mode of every distribution instead of a sample; first test episodes only.",
    ),
    _mse(
        "generation_mean_image_mse",
        "Generation MSE (mean image)",
        "Mean image of several sampled futures; first test episodes only.",
    ),
)

_RECALL = tuple(
    _mse(
        f"recall_{given}_mse",
        f"Recall MSE, {given} given",
        f"After a teleport and {given} observations of the past moment: error of imagining what followed it.",
    )
    for given in (0, 1, 2, 5, 10, 20)
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in (*_TABLE, *_RECALL)}

HEADLINE = "generation_mse"
REWARD_METRICS = tuple(name for name in METRICS if name.endswith("reward_accuracy"))


def psnr(mse: float, elements: int) -> float:
    """Peak signal-to-noise ratio in dB of a summed squared error over ``elements`` values in [0, 1]."""
    return float(10 * np.log10(elements / mse)) if mse > 0 else float("inf")


def cell(metric: Metric, table: pd.DataFrame) -> float | None:
    """The number of a record: mean over its episodes; ``None`` where it does not apply or is not finite."""
    values = metric.values(table.set_index("episode"))
    mean = float(values.mean()) if len(values) else float("nan")
    return mean if np.isfinite(mean) else None
