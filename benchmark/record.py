"""The result of a run: a folder with ``record.json``, tables per episode and per step, the curve, and a strip.

Everything that a leaderboard shows comes from here, and everything needed to run it again stands here.
"""

from __future__ import annotations

import dataclasses
import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from benchmark.config import from_json, to_json
from benchmark.errors import UserError
from benchmark.files import atomic_write, file_sha256, make_folder, read_json, write_json

SCHEMA = 1
NAME = "record.json"
PER_EPISODE, PER_STEP, CURVE, STRIP = "per_episode.parquet", "per_step.parquet", "curve.parquet", "strip.png"

_NAME = re.compile(r"[A-Za-z0-9._+-]{1,128}")

VOLATILE = ("run_id", "started", "ended", "device", "spent", "cost", "git", "files")
"""Fields in which two runs of the same configuration may differ."""


@dataclass(frozen=True, kw_only=True)
class Strip:
    """What ``strip.png`` shows: for each episode a row of truth and a row of imagination, a column a step."""

    episodes: tuple[int, ...]
    steps: tuple[int, ...]
    """Query steps, counted from 0."""
    height: int
    width: int


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One row of a leaderboard. Speeds and memory belong to ``device`` and are never compared across devices."""

    run_id: str
    kind: Literal["backbone", "baseline", "imported"]
    backbone: str
    variant: str = ""
    """Fields of the model that differ from its preset."""
    env: str
    preset: str
    seed: int
    dataset_digest: str
    dataset_episodes: dict[str, int]
    metric_version: int
    scored_episodes: int
    status: Literal["completed", "diverged", "failed"]
    reason: str = ""
    """Why it did not complete."""
    config: dict[str, Any]
    """The resolved ``RunConfig``."""
    code_digest: str
    """Hash of the files that define the model."""
    parameters: int
    state_bytes: int
    """Recurrent state of one episode."""
    metrics: dict[str, float | None]
    cost: dict[str, float | int | None]
    spent: dict[str, float | int | str | None]
    device: str
    versions: dict[str, str]
    git: dict[str, str | bool]
    strip: Strip | None = None
    files: dict[str, str] = field(default_factory=dict)
    """sha256 by name."""
    started: str
    ended: str

    @property
    def label(self) -> str:
        """Name of the row."""
        return f"{self.backbone} ({self.variant})" if self.variant else self.backbone

    @property
    def rules(self) -> dict[str, Any]:
        """What must be equal for two runs to be compared, beside their data: budget, validation, scoring."""
        if self.kind != "backbone":
            return {}
        counts = {part: self.config.get(part, {}) for part in ("budget", "train", "score")}
        no_matter = ("batch_size", "decode_frames", "checkpoint_seconds", "log_points")
        return {part: {k: v for k, v in values.items() if k not in no_matter} for part, values in counts.items()}

    @property
    def budget(self) -> dict[str, Any]:
        """The limits that the run had; empty for baselines."""
        return self.config.get("budget", {}) if self.kind == "backbone" else {}


def write(folder: Path, record: RunRecord, tables: dict[str, pd.DataFrame], strip: bytes | None) -> RunRecord:
    """Writes a record folder, ``record.json`` last."""
    make_folder(folder)
    files = {name: atomic_write(folder / name, table_bytes(table)) for name, table in tables.items()}
    if strip is not None:
        files[STRIP] = atomic_write(folder / STRIP, strip)
    whole = dataclasses.replace(record, files=files)
    write_json(folder / NAME, {"schema": SCHEMA, **to_json(whole)})
    return whole


def table_bytes(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()


def read(folder: Path) -> RunRecord:
    """Raises ``UserError`` for a missing, damaged, or changed record (named, left in place)."""
    path = folder / NAME if folder.is_dir() else folder
    value = read_json(path)
    if not isinstance(value, dict) or value.pop("schema", None) != SCHEMA:
        raise UserError(f"{path} is not a record of schema {SCHEMA}; it was left in place")
    try:
        record = from_json(RunRecord, value)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    for name in (record.env, record.run_id, record.preset or "none", record.dataset_digest):
        if not _NAME.fullmatch(name) or name.startswith("."):
            raise UserError(f"{path} holds the name {name!r}; allowed are letters, digits and any of . _ + -")
    if not record.label.isprintable() or len(record.label) > 300:
        raise UserError(f"{path} holds a name of a row that cannot be shown")
    if PER_EPISODE not in record.files or PER_STEP not in record.files:
        raise UserError(f"{path} names no {PER_EPISODE} or no {PER_STEP}; it was left in place")
    for name, digest in record.files.items():
        if Path(name).name != name:
            raise UserError(f"{path} names a file outside its folder: {name!r}")
        if not (path.parent / name).is_file() or file_sha256(path.parent / name) != digest:
            raise UserError(
                f"{path.parent / name} is missing or does not match its hash in {NAME}; it was left in place"
            )
    return record


@dataclass(frozen=True)
class Loaded:
    """A record with its folder, from which tables are read when they are needed."""

    record: RunRecord
    folder: Path

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.folder / name)


def read_all(results: Path) -> tuple[list[Loaded], list[str]]:
    """All records below ``results/runs``, in a fixed order, and a line for each that was skipped and why."""
    found, skipped = [], []
    for path in sorted((results / "runs").glob(f"**/{NAME}")):
        try:
            found.append(Loaded(read(path.parent), path.parent))
        except UserError as error:
            skipped.append(str(error))
    return found, skipped
