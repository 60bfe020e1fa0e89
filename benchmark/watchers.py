"""What some environments measure beyond errors of whole frames, while imagined frames pass by.

A watcher sees every imagined query frame of the scored episodes once, and ends with columns for the table of episodes
and with tables of its own. ``EnvSpec.metrics`` names the watchers of an environment.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from torch import Tensor

import envs
from benchmark.dataset import Dataset

AGE_BINS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Lower ends of the bins of ages, in steps; 0 stands for content that was never in view."""


@runtime_checkable
class Watcher(Protocol):
    """Sees query frames ``start`` on of some episodes."""

    def watch(self, episodes: Sequence[int], start: int, imagined: Tensor, truth: Tensor) -> None:
        """``imagined`` and ``truth`` are ``(B, n, 3, height, width)`` floats."""

    def columns(self, episodes: Sequence[int]) -> dict[str, np.ndarray]:
        """One value an episode."""

    def tables(self) -> dict[str, pd.DataFrame]:
        """Tables by file name."""


class DoorOutcomes:
    """Multi Doors Keys: does the frame right after a toggle show the door as it is, open or locked?

    The imagined tile is compared with the two pictures that it could be. Tries of doors that were open already are
    not scored. The column ``door_outcome`` is weighted so that its mean is the accuracy balanced over both outcomes,
    for which a guess that is always the same gives 50 %.
    """

    FILE = "door_attempts.parquet"

    def __init__(self, dataset: Dataset, split: str, episodes: Sequence[int]) -> None:
        assert dataset.env is not None
        from envs.multi_doors_keys import DOOR_TILE, outcome_tiles

        atlas = envs.tile_atlas(dataset.env)
        assert atlas is not None
        self._size = atlas.shape[1]
        side = dataset.env.image_shape[1] // self._size
        self._corner = (DOOR_TILE // side * self._size, DOOR_TILE % side * self._size)
        context = dataset.world.context_length
        table = dataset.episodes_table()
        facts = table[table["split"] == split].set_index("index")["facts"]
        rows = []
        for episode in episodes:
            tiles = dataset.trajectory(split, episode).state["tiles"]
            for attempt in json.loads(facts[episode])["attempts"]:
                if attempt["step"] >= context and attempt["outcome"] != "already_open":
                    door = int(tiles[attempt["step"], DOOR_TILE])
                    rows.append({**attempt, "episode": episode, "query_step": attempt["step"] - context, "door": door})
        names = ("step", "door", "outcome", "keys_used", "episode", "query_step")
        self._attempts = pd.DataFrame(rows, columns=None if rows else list(names))
        self._attempts["correct"] = np.nan
        pictures = outcome_tiles(self._attempts["door"].to_numpy(np.uint8))
        self._pictures = atlas[pictures].astype(np.float32) / 255  # (attempts, locked | open, size, size, 3)

    def watch(self, episodes: Sequence[int], start: int, imagined: Tensor, truth: Tensor) -> None:
        stop = start + imagined.shape[1]
        due = self._attempts[
            self._attempts["query_step"].between(start, stop - 1) & self._attempts["episode"].isin(episodes)
        ]
        place = {episode: row for row, episode in enumerate(episodes)}
        y, x = self._corner
        for index, attempt in due.iterrows():
            frame = imagined[place[attempt["episode"]], attempt["query_step"] - start]
            tile = frame[:, y : y + self._size, x : x + self._size].movedim(0, -1).float().cpu().numpy()
            locked, opened = np.square(self._pictures[index] - tile).sum((1, 2, 3))
            self._attempts.loc[index, "correct"] = float((opened < locked) == (attempt["outcome"] == "opened"))

    def columns(self, episodes: Sequence[int]) -> dict[str, np.ndarray]:
        seen = self._attempts[self._attempts["episode"].isin(episodes)]
        if seen["outcome"].nunique() < 2:  # nothing to balance
            return {"door_outcome": np.full(len(episodes), np.nan)}
        balanced = np.zeros(len(episodes))
        for _, one in seen.groupby("outcome"):
            correct = one.groupby("episode")["correct"].sum().reindex(list(episodes), fill_value=0.0).to_numpy()
            balanced += 0.5 * len(episodes) * correct / len(one)
        return {"door_outcome": balanced}

    def tables(self) -> dict[str, pd.DataFrame]:
        return {self.FILE: self._attempts}


class ErrorByAge:
    """Squared error of patches of a frame by how long ago their content was last in view before the query."""

    FILE = "error_by_age.parquet"

    def __init__(self, dataset: Dataset, split: str, episodes: Sequence[int]) -> None:
        assert dataset.env is not None
        context = dataset.world.context_length
        self._ages = {
            episode: np.asarray(envs.content_age(dataset.env, dataset.trajectory(split, episode)))[context:]
            for episode in episodes
        }  # (H, rows, columns) each
        self._sums = np.zeros(len(AGE_BINS) + 1)
        self._counts = np.zeros(len(AGE_BINS) + 1)

    def watch(self, episodes: Sequence[int], start: int, imagined: Tensor, truth: Tensor) -> None:
        ages = np.stack([self._ages[episode][start : start + imagined.shape[1]] for episode in episodes])
        rows, columns = ages.shape[2:]  # (B, n, rows, columns)
        squared = (imagined - truth).square().sum(2)
        cells = squared.unflatten(-1, (columns, -1)).unflatten(-3, (rows, -1)).sum((-1, -3)).float().cpu().numpy()
        place = np.searchsorted(AGE_BINS, ages, side="right")  # 0: never in view
        self._sums += np.bincount(place.ravel(), cells.ravel(), minlength=len(self._sums))
        self._counts += np.bincount(place.ravel(), minlength=len(self._counts))

    def columns(self, episodes: Sequence[int]) -> dict[str, np.ndarray]:
        return {}

    def tables(self) -> dict[str, pd.DataFrame]:
        known = self._counts > 0
        table = pd.DataFrame({"age_from": [0, *AGE_BINS], "squared_error": self._sums, "patches": self._counts})
        return {self.FILE: table[known].reset_index(drop=True)}


WATCHERS: dict[str, Any] = {"door_outcomes": DoorOutcomes, "error_by_age": ErrorByAge}


def watchers_of(dataset: Dataset, split: str, episodes: Sequence[int]) -> list[Watcher]:
    """The watchers that the dataset's environment names."""
    if dataset.env is None:
        return []
    return [WATCHERS[name](dataset, split, episodes) for name in dataset.env.metrics if name in WATCHERS]
