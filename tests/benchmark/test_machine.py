"""What a record says about where it was made."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark import machine


@pytest.mark.parametrize("name", ["train.py", "open_loop.py", "render_rooms.py", "render_tiles.py", "s4wm.py"])
def test_code_digest_follows_what_a_result_depends_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = machine.code_digest([])
    assert before == machine.code_digest([])
    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: real(path) + (b"#" if path.name == name else b""))
    assert machine.code_digest([]) != before


def test_code_digest_takes_no_notice_of_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    before = machine.code_digest([])
    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: real(path) + (b"#" if path.name == "report.py" else b""))
    assert machine.code_digest([]) == before
