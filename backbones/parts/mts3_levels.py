"""The two levels of MTS3 and how they run over time.

Source: Shaj et al., "Multi Time Scale World Models" (2023). Letters: ``d`` pairs of numbers in a belief, ``K`` windows
of ``H`` frames, ``R`` rows (of a batch, or of a batch times its windows).

Slow level, once a window: the belief of window k-1, moved by the abstract action of window k, is the prior of window
k; the window's frames, as a set, make it a posterior. Fast level, once a frame: the belief of frame t-1, moved by the
action and by the window's task (the slow belief), is the prior of frame t; the frame makes it a posterior. An episode
begins with broad priors that nothing has moved.

As published no gradient crosses a window's end in the fast level. Hence, once the beliefs there are known, all windows
can be computed side by side.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from backbones.parts.gaussian import (
    Evidence,
    Gaussian,
    affine_recurrence,
    condition,
    marginalise,
    noise_covariance,
    pushforward,
)
from backbones.parts.mts3_encoders import Control

FIRST_VARIANCE = 10.0
FIRST_SIDE = 1.0
FIRST_NOISE = 0.1
SMALLEST_NOISE = 1e-4


def initial_belief(rows: int, pairs: int, like: Tensor) -> Gaussian:
    """What either level knows before the first frame: nothing, but that its two halves go together."""
    upper = like.new_full((rows, pairs), FIRST_VARIANCE)
    side = like.new_full((rows, pairs), FIRST_SIDE)
    return Gaussian(like.new_zeros(rows, 2 * pairs), torch.cat([upper, side, upper], -1))


def choose(chosen: Bool[Tensor, " R"], first: Gaussian, second: Gaussian) -> Gaussian:
    """Rows of one belief or the other."""
    return Gaussian(*(torch.where(chosen.unsqueeze(-1), a, b) for a, b in zip(first, second, strict=True)))


def turning(pairs: int, radius: float, angle: float) -> nn.Parameter:
    """A transition ``(2d, 2d)`` that turns each pair by an angle and scales it."""
    eye = torch.eye(pairs)
    along, across = radius * math.cos(angle) * eye, radius * math.sin(angle) * eye
    return nn.Parameter(torch.cat([torch.cat([along, across], 1), torch.cat([-across, along], 1)], 0))


class Transitions(NamedTuple):
    """Where a level's transition starts before training: ``radius`` and ``angle`` of :func:`turning`."""

    radius: float
    angle: float


STARTS = {"published": Transitions(0.2, math.pi / 2), "persistent": Transitions(0.99, 0.1)}
"""As published nearly everything is forgotten within two steps; a persistent start remembers from the outset."""


class Level(nn.Module):
    """A transition of beliefs, what else moves them, and process noise."""

    def __init__(self, pairs: int, start: str) -> None:
        super().__init__()
        self.pairs = pairs
        self.transition = turning(pairs, *STARTS[start])
        self.other = turning(pairs, *STARTS["published"])  # of the task (fast level) or the abstract action (slow)
        self.noise = nn.Parameter(torch.full((2 * pairs,), math.log(FIRST_NOISE)))

    def process_noise(self) -> Float[Tensor, " D3"]:
        return noise_covariance(self.noise, SMALLEST_NOISE)


class SlowLevel(Level):
    """One step a window. Without ``action_covariance`` the abstract action moves the mean only."""

    def __init__(self, pairs: int, start: str, action_covariance: bool) -> None:
        super().__init__(pairs, start)
        self.action_covariance = action_covariance

    def forward(
        self, before: Gaussian, fresh: Bool[Tensor, " B"], observed: Evidence, action: Gaussian
    ) -> tuple[Gaussian, Gaussian]:
        """Priors and posteriors ``(B, K, ...)`` of all windows.

        ``before`` ``(B, ...)`` is the posterior of the window before, or, in ``fresh`` rows, what an episode begins
        with. ``observed`` and ``action`` are ``(B, K, ...)``.
        """
        push, push_action = pushforward(self.transition), pushforward(self.other)
        noise = self.process_noise()
        drive = marginalise([(push_action, action)], noise)
        if not self.action_covariance:
            drive = Gaussian(drive.mean, noise.expand_as(drive.covariance))
        priors, posteriors = [], []
        belief = before
        for k in range(drive.mean.shape[1]):
            moved = Gaussian(
                belief.mean @ push.mean + drive.mean[:, k],
                belief.covariance @ push.covariance + drive.covariance[:, k],
            )
            prior = choose(fresh, before, moved) if k == 0 else moved
            belief = condition(prior, Evidence(observed.precision[:, k], observed.weighted[:, k]))
            priors.append(prior)
            posteriors.append(belief)
        return _stack(priors), _stack(posteriors)


class Drive(NamedTuple):
    """What moves the fast belief at each frame, apart from its own transition.

    ``mean`` ``(R, T, 2d)`` and ``covariance`` ``(R, T, 3d)`` are added; ``prepared`` ``(R, T, hidden)`` is for a
    control that reads the state.
    """

    mean: Tensor
    covariance: Tensor
    prepared: Tensor | None

    def frames(self, start: int, stop: int) -> Drive:
        prepared = None if self.prepared is None else self.prepared[:, start:stop]
        return Drive(self.mean[:, start:stop], self.covariance[:, start:stop], prepared)


class FastLevel(Level):
    """One step a frame; ``window`` frames share a task."""

    def __init__(self, pairs: int, start: str, control: Control, window: int) -> None:
        super().__init__(pairs, start)
        self.control = control
        self.window = window

    def forward(
        self,
        before: Gaussian,
        fresh: Bool[Tensor, " B"],
        observed: Evidence,
        action: Float[Tensor, "B T A"],
        task: Gaussian,
    ) -> tuple[Gaussian, Gaussian]:
        """Priors and posteriors ``(B, T, ...)`` of all frames, the first of which begins a window.

        ``before`` ``(B, ...)`` is the posterior of the frame before, or, in ``fresh`` rows, what an episode begins
        with. ``observed`` ``(B, S, d)`` is evidence of the first S frames; nothing is known of the others. ``task``
        is ``(B, K, ...)``.
        """
        drive = self._drive(action, task)
        imagines = observed.precision.shape[1] < action.shape[1]
        if imagines or task.mean.shape[1] == 1 or not torch.is_grad_enabled():
            return self._in_turn(before, fresh, observed, drive)
        with torch.no_grad():
            ends = self._in_turn(before, fresh, observed, drive)[1]
        return self._side_by_side(before, fresh, observed, drive, ends)

    def _drive(self, action: Float[Tensor, "B T A"], task: Gaussian) -> Drive:
        task = marginalise([(pushforward(self.other), task)], self.process_noise())
        mean, covariance = (
            part.repeat_interleave(self.window, dim=1, output_size=part.shape[1] * self.window)[:, : action.shape[1]]
            for part in task
        )
        control = self.control.from_action(action)
        return Drive(mean, covariance, control) if self.control.reads_state else Drive(mean + control, covariance, None)

    def _in_turn(
        self, before: Gaussian, fresh: Bool[Tensor, " B"], observed: Evidence, drive: Drive
    ) -> tuple[Gaussian, Gaussian]:
        """All frames in order; where nothing is observed any more the belief is an affine recurrence."""
        seen = observed.precision.shape[1]
        pieces = []
        if seen:
            pieces.append(self._steps(before, fresh, observed, drive.frames(0, seen)))
            before = Gaussian(*(part[:, -1] for part in pieces[0][1]))
        if seen < drive.mean.shape[1]:
            unseen = self._blind(before, drive.frames(seen, drive.mean.shape[1]))
            pieces.append((unseen, unseen))
        priors, posteriors = zip(*pieces, strict=True)
        return _join(priors), _join(posteriors)

    def _side_by_side(
        self, before: Gaussian, fresh: Bool[Tensor, " B"], observed: Evidence, drive: Drive, known: Gaussian
    ) -> tuple[Gaussian, Gaussian]:
        """All windows at once, each from the belief before it. ``known`` holds the posteriors of all frames."""
        rows, time = drive.mean.shape[:2]
        ends = [part[:, self.window - 1 : -1 : self.window] for part in known]
        starts = [torch.cat([part.unsqueeze(1), end], 1).flatten(0, 1) for part, end in zip(before, ends, strict=True)]
        begins = torch.zeros(rows, ends[0].shape[1] + 1, dtype=torch.bool, device=fresh.device)
        begins[:, 0] = fresh
        side_by_side = Drive(
            self._fold(drive.mean),
            self._fold(drive.covariance),
            None if drive.prepared is None else self._fold(drive.prepared),
        )
        seen = Evidence(self._fold(observed.precision), self._fold(observed.weighted))
        beliefs = self._steps(Gaussian(*starts), begins.flatten(), seen, side_by_side)
        prior, posterior = (
            Gaussian(*(part.unflatten(0, (rows, -1)).flatten(1, 2)[:, :time] for part in belief)) for belief in beliefs
        )
        return prior, posterior

    def _fold(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "R H D"]:
        """Windows as rows."""
        return windows(x, self.window).flatten(0, 1)

    def _steps(
        self, before: Gaussian, fresh: Bool[Tensor, " R"] | None, observed: Evidence | None, drive: Drive
    ) -> tuple[Gaussian, Gaussian]:
        """Frame after frame: move, then condition on what is observed."""
        push = pushforward(self.transition)
        means, covariances = drive.mean.unbind(1), drive.covariance.unbind(1)
        prepared = None if drive.prepared is None else drive.prepared.unbind(1)
        evidence = None if observed is None else [part.unbind(1) for part in observed]
        priors, posteriors = [], []
        belief = before
        for t in range(len(means)):
            mean = torch.addmm(means[t], belief.mean, push.mean)
            if prepared is not None:
                mean = mean + self.control.from_state(prepared[t], belief.mean)
            prior = Gaussian(mean, torch.addmm(covariances[t], belief.covariance, push.covariance))
            if t == 0 and fresh is not None:
                prior = choose(fresh, before, prior)
            belief = prior if evidence is None else condition(prior, Evidence(evidence[0][t], evidence[1][t]))
            priors.append(prior)
            posteriors.append(belief)
        return _stack(priors), _stack(posteriors)

    def _blind(self, before: Gaussian, drive: Drive) -> Gaussian:
        """Unobserved frames; by doubling, unless the control reads the state. No row is fresh here.

        Mean and covariance have nothing to do with each other where nothing is observed.
        """
        if drive.prepared is not None:
            return self._steps(before, None, None, drive)[0]
        push = pushforward(self.transition)
        return Gaussian(
            affine_recurrence(before.mean, push.mean, drive.mean),
            affine_recurrence(before.covariance, push.covariance, drive.covariance),
        )


def windows(x: Float[Tensor, "B T *rest"], window: int) -> Float[Tensor, "B K H *rest"]:
    """Frames grouped into windows, the last of which is filled up with zeros."""
    spare = -x.shape[1] % window
    if spare:
        x = torch.cat([x, x.new_zeros(x.shape[0], spare, *x.shape[2:])], 1)
    return x.unflatten(1, (-1, window))


def _stack(beliefs: list[Gaussian]) -> Gaussian:
    return Gaussian(torch.stack([b.mean for b in beliefs], 1), torch.stack([b.covariance for b in beliefs], 1))


def _join(beliefs: tuple[Gaussian, ...]) -> Gaussian:
    if len(beliefs) == 1:
        return beliefs[0]
    return Gaussian(torch.cat([b.mean for b in beliefs], 1), torch.cat([b.covariance for b in beliefs], 1))
