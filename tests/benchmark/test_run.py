"""The main job from end to end, a plug-in from outside, and what users get wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark import check as check_command
from benchmark import collect, compare, record, report, run
from benchmark import score as score_command
from benchmark.config import from_json, to_json
from benchmark.dataset import Dataset
from benchmark.errors import UserError
from benchmark.flags import configure, resolve

ENV = "distracting_memory_14"
HERE = Path(__file__).parent
DEBUG = ["--env", ENV, "--preset", "debug", "--device", "cpu"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> Path:
    """Records of two backbones, two seeds each, and of a plug-in: a small leaderboard."""
    results = tmp_path_factory.mktemp("results")
    work = tmp_path_factory.mktemp("work")
    sys.path.insert(0, str(HERE))
    for backbone in ("s4wm", "rssm_tbtt", "my_backbone:Config"):
        for seed in ("0", "1"):
            where = ["--results", str(results), "--work", str(work), "--no-report"]
            run.main(["--backbone", backbone, "--seed", seed, *DEBUG, *where])
    report.rebuild(results)
    yield results
    sys.path.remove(str(HERE))


def test_records_say_what_was_spent_and_hold_their_tables(results: Path) -> None:
    loaded, skipped = record.read_all(results)
    assert not skipped
    assert {one.record.backbone for one in loaded} == {
        "s4wm", "rssm_tbtt", "my_backbone:Config", "copy_last_frame", "mean_frame", "oracle_nearest_frame", "chance",
    }  # fmt: skip
    for one in (one for one in loaded if one.record.kind == "backbone"):
        found = one.record
        assert found.spent["stopped_by"] == "frames"
        assert found.spent["frames"] >= found.budget["frames"]
        assert found.cost["peak_gpu_memory_gib"] is None and found.cost["peak_resident_gib"] > 0.05
        assert found.parameters > 1000 and found.state_bytes > 0
        table = one.table(record.PER_EPISODE)
        assert found.metrics["generation_mse"] == pytest.approx(table["generation_mse"].mean())
        assert one.table(record.PER_STEP)["generation"].notna().sum() == 14 // 2 + 1


def test_leaderboard_is_generated_from_records_alone(results: Path, tmp_path: Path) -> None:
    report.check(results)
    copied = tmp_path / "copy"
    shutil.copytree(results / "runs", copied / "runs")
    report.rebuild(copied)
    for name in (f"{ENV}.md", f"{ENV}.csv"):
        assert (copied / "leaderboards" / name).read_bytes() == (results / "leaderboards" / name).read_bytes()
    text = (copied / "leaderboards" / f"{ENV}.md").read_text()
    for name in ("s4wm", "rssm_tbtt", "my_backbone:Config", "*copy_last_frame*", "*mean_frame*"):
        assert name in text
    (results / "leaderboards" / f"{ENV}.md").write_text(text.replace("s4wm", "s5wm", 1))
    with pytest.raises(UserError, match="not what the records say"):
        report.check(results)
    report.rebuild(results)


def test_a_missing_seed_shows_no_number(results: Path, tmp_path: Path) -> None:
    shutil.copytree(results / "runs", tmp_path / "runs")
    shutil.rmtree(next((tmp_path / "runs" / ENV / "s4wm").glob("debug-seed1-*")))
    report.rebuild(tmp_path)
    row = next(
        line for line in (tmp_path / "leaderboards" / f"{ENV}.md").read_text().splitlines() if "| s4wm |" in line
    )
    assert "incomplete 1/2 seeds" in row
    line = next(x for x in (tmp_path / "leaderboards" / f"{ENV}.csv").read_text().splitlines() if ",s4wm," in x)
    assert ",,,," in line and "incomplete" in line


def test_a_diverged_seed_is_shown_and_not_averaged_away(results: Path, tmp_path: Path) -> None:
    shutil.copytree(results / "runs", tmp_path / "runs")
    path = next((tmp_path / "runs" / ENV / "s4wm").glob("debug-seed1-*")) / record.NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | {"status": "diverged"}))
    report.rebuild(tmp_path)
    assert "1 of 2 diverged" in (tmp_path / "leaderboards" / f"{ENV}.md").read_text()


def test_damaged_records_are_left_out_and_named(results: Path, tmp_path: Path) -> None:
    shutil.copytree(results / "runs", tmp_path / "runs")
    folder = next((tmp_path / "runs" / ENV / "rssm_tbtt").glob("debug-seed0-*"))
    table = bytearray((folder / record.PER_EPISODE).read_bytes())
    table[len(table) // 2] ^= 1
    (folder / record.PER_EPISODE).write_bytes(table)
    report.rebuild(tmp_path)
    assert record.PER_EPISODE in (tmp_path / "leaderboards" / "SKIPPED.md").read_text()
    assert "incomplete 1/2 seeds" in (tmp_path / "leaderboards" / f"{ENV}.md").read_text()


def test_figures_and_strips_exist(results: Path) -> None:
    names = {path.name.rsplit("-", 1)[1] for path in (results / "figures").glob("*.png")}
    usual = {"error_by_step.png", "filmstrip.png", "quality_against_cost.png", "speed_and_memory.png"}
    assert names == usual | {"error_by_age.png"}


def test_strip_shows_the_truth(results: Path, data_root: Path) -> None:
    from benchmark import strips

    loaded = next(x for x in record.read_all(results)[0] if x.record.backbone == "s4wm")
    config = resolve("s4wm", ENV, "debug")
    dataset = run.open_dataset(config, None)
    strip = loaded.record.strip
    assert strip is not None
    cut = strips.cut(loaded.folder / record.STRIP, strip)
    for place, episode in enumerate(strip.episodes):
        query = dataset.frames("test", episode, dataset.world.context_length)
        np.testing.assert_array_equal(cut[place, 0], query[list(strip.steps)])


def test_from_record_repeats_the_run(results: Path, tmp_path: Path) -> None:
    loaded = next(x for x in record.read_all(results)[0] if x.record.backbone == "s4wm" and x.record.seed == 1)
    where = ["--results", str(tmp_path / "r"), "--work", str(tmp_path / "w"), "--no-report", "--device", "cpu"]
    run.main(["--from-record", str(loaded.folder / record.NAME), *where])
    again = next(x for x in record.read_all(tmp_path / "r")[0] if x.record.kind == "backbone")
    skip = (*record.VOLATILE, "metrics")
    expected, found = to_json(loaded.record), to_json(again.record)
    assert {k: v for k, v in expected.items() if k not in skip} == {k: v for k, v in found.items() if k not in skip}
    for name, value in loaded.record.metrics.items():
        assert again.record.metrics[name] == (None if value is None else pytest.approx(value, rel=1e-6))


def test_a_plug_in_of_a_record_must_be_named_again(results: Path) -> None:
    loaded = next(x for x in record.read_all(results)[0] if x.record.backbone == "my_backbone:Config")
    path = str(loaded.folder / record.NAME)
    with pytest.raises(UserError, match="name it again"):
        configure(["--from-record", path])
    config, _ = configure(["--from-record", path, "--backbone", "my_backbone:Config"])
    assert config.backbone == "my_backbone:Config"


def test_every_config_survives_json(data_root: Path) -> None:
    import backbones

    for name in backbones.BACKBONES:
        config = resolve(name, ENV, "debug").model
        assert from_json(type(config), json.loads(json.dumps(to_json(config)))) == config


BAD = {
    "backbone": (["--backbone", "s4wn"], "did you mean 's4wm'"),
    "env": (["--backbone", "s4wm", "--env", "distractin_memory_16"], "did you mean 'distracting_memory_16'"),
    "odd width": (["--backbone", "s4wm", "--env", "distracting_memory_15"], "15"),
    "small width": (["--backbone", "s4wm", "--env", "distracting_memory_12"], "14"),
    "preset": (["--backbone", "s4wm", "--preset", "debgu"], "did you mean 'debug'"),
    "flag": (["--backbone", "s4wm", "--preset", "debug", "--budgte.frames", "3"], "did you mean --budget.frames"),
    "budget": (["--backbone", "s4wm", "--preset", "debug", "--budget.frames", "-5"], "-5"),
    "no budget": (["--backbone", "s4wm", "--preset", "debug", "--budget.frames", "None"], "at least one limit"),
    "device": (["--backbone", "s4wm", "--preset", "debug", "--device", "tpu"], "allowed: auto, cpu, cuda"),
    "plug-in": (["--backbone", "nowhere:Config"], "nowhere"),
    "plug-in class": (["--backbone", "json:Config"], "no BackboneConfig class"),
    "record": (["--from-record", "nowhere.json"], "no such file"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_code_2(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, words = BAD[case]
    with pytest.raises(SystemExit) as stop:
        run.main(arguments)
    assert stop.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("taking ")]
    assert len(lines) == 1 and lines[0].startswith("error: ") and words in lines[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--env", ENV, "--episodes", "train=0,val=1,test=1"], "episodes"),
        (["--env", ENV, "--store", "video"], "states, frames"),
        (["--env", "nowhere"], "unknown environment"),
        (["--env", ENV, "--seed", "-1"], "negative"),
        (["--env", ENV, "--out", __file__, "--episodes", "train=1,val=1,test=1"], "a file is in the way"),
        (["--env", ENV, "--out", "/proc/nowhere", "--episodes", "train=1,val=1,test=1"], "cannot create folder"),
    ],
)
def test_bad_input_of_collect(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        collect.main(arguments)
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


def test_wrong_dataset_folder(dataset_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--results", str(tmp_path), "--work", str(tmp_path / "w")]
    for folder, words in ((tmp_path / "none", "no dataset"), (dataset_folder, "is of distracting_memory_14, not of")):
        with pytest.raises(SystemExit) as stop:
            arguments = ["--backbone", "s4wm", "--env", "distracting_memory_16", "--preset", "debug"]
            run.main([*arguments, "--dataset", str(folder), *where])
        assert stop.value.code == 2
        assert words in capsys.readouterr().err


def test_compare_refuses_bad_grids() -> None:
    assert compare.variations(["a=1,2", "b=x"]) == [["--a", "1", "--b", "x"], ["--a", "2", "--b", "x"]]
    for text in ("a", "a=", "=1", "a=1,,2"):
        with pytest.raises(UserError, match="flag=value,value"):
            compare.variations([text])


def test_predictions_from_elsewhere(tmp_path: Path, data_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A perfect prediction scores 0, a constant one what can be worked out by hand."""
    dataset = run.open_dataset(resolve("s4wm", ENV, "debug"), None)
    context, count = dataset.world.context_length, 8
    truth = np.stack([dataset.frames("test", index) for index in range(count)])
    reward = np.array([dataset.trajectory("test", index).reward[-1] for index in range(count)])
    common = ["--env", ENV, "--preset", "debug", "--results", str(tmp_path / "r")]
    perfect = {"episode": np.arange(count), "generation": truth[:, context:], "reward": reward}
    np.savez(tmp_path / "perfect.npz", **perfect, reconstruction=truth[:, 1:])
    score_command.main([*common, "--predictions", str(tmp_path / "perfect.npz")])
    half = np.full_like(truth[:, context:], 0.5, dtype=np.float32)
    order = np.arange(count)[::-1]
    np.savez(tmp_path / "half.npz", episode=order, generation=half)
    score_command.main([*common, "--predictions", str(tmp_path / "half.npz"), "--name", "grey"])
    found = {x.record.backbone: x.record.metrics for x in record.read_all(tmp_path / "r")[0]}
    assert found["perfect"]["generation_mse"] == found["perfect"]["reconstruction_mse"] == 0
    assert found["perfect"]["imagination_reward_accuracy"] == 1
    expected = np.square(truth[:, context:] / 255 - 0.5).sum((2, 3, 4)).mean()
    assert found["grey"]["generation_mse"] == pytest.approx(expected)
    assert "trained elsewhere" in (tmp_path / "r" / "leaderboards" / f"{ENV}.md").read_text()


BAD_ARRAYS = {
    "no generation": (lambda a: a.pop("generation"), r"no array 'generation'"),
    "short": (lambda a: a.update(generation=a["generation"][:, :-1]), r"must be \(8, 8, 40, 40, 3\), given \(8, 7,"),
    "other size": (lambda a: a.update(generation=a["generation"][:, :, :32]), r"given \(8, 8, 32, 40, 3\)"),
    "twice": (lambda a: a.update(episode=np.zeros(8, int)), r"each of the test episodes 0\.\.7 once"),
    "not finite": (lambda a: a.update(generation=a["generation"] * np.float32("nan")), "not finite"),
    "objects": (lambda a: a.update(generation=np.array([None], object)), "without objects"),
    "integers": (lambda a: a.update(generation=a["generation"].astype(np.int64)), "uint8 or floats"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_predictions_name_expected_and_given(case: str, tmp_path: Path, data_root: Path) -> None:
    dataset = run.open_dataset(resolve("s4wm", ENV, "debug"), None)
    arrays = {"episode": np.arange(8), "generation": np.zeros((8, 8, 40, 40, 3), np.uint8)}
    change, words = BAD_ARRAYS[case]
    change(arrays)
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(UserError, match=words):
        score_command.read_predictions(tmp_path / "bad.npz", dataset, 8)


def test_checkpoint_from_elsewhere(tmp_path: Path, results: Path, data_root: Path) -> None:
    config = resolve("s4wm", ENV, "debug")
    dataset = run.open_dataset(config, None)
    model = run.build(config, dataset, torch.device("cpu"))
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    common = ["--env", ENV, "--preset", "debug", "--results", str(tmp_path / "r"), "--checkpoint"]
    score_command.main([*common, str(tmp_path / "weights.pt"), "--backbone", "s4wm", "--name", "untrained"])
    found = next(x.record for x in record.read_all(tmp_path / "r")[0] if x.record.kind == "imported")
    assert found.backbone == "untrained" and found.parameters == sum(p.numel() for p in model.parameters())
    for backbone, path in (("rssm_tbtt", tmp_path / "weights.pt"), ("s4wm", Path(__file__))):
        with pytest.raises(SystemExit) as stop:
            score_command.main([*common, str(path), "--backbone", backbone])
        assert stop.value.code == 2


def test_check_command_speaks_in_words(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_command.main(["my_backbone:Config"])
    assert "all checks passed" in capsys.readouterr().out
    for name in ("my_backbone:Nothing", "my_backbon"):
        with pytest.raises(SystemExit) as stop:
            check_command.main([name])
        assert stop.value.code == 2


def test_readme_shows_the_shortest_backbone() -> None:
    readme = (HERE.parents[1] / "README.md").read_text()
    source = (HERE / "my_backbone.py").read_text()
    assert source in readme, "README.md and tests/benchmark/my_backbone.py must show the same code"
    assert len(source.splitlines()) < 60


def test_code_in_the_current_folder_is_not_run_by_workers(tmp_path: Path, data_root: Path) -> None:
    """A dataset folder of somebody else may hold a numpy.py."""
    (tmp_path / "numpy.py").write_text(f"import os; os.mkdir({str(tmp_path / 'PWNED')!r})")
    command = [sys.executable, "-P", "-m", "benchmark.collect", "--env", ENV, "--episodes", "train=3000,val=1,test=1"]
    environment = os.environ | {"WMBENCH_DATA": str(tmp_path / "data")}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert not (tmp_path / "PWNED").exists()


def test_dataset_keeps_its_memory_bounded(tmp_path: Path) -> None:
    collect.collect(collect.Request(ENV, 0, "frames", {"train": 60, "val": 1, "test": 1}), tmp_path, workers=1)
    dataset = Dataset(tmp_path, cache_bytes=2 * 2**20)
    for index in range(60):
        dataset.frames("train", index)
    held = sum(table.nbytes for table in dataset._cache.values())
    whole = 60 * dataset.world.length * 40 * 40 * 3
    assert held <= 3 * 2**20 < whole / 2
