"""Trains a backbone on a dataset within a budget, scores it, and writes its record.

    python -m benchmark.run --backbone s4wm
    python -m benchmark.run --backbone s4wm --env distracting_memory_16 --preset debug --seed 1 --model.width 64
    python -m benchmark.run --from-record results/runs/.../record.json

With no other flag the environment and the preset follow from the machine: distracting_memory_100 and 'standard' on a
GPU, the quickstart's on a CPU. A run that was killed continues; a run that is done is only shown.
"""

from __future__ import annotations

import datetime
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import envs
from backbones.interface import WorldModel
from benchmark import baseline_records, card, checkpoint, collect, cost, machine, metrics, record, strips
from benchmark.config import RunConfig, to_json
from benchmark.dataset import Dataset
from benchmark.errors import command, user_input
from benchmark.files import canonical_json, make_folder, only_one, sha256
from benchmark.flags import Where, configure, variant
from benchmark.loader import BatchMaker
from benchmark.open_loop import score
from benchmark.report import print_row, rebuild
from benchmark.tables import per_episode, per_step
from benchmark.train import TrainResult, train


def open_dataset(config: RunConfig, given: Path | None) -> Dataset:
    """Opens the dataset of a run; makes it if it is not there and no folder was given."""
    if given is not None:
        return Dataset(given, config.data.env)
    spec = envs.spec(config.data.env)
    sizes = collect.parse_episodes(config.data.episodes, spec)
    request = collect.Request(spec.name, config.data.seed, "states", sizes)
    folder = collect.folder_of(request)
    if not (folder / "manifest.json").is_file():
        print(collect.estimate(request), file=sys.stderr)
        collect.collect(request, folder)
        card.write(folder)
    return Dataset(folder, config.data.env)


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def build(config: RunConfig, dataset: Dataset, device: torch.device) -> WorldModel:
    """The model, initialised from the run's seed."""
    torch.manual_seed(config.seed)
    with user_input():
        return config.model.build(dataset.world).to(device)


def execute(config: RunConfig, where: Where) -> record.Loaded:
    """The whole run. Returns the record, which may have been there already."""
    if where.threads < 0:
        raise UserError(f"threads {where.threads}; give 0 (torch's own choice) or more")
    if where.threads:
        torch.set_num_threads(where.threads)
    device = machine.device(where.device)
    dataset = open_dataset(config, where.dataset)
    if where.dataset_digest not in (None, dataset.digest):
        raise UserError(
            f"the dataset at {dataset.folder} has digest {dataset.digest[:16]}, the record's run had "
            f"{str(where.dataset_digest)[:16]}; give the folder of that one with --dataset"
        )
    if dataset.count("test") < 2:
        raise UserError(f"{dataset.folder} has one test episode; the wrong-context control needs two")
    code = machine.code_digest([type(config.model).__module__])
    settings = sha256(canonical_json(what_matters(config)))
    identity = {"configuration": settings, "dataset": dataset.digest, "code": code, "device": device.type}
    run_id = f"{config.preset}-seed{config.seed}-{sha256(canonical_json([settings, dataset.digest]))[:8]}"
    label = config.backbone.replace(":", ".")
    folder = where.results / "runs" / config.data.env / label / run_id
    if (folder / record.NAME).is_file() and not where.again:
        done = record.read(folder)
        if done.code_digest == code:
            print(f"already done: {folder} (run with --again to repeat it)", file=sys.stderr)
            return record.Loaded(done, folder)
    started = now()
    baseline = baseline_records.ensure(dataset, config, where.results)
    model = build(config, dataset, device)
    work = make_folder(where.work / config.data.env / label / f"{run_id}-code{code[:8]}")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with only_one(work):
        result = train(config, model, dataset, device, work, identity)
        memory = machine.peak_memory_bytes(device)
        finished = _finish(config, dataset, model, device, result, run_id, code, memory, started, folder, baseline)
        checkpoint.finish(work, model.state_dict())
    return record.Loaded(finished, folder)


def what_matters(config: RunConfig) -> dict[str, Any]:
    """A configuration without what changes neither training nor scores."""
    value = to_json(config)
    for part, name in (("score", "batch_size"), ("score", "decode_frames"), ("train", "checkpoint_seconds")):
        del value[part][name]
    return value


def _finish(
    config: RunConfig,
    dataset: Dataset,
    model: WorldModel,
    device: torch.device,
    result: TrainResult,
    run_id: str,
    code: str,
    memory: dict[str, float | None],
    started: str,
    folder: Path,
    baseline: baseline_records.Baselines,
) -> record.RunRecord:
    maker = BatchMaker(dataset, device)
    print(f"scoring {config.backbone}", file=sys.stderr)
    scores = score(model, maker, "test", config.score, config.seed)
    episodes = per_episode(scores)
    speed = cost.imagination(model, maker, min(config.score.batch_size, 32), config.score.decode_frames)
    state_bytes = int(speed.pop("state_bytes"))
    strip, picture = (None, None) if baseline.strip is None else strips.draw(model, maker, baseline.strip, config.seed)
    seconds = result.meter.seconds or float("nan")
    per_second = result.meter.frames / seconds
    finite = bool(np.isfinite(episodes["generation_mse"]).all())
    whole = record.RunRecord(
        run_id=run_id,
        kind="backbone",
        backbone=config.backbone,
        variant=variant(config),
        env=config.data.env,
        preset=config.preset,
        seed=config.seed,
        dataset_digest=dataset.digest,
        dataset_episodes=dataset.manifest.episodes,
        metric_version=metrics.VERSION,
        scored_episodes=len(episodes),
        status="completed" if finite and result.status == "completed" else "diverged",
        reason="" if result.status == "completed" else f"stopped at update {result.meter.updates}: {result.stopped_by}",
        config=to_json(config),
        code_digest=code,
        parameters=cost.parameters(model),
        state_bytes=state_bytes,
        metrics={name: metrics.cell(metric, episodes) for name, metric in metrics.METRICS.items()},
        cost={
            "train_frames_per_second": per_second,
            "train_episodes_per_second": per_second / dataset.world.length,
            **speed,
            **memory,
        },
        spent={
            "frames": result.meter.frames,
            "updates": result.meter.updates,
            "train_seconds": result.meter.seconds,
            "stopped_by": result.stopped_by,
            "best_updates": result.best_updates,
            "best_validation_mse": result.best_validation,
        },
        device=machine.device_name(device),
        versions=machine.versions(),
        git=machine.git(),
        strip=strip,
        started=started,
        ended=now(),
    )
    tables = {
        record.PER_EPISODE: episodes,
        record.PER_STEP: per_step(scores, dataset.world),
        record.CURVE: curve_table(result),
        **scores.tables,
    }
    return record.write(folder, whole, tables, picture)


def curve_table(result: TrainResult) -> pd.DataFrame:
    """Training curve by updates and frames."""
    return pd.DataFrame(result.curve).drop(columns="seconds", errors="ignore")


@command
def main(arguments: list[str]) -> None:
    config, where = configure(arguments)
    loaded = execute(config, where)
    if where.report:
        rebuild(where.results)
    print_row(loaded)
    print(f"record: {loaded.folder / record.NAME}")


if __name__ == "__main__":
    main()
