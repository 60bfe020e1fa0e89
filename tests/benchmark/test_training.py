"""Budgets, order of data, and runs that are killed and continued."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from benchmark import checkpoint, states
from benchmark.budget import BudgetMeter
from benchmark.config import Budget
from benchmark.dataset import Dataset
from benchmark.errors import UserError
from benchmark.flags import parse_flags, resolve
from benchmark.loader import BatchMaker, EpisodeOrder, Schedule
from benchmark.train import Trainer

ENV = "distracting_memory_14"


def test_every_episode_comes_once_an_epoch() -> None:
    order = EpisodeOrder(10, seed=3)
    epochs = [[order(10 * epoch + place) for place in range(10)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert order(4) == epochs[0][4], "going back must give the same"


def test_chunks_walk_through_each_episode() -> None:
    config = resolve("rssm_tbtt", ENV, "debug").model
    length = 35
    schedule = Schedule(config, length, episodes=12, seed=0)
    covered: dict[int, list[tuple[int, int]]] = {}
    for update in range(schedule.chunks):
        for episode, start, stop in schedule.pieces(update):
            covered.setdefault(episode, []).append((start, stop))
    assert schedule.chunks > 1
    assert len(covered) == config.training.batch_size
    for pieces in covered.values():
        assert [start for start, _ in pieces] == [0, *[stop for _, stop in pieces[:-1]]]
        assert pieces[-1][1] == length


def test_padding_is_marked_and_only_real_frames_count(dataset: Dataset) -> None:
    length = dataset.world.length
    ends = [(0, length - 3, length), (1, length - 3, length)]
    batch = BatchMaker(dataset, torch.device("cpu"))("train", ends, pad_to=8)
    assert batch.shape == (2, 8)
    assert batch.valid.tolist() == [[True] * 3 + [False] * 5] * 2
    assert batch.final.nonzero().tolist() == [[0, 2], [1, 2]]
    assert not batch.starts.any()
    whole = BatchMaker(dataset, torch.device("cpu")).episodes("train", [0, 1])
    torch.testing.assert_close(batch.observation[:, :3], whole.observation[:, -3:])
    assert whole.starts.all()
    assert whole.previous_action[:, 0].tolist() == [-1, -1]
    assert whole.final.nonzero().tolist() == [[0, length - 1], [1, length - 1]]


def test_batches_show_what_the_environment_rendered(dataset: Dataset) -> None:
    batch = BatchMaker(dataset, torch.device("cpu")).episodes("val", [1])
    expected = dataset.frames("val", 1)
    np.testing.assert_array_equal(batch.observation[0].movedim(1, -1).numpy(), expected)


@pytest.mark.parametrize(("limit", "value"), [("frames", 100), ("updates", 4), ("minutes", 0.5)])
def test_budget_stops_where_it_says(limit: str, value: float) -> None:
    meter = BudgetMeter(Budget(**{limit: value}))
    while meter.stopped_by is None:
        meter.spend(30, 10.0)
    assert meter.stopped_by == limit
    assert meter.updates == {"frames": 4, "updates": 4, "minutes": 3}[limit]
    assert meter.fraction == 1.0


@pytest.mark.parametrize("value", [0, -1])
def test_budgets_that_make_no_sense(value: int) -> None:
    with pytest.raises(ValueError, match=f"frames is {value}"):
        Budget(frames=value)
    with pytest.raises(ValueError, match="at least one limit"):
        Budget()


def test_learning_rate_follows_the_budget() -> None:
    meter = BudgetMeter(Budget(updates=1000))
    constant, cosine = [], []
    while meter.stopped_by is None:
        constant.append(meter.learning_rate_factor("constant", 1000))
        cosine.append(meter.learning_rate_factor("cosine", 1000))
        meter.spend(1, 0.0)
    assert constant[0] < 0.01 and np.all(np.diff(constant[:50]) > 0)
    assert constant[50:] == [1.0] * 950, "warm-up is at most 5 % of the budget"
    assert cosine[-1] < 1e-4 and cosine[500] == pytest.approx(0.5, abs=0.01)


def test_states_are_cut_joined_and_weighed() -> None:
    state = {"a": torch.arange(6.0).view(3, 2), "b": (torch.ones(3, 1), 5)}
    pieces = [states.rows(state, 0, 1), states.rows(state, 1, 3)]
    again = states.joined(pieces)
    torch.testing.assert_close(again["a"], state["a"])
    assert again["b"][1] == 5
    assert states.state_bytes(state, batch_size=3) == 12


@pytest.mark.parametrize("backbone", ["s4wm", "rssm_tbtt"])
def test_accumulation_gives_the_same_gradient(backbone: str, dataset: Dataset, tmp_path: Path) -> None:
    """Modes instead of samples and all frames decoded, so that nothing is random; no reward head, since its running
    statistics see the parts one after the other."""
    world = dataclasses.replace(dataset.world, has_reward=False)
    gradients = []
    for accumulate in (1, 2):
        flags = ["--model.training.accumulate", str(accumulate), "--model.decode-fraction", "1.0"]
        config, _ = parse_flags(resolve(backbone, ENV, "debug"), flags)
        torch.manual_seed(0)
        model = config.model.build(world)
        trainer = Trainer(config, model, dataset, torch.device("cpu"), tmp_path / str(accumulate), {})
        trainer.backward(trainer.batch(0), None)
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name in gradients[0]:
        torch.testing.assert_close(gradients[0][name], gradients[1][name], rtol=1e-4, atol=1e-4, msg=name)


def run_command(tmp_path: Path, *more: str) -> list[str]:
    fixed = ["--backbone", "rssm_tbtt", "--env", ENV, "--preset", "debug"]
    fixed += ["--device", "cpu", "--threads", "1", "--no-report"]
    return [
        sys.executable, "-m", "benchmark.run", *fixed, "--budget.frames", "14000", "--train.checkpoint-seconds", "0.2",
        "--train.validations", "4", "--results", str(tmp_path / "results"), "--work", str(tmp_path / "work"), *more,
    ]  # fmt: skip


def record_tables(tmp_path: Path) -> dict[str, pd.DataFrame]:
    folder = next((tmp_path / "results").glob("runs/*/rssm_tbtt/*"))
    return {name: pd.read_parquet(folder / name) for name in ("curve.parquet", "per_episode.parquet")}


def test_a_killed_run_continues_with_the_same_curve(tmp_path: Path, data_root: Path) -> None:
    """SIGKILL in mid-training; curve and scores equal those of a run that was not disturbed."""
    environment = os.environ | {"WMBENCH_DATA": str(data_root)}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(run_command(whole), check=True, env=environment, capture_output=True)
    silent = {"stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    process = subprocess.Popen(run_command(killed), env=environment, **silent)
    deadline = time.monotonic() + 120
    while not list(killed.glob("work/**/checkpoint.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not list(killed.glob("results/runs/*/rssm_tbtt/*/record.json")), "it was done before the kill"
    subprocess.run(run_command(killed), check=True, env=environment, capture_output=True)
    expected, found = record_tables(whole), record_tables(killed)
    for name in expected:
        pd.testing.assert_frame_equal(found[name], expected[name], check_exact=True)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    content = {"model": {"w": torch.ones(100)}, "curve": [{"loss": 1.0}]}
    checkpoint.save(tmp_path, content, {"updates": 3, "identity": {"code": "a"}})
    return tmp_path


def test_checkpoint_round_trip(saved: Path) -> None:
    found = checkpoint.load(saved, {"code": "a"})
    assert found is not None
    torch.testing.assert_close(found["model"]["w"], torch.ones(100))
    checkpoint.save(saved, found, {"updates": 4, "identity": {"code": "a"}})
    assert [path.name[:20] for path in saved.glob("*.pt")] == ["checkpoint-000000004"]


def test_a_checkpoint_killed_anywhere_can_be_loaded(saved: Path, die_at: Callable[[int], None]) -> None:
    """The second save is at the same update as the first, as the last two of a run often are."""
    points = 0
    while True:
        points += 1
        checkpoint.save(saved, {"curve": [1.0]}, {"updates": 3, "identity": {}})
        child = os.fork()
        if child == 0:
            die_at(points)
            checkpoint.save(saved, {"curve": [2.0]}, {"updates": 3, "identity": {}})
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        found = checkpoint.load(saved, {})
        assert found is not None and found["curve"] in ([1.0], [2.0])
        if status == 0:
            break
    assert points > 16, "the hooks saw too few operations to prove anything"


def test_damaged_checkpoints_are_named_and_left(saved: Path) -> None:
    path = next(saved.glob("*.pt"))
    bad = bytearray(path.read_bytes())
    bad[len(bad) // 2] ^= 1
    path.write_bytes(bad)
    with pytest.raises(UserError, match=rf"{path.name} is damaged"):
        checkpoint.load(saved, {"code": "a"})
    assert path.read_bytes() == bytes(bad)


def test_a_checkpoint_of_other_code_is_not_continued(saved: Path) -> None:
    with pytest.raises(UserError, match="another code"):
        checkpoint.load(saved, {"code": "b"})


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "PWNED"),)

    torch.save({"model": Harmful()}, tmp_path / "evil.pt")
    with pytest.raises(UserError, match=r"evil\.pt"):
        checkpoint.load_file(tmp_path / "evil.pt")
    assert not (tmp_path / "PWNED").exists()
