"""Datasets: deterministic, continued after a kill, refused when damaged, read piece by piece."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import envs
from benchmark import card, collect
from benchmark.dataset import Dataset
from benchmark.errors import UserError
from envs.episode import episode_seeds

ENV = "distracting_memory_14"
SIZES = {"train": 12, "val": 4, "test": 6}


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_same_command_same_bytes(tmp_path: Path, dataset_folder: Path) -> None:
    collect.collect(collect.Request(ENV, 0, "states", SIZES), tmp_path, workers=2)
    assert files_of(tmp_path) == files_of(dataset_folder)


@pytest.mark.parametrize("store", ["states", "frames"])
def test_frames_are_those_of_the_environment(tmp_path: Path, store: str) -> None:
    collect.collect(collect.Request(ENV, 3, store, {"train": 2, "val": 1, "test": 1}), tmp_path, workers=1)
    dataset = Dataset(tmp_path, ENV)
    spec = envs.spec(ENV)
    for split, index in (("train", 1), ("test", 0)):
        expected = envs.simulate(spec, [episode_seeds(3, split, index)])[0]
        found = dataset.trajectory(split, index)
        np.testing.assert_array_equal(dataset.frames(split, index), envs.render(spec, expected))
        np.testing.assert_array_equal(found.previous_action, expected.previous_action)
        np.testing.assert_array_equal(found.reward, expected.reward)


@pytest.mark.mujoco
def test_episodes_with_scenes_of_unlike_sizes_are_read_back(tmp_path: Path) -> None:
    """Mazes have more walls or fewer."""
    pytest.importorskip("mujoco", reason="Memory Maze needs the mujoco extra")
    pytest.importorskip("labmaze", reason="Memory Maze needs the mujoco extra")
    name, sizes = "memory_maze_9x9", {"train": 3, "val": 1, "test": 1}
    collect.collect(collect.Request(name, 0, "states", sizes), tmp_path, workers=1)
    dataset, spec = Dataset(tmp_path), envs.spec(name)
    made = envs.simulate(spec, [episode_seeds(0, "train", index) for index in range(3)])
    assert len({len(episode.scene["faces"]) for episode in made}) > 1, "equal mazes would show nothing"
    for index, expected in enumerate(made):
        found = dataset.trajectory("train", index)
        for part in ("state", "scene"):
            for column, value in getattr(expected, part).items():
                np.testing.assert_array_equal(getattr(found, part)[column], value)
        assert dataset.render(found).shape == (spec.length, 64, 64, 3)


def test_any_piece_equals_that_piece_of_the_whole(dataset: Dataset, tmp_path: Path) -> None:
    one_each = {"train": 1, "val": 1, "test": 1}
    collect.collect(collect.Request("distracting_memory_60", 0, "frames", one_each), tmp_path, 1)
    long = Dataset(tmp_path)
    assert long.world.length > collect.FRAMES_PER_ROW, "one row would not test the seams"
    whole = long.frames("train", 0)
    for start, stop in ((0, 1), (99, 101), (100, 150), (37, long.world.length)):
        np.testing.assert_array_equal(long.frames("train", 0, start, stop), whole[start:stop])
    states = dataset.trajectory("val", 2)
    piece = dataset.trajectory("val", 2, 5, 11)
    np.testing.assert_array_equal(piece.state["tiles"], states.state["tiles"][5:11])


def test_splits_are_disjoint(dataset: Dataset) -> None:
    table = dataset.episodes_table()
    assert len(table) == sum(SIZES.values())
    assert not table.duplicated(["env_seed", "policy_seed"]).any()


def test_a_killed_collect_continues_to_the_same_bytes(tmp_path: Path) -> None:
    """SIGKILL in the middle, run again, compare with a run that was not disturbed."""
    command = [sys.executable, "-m", "benchmark.collect", "--env", ENV, "--episodes", "train=3000,val=1500,test=1500"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen([*command, "--out", killed], start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(killed.glob("*.parquet.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / "manifest.json").exists(), "it was done before the kill; the test proves nothing"
    with pytest.raises(UserError, match="incomplete"):
        Dataset(killed, ENV)
    again = subprocess.run([*command, "--out", killed], capture_output=True, text=True, check=True)
    assert "continuing" in again.stderr
    subprocess.run([*command, "--out", whole], check=True, capture_output=True)
    assert files_of(killed) == files_of(whole)


@pytest.fixture
def copy(dataset_folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(dataset_folder, tmp_path / "copy")
    return tmp_path / "copy"


def test_every_flipped_byte_of_a_shard_is_noticed(copy: Path) -> None:
    shard = next(copy.glob("train-*.parquet"))
    good = shard.read_bytes()
    for position in range(0, len(good), max(1, len(good) // 60)):
        bad = bytearray(good)
        bad[position] ^= 1
        shard.write_bytes(bad)
        with pytest.raises(UserError, match=shard.name):
            Dataset(copy, ENV)
    shard.write_bytes(good)
    Dataset(copy, ENV)


@pytest.mark.parametrize("damage", ["truncated", "extended", "missing", "swapped", "link"])
def test_damaged_files_are_named(copy: Path, damage: str) -> None:
    shard, other = next(copy.glob("train-*.parquet")), next(copy.glob("test-*.parquet"))
    if damage == "truncated":
        shard.write_bytes(shard.read_bytes()[:-1])
    elif damage == "extended":
        shard.write_bytes(shard.read_bytes() + b"x")
    elif damage == "missing":
        shard.unlink()
    elif damage == "swapped":
        shard.write_bytes(other.read_bytes())
    else:
        target = shard.rename(copy / "elsewhere")
        shard.symlink_to(target)
    with pytest.raises(UserError, match=shard.name):
        Dataset(copy, ENV)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(seed=5), "changed"),
        (lambda m: m.update(schema=99), "schema"),
        (lambda m: m.pop("shards"), "field"),
        (lambda m: m["shards"][0].update(name="../../etc/passwd"), "file"),
        (lambda m: m["columns"]["reward"].update(dtype="object"), "dtype"),
    ],
)
def test_a_changed_manifest_is_refused(copy: Path, change, words: str) -> None:
    path = copy / "manifest.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
    with pytest.raises(UserError, match=words):
        Dataset(copy, ENV)


def test_refusals_of_folders(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no dataset"):
        Dataset(tmp_path / "nowhere", ENV)
    with pytest.raises(UserError, match=r"is of distracting_memory_14, not of distracting_memory_16"):
        Dataset(copy, "distracting_memory_16")
    with pytest.raises(UserError, match="another request"):
        collect.collect(collect.Request(ENV, 1, "states", SIZES), copy)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "x.parquet").write_bytes(b"x")
    with pytest.raises(UserError, match="something else"):
        collect.collect(collect.Request(ENV, 1, "states", SIZES), foreign)


COUNTS = ["train=1", "train=1,val=1,test=0", "train=-3,val=1,test=1", "train=a,val=1,test=1", "x=1"]


@pytest.mark.parametrize("text", [*COUNTS, "train=1,train=1,val=1,test=1"])
def test_episode_counts_that_make_no_sense(text: str) -> None:
    with pytest.raises(UserError, match="episodes"):
        collect.parse_episodes(text, envs.spec(ENV))


def test_options_of_the_environment_are_kept_in_the_manifest(tmp_path: Path) -> None:
    sizes = {"train": 3, "val": 1, "test": 1}
    collect.collect(collect.Request(ENV, 0, "states", sizes, {"distractor_density": 0.0}), tmp_path, workers=1)
    dataset = Dataset(tmp_path, ENV)
    assert dataset.manifest.options == {"distractor_density": 0.0}
    plain = envs.simulate(envs.spec(ENV), [episode_seeds(0, "train", 0)])[0]
    assert (dataset.trajectory("train", 0).state["tiles"] != plain.state["tiles"]).any()
    with pytest.raises(UserError, match="no option 'density'"):
        collect.request_of(collect.CollectOptions(env=ENV, options='{"density": 1}'))
    with pytest.raises(UserError, match="not JSON"):
        collect.request_of(collect.CollectOptions(env=ENV, options="density=1"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"env": "vanished_14"}, "unknown environment 'vanished_14'"),
        ({"options": {"density": 0.5}}, "no option 'density'"),
    ],
)
def test_frames_outlive_their_environment_and_states_do_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, object], words: str
) -> None:
    opened = {}
    for store in ("states", "frames"):
        request = collect.Request(ENV, 0, store, {"train": 2, "val": 1, "test": 1})
        made = collect.collect(request, tmp_path / store, workers=1)
        opened[store] = Dataset(tmp_path / store)
        assert opened[store].env == envs.spec(ENV)
        dataclasses.replace(made, **change).write(tmp_path / store)
    capsys.readouterr()
    with pytest.raises(UserError, match=words):
        Dataset(tmp_path / "states")
    orphan = Dataset(tmp_path / "frames")
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1
    assert orphan.env is None
    np.testing.assert_array_equal(orphan.frames("train", 1), opened["states"].frames("train", 1))


def test_card_says_what_the_data_is(copy: Path) -> None:
    card.write(copy)
    text = (copy / card.CARD).read_text()
    for words in ("27 of context, 8 of query", "| train | 12 | 420 |", "forward", "benchmark.collect"):
        assert words in text
    assert (copy / card.STRIP).stat().st_size > 500 and (copy / card.PREVIEW).stat().st_size > 5000
    Dataset(copy, ENV)
