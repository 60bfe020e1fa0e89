"""Runs the contract tests on a backbone and says in words what is wrong with it.

python -m benchmark.check my_module:MyConfig
python -m benchmark.check s4wm --env multi_doors_keys_3
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated

import torch
import tyro

import backbones
import envs
from backbones.contract import violations
from benchmark.cli import parse
from benchmark.errors import command, user_input
from benchmark.manifest import world_of

EXIT_VIOLATION = 1


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """Check that a backbone keeps the contract of backbones/interface.py."""

    backbone: Annotated[str, tyro.conf.Positional]
    """Registered name, or module:Config of your own."""
    env: str = "distracting_memory_14"
    """Whose images, actions and lengths the model is built for."""
    preset: str = "debug"
    """Size of the model; the checks do not depend on it, their time does."""


@command
def main(arguments: list[str]) -> None:
    options = parse(CheckOptions, arguments, "python -m benchmark.check")
    with user_input():
        world = world_of(envs.spec(options.env))
        config = backbones.find(options.backbone).config(options.preset, world)
        config.build(world)
    torch.set_num_threads(1)
    print(f"{options.backbone}: {type(config).__name__} for {options.env}, preset {options.preset!r}")
    failed = []
    for name, problem in violations(config, world):
        print(f"  {'ok  ' if problem is None else 'FAIL'} {name.replace('_', ' ')}", flush=True)
        if problem is not None:
            failed.append(name)
            print(f"       {problem}")
    if failed:
        print(f"{len(failed)} checks failed: {', '.join(failed)}")
        sys.exit(EXIT_VIOLATION)
    print("all checks passed: this backbone can be trained, scored and compared")


if __name__ == "__main__":
    main()
