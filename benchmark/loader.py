"""Batches as a pure function of the update number: nothing has to be saved to continue a run.

Every backbone sees the episodes of a dataset in the same order. Those that train on whole episodes take the next
``batch_size`` of them; those that carry their state walk ``batch_size`` episodes chunk by chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from backbones.interface import BackboneConfig, Batch
from benchmark.dataset import Dataset
from benchmark.errors import UserError
from benchmark.observations import observation_source

Piece = tuple[int, int, int]
"""Episode, first frame, end frame."""


class EpisodeOrder:
    """An endless sequence of episodes: one permutation after the other."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self._latest = (-1, np.empty(0, np.int64))  # one tuple, so that threads see both or neither

    def __call__(self, position: int) -> int:
        epoch, place = divmod(position, self.count)
        latest = self._latest
        if epoch != latest[0]:
            latest = self._latest = (epoch, np.random.default_rng([self.seed, epoch]).permutation(self.count))
        return int(latest[1][place])


class Schedule:
    """Which piece of which episode every row of every update is."""

    def __init__(self, config: BackboneConfig, length: int, episodes: int, seed: int) -> None:
        if config.train_length is not None and not 2 <= config.train_length <= length:
            raise UserError(
                f"train_length {config.train_length} does not fit an episode of {length} frames; give 2..{length}"
            )
        if config.train_length is not None and not config.carries_state and config.train_length < length:
            raise UserError(
                f"train_length {config.train_length} without carries_state would hide everything after frame "
                f"{config.train_length}; set carries_state or leave train_length out"
            )
        self.length, self.rows = length, config.training.batch_size
        self.piece = config.train_length or length
        self.chunks = -(-length // self.piece)
        self._order = EpisodeOrder(episodes, seed)

    def frames(self, update: int) -> int:
        """Real frames of each row."""
        start = update % self.chunks * self.piece
        return min(self.piece, self.length - start)

    def pieces(self, update: int) -> list[Piece]:
        """Rows walk in step, since all episodes are equally long: every ``chunks`` updates all begin anew."""
        batch, chunk = divmod(update, self.chunks)
        start = chunk * self.piece
        stop = start + self.frames(update)
        return [(self._order(batch * self.rows + row), start, stop) for row in range(self.rows)]


class BatchMaker:
    """Reads pieces of episodes, renders them and puts them on a device."""

    def __init__(self, dataset: Dataset, device: torch.device) -> None:
        self.dataset, self.device = dataset, device
        self._observation = observation_source(dataset, device)

    def __call__(self, split: str, pieces: Sequence[Piece], pad_to: int | None = None) -> Batch:
        """A batch with one row a piece. All pieces are equally long; rows shorter than ``pad_to`` are padded."""
        rows = [self.dataset.trajectory(split, episode, start, stop) for episode, start, stop in pieces]
        length = rows[0].length
        total = max(length, pad_to or 0)
        padding = total - length

        def stacked(arrays: Sequence[np.ndarray], fill: int = 0) -> Tensor:
            tensor = torch.from_numpy(np.stack(arrays)).to(self.device, non_blocking=True)
            if not padding:
                return tensor
            return torch.cat([tensor, tensor.new_full((len(rows), padding, *tensor.shape[2:]), fill)], 1)

        valid = torch.arange(total, device=self.device) < length
        last = torch.tensor([stop == self.dataset.world.length for _, _, stop in pieces], device=self.device)
        final = torch.arange(total, device=self.device) == length - 1
        return Batch(
            observation=self._pad_frames(self._observation(rows), padding),
            previous_action=stacked(
                [row.previous_action for row in rows], fill=-1 if rows[0].previous_action.ndim == 1 else 0
            ),
            reward=stacked([row.reward for row in rows]),
            starts=torch.tensor([start == 0 for _, start, _ in pieces], device=self.device),
            valid=valid.expand(len(rows), total),
            final=last[:, None] & final,
        )

    def episodes(self, split: str, indices: Sequence[int]) -> Batch:
        """Whole episodes."""
        return self(split, [(index, 0, self.dataset.world.length) for index in indices])

    @staticmethod
    def _pad_frames(frames: Tensor, padding: int) -> Tensor:
        if not padding:
            return frames
        return torch.cat([frames, frames[:, -1:].expand(-1, padding, *frames.shape[2:])], 1)


def prefetched(make: Callable[[int], Batch], first: int, ahead: int = 2) -> Generator[Batch, None, None]:
    """``make(first), make(first + 1), ...`` with the next ones prepared by another thread."""
    with ThreadPoolExecutor(1) as pool:
        pending = [pool.submit(make, first + i) for i in range(ahead)]
        update = first + ahead
        try:
            while True:
                yield pending.pop(0).result()
                pending.append(pool.submit(make, update))
                update += 1
        finally:
            for future in pending:
                future.cancel()
