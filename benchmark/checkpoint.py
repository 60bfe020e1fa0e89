"""Checkpoints: tensors and plain values, checked by hash before they are loaded, never unpickled."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import torch

from benchmark.errors import UserError
from benchmark.files import atomic_write, file_sha256, read_json, remove_leftovers, sha256, write_json

POINTER = "checkpoint.json"
WEIGHTS = "weights.pt"


def save(folder: Path, content: dict[str, Any], about: dict[str, Any]) -> None:
    """Writes a checkpoint, then moves the pointer to it, then removes older ones."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    digest = sha256(buffer.getvalue())
    name = f"checkpoint-{about['updates']:09d}-{digest[:8]}.pt"
    atomic_write(folder / name, buffer.getvalue())
    write_json(folder / POINTER, {"file": name, "sha256": digest, **about})
    for old in folder.glob("checkpoint-*.pt"):
        if old.name != name:
            old.unlink()


def load(folder: Path, identity: dict[str, str]) -> dict[str, Any] | None:
    """The latest checkpoint of a run folder, on the CPU; ``None`` if there is none.

    ``identity`` holds hashes that must equal those of the run that wrote it. Raises ``UserError`` for a damaged file
    (which is left in place) or another identity.
    """
    remove_leftovers(folder)
    if not (folder / POINTER).is_file():
        return None
    pointer = read_json(folder / POINTER)
    try:
        path, digest = folder / Path(pointer["file"]).name, pointer["sha256"]
        found = dict(pointer["identity"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder / POINTER} lacks {error}; delete {folder} to begin the run anew") from error
    for part, value in identity.items():
        if found.get(part) != value:
            raise UserError(
                f"{folder} holds a run with another {part}; continuing would mix the two. Delete the folder to begin "
                "anew, or restore what was changed"
            )
    return load_file(path, digest)


def finish(folder: Path, weights: dict[str, Any]) -> None:
    """Leaves only the weights that were scored, as ``weights.pt``: the run is over, nothing is to be continued."""
    buffer = io.BytesIO()
    torch.save({"model": weights}, buffer)
    atomic_write(folder / WEIGHTS, buffer.getvalue())
    (folder / POINTER).unlink(missing_ok=True)
    for old in folder.glob("checkpoint-*.pt"):
        old.unlink()


def load_file(path: Path, digest: str | None = None) -> dict[str, Any]:
    """Loads a checkpoint file. Raises ``UserError`` if it is missing, differs from ``digest``, or is no checkpoint."""
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}")
    if digest is not None and file_sha256(path) != digest:
        raise UserError(
            f"checkpoint {path} is damaged (its hash differs); it was left in place, delete it to begin anew"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            if (broken := archive.testzip()) is not None:  # torch does not look at the checksums
                raise ValueError(f"{broken} is damaged")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds, all of which mean the same to a user
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path} is not a checkpoint that can be loaded safely ({first[:120]}); it was left in place"
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a checkpoint: it holds a {type(content).__name__}")
    return content
