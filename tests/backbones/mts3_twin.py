"""MTS3 by its published equations, one frame and one window at a time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backbones.interface import Batch
from backbones.mts3 import MTS3
from backbones.parts.mts3_encoders import time_code


class Literal:
    """The published equations, one frame and one window at a time: nothing hoisted, packed or done in parallel.

    Vectors and continuous actions. A belief is ``(mean, upper, lower, side)``.
    """

    def __init__(self, model: MTS3, batch: Batch, shown: Tensor) -> None:
        self.model, self.batch, self.shown = model, batch, shown
        self.rows, self.time = batch.shape
        self.d, self.window = model.config.pairs, model.config.window
        self.like = model.filter.fast.noise.detach()
        one, zero = self.like.new_ones(self.rows, self.d), self.like.new_zeros(self.rows, 2 * self.d)
        fast = slow = (zero, 10 * one, 10 * one, one)
        self.priors, self.posteriors = [], []
        for k in range(-(-self.time // self.window)):
            frames = range(k * self.window, min((k + 1) * self.window, self.time))
            if k:
                slow = self.move_slow(slow, frames)
                fast = tuple(part.detach() for part in fast)
            slow_prior, slow = slow, self.update_slow(slow, frames)
            task = slow if model.config.task == "posterior" else slow_prior
            for t in frames:
                if t:
                    fast = self.move_fast(fast, t, task)
                self.priors.append(fast)
                fast = self.update_fast(fast, t)
                self.posteriors.append(fast)

    def encode(self, encoder: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.relu(encoder.body[0](x))
        return encoder.norm(encoder.mean(h)), nn.functional.softplus(encoder.variance(h)) + 1e-4

    def code(self, t: int) -> Tensor:
        place = self.like.new_tensor([t % self.window / self.window])
        return time_code(self.model.config.time_code, place).expand(self.rows, -1)

    def update_fast(self, belief: tuple[Tensor, ...], t: int) -> tuple[Tensor, ...]:
        """The Kalman gain of one observation."""
        if not self.shown[:, t].any():
            return belief
        mean, upper, lower, side = belief
        value, variance = self.encode(self.model.fast_encoder, self.model.encoder(self.batch.observation[:, t]))
        gain_upper, gain_lower = upper / (upper + variance), side / (upper + variance)
        error = value - mean[:, : self.d]
        after = (
            mean + torch.cat([gain_upper * error, gain_lower * error], -1),
            (1 - gain_upper) * upper,
            lower - gain_lower * side,
            (1 - gain_upper) * side,
        )
        seen = self.shown[:, t : t + 1]
        return tuple(torch.where(seen, new, old) for new, old in zip(after, belief, strict=True))

    def update_slow(self, belief: tuple[Tensor, ...], frames: range) -> tuple[Tensor, ...]:
        """A set of observations, in precision form: invert each 2x2 block, add, invert back."""
        mean, upper, lower, side = belief
        determinant = upper * lower - side**2
        p_upper, p_lower, p_side = lower / determinant, upper / determinant, -side / determinant
        total, weighted = torch.zeros_like(upper), torch.zeros_like(upper)
        for t in frames:
            if not self.shown[:, t].any():
                continue
            features = torch.cat([self.model.encoder(self.batch.observation[:, t]), self.code(t)], -1)
            value, variance = self.encode(self.model.slow_encoder, features)
            seen = self.shown[:, t : t + 1]
            total = total + torch.where(seen, 1 / variance, 0)
            weighted = weighted + torch.where(seen, (value - mean[:, : self.d]) / variance, 0)
        p_upper = p_upper + total
        determinant = p_upper * p_lower - p_side**2
        upper, lower, side = p_lower / determinant, p_upper / determinant, -p_side / determinant
        return mean + torch.cat([upper * weighted, side * weighted], -1), upper, lower, side

    def abstract_action(self, frames: range) -> tuple[Tensor, ...]:
        encoder = self.model.filter.abstract_action.encoder
        valid = self.batch.valid.to(self.like.dtype)
        precision = self.like.new_ones(self.rows, 2 * self.d)
        weighted = torch.zeros_like(precision)
        if self.model.config.abstraction == "set":
            for t in frames:
                value, variance = self.encode(encoder, torch.cat([self.batch.previous_action[:, t], self.code(t)], -1))
                precision = precision + valid[:, t : t + 1] / variance
                weighted = weighted + valid[:, t : t + 1] * value / variance
        else:
            blank = self.like.new_zeros(self.rows, self.batch.previous_action.shape[-1] + 1)
            known = [valid[:, t : t + 1] for t in frames]
            row = [torch.cat([self.batch.previous_action[:, t] * k, k], -1) for t, k in zip(frames, known, strict=True)]
            value, variance = self.encode(encoder, torch.cat(row + [blank] * (self.window - len(row)), -1))
            precision, weighted = precision + 1 / variance, value / variance
        upper, lower = (1 / precision).chunk(2, -1)
        return weighted / precision, upper, lower, torch.zeros_like(upper)

    def push(self, matrix: Tensor, belief: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The blocks of ``T C T'`` by the published formulas, from the squares of the blocks of ``T``."""
        mean, upper, lower, side = belief
        d = self.d
        t11, t12, t21, t22 = matrix[:d, :d], matrix[:d, d:], matrix[d:, :d], matrix[d:, d:]
        return (
            mean @ matrix.T,
            upper @ t11.square().T + 2 * side @ (t11 * t12).T + lower @ t12.square().T,
            upper @ t21.square().T + 2 * side @ (t21 * t22).T + lower @ t22.square().T,
            upper @ (t21 * t11).T + side @ (t22 * t11 + t21 * t12).T + lower @ (t22 * t12).T,
        )

    def add(self, *beliefs: tuple[Tensor, ...], noise: Tensor) -> tuple[Tensor, ...]:
        mean, upper, lower, side = (sum(parts) for parts in zip(*beliefs, strict=True))
        variance = torch.where(noise < 0, noise.exp(), noise + 1)
        return mean, upper + variance[: self.d], lower + variance[self.d :], side

    def move_slow(self, belief: tuple[Tensor, ...], frames: range) -> tuple[Tensor, ...]:
        level = self.model.filter.slow
        action = self.abstract_action(frames)
        return self.add(self.push(level.transition, belief), self.push(level.other, action), noise=level.noise)

    def move_fast(self, belief: tuple[Tensor, ...], t: int, task: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        level = self.model.filter.fast
        read = [self.batch.previous_action[:, t]] + ([belief[0]] if level.control.reads_state else [])
        control = level.control.last(level.control.norm(torch.relu(level.control.first(torch.cat(read, -1)))))
        moved = self.add(self.push(level.transition, belief), self.push(level.other, task), noise=level.noise)
        return moved[0] + control, *moved[1:]

    def loss(self) -> Tensor:
        """Half the squared error of decoded priors and of decoded posteriors of shown frames, frame 0 left out."""
        total = self.like.new_zeros(())
        for t in range(1, self.time):
            for belief, counts in ((self.priors[t], self.batch.valid), (self.posteriors[t], self.shown)):
                error = (self.model.decoder(belief[0]) - self.batch.observation[:, t]).square().sum(-1)
                total = total + 0.5 * (error * counts[:, t]).sum()
        return total / self.batch.valid[:, 1:].sum()
