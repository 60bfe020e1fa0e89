"""What a dataset is made of: compact trajectories, and the seeds that make each of them again.

Time. Index ``t`` holds what is known when frame ``t`` arrives: the state behind the frame, the action that led to it
and the reward that it brought. ``previous_action[0]`` is -1 (there was none) and ``reward[0]`` is 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Trajectory:
    """One episode of ``T`` observations as it is stored: a few bytes a frame, rendered when it is loaded.

    state: arrays ``(T, ...)``, what the renderer needs for each frame (tile ids; a pose).
    scene: arrays without a time axis, what it needs once an episode (wall colours, objects). Often empty.
    previous_action: ``(T,)``, -1 at 0.
    reward: ``(T,)``, 0 at 0.
    facts: JSON values about the episode (door attempts, unpadded length), for the table of episodes.
    """

    state: dict[str, np.ndarray]
    previous_action: Int64[np.ndarray, " T"]
    reward: Float32[np.ndarray, " T"]
    scene: dict[str, np.ndarray] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def length(self) -> int:
        return len(self.reward)


def episode_seeds(seed: int, split: str, index: int) -> tuple[int, int]:
    """Seeds of the environment and of the policy for episode ``index`` of ``split`` in the dataset with ``seed``.

    Raises ``ValueError`` for a split that is not one of ``SPLITS`` and for negative numbers.
    """
    if seed < 0 or index < 0:
        raise ValueError(f"the seed is {seed} and the index of the episode {index}; neither may be negative")
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; allowed: {', '.join(SPLITS)}")
    entropy = np.random.SeedSequence([seed, SPLITS.index(split), index])
    env_seed, policy_seed = entropy.generate_state(2, np.uint32)
    return int(env_seed), int(policy_seed)
