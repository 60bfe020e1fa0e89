"""Records of the baselines, made once for a dataset and a number of test episodes."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from backbones.interface import ImageSpec
from benchmark import machine, metrics, record
from benchmark.baselines import baseline_tables, strip_episodes
from benchmark.config import RunConfig
from benchmark.dataset import Dataset

LAST = "mean_frame"
"""Written last, so that its record means that all baselines are there."""


@dataclass(frozen=True)
class Baselines:
    """``strip`` are the test episodes that pictures show; none where observations are no images."""

    strip: tuple[int, int] | None


def ensure(dataset: Dataset, config: RunConfig, results: Path) -> Baselines:
    """Makes the records of all baselines if they are not there."""
    count = min(config.score.episodes or dataset.count("test"), dataset.count("test"))
    run_id = f"{dataset.digest[:8]}-test{count}-v{metrics.VERSION}"
    folder = results / "runs" / config.data.env
    if not (folder / LAST / run_id / record.NAME).is_file():
        for name, episodes, steps in sorted(baseline_tables(dataset, count), key=lambda found: found[0] == LAST):
            write(folder / name / run_id, name, run_id, config, dataset, episodes, steps)
    if not isinstance(dataset.world.observation, ImageSpec):
        return Baselines(None)
    record.read(folder / LAST / run_id)
    table = pd.read_parquet(folder / LAST / run_id / record.PER_EPISODE)
    return Baselines(strip_episodes(table))


def write(
    folder: Path,
    name: str,
    run_id: str,
    config: RunConfig,
    dataset: Dataset,
    episodes: pd.DataFrame,
    steps: pd.DataFrame,
) -> record.RunRecord:
    moment = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    whole = record.RunRecord(
        run_id=run_id,
        kind="baseline",
        backbone=name,
        env=config.data.env,
        preset="",
        seed=0,
        dataset_digest=dataset.digest,
        dataset_episodes=dataset.manifest.episodes,
        metric_version=metrics.VERSION,
        scored_episodes=len(episodes),
        status="completed",
        config={},
        code_digest="",
        parameters=0,
        state_bytes=0,
        metrics={key: metrics.cell(metric, episodes) for key, metric in metrics.METRICS.items()},
        cost={},
        spent={},
        device="",
        versions=machine.versions(),
        git=machine.git(),
        started=moment,
        ended=moment,
    )
    return record.write(folder, whole, {record.PER_EPISODE: episodes, record.PER_STEP: steps}, None)
