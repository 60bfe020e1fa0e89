"""Reading a dataset: any piece of any episode, without holding the dataset in memory.

Shards stay on disk; the row groups that were read last are kept, decompressed, within ``cache_bytes``.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import envs
from backbones.interface import WorldSpec
from benchmark.errors import UserError
from benchmark.manifest import FileEntry, Manifest
from envs.episode import Trajectory

CACHE_BYTES = 512 * 2**20


class Dataset:
    """An opened dataset folder.

    Raises ``UserError`` if the folder is incomplete, of another environment or does not match its manifest; and, where
    states are stored, if their environment is not known here or has another renderer.
    """

    def __init__(
        self, folder: Path, env: str | None = None, cache_bytes: int = CACHE_BYTES, verify: bool = True
    ) -> None:
        self.folder = folder
        self.manifest = Manifest.read(folder)
        if env is not None and self.manifest.env != env:
            raise UserError(
                f"the dataset at {folder} is of {self.manifest.env}, not of {env}; give another folder or env"
            )
        if verify:
            self.manifest.verify_files(folder)
        self.digest = self.manifest.digest
        self.world: WorldSpec = self.manifest.world
        self.env = self._environment()
        self._shards = {
            split: [s for s in self.manifest.shards if s.split == split] for split in self.manifest.episodes
        }
        self._cache: OrderedDict[tuple[str, int], pa.Table] = OrderedDict()
        self._cache_left = cache_bytes
        self._layouts: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def _environment(self) -> envs.EnvSpec | None:
        """The environment that made the episodes; none of somebody's own frames."""
        if not any(name.startswith("state.") for name in self.manifest.columns):
            return None
        try:
            env = envs.spec(self.manifest.env, **self.manifest.options)
            if self.manifest.store == "states":
                envs.check_renderer(env, self.manifest.renderer)
        except ValueError as error:
            if self.manifest.store == "states":
                raise UserError(f"dataset {self.folder}: {error}") from error
            print(
                f"dataset {self.folder}: {error}; its frames are used, scores of the environment's own left out",
                file=sys.stderr,
            )
            return None
        return env

    def count(self, split: str) -> int:
        """Episodes of a split."""
        return self.manifest.episodes[split]

    def episodes_table(self) -> pd.DataFrame:
        """One row an episode: split, index, seeds, facts (JSON)."""
        return pd.read_parquet(self.folder / self.manifest.episodes_table.name)

    def trajectory(self, split: str, index: int, start: int = 0, stop: int | None = None) -> Trajectory:
        """Frames ``start`` to ``stop`` of an episode. Where frames are stored they are ``state["observation"]``."""
        stop = self.world.length if stop is None else stop
        rows = [
            self._row(split, index, chunk)
            for chunk in range(start // self.manifest.chunk, -(-stop // self.manifest.chunk))
        ]
        first = start // self.manifest.chunk * self.manifest.chunk
        arrays: dict[str, np.ndarray] = {}
        for name, column in self.manifest.columns.items():
            pieces = [column.decode(row[name], row["length"]) for row in rows]
            if column.per_frame:
                whole = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
                arrays[name] = whole[start - first : stop - first]
            else:
                arrays[name] = pieces[0]
        state = {n.removeprefix("state."): a for n, a in arrays.items() if n.startswith("state.") or n == "observation"}
        scene = {n.removeprefix("scene."): a for n, a in arrays.items() if n.startswith("scene.")}
        action = arrays["previous_action"]
        return Trajectory(
            state=state,
            previous_action=action.astype(np.int64) if action.dtype.kind == "i" else action,
            reward=arrays["reward"].astype(np.float32),
            scene=scene,
        )

    def frames(self, split: str, index: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Observations ``(T, height, width, 3)`` uint8, or ``(T, O)`` float32 for vectors."""
        return self.render(self.trajectory(split, index, start, stop))

    def render(self, trajectory: Trajectory) -> np.ndarray:
        """Observations of what :meth:`trajectory` gave."""
        stored = trajectory.state.get("observation")
        if stored is not None:
            return stored
        assert self.env is not None
        return envs.render(self.env, trajectory)

    def _row(self, split: str, index: int, chunk: int) -> dict[str, Any]:
        if split not in self._shards or not 0 <= index < self.count(split):
            raise UserError(f"no episode {index} in split {split!r} of {self.folder}; it has {self.manifest.episodes}")
        shards = self._shards[split]
        shard = shards[min(index // shards[0].count, len(shards) - 1)]  # all but the last have one size
        chunks = -(-self.world.length // self.manifest.chunk)
        row = (index - shard.first) * chunks + chunk
        with self._lock:
            rows_per_group, groups = self._layout(shard)
            group = row // rows_per_group
            table = self._group(shard, group, groups)
        offset = row - group * rows_per_group
        cells = {name: table.column(name)[offset] for name in table.column_names}
        if cells["episode"].as_py() != index or cells["start"].as_py() != chunk * self.manifest.chunk:
            raise UserError(f"{self.folder / shard.name}: row {row} is not episode {index}; make the dataset again")
        plain = {name: cells[name].as_py() for name in ("episode", "start", "length")}
        return plain | {name: cells[name].as_buffer() for name in self.manifest.columns}

    def _layout(self, shard: FileEntry) -> tuple[int, int]:
        if shard.name not in self._layouts:
            meta = pq.read_metadata(self.folder / shard.name)
            self._layouts[shard.name] = (meta.row_group(0).num_rows, meta.num_row_groups)
        return self._layouts[shard.name]

    def _group(self, shard: FileEntry, group: int, groups: int) -> pa.Table:
        key = (shard.name, group)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        assert group < groups
        with pq.ParquetFile(self.folder / shard.name, page_checksum_verification=True) as file:
            table = file.read_row_group(group, use_threads=False).combine_chunks()
        self._cache[key] = table
        self._cache_left -= table.nbytes
        while self._cache_left < 0 and len(self._cache) > 1:
            _, old = self._cache.popitem(last=False)
            self._cache_left += old.nbytes
        return table
