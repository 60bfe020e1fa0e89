"""From the command line to a resolved configuration.

Two passes: first which backbone, environment and preset; then the flags that these have.
"""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

import backbones
import envs
from benchmark import machine, presets
from benchmark.cli import parse
from benchmark.config import RunConfig, from_json
from benchmark.errors import UserError, user_input
from benchmark.files import read_json
from benchmark.manifest import world_of

ABOUT = """\
Trains a backbone on a dataset within a budget, scores it, and writes its record.

    python -m benchmark.run --backbone s4wm [--env NAME] [--preset NAME] [--seed N] [--model.FIELD VALUE ...]
    python -m benchmark.run --backbone s4wm --help      (all flags of that backbone)
    python -m benchmark.run --from-record results/runs/.../record.json
"""
PARTS = ("model", "data", "budget", "train", "score")


@dataclass(frozen=True, kw_only=True)
class Where:
    """What does not change the result of a run."""

    device: str = "auto"
    """auto, cpu or cuda."""
    dataset: Path | None = None
    """Folder of the dataset; made below data/ if not given."""
    dataset_digest: str | None = None
    """Refuse any other dataset than the one with this digest (--from-record sets it)."""
    results: Path = Path("results")
    """Where the record and the leaderboards go."""
    work: Path = Path("runs")
    """Where checkpoints go."""
    threads: int = 0
    """Threads of torch; its own choice if 0."""
    again: bool = False
    """Run even if the record is already there."""
    report: bool = True
    """Rewrite leaderboards and figures at the end."""


def default_env_and_preset(device: torch.device) -> tuple[str, str]:
    return ("distracting_memory_100", "standard") if device.type == "cuda" else (presets.QUICKSTART_ENV, "quickstart")


def resolve(backbone: str, env: str, preset: str, **changes: Any) -> RunConfig:
    """The configuration of a named backbone, environment and preset.

    Raises ``UserError`` for unknown names and sizes that do not fit together.
    """
    with user_input():
        spec = envs.spec(env)
        chosen = presets.find(preset, spec)
        model = backbones.find(backbone).config(chosen.model, world_of(spec))
        whole = RunConfig(
            backbone=backbone,
            model=model,
            data=chosen.data,
            budget=chosen.budget,
            train=chosen.train,
            score=chosen.score,
            preset=preset,
        )
        return dataclasses.replace(whole, **changes)


def variant(config: RunConfig) -> str:
    """What distinguishes the model from its preset, such as ``width=64``; empty if nothing does."""
    usual = resolve(config.backbone, config.data.env, config.preset).model
    return ", ".join(_differences(usual, config.model))


def _differences(usual: Any, given: Any, prefix: str = "") -> list[str]:
    found = []
    for item in dataclasses.fields(usual):
        before, after = getattr(usual, item.name), getattr(given, item.name)
        if dataclasses.is_dataclass(before) and dataclasses.is_dataclass(after):
            found += _differences(before, after, f"{prefix}{item.name}.")
        elif before != after:
            found.append(f"{prefix}{item.name}={after}")
    return found


def configure(arguments: list[str]) -> tuple[RunConfig, Where]:
    """The two passes: first which backbone, environment and preset; then their own flags.

    Raises ``UserError`` for anything that is not understood.
    """
    if "--from-record" in arguments:
        return _from_record(arguments)
    first = {name: _value_of(f"--{name}", arguments) for name in ("backbone", "env", "preset", "device")}
    if first["backbone"] is None and {"-h", "--help"} & set(arguments):
        print(f"{ABOUT}\nBackbones: {', '.join(backbones.BACKBONES)}, or module:Config of your own")
        print(f"Environments: {', '.join(envs.names())}\nPresets: {', '.join(presets.PRESETS)}")
        sys.exit(0)
    if first["backbone"] is None:
        raise UserError(
            f"--backbone is missing; allowed: {', '.join(backbones.BACKBONES)}, or module:Config of your own"
        )
    env, preset = default_env_and_preset(machine.device(first["device"] or "auto"))
    missing = [f"--{name} {value}" for name, value in (("env", env), ("preset", preset)) if first[name] is None]
    if missing:
        print(f"taking {' '.join(missing)}, the default on this machine", file=sys.stderr)
    config = resolve(first["backbone"], first["env"] or env, first["preset"] or preset)
    return parse_flags(config, arguments)


def parse_flags(config: RunConfig, arguments: list[str]) -> tuple[RunConfig, Where]:
    """Flags on top of a resolved configuration."""
    options = dataclasses.make_dataclass(
        "RunFlags",
        [
            ("backbone", str, field(default=config.backbone)),
            ("env", str, field(default=config.data.env)),
            ("preset", str, field(default=config.preset)),
            ("seed", int, field(default=config.seed)),
            *[(name, type(getattr(config, name)), field(default=getattr(config, name))) for name in PARTS],
            ("where", Annotated[Where, tyro.conf.arg(name="")], field(default_factory=Where)),
        ],
        frozen=True,
        kw_only=True,
        namespace={"__doc__": ABOUT, "__module__": __name__},
    )
    flags: Any = parse(options, arguments, "python -m benchmark.run")
    for name, given, held in (
        ("--backbone", flags.backbone, config.backbone),
        ("--env", flags.env, config.data.env),
        ("--preset", flags.preset, config.preset),
        ("--data.env", flags.data.env, config.data.env),
    ):
        if given != held:
            raise UserError(f"{name} is {given!r} where this run has {held!r}; leave it out")
    with user_input():
        data = flags.data
        changed = {name: getattr(flags, name) for name in PARTS if name != "data"}
        return dataclasses.replace(config, seed=flags.seed, data=data, **changed), flags.where


def _value_of(flag: str, arguments: list[str]) -> str | None:
    for position, argument in enumerate(arguments):
        if argument.startswith(f"{flag}="):
            return argument.partition("=")[2]
        if argument == flag and position + 1 < len(arguments):
            return arguments[position + 1]
    return None


def _from_record(arguments: list[str]) -> tuple[RunConfig, Where]:
    """A run as a record describes it. A plug-in must be named again: no file may name a module to import."""
    path = Path(_value_of("--from-record", arguments) or "")
    position = next(i for i, argument in enumerate(arguments) if argument.startswith("--from-record"))
    rest = arguments[:position] + arguments[position + (1 if "=" in arguments[position] else 2) :]
    if not path.is_file():
        raise UserError(f"--from-record {path}: no such file; give the record.json of a run")
    value = read_json(path)
    try:
        described = value["config"]
        name, env, preset, seed = (
            described["backbone"],
            described["data"]["env"],
            described["preset"],
            described["seed"],
        )
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is not the record of a backbone's run (no {error})") from error
    given = _value_of("--backbone", rest)
    if given is None and name not in backbones.BACKBONES:
        raise UserError(f"{path} is of the plug-in {name!r}; name it again with --backbone to allow its code to run")
    if given is not None and given != name:
        raise UserError(f"{path} is of backbone {name!r}, not {given!r}")
    base = resolve(name, env, preset, seed=seed)
    parts = {part: from_json(type(getattr(base, part)), described[part]) for part in PARTS}
    config, where = parse_flags(dataclasses.replace(base, **parts), rest)
    return config, dataclasses.replace(where, dataset_digest=str(value.get("dataset_digest")))
