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
        "machine_info": {"machine": "x86_64", "cpu": {"brand_raw": "A CPU"}},
        "commit_info": {"id": "0123456789abcdef", "dirty": False},
        "peers": {"peer": "1.0"},
        "skipped": ["other is not installed"],
        "selected": "",
        "benchmarks": [
            {
                "group": contest,
                "extra_info": {
                    **{"contender": name, "role": role, "target": target, "items": items},
                    **{"note": f"About {contest}.", "peak_bytes": 3 << 20},
                },
                "stats": {"median": median, "q1": 0.9 * median, "q3": 1.1 * median, "rounds": 7},
            }
            for contest, name, role, median, target, items in rows
        ],
    }


def test_ratios_and_targets_are_those_of_each_contest(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    measured = tmp_path / "run.json"
    rows = [
        ("A", "fast", "ours", 0.01, None, None),
        ("A", "slow", "slow twin", 0.04, 3.0, None),
        ("A", "p", "peer", 0.011, 1.0, None),
        ("A", "q", "peer", 0.02, 3.0, None),
    ]
    measured.write_text(json.dumps(run(*rows, ("B", "b", "ours", 2.0, None, 50))))
    main([str(measured), "--results", str(tmp_path / "out")])
    text = (tmp_path / "out" / TABLE).read_text()
    assert capsys.readouterr().out.strip() == text.strip()
    assert "| ours | fast | 10 (9 to 11) | 3 | 1.00x |  |" in text
    assert "| slow twin | slow | 40 (36 to 44) | 3 | 4.00x | 3x, met |" in text
    assert "| peer | p | 11 (9.9 to 12.1) | 3 | 1.10x | 1x, level |" in text
    assert "| peer | q | 20 (18 to 22) | 3 | 2.00x | 3x, missed |" in text
    assert text.index("About A.") < text.index("| ours | fast |") < text.index("About B.")
    assert "| ours | b | 2,000 (1,800 to 2,200), 25 frames/s | 3 | 1.00x |  |" in text
    assert "A CPU, one thread" in text and "commit 0123456789ab." in text and "- other is not installed" in text
    assert read(measured) == json.loads((tmp_path / "out" / MEASUREMENTS).read_text())


def refused(folder: Path, changed: dict, match: str) -> None:
    path = folder / "run.json"
    path.write_text(json.dumps(changed))
    with pytest.raises(UserError, match=match):
        read(path)


def test_what_is_no_run_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="no measurements at .*make bench"):
        read(tmp_path / "none.json")
    whole = run(("A", "fast", "ours", 0.01, None, None), ("A", "slow", "slow twin", 0.1, None, None))
    refused(tmp_path, whole | {"selected": "s4"}, "only what -k 's4' chose")
    refused(tmp_path, whole | {"benchmarks": whole["benchmarks"][1:]}, "lacks our own time of 'A'")
    del whole["benchmarks"][0]["extra_info"]["role"]
    refused(tmp_path, whole, "not the JSON of `make bench`.*role")
    (tmp_path / "torn.json").write_text("{")
    with pytest.raises(UserError, match="torn.json"):
        read(tmp_path / "torn.json")


def test_the_committed_table_is_what_its_measurements_say():
    assert (COMMITTED / TABLE).read_text() == table(json.loads((COMMITTED / MEASUREMENTS).read_text()))
