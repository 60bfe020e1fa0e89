"""Files appear whole or not at all, and what is read is read strictly."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark import files
from benchmark.errors import UserError

PACKAGE = Path(files.__file__).parent


def test_atomic_write_replaces_and_returns_the_hash(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    files.atomic_write(path, b"old")
    digest = files.atomic_write(path, b"new content")
    assert path.read_bytes() == b"new content"
    assert digest == files.file_sha256(path) == files.sha256(b"new content")
    assert list(tmp_path.iterdir()) == [path]


def test_killed_at_every_operation_leaves_old_or_new_never_a_mix(tmp_path: Path, die_at: Callable[[int], None]) -> None:
    """Enumerates kill points: before and after each call that changes the disk."""
    path = tmp_path / "a.bin"
    old, new = b"old" * 1000, b"new" * 2000
    points = 0
    while True:
        points += 1
        path.write_bytes(old)
        child = os.fork()
        if child == 0:
            die_at(points)
            files.atomic_write(path, new)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        assert path.read_bytes() in (old, new)
        files.remove_leftovers(tmp_path)
        assert list(tmp_path.iterdir()) == [path], "a temporary file survived"
        if status == 0:
            break
    assert points > 8, "the hooks saw too few operations to prove anything"


def test_file_is_synced_before_it_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without that order a power failure can leave a torn file under its final name."""
    calls: list[str] = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, _n=name, _r=real: (calls.append(_n), _r(*a))[1])
    files.atomic_write(tmp_path / "a.bin", b"x")
    assert calls == ["fsync", "replace", "fsync"]


def test_a_full_disk_is_one_line_with_path_and_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(UserError, match=r"a\.bin.*No space left.*1000 bytes needed"):
        files.atomic_write(path, b"x" * 1000)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:3]))
    files.atomic_write(tmp_path / "a.bin", b"0123456789")
    assert (tmp_path / "a.bin").read_bytes() == b"0123456789"


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '{"a": NaN}', '{"a": Infinity}', "{", "\x00", "[" * 100_000])
def test_bad_json_is_refused_by_name_and_left_in_place(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(UserError, match="bad.json"):
        files.read_json(path)
    assert path.read_text() == text


def test_folder_path_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    with pytest.raises(UserError, match="a file is in the way"):
        files.make_folder(tmp_path / "f")


WRITERS = (".write_text(", ".write_bytes(", ".tofile(", "np.save", ".to_csv(", "os.O_WRONLY", "os.O_RDWR")
LOADERS = ("import pickle", "allow_pickle=True", "weights_only=False")
ALLOWED = {
    "benchmark/files.py": {"os.O_WRONLY", "open(..., 'a')"},  # the one way, and a lock
    "envs/preview.py": {"open(..., 'xb')"},  # its own atomic write, since envs may not import ours
    "envs/rooms/probe.py": {"np.save"},  # into a temporary folder, for the process that started it
}


def banned(code: str) -> set[str]:
    """Ways to write a file, to unpickle, and to run text, in Python source."""
    found = {word for word in WRITERS + LOADERS if word in code}
    for call in (node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)):
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        values = [*call.args, *(keyword.value for keyword in call.keywords)]
        modes = [value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)]
        if name == "open":
            found |= {f"open(..., {mode!r})" for mode in modes if re.fullmatch("[rwaxbt+]*[wax+][rwaxbt+]*", mode)}
        if isinstance(call.func, ast.Name) and name in ("eval", "exec"):
            found.add(name)
    return found


def test_no_other_way_of_writing_in_our_packages() -> None:
    """All writes go through ``atomic_write``, nothing is unpickled, no text becomes code."""
    root = PACKAGE.parent
    paths = [
        path for name in ("envs", "scripted_policies", "backbones", "benchmark") for path in (root / name).rglob("*.py")
    ]
    found = {path.relative_to(root).as_posix(): banned(path.read_text()) for path in paths}
    assert {path: ways for path, ways in found.items() if ways} == ALLOWED


@pytest.mark.parametrize(
    "code",
    [
        'path.open("wb")',
        'open(str(path), "w")',
        'path.open(mode="x")',
        'io.open(path, "r+b")',
        'path.write_bytes(b"")',
        "np.savez(path, a=a)",
        "exec(text)",
        "eval(text)",
        "import pickle",
    ],
)
def test_the_ban_sees(code: str) -> None:
    assert banned(code)


@pytest.mark.parametrize("code", ['path.open("rb")', "path.open()", 'Image.open("wax.png")', "model.eval()"])
def test_the_ban_lets_pass(code: str) -> None:
    assert not banned(code)
