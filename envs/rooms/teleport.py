"""Teleport episodes: a view of an ordinary episode in which the agent is put back into its own past.

After a context of ``C`` observations the agent is returned to moment ``start`` of it and repeats the actions it took
from there. The query frames are those frames again, so nothing has to be simulated or rendered. Querying half the
context leaves room for many starts.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

from envs.episode import Trajectory
from envs.rooms.physics import ACTION_NAMES

TELEPORT = len(ACTION_NAMES)
"""Index of the extra action that leads to the first query frame."""


def query_length(context_length: int) -> int:
    """Query observations that follow a context: half as many, rounded down."""
    return context_length // 2


def start_count(context_length: int) -> int:
    """Starts lie in ``range(start_count(context_length))``: the query must fit into the context."""
    return context_length - query_length(context_length) + 1


def frame_index(context_length: int, start: int) -> Int64[np.ndarray, "T"]:
    """Which observation of the ordinary episode each observation of the teleport episode is.

    Raises ``ValueError`` for a start whose query does not fit.
    """
    if not 0 <= start < start_count(context_length):
        raise ValueError(
            f"teleport start {start} is not in 0..{start_count(context_length) - 1}: the query of "
            f"{query_length(context_length)} observations must fit into the context of {context_length}"
        )
    return np.concatenate([np.arange(context_length), start + np.arange(query_length(context_length))])


def view(trajectory: Trajectory, context_length: int, start: int) -> Trajectory:
    """The teleport episode made of the first ``context_length`` observations of a trajectory."""
    index = frame_index(context_length, start)
    previous_action = trajectory.previous_action[index]
    previous_action[context_length] = TELEPORT
    return Trajectory(
        state={name: values[index] for name, values in trajectory.state.items()},
        previous_action=previous_action,
        reward=trajectory.reward[index],
        scene=trajectory.scene,
        facts=trajectory.facts | {"teleport_to": start},
    )
