"""Both levels of MTS3 over a stretch of time, and the state between two stretches.

Source: Shaj et al., "Multi Time Scale World Models" (2023): for each window a slow prediction, the slow update, and the
fast level under the window's task.

A window's slow prior depends on all actions of the window that are known. When imagination begins within a window it
knows more of them than ``observe`` did, and so it runs the open window again: hence a state holds the beliefs at the
last window's end and the open window's evidence and actions.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from backbones.parts.gaussian import Evidence, Gaussian
from backbones.parts.mts3_encoders import AbstractAction
from backbones.parts.mts3_levels import FastLevel, SlowLevel, initial_belief, windows


class Frames(NamedTuple):
    """What the levels need to know of frames, in the order of time."""

    fast: Evidence
    """``(B, T, d)``, what a frame says about the fast state."""
    slow: Evidence
    """``(B, T, d)``, what it says about the slow state."""
    action: Float[Tensor, "B T A"]
    known: Float[Tensor, "B T"]
    """0 where a row is padding, and the action means nothing."""


class Beliefs(NamedTuple):
    """Beliefs about the fast state before and after each frame, ``(B, T, ...)``, and means of the task."""

    prior: Gaussian
    posterior: Gaussian
    task: Float[Tensor, "B T D2"]


class TwoLevelFilter(nn.Module):
    """The levels. ``task``: which slow belief of its own window the fast level reads, ``prior`` or ``posterior``."""

    def __init__(self, abstract_action: AbstractAction, slow: SlowLevel, fast: FastLevel, task: str) -> None:
        super().__init__()
        self.abstract_action, self.slow, self.fast = abstract_action, slow, fast
        self.task = task

    def initial_state(self, batch_size: int) -> dict[str, Tensor]:
        """What stands before frame 0. ``fresh`` rows are in the first window of their episode."""
        like = self.fast.noise
        belief = initial_belief(batch_size, self.fast.pairs, like)
        none = like.new_zeros(batch_size, 0, self.fast.pairs)
        total = like.new_zeros(batch_size, self.fast.pairs)
        return {
            "fast_mean": belief.mean,
            "fast_covariance": belief.covariance,
            "slow_mean": belief.mean,
            "slow_covariance": belief.covariance,
            "fresh": torch.ones(batch_size, dtype=torch.bool, device=like.device),
            "fast_precision": none,
            "fast_weighted": none,
            "slow_precision": total,
            "slow_weighted": total,
            "action": like.new_zeros(batch_size, 0, self.fast.control.actions),
            "known": like.new_zeros(batch_size, 0),
        }

    def forward(self, frames: Frames, before: dict[str, Tensor]) -> tuple[Beliefs, dict[str, Tensor]]:
        """Beliefs at the frames, and the state after them.

        The open window is computed from its beginning: its task may depend on the actions that are new. ``frames``
        may hold evidence of fewer frames than actions: nothing is known of the last ones then.
        """
        opened, window = before["action"].shape[1], self.fast.window
        action = torch.cat([before["action"], frames.action], 1)
        known = torch.cat([before["known"], frames.known], 1)
        fast_evidence = Evidence(
            torch.cat([before["fast_precision"], frames.fast.precision], 1),
            torch.cat([before["fast_weighted"], frames.fast.weighted], 1),
        )
        abstract = self.abstract_action(windows(action, window), windows(known, window))
        count, time = abstract.mean.shape[1], action.shape[1]
        slow_evidence = Evidence(
            _window_sums(frames.slow.precision, before["slow_precision"], opened, window, count),
            _window_sums(frames.slow.weighted, before["slow_weighted"], opened, window, count),
        )
        slow_before = Gaussian(before["slow_mean"], before["slow_covariance"])
        slow_prior, slow_posterior = self.slow(slow_before, before["fresh"], slow_evidence, abstract)
        task = slow_posterior if self.task == "posterior" else slow_prior
        fast_before = Gaussian(before["fast_mean"], before["fast_covariance"])
        prior, posterior = self.fast(fast_before, before["fresh"], fast_evidence, action, task)

        closed = time // window
        end = closed * window
        after = dict(before)
        if closed:
            after["fast_mean"], after["fast_covariance"] = (part[:, end - 1] for part in posterior)
            after["slow_mean"], after["slow_covariance"] = (part[:, closed - 1] for part in slow_posterior)
            after["fresh"] = torch.zeros_like(before["fresh"])
        unseen = time - fast_evidence.precision.shape[1]
        after["fast_precision"], after["fast_weighted"] = (
            pad(part, (0, 0, 0, unseen))[:, end:] for part in fast_evidence
        )
        after["slow_precision"], after["slow_weighted"] = (
            part[:, closed] if time > end else torch.zeros_like(part[:, 0]) for part in slow_evidence
        )
        after["action"], after["known"] = action[:, end:], known[:, end:]
        tasks = task.mean.repeat_interleave(window, dim=1, output_size=count * window)
        return Beliefs(_since(prior, opened), _since(posterior, opened), tasks[:, opened:time]), after


def _window_sums(
    new: Float[Tensor, "B T d"], open_sum: Float[Tensor, "B d"], opened: int, window: int, count: int
) -> Float[Tensor, "B K d"]:
    """Sums over windows of what is new, the first ``opened`` frames of the first window being in ``open_sum``."""
    timeline = pad(new, (0, 0, opened, count * window - opened - new.shape[1]))
    sums = timeline.unflatten(1, (count, window)).sum(2)
    return torch.cat([sums[:, :1] + open_sum.unsqueeze(1), sums[:, 1:]], 1)


def _since(belief: Gaussian, frame: int) -> Gaussian:
    return Gaussian(belief.mean[:, frame:], belief.covariance[:, frame:])
