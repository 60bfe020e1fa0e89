"""Makes a dataset.

    python -m benchmark.collect --env distracting_memory_16 --episodes train=2000,val=100,test=500 --out data/dm16

Every episode follows from (seed, split, index) alone, so shards are made by all cores in any order, a killed run
continues where it stopped, and the files come out the same byte for byte. The manifest is written last.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import envs
from benchmark import card
from benchmark import manifest as manifests
from benchmark.cli import parse
from benchmark.columns import Column, encode_shard
from benchmark.errors import UserError, command, user_input
from benchmark.estimate import describe
from benchmark.files import (
    atomic_write,
    canonical_json,
    file_sha256,
    make_folder,
    read_json,
    remove_leftovers,
    sha256,
    write_json,
)
from benchmark.machine import cores
from benchmark.manifest import FileEntry, Manifest, package_versions, world_of
from benchmark.progress import ProgressLine
from envs.episode import SPLITS, Trajectory, episode_seeds
from envs.rooms.gl_context import GLUnavailableError
from envs.spec import EnvSpec

REQUEST = "request.json"
EPISODES_TABLE = "episodes.parquet"
SHARD_BYTES = 4 * 2**20
FRAMES_PER_ROW = 100
MAX_EPISODES = 10_000_000


@dataclass(frozen=True, kw_only=True)
class CollectOptions:
    """Make a dataset of scripted episodes."""

    env: str
    """Environment, such as distracting_memory_100."""
    episodes: str = "default"
    """Split sizes such as train=2000,val=100,test=500; or 'default', or 'paper' for the published sizes."""
    seed: int = 0
    """Seed of the whole dataset."""
    out: Path | None = None
    """Folder; data/<env> if not given (or below $WMBENCH_DATA)."""
    store: str = "states"
    """'states' (a few bytes a frame, rendered when read) or 'frames'."""
    options: str = "{}"
    """Arguments of the environment as JSON, such as '{"distractor_density": 0.3}'. They go into the manifest."""
    workers: int = 0
    """Processes; all cores if 0."""
    card: bool = True
    """Write a card with pictures beside the data."""
    dry_run: bool = False
    """Only say how many frames, bytes and seconds it would take."""


@dataclass(frozen=True)
class Request:
    """What identifies a dataset before it is made."""

    env: str
    seed: int
    store: str
    episodes: dict[str, int]
    options: dict[str, Any] = field(default_factory=dict)
    """Arguments of the environment that differ from its defaults."""

    @property
    def spec(self) -> EnvSpec:
        return envs.spec(self.env, **self.options)


@dataclass(frozen=True)
class ShardJob:
    request: Request
    split: str
    first: int
    count: int
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.split}-{self.first:07d}.parquet"

    @property
    def sidecar(self) -> Path:
        return self.folder / f"{self.name}.json"

    def is_done(self) -> bool:
        """The shard and its sidecar are there and agree."""
        if not self.sidecar.is_file() or not (self.folder / self.name).is_file():
            return False
        try:
            entry = read_json(self.sidecar)["entry"]
        except (UserError, KeyError, TypeError):
            return False
        return entry["sha256"] == file_sha256(self.folder / self.name)


def data_root() -> Path:
    """Where datasets live: ``$WMBENCH_DATA`` or ``data``."""
    return Path(os.environ.get("WMBENCH_DATA", "data"))


def folder_of(request: Request) -> Path:
    """Where a dataset lives if no folder is given: ``data/<env>``, with a hash where it is not the default one."""
    env = envs.spec(request.env)
    usual = Request(env.name, 0, "states", dict(env.default_episodes))
    if request == usual:
        return data_root() / env.name
    return data_root() / f"{env.name}-{sha256(canonical_json(dataclasses.asdict(request)))[:8]}"


def parse_episodes(text: str, env: EnvSpec) -> dict[str, int]:
    """``train=..,val=..,test=..`` to numbers. Raises ``UserError`` for anything else."""
    if text == "default":
        return dict(env.default_episodes)
    if text == "paper":
        return dict(env.paper_episodes)
    sizes: dict[str, int] = {}
    for part in text.split(","):
        split, _, number = part.partition("=")
        count = int(number) if re.fullmatch("[0-9]{1,9}", number) else 0
        if split not in SPLITS or split in sizes or not 1 <= count <= MAX_EPISODES:
            raise UserError(
                f"episodes {text!r}: {part!r} is not understood; give train=N,val=N,test=N with N from 1 to "
                f"{MAX_EPISODES}, or 'default' or 'paper'"
            )
        sizes[split] = count
    if set(sizes) != set(SPLITS):
        raise UserError(
            f"episodes {text!r}: {', '.join(s for s in SPLITS if s not in sizes)} missing; all three are needed"
        )
    return {split: sizes[split] for split in SPLITS}


def rows_of(env: EnvSpec, index: int, trajectory: Trajectory, store: str) -> list[dict[str, Any]]:
    """The rows of a shard that hold one episode. Frames are stored beside the states, which are small."""
    per_frame = {"previous_action": trajectory.previous_action.astype(np.int8), "reward": trajectory.reward}
    per_frame |= {f"state.{name}": value for name, value in trajectory.state.items()}
    scene = {f"scene.{name}": value for name, value in trajectory.scene.items()}
    at_once = trajectory.length
    if store == "frames":
        per_frame["observation"] = envs.render(env, trajectory)
        at_once = FRAMES_PER_ROW
    rows = []
    for start in range(0, trajectory.length, at_once):
        piece = {name: value[start : start + at_once] for name, value in per_frame.items()}
        rows.append({"episode": index, "start": start, "length": len(piece["reward"]), **piece, **scene})
    return rows


def columns_of(env: EnvSpec, trajectory: Trajectory, store: str) -> dict[str, Column]:
    row = rows_of(env, 0, trajectory, store)[0]
    whole = {name for name in row if name.startswith("scene.")}
    return {
        name: Column.of(value, per_frame=name not in whole)
        for name, value in row.items()
        if isinstance(value, np.ndarray)
    }


def encode(request: Request, split: str, indices: range) -> tuple[bytes, list[Trajectory]]:
    """The shard of these episodes, which it simulates, and they themselves."""
    env = request.spec
    trajectories = envs.simulate(env, [episode_seeds(request.seed, split, index) for index in indices])
    for trajectory in trajectories:
        assert trajectory.length == env.length, f"{env.name} made an episode of {trajectory.length} frames"
    rows = [
        row
        for index, trajectory in zip(indices, trajectories, strict=True)
        for row in rows_of(env, index, trajectory, request.store)
    ]
    return encode_shard(rows), trajectories


def make_shard(job: ShardJob) -> FileEntry:
    """Makes a shard, writes it, then its sidecar."""
    data, trajectories = encode(job.request, job.split, range(job.first, job.first + job.count))
    digest = atomic_write(job.folder / job.name, data)
    entry = FileEntry(job.name, len(data), digest, job.split, job.first, job.count)
    write_json(job.sidecar, {"entry": dataclasses.asdict(entry), "facts": [t.facts for t in trajectories]})
    return entry


def estimate(request: Request) -> str:
    """Lines about frames, bytes and core-seconds, from making a few episodes; of the published sizes too."""

    def make(first: int, count: int) -> bytes:
        return encode(request, "train", range(first, first + count))[0]

    return describe(request.spec, request.episodes, make)


def plan(request: Request, folder: Path) -> list[ShardJob]:
    """Shards of about ``SHARD_BYTES`` before compression; depends on the request alone."""
    env = request.spec
    sample = envs.simulate(env, [episode_seeds(request.seed, "train", 0)])[0]
    episode_bytes = sum(
        value.nbytes
        for row in rows_of(env, 0, sample, request.store)
        for value in row.values()
        if hasattr(value, "nbytes")
    )
    per_shard = int(np.clip(SHARD_BYTES // episode_bytes, 1, 1024))
    return [
        ShardJob(request, split, first, min(per_shard, count - first), folder)
        for split, count in request.episodes.items()
        for first in range(0, count, per_shard)
    ]


def collect(request: Request, folder: Path, workers: int = 0) -> Manifest:
    """Makes what is missing of a dataset and returns its manifest.

    Raises ``UserError`` if the folder holds another dataset or cannot be written.
    """
    make_folder(folder)
    remove_leftovers(folder)
    wanted = dataclasses.asdict(request)
    begun = folder / REQUEST
    if begun.is_file() and (found := read_json(begun)) != wanted:
        raise UserError(f"{folder} holds a dataset of another request ({found}); give another --out or delete it")
    if (folder / manifests.NAME).is_file():
        done = Manifest.read(folder)
        held = (done.env, done.seed, done.store, done.episodes, done.options)
        if held != (request.env, request.seed, request.store, request.episodes, request.options):
            raise UserError(f"{folder} holds another dataset ({done.env}, seed {done.seed}); give another --out")
        try:
            done.verify_files(folder)
        except UserError as problem:
            print(f"{problem}: making the dataset again", file=sys.stderr)
            (folder / manifests.NAME).unlink()
        else:
            _remove_sidecars(folder)
            return done
    if not begun.is_file():
        if any(folder.glob("*.parquet")):
            raise UserError(f"{folder} holds Parquet files of something else; give another --out")
        write_json(begun, wanted)
    jobs = plan(request, folder)
    todo = [job for job in jobs if not job.is_done()]
    if len(todo) < len(jobs):
        print(f"continuing: {len(jobs) - len(todo)} of {len(jobs)} shards are already there", file=sys.stderr)
    _run(todo, workers or cores(), f"collect {request.env}")
    return _finish(request, folder, jobs)


def _run(jobs: list[ShardJob], workers: int, label: str) -> None:
    if not jobs:
        return
    os.environ["PYTHONSAFEPATH"] = "1"  # workers must not import from the folder where the command was typed
    total = sum(job.count for job in jobs)
    with ProgressLine(label) as line:
        if min(workers, len(jobs)) == 1:
            for done, job in enumerate(jobs, 1):
                make_shard(job)
                line.update(done / len(jobs))
            return
        done = 0
        try:
            with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=get_context("spawn")) as pool:
                futures = {pool.submit(make_shard, job): job for job in jobs}
                for future in as_completed(futures):
                    try:
                        done += future.result().count
                    except BaseException:
                        pool.shutdown(wait=False, cancel_futures=True)
                        raise
                    line.update(done / total, f"{done}/{total} episodes")
        except BrokenProcessPool as error:
            raise UserError("a worker process died (out of memory?); run the same command again to continue") from error


def _finish(request: Request, folder: Path, jobs: list[ShardJob]) -> Manifest:
    env = request.spec
    entries, table = [], []
    for job in jobs:
        sidecar = read_json(job.sidecar)
        entries.append(FileEntry(**sidecar["entry"]))
        for offset, facts in enumerate(sidecar["facts"]):
            env_seed, policy_seed = episode_seeds(request.seed, job.split, job.first + offset)
            table.append((job.split, job.first + offset, env_seed, policy_seed, json.dumps(facts, sort_keys=True)))
    buffer = io.BytesIO()
    pd.DataFrame(table, columns=["split", "index", "env_seed", "policy_seed", "facts"]).to_parquet(buffer, index=False)
    digest = atomic_write(folder / EPISODES_TABLE, buffer.getvalue())
    sample = envs.simulate(env, [episode_seeds(request.seed, "train", 0)])[0]
    made = Manifest(
        env=request.env,
        seed=request.seed,
        store=request.store,
        chunk=env.length if request.store == "states" else FRAMES_PER_ROW,
        episodes=request.episodes,
        world=world_of(env),
        columns=columns_of(env, sample, request.store),
        shards=tuple(entries),
        episodes_table=FileEntry(EPISODES_TABLE, len(buffer.getvalue()), digest),
        renderer=envs.renderer_info(env),
        versions=package_versions(),
        options=request.options,
    )
    made.write(folder)
    _remove_sidecars(folder)
    return made


def _remove_sidecars(folder: Path) -> None:
    for path in folder.glob("*.parquet.json"):
        path.unlink()


def request_of(options: CollectOptions) -> Request:
    try:
        arguments = json.loads(options.options)
    except ValueError as error:
        raise UserError(f"options {options.options!r} is not JSON ({error})") from error
    if not isinstance(arguments, dict):
        raise UserError(f"options {options.options!r} must be a JSON object")
    with user_input():
        env = envs.spec(options.env, **arguments)
    if options.store not in ("states", "frames"):
        raise UserError(f"store {options.store!r}; allowed: states, frames")
    if options.workers < 0:
        raise UserError(f"workers {options.workers}; give 0 (all cores) or more")
    if options.seed < 0:
        raise UserError(f"seed {options.seed} is negative; give 0 or more")
    return Request(env.name, options.seed, options.store, parse_episodes(options.episodes, env), arguments)


@command
def main(arguments: list[str]) -> None:
    options = parse(CollectOptions, arguments, "python -m benchmark.collect")
    request = request_of(options)
    try:
        print(estimate(request), flush=True)
        if options.dry_run:
            return
        folder = options.out or folder_of(request)
        made = collect(request, folder, options.workers)
        if options.card:
            card.write(folder)
    except GLUnavailableError as error:  # the renderer that was asked for does not work here
        raise UserError(str(error)) from error
    size = sum(entry.bytes for entry in made.shards)
    print(f"{folder}: {sum(made.episodes.values())} episodes, {size / 2**20:.1f} MiB, digest {made.digest[:16]}")


if __name__ == "__main__":
    main()
