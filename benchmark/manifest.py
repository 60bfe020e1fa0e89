"""The manifest of a dataset folder: written last, so that its presence means that everything else is there.

It holds no clock times and no host names, so that the same command gives the same bytes on every machine with the
same packages.
"""

from __future__ import annotations

import dataclasses
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

from backbones.interface import ContinuousSpec, DiscreteSpec, ImageSpec, VectorSpec, WorldSpec
from benchmark.columns import Column
from benchmark.errors import UserError
from benchmark.files import canonical_json, file_sha256, read_json, sha256, write_json
from envs.episode import SPLITS
from envs.spec import EnvSpec

SCHEMA = 1
NAME = "manifest.json"
_FILE_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclasses.dataclass(frozen=True)
class FileEntry:
    """A file of the dataset. Shards know which episodes of which split they hold."""

    name: str
    bytes: int
    sha256: str
    split: str = ""
    first: int = 0
    count: int = 0


@dataclasses.dataclass(frozen=True)
class Manifest:
    env: str
    seed: int
    store: str
    """``states`` (rendered when read) or ``frames``."""
    chunk: int
    """Frames a row."""
    episodes: dict[str, int]
    world: WorldSpec
    columns: dict[str, Column]
    shards: tuple[FileEntry, ...]
    episodes_table: FileEntry
    renderer: dict[str, Any]
    versions: dict[str, str]
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Arguments of the environment that differ from its defaults."""

    @property
    def digest(self) -> str:
        """Identity of the data: two datasets with one digest hold the same episodes. Versions do not count."""
        value = _to_json(self)
        del value["versions"]
        return sha256(canonical_json(value))

    def write(self, folder: Path) -> None:
        value = _to_json(self)
        write_json(folder / NAME, {"schema": SCHEMA, "digest": self.digest, **value})

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Raises ``UserError`` for a folder without one, another schema, or fields that are missing or changed."""
        path = folder / NAME
        if not folder.is_dir():
            raise UserError(
                f"no dataset at {folder}; make it with: python -m benchmark.collect --env NAME --out {folder}"
            )
        if not path.is_file():
            raise UserError(f"the dataset at {folder} is incomplete (no {NAME}); run the same collect command again")
        value = read_json(path)
        try:
            if value.pop("schema") != SCHEMA:
                raise UserError(f"{path} has another schema than {SCHEMA}; make the dataset again")
            digest = value.pop("digest")
            manifest = _from_json(value)
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path} lacks or distorts a field ({error}); it was left in place, make the dataset again"
            ) from error
        if manifest.digest != digest:
            raise UserError(f"{path} was changed after it was written (digest differs); it was left in place")
        return manifest

    def verify_files(self, folder: Path) -> None:
        """Raises ``UserError`` that names the first file which is missing or differs from its hash."""
        for entry in (*self.shards, self.episodes_table):
            path = folder / entry.name
            if not path.is_file() or path.is_symlink():
                raise UserError(f"{path} is missing; run the same collect command again to make it")
            if path.stat().st_size != entry.bytes or file_sha256(path) != entry.sha256:
                raise UserError(f"{path} does not match its hash in {NAME}; delete it and run collect again")


def world_of(env: EnvSpec) -> WorldSpec:
    """What a model may know about an environment."""
    height, width, channels = env.image_shape
    return WorldSpec(
        observation=ImageSpec(height, width, channels),
        action=DiscreteSpec(env.action_count),
        context_length=env.context_length,
        query_length=env.query_length,
        has_reward=env.has_reward,
    )


def package_versions() -> dict[str, str]:
    return {name: version(name) for name in ("numpy", "pyarrow", "gymnasium", "minigrid")}


def _to_json(manifest: Manifest) -> dict[str, Any]:
    value = dataclasses.asdict(manifest)
    world = manifest.world
    value["world"]["observation"] = {"kind": type(world.observation).__name__, **value["world"]["observation"]}
    value["world"]["action"] = {"kind": type(world.action).__name__, **value["world"]["action"]}
    return value


def _from_json(value: dict[str, Any]) -> Manifest:
    kinds = {kind.__name__: kind for kind in (ImageSpec, VectorSpec, DiscreteSpec, ContinuousSpec)}
    world = value["world"]
    for part in ("observation", "action"):
        world[part] = kinds[world[part].pop("kind")](**world[part])
    shards = tuple(FileEntry(**entry) for entry in value["shards"])
    table = FileEntry(**value["episodes_table"])
    for entry in (*shards, table):
        if not _FILE_NAME.fullmatch(entry.name) or entry.split not in ("", *SPLITS):
            raise UserError(f"the manifest names a file {entry.name!r} that no dataset of ours can have")
    columns = {name: Column.from_json(column) for name, column in value["columns"].items()}
    rest = {
        name: value[name] for name in ("env", "seed", "store", "chunk", "episodes", "renderer", "versions", "options")
    }
    return Manifest(**rest, world=WorldSpec(**world), columns=columns, shards=shards, episodes_table=table)
