"""What an environment promises: shapes, lengths, and what must be remembered for how long."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class EnvSpec:
    """A task of the benchmark. Every episode of it has the same length.

    An *observation* is one frame; an episode of ``context_length + query_length`` observations takes one step fewer.
    """

    name: str
    """Name on the command line, such as ``distracting_memory_100``."""
    family: str
    """Module of ``envs`` that implements it, such as ``distracting_memory``."""
    gym_id: str
    """Gymnasium id, ``WMBench/<Name>-v<version>``. A change of frames or dynamics raises the version."""
    gym_kwargs: dict[str, Any] = field(default_factory=dict)
    image_shape: tuple[int, int, int]
    """``(height, width, channels)``, uint8."""
    action_names: tuple[str, ...]
    context_length: int
    query_length: int
    has_reward: bool
    """The last observation carries a reward that depends on the context."""
    policy: str
    """Name in ``scripted_policies.POLICIES``."""
    memory: str
    """One sentence: what has to be remembered, and for how many steps."""
    paper_episodes: dict[str, int]
    """Published split sizes."""
    default_episodes: dict[str, int]
    """What `make dataset` makes."""
    metrics: tuple[str, ...] = ()
    """Names of extra metrics of this environment (``benchmark.metrics``)."""

    @property
    def length(self) -> int:
        """Observations of an episode."""
        return self.context_length + self.query_length

    @property
    def action_count(self) -> int:
        return len(self.action_names)
