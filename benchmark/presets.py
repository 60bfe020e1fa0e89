"""Named budgets: functions from an environment to everything of a run but its backbone.

A preset names the model preset too (``backbones`` have their own tables of sizes).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches

import envs
from benchmark.config import Budget, DataConfig, ScoreConfig, TrainConfig
from benchmark.errors import UserError

QUICKSTART_ENV = "distracting_memory_16"


@dataclass(frozen=True)
class Preset:
    model: str
    """Name in the ``PRESETS`` of a backbone's config."""
    data: DataConfig
    budget: Budget
    train: TrainConfig
    score: ScoreConfig


def debug(env: envs.EnvSpec) -> Preset:
    """Seconds on a CPU: proves that everything runs, learns next to nothing."""
    return Preset(
        model="debug",
        data=DataConfig(env=env.name, episodes="train=16,val=4,test=8"),
        budget=Budget(frames=16 * env.length),
        train=TrainConfig(validations=2, validation_episodes=2, log_points=4),
        score=ScoreConfig(batch_size=4, samples=2, sample_episodes=4),
    )


def quickstart(env: envs.EnvSpec) -> Preset:
    """Minutes on two CPU cores, on a small width: memory becomes visible."""
    return Preset(
        model="small",
        data=DataConfig(env=env.name, episodes="train=20000,val=64,test=500"),
        budget=Budget(frames=1_000_000),
        train=TrainConfig(validations=10, validation_episodes=64),
        score=ScoreConfig(batch_size=50, sample_episodes=100),
    )


def standard(env: envs.EnvSpec) -> Preset:
    """An afternoon on one GPU for all backbones and seeds of an environment."""
    return Preset(
        model="standard",
        data=DataConfig(env=env.name),
        budget=Budget(frames=80_000 * env.length),
        train=TrainConfig(validations=20, validation_episodes=64),
        score=ScoreConfig(episodes=500),
    )


def paper(env: envs.EnvSpec) -> Preset:
    """The published sizes and budgets: 100 epochs of 8,000 episodes in 2D, 57 of 28,000 in 3D (arXiv 2307.02064)."""
    epochs = 57 if env.image_shape[0] >= 64 else 100
    return Preset(
        model="paper",
        data=DataConfig(env=env.name, episodes="paper"),
        budget=Budget(frames=epochs * env.paper_episodes["train"] * env.length),
        train=TrainConfig(validations=50, validation_episodes=64, checkpoint_seconds=600),
        score=ScoreConfig(),
    )


def matched_parameters(env: envs.EnvSpec) -> Preset:
    """``standard`` with as many parameters in every backbone."""
    return replace(standard(env), model="matched_parameters")


def matched_state(env: envs.EnvSpec) -> Preset:
    """``standard`` with as many bytes of recurrent state in every backbone."""
    return replace(standard(env), model="matched_state")


PRESETS: dict[str, Callable[[envs.EnvSpec], Preset]] = {
    f.__name__: f for f in (debug, quickstart, standard, paper, matched_parameters, matched_state)
}


def find(name: str, env: envs.EnvSpec) -> Preset:
    """Raises ``UserError`` for an unknown preset, with the nearest name."""
    if name not in PRESETS:
        near = get_close_matches(name, PRESETS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UserError(f"unknown preset {name!r}{hint} Allowed: {', '.join(PRESETS)}")
    return PRESETS[name](env)
