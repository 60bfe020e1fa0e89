"""Scores what was not trained here, so that it can stand in a leaderboard.

    python -m benchmark.score --env distracting_memory_16 --backbone my_module:MyConfig --checkpoint weights.pt
    python -m benchmark.score --env distracting_memory_16 --predictions mine.npz --name my_model

A checkpoint is a ``state_dict`` (or a dict with one under "model") of the named backbone's model. Predictions are an
npz file without pickled objects:

``episode`` (E,) integers, which test episodes, in the order of the other arrays;
``generation`` (E, H, height, width, 3), the imagined query frames, uint8 or floats in [0, 1];
``reward`` (E,) optional, the predicted reward of the last imagined frame;
``reconstruction`` (E, T-1, height, width, 3) optional, frames 1.. after they were seen.
"""

from __future__ import annotations

import dataclasses
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import backbones
import envs
from benchmark import baseline_records, checkpoint, cost, flags, machine, metrics, record, strips
from benchmark.cli import parse
from benchmark.config import RunConfig, to_json
from benchmark.dataset import Dataset
from benchmark.errors import UserError, command, user_input
from benchmark.files import file_sha256
from benchmark.loader import BatchMaker
from benchmark.open_loop import score
from benchmark.report import print_group, rebuild
from benchmark.run import build, now, open_dataset
from benchmark.tables import per_episode, per_step

MAX_ARRAY_BYTES = 64 * 2**30


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """Score a checkpoint or predictions that were made elsewhere."""

    env: str
    preset: str = "quickstart"
    """Whose dataset and test episodes, and whose model size for a checkpoint."""
    backbone: str | None = None
    """For a checkpoint: registered name, or module:Config."""
    checkpoint: Path | None = None
    predictions: Path | None = None
    name: str | None = None
    """Name of the row; the backbone's or the file's if not given."""
    dataset: Path | None = None
    seed: int = 0
    """Seed of the sampled futures."""
    device: str = "auto"
    results: Path = Path("results")


def score_checkpoint(
    options: ScoreOptions, config: RunConfig, dataset: Dataset
) -> tuple[pd.DataFrame, pd.DataFrame, dict]:
    """Tables of a checkpoint, and what a record says of its model."""
    assert options.checkpoint is not None
    device = machine.device(options.device)
    content = checkpoint.load_file(options.checkpoint)
    weights = content.get("model", content)
    model = build(config, dataset, device)
    try:
        model.load_state_dict(weights)
    except (RuntimeError, TypeError, AttributeError) as error:
        detail = " ".join(str(error).split())[:300]
        raise UserError(
            f"{options.checkpoint} does not fit {config.backbone} with preset {options.preset!r}: {detail}"
        ) from error
    maker = BatchMaker(dataset, device)
    scores = score(model, maker, "test", config.score, options.seed)
    speed = cost.imagination(model, maker, min(config.score.batch_size, 32), config.score.decode_frames)
    about = {
        "parameters": cost.parameters(model),
        "state_bytes": int(speed.pop("state_bytes")),
        "cost": {**speed, **machine.peak_memory_bytes(device)},
        "device": machine.device_name(device),
    }
    chosen = baseline_records.ensure(dataset, config, options.results).strip
    if chosen is not None:
        about["strip"], about["picture"] = strips.draw(model, maker, chosen, options.seed)
    return per_episode(scores), per_step(scores, dataset.world), about


def read_predictions(path: Path, dataset: Dataset, count: int) -> dict[str, np.ndarray]:
    """The arrays of an npz file, checked. Raises ``UserError`` with the expected and the given shapes."""
    world = dataset.world
    frame = dataset.frames("test", 0, 0, 1).shape[1:]
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(item.file_size for item in archive.infolist()) > MAX_ARRAY_BYTES:
                raise UserError(f"{path} unpacks to more than {MAX_ARRAY_BYTES} bytes; score fewer episodes")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, zlib.error, MemoryError, NotImplementedError) as error:
        raise UserError(f"{path} cannot be read as an npz file without objects ({error})") from error
    for name in ("episode", "generation"):
        if name not in arrays:
            raise UserError(f"{path} has no array {name!r}; it has {sorted(arrays)}")
    episodes = arrays["episode"]
    if episodes.ndim != 1 or episodes.dtype.kind not in "iu" or sorted(episodes.tolist()) != list(range(count)):
        raise UserError(
            f"{path}: 'episode' must hold each of the test episodes 0..{count - 1} once, given {episodes.dtype} "
            f"{episodes.shape} from {episodes.min(initial=0)} to {episodes.max(initial=0)}"
        )
    expected = {
        "generation": (count, world.query_length, *frame),
        "reconstruction": (count, world.length - 1, *frame),
        "reward": (count,),
    }
    for name, shape in expected.items():
        if name not in arrays:
            continue
        given = arrays[name]
        if given.shape != shape:
            raise UserError(f"{path}: {name!r} of {dataset.manifest.env} must be {shape}, given {given.shape}")
        if given.dtype.kind not in "uf" or (given.dtype.kind == "u" and given.dtype != np.uint8):
            raise UserError(f"{path}: {name!r} must be uint8 or floats in [0, 1], given {given.dtype}")
        if given.dtype.kind == "f" and not np.isfinite(given).all():
            raise UserError(f"{path}: {name!r} holds values that are not finite")
        if given.dtype.kind == "f" and np.abs(given).max() > 2:
            raise UserError(f"{path}: {name!r} reaches {np.abs(given).max():g}; floats must be in [0, 1], not 0..255")
    return arrays


def score_predictions(options: ScoreOptions, config: RunConfig, dataset: Dataset) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables of predicted frames."""
    assert options.predictions is not None
    count = min(config.score.episodes or dataset.count("test"), dataset.count("test"))
    arrays = read_predictions(options.predictions, dataset, count)
    context = dataset.world.context_length
    rows, steps = [], np.zeros(dataset.world.query_length)
    for place, index in enumerate(arrays["episode"].tolist()):
        trajectory = dataset.trajectory("test", index)
        truth = _unit(dataset.render(trajectory))
        errors = np.square(_unit(arrays["generation"][place]) - truth[context:]).sum((1, 2, 3))
        row = {"episode": index, "generation_mse": errors.mean(), "final_frame_mse": errors[-1]}
        if "reconstruction" in arrays:
            row["reconstruction_mse"] = (
                np.square(_unit(arrays["reconstruction"][place]) - truth[1:]).sum((1, 2, 3)).mean()
            )
        if "reward" in arrays and dataset.world.has_reward:
            row |= {"imagination_reward": float(arrays["reward"][place])}
        rows.append(row | {"reward": float(trajectory.reward[-1])})
        steps += errors / count
    table = pd.DataFrame(rows).sort_values("episode", ignore_index=True)
    return table, pd.DataFrame({"step": range(context, dataset.world.length), "generation": steps})


def _unit(frames: np.ndarray) -> np.ndarray:
    return frames.astype(np.float64) / 255 if frames.dtype == np.uint8 else frames.astype(np.float64)


@command
def main(arguments: list[str]) -> None:
    options = parse(ScoreOptions, arguments, "python -m benchmark.score")
    if (options.checkpoint is None) == (options.predictions is None):
        raise UserError("give either --checkpoint (with --backbone) or --predictions")
    if options.checkpoint is not None and options.backbone is None:
        raise UserError(f"--checkpoint needs --backbone; allowed: {', '.join(backbones.BACKBONES)}, or module:Config")
    source = options.checkpoint or options.predictions
    assert source is not None
    if not source.is_file():
        raise UserError(f"no file {source}")
    config = flags.resolve(options.backbone or "s4wm", options.env, options.preset, seed=options.seed)
    dataset = open_dataset(config, options.dataset)
    baseline_records.ensure(dataset, config, options.results)
    name = options.name or options.backbone or source.stem
    if not re.fullmatch(r"[\w.:+ -]{1,64}", name):
        raise UserError(f"name {name!r}; use up to 64 letters, digits, spaces and any of . : + - _")
    started, about = now(), dict[str, Any]()
    if options.checkpoint is not None:
        episodes, steps, about = score_checkpoint(options, config, dataset)
    else:
        episodes, steps = score_predictions(options, config, dataset)
    run_id = f"imported-{file_sha256(source)[:8]}-seed{options.seed}-{dataset.digest[:8]}-test{len(episodes)}"
    folder = options.results / "runs" / options.env / name.replace(":", ".").replace(" ", "_") / run_id
    picture = about.pop("picture", None)
    with user_input():
        world = envs.spec(options.env).name
    whole = record.RunRecord(
        run_id=run_id,
        kind="imported",
        backbone=name,
        env=world,
        preset="",
        seed=options.seed,
        dataset_digest=dataset.digest,
        dataset_episodes=dataset.manifest.episodes,
        metric_version=metrics.VERSION,
        scored_episodes=len(episodes),
        status="completed" if bool(np.isfinite(episodes["generation_mse"]).all()) else "diverged",
        reason="trained elsewhere: its budget is not known here",
        config={"source": source.name, "sha256": file_sha256(source)},
        code_digest="",
        parameters=about.get("parameters", 0),
        state_bytes=about.get("state_bytes", 0),
        cost=about.get("cost", {}),
        device=about.get("device", ""),
        strip=about.get("strip"),
        metrics={key: metrics.cell(metric, episodes) for key, metric in metrics.METRICS.items()},
        spent={},
        versions=machine.versions(),
        git=machine.git(),
        started=started,
        ended=now(),
    )
    if options.checkpoint is not None:
        whole = dataclasses.replace(whole, config=whole.config | {"model": to_json(config.model)})
    record.write(folder, whole, {record.PER_EPISODE: episodes, record.PER_STEP: steps}, picture)
    by_env = rebuild(options.results)
    for one in by_env.get(options.env, []):
        if any(run.folder == folder for runs in one.beside.values() for run in runs):
            print_group(one)
    print(f"record: {folder / record.NAME}")


if __name__ == "__main__":
    main()
