"""The one way in which this package writes files, and careful ways to read them.

A file appears under its final name whole or not at all: temporary name in the same folder, write, fsync, rename,
fsync of the folder. No decision ever depends on a modification time. Nothing read from a file becomes code.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from benchmark.errors import UserError

MAX_JSON_BYTES = 64 * 2**20
_TEMPORARY = ".tmp-"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_folder(path: Path) -> Path:
    """Creates a folder and its parents. Raises ``UserError`` where that is impossible."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"{path} cannot be a folder: a file is in the way; choose another path") from error
    except OSError as error:
        raise UserError(
            f"cannot create folder {path}: {error.strerror}; choose a path that you may write to"
        ) from error
    return path


def atomic_write(path: Path, data: bytes) -> str:
    """Writes ``data`` to ``path`` and returns its sha256. The folder must exist.

    Raises ``UserError`` with the path, the bytes needed and the bytes free where the system refuses.
    """
    temporary = path.parent / f".{path.name}{_TEMPORARY}{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        try:
            view = memoryview(data)
            while view:  # a write may be short
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        free = shutil.disk_usage(path.parent).free if path.parent.is_dir() else 0
        raise UserError(
            f"cannot write {path}: {error.strerror} ({len(data)} bytes needed, {free} free there)"
        ) from error
    return sha256(data)


def sync_folder(folder: Path) -> None:
    """Makes renames in ``folder`` survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Deletes temporary files that a killed process of this host left behind."""
    marker = f"{_TEMPORARY}{socket.gethostname()}-"
    for path in folder.glob(f".*{marker}*"):
        owner = int(path.name.rpartition(marker)[2].split("-")[0])
        if not Path(f"/proc/{owner}").exists():
            path.unlink(missing_ok=True)


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Nobody else works in ``folder`` meanwhile. Raises ``UserError`` if somebody does."""
    with (folder / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"another process works in {folder}; wait for it or stop it") from error
        yield


def canonical_json(value: Any) -> bytes:
    """JSON with one spelling for one value, for hashes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def write_json(path: Path, value: Any) -> str:
    """Pretty JSON, atomically; returns its sha256."""
    return atomic_write(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Strict JSON: no duplicate keys, no NaN. Raises ``UserError`` that names the file."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        if len(keys) != len(set(keys)):
            raise ValueError("a key stands there twice")
        return dict(pairs)

    def no_constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is no JSON number")

    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ValueError(f"larger than {MAX_JSON_BYTES} bytes")
        return json.loads(path.read_text("utf-8"), object_pairs_hook=unique, parse_constant=no_constant)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not a valid JSON file ({error}); it was left in place") from error
