"""The table of `make bench`, from a run worked out by hand; the committed one is what its measurements say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.speed_table import MEASUREMENTS, TABLE, main, read, table

COMMITTED = Path(__file__).parents[2] / "results" / "bench"


def run(*rows: tuple[str, str, str, float, float | None, int | None]) -> dict:
    return {
        "machine_info": {"cpu": {"brand_raw": "A CPU"}},
        "commit_info": {"id": "0123456789abcdef", "dirty": False},
        "peers": {"peer": "1.0"},
        "skipped": ["other is not installed"],
        "benchmarks": [
            {
                "group": contest,
                "extra_info": {
                    "contender": name,
                    "role": role,
                    "target": target,
                    "items": items,
                    "peak_bytes": 3 * 2**20,
                },
                "stats": {"median": median, "q1": median / 2, "q3": median * 2, "rounds": 7},
            }
            for contest, name, role, median, target, items in rows
        ],
    }


def test_ratios_and_targets_are_those_of_each_contest(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    measured = tmp_path / "run.json"
    rows = [
        ("A", "fast", "ours", 0.01, None, None),
        ("A", "slow", "slow twin", 0.035, 3.0, None),
        ("A", "p", "peer", 0.02, 2.5, None),
    ]
    measured.write_text(json.dumps(run(*rows, ("B", "b", "ours", 2.0, None, 50))))
    main([str(measured), "--results", str(tmp_path / "out")])
    text = (tmp_path / "out" / TABLE).read_text()
    assert capsys.readouterr().out.strip() == text.strip()
    assert "| ours | fast | 10 (5 to 20) | 3 | 1.00x |  |" in text
    assert "| slow twin | slow | 35 (17.5 to 70) | 3 | 3.50x | 3x, met |" in text
    assert "| peer | p | 20 (10 to 40) | 3 | 2.00x | 2.5x, missed |" in text
    assert "| ours | b | 2,000 (1,000 to 4,000), 25 frames/s | 3 | 1.00x |  |" in text
    assert "A CPU, one thread" in text and "commit 0123456789ab." in text and "- other is not installed" in text
    assert read(measured) == json.loads((tmp_path / "out" / MEASUREMENTS).read_text())


def test_what_is_no_run_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="no measurements at .*make bench"):
        read(tmp_path / "none.json")
    partial = run(("A", "fast", "ours", 0.01, None, None))
    del partial["benchmarks"][0]["extra_info"]["role"]
    (tmp_path / "partial.json").write_text(json.dumps(partial))
    with pytest.raises(UserError, match="not the JSON of a whole `make bench`.*role"):
        read(tmp_path / "partial.json")
    (tmp_path / "torn.json").write_text("{")
    with pytest.raises(UserError, match="not the JSON"):
        read(tmp_path / "torn.json")


def test_the_committed_table_is_what_its_measurements_say():
    assert (COMMITTED / TABLE).read_text() == table(json.loads((COMMITTED / MEASUREMENTS).read_text()))
