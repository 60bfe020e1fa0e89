"""How arrays stand in a Parquet shard: one row is one piece of one episode, one binary cell is one array.

The manifest keeps a :class:`Column` for each, so a shard can be read by anybody: ``numpy.frombuffer(cell, dtype)``
reshaped to ``(length, *shape)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmark.errors import UserError

ALLOWED_DTYPES = ("uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64", "bool")
ROW_GROUP_BYTES = 256 * 2**10


@dataclass(frozen=True)
class Column:
    """``per_frame`` columns have a time axis in front of ``shape``; the others are the same for a whole episode, and
    their first size may be -1: it is another in every episode (walls of a maze)."""

    dtype: str
    shape: tuple[int, ...]
    per_frame: bool

    def __post_init__(self) -> None:
        if self.dtype not in ALLOWED_DTYPES:
            raise UserError(f"column of dtype {self.dtype!r}; allowed: {', '.join(ALLOWED_DTYPES)}")
        fixed = self.shape[1:] if self.shape[:1] == (-1,) and not self.per_frame else self.shape
        least = 0 if fixed is self.shape else 1  # what is left of the cell's length must tell the first size
        if any(not isinstance(size, int) or size < least for size in fixed):
            raise UserError(f"column of shape {self.shape}; sizes must be non-negative integers")

    @classmethod
    def of(cls, array: np.ndarray, per_frame: bool) -> Column:
        shape = array.shape[1:]
        return cls(str(array.dtype), shape if per_frame or not array.ndim else (-1, *shape), per_frame)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Column:
        return cls(str(value["dtype"]), tuple(value["shape"]), bool(value["per_frame"]))

    def decode(self, cell: bytes | pa.Buffer, length: int) -> np.ndarray:
        shape = (length, *self.shape) if self.per_frame else self.shape
        fixed = int(np.prod([size for size in shape if size >= 0])) * np.dtype(self.dtype).itemsize
        if len(cell) % fixed if -1 in shape else len(cell) != fixed:
            raise UserError(f"a cell holds {len(cell)} bytes where its column says {fixed}; make the dataset again")
        return np.frombuffer(cell, self.dtype).reshape(shape)


def encode_shard(rows: list[dict[str, Any]]) -> bytes:
    """A shard file from rows ``{episode, start, length, <column>: array}``. The same rows give the same bytes."""
    names = [name for name in rows[0] if name not in ("episode", "start", "length")]
    arrays: dict[str, pa.Array] = {
        name: pa.array([row[name] for row in rows], pa.int32()) for name in ("episode", "start", "length")
    }
    arrays |= {
        name: pa.array([np.ascontiguousarray(row[name]).tobytes() for row in rows], pa.binary()) for name in names
    }
    row_bytes = max(1, sum(np.asarray(rows[0][name]).nbytes for name in names))
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.table(arrays),
        sink,
        compression="zstd",
        use_dictionary=False,
        write_statistics=False,
        write_page_checksum=True,
        row_group_size=max(1, ROW_GROUP_BYTES // row_bytes),
    )
    return sink.getvalue().to_pybytes()
