"""Parameters of the published sizes beside the paper's numbers, module by module, and of the matched presets.

python -m benchmark.parameters [--json]
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import torch
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

import backbones
from backbones.interface import Batch, DiscreteSpec, ImageSpec, WorldModel, WorldSpec
from benchmark.cli import parse
from benchmark.errors import command
from benchmark.states import state_bytes

WORLDS = {
    "paper_2d": WorldSpec(ImageSpec(40, 40), DiscreteSpec(7), 199, 51, has_reward=False),
    "paper_3d": WorldSpec(ImageSpec(64, 64), DiscreteSpec(6), 501, 500, has_reward=False),
}
"""Distracting Memory of width 100, and Four Rooms. The published totals hold no reward head."""

PUBLISHED = {
    ("paper_3d", "s4wm"): 41.1,
    ("paper_3d", "tssm_xl"): 43.8,
    ("paper_3d", "rssm_tbtt"): 54.1,
    ("paper_2d", "s4wm"): 28.1,
    ("paper_2d", "tssm_xl"): 27.1,
    ("paper_2d", "rssm_tbtt"): 31.2,
}
"""Millions, arXiv 2307.02064, appendix."""

MATCHED = ("matched_parameters", "matched_state")
COMPARED = ("s4wm", "s5wm", "rssm_tbtt", "tssm_xl", "mts3")


@dataclass(frozen=True, kw_only=True)
class ParametersOptions:
    """List parameters of published and matched sizes."""

    json: bool = False
    """For machines."""


def sizes(name: str, preset: str, world: WorldSpec) -> dict[str, Any]:
    """Total, modules and state bytes of a backbone's preset."""
    config = backbones.BACKBONES[name].config(preset, world)
    model = config.build(world)
    modules: dict[str, int] = {}
    for parameter_name, parameter in model.named_parameters():
        part = parameter_name.split(".")[0]
        modules[part] = modules.get(part, 0) + parameter.numel()
    return {
        "backbone": name,
        "preset": preset,
        "total": sum(modules.values()),
        "modules": modules,
        "state_bytes": _state_bytes(model, world),
        "published_millions": PUBLISHED.get((preset, name)),
    }


@torch.no_grad()
def _state_bytes(model: WorldModel, world: WorldSpec) -> int:
    """Bytes that an episode carries after a context long enough to fill every memory."""
    frames = min(world.context_length, 300)
    batch = Batch(
        observation=torch.zeros(1, frames, *world.observation.shape, dtype=torch.uint8),
        previous_action=torch.zeros(1, frames, dtype=torch.int64),
        reward=torch.zeros(1, frames),
        starts=torch.ones(1, dtype=torch.bool),
        valid=torch.ones(1, frames, dtype=torch.bool),
        final=torch.zeros(1, frames, dtype=torch.bool),
    )
    _, state = model.eval().observe(batch)
    return state_bytes(state, 1)


def every_size() -> list[dict[str, Any]]:
    """Published sizes first, then the matched ones."""
    found = [sizes(name, preset, WORLDS[preset]) for preset, name in PUBLISHED]
    found += [sizes("mts3", preset, world) for preset, world in WORLDS.items()]
    return found + [sizes(name, preset, WORLDS["paper_2d"]) for preset in MATCHED for name in COMPARED]


@command
def main(arguments: list[str]) -> None:
    options = parse(ParametersOptions, arguments, "python -m benchmark.parameters")
    found = every_size()
    if options.json:
        print(json.dumps(found, indent=2))
        return
    table = Table("Preset", "Backbone", "Parameters", "Paper, M", "State bytes", "Modules", box=SIMPLE)
    for size in found:
        published = size["published_millions"]
        agrees = (
            ""
            if published is None
            else f"{published} {'=' if round(size['total'] / 1e6, 1) == published else 'DIFFERS'}"
        )
        modules = ", ".join(f"{name} {count:,}" for name, count in size["modules"].items())
        row = (size["preset"], size["backbone"], f"{size['total']:,}", agrees, f"{size['state_bytes']:,}", modules)
        table.add_row(*row)
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
