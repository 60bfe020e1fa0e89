"""The registry: a backbone's name, the module that holds its ``Config``, and what it overrides there.

Modules are named, not imported, so that a backbone with rare dependencies loads only when it is used.
"""

from __future__ import annotations

import importlib
import types
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from backbones.interface import BackboneConfig, WorldSpec


@dataclass(frozen=True)
class Entry:
    """Where a backbone is defined. ``overrides`` are field values that make it a variant."""

    module: str
    overrides: dict[str, Any] = field(default_factory=dict)
    attribute: str = "Config"

    def config_class(self) -> type[BackboneConfig]:
        return getattr(importlib.import_module(self.module), self.attribute)

    def config(self, preset: str, spec: WorldSpec) -> BackboneConfig:
        """The preset for this world, with the entry's overrides."""
        return self.config_class().preset(preset, spec, **self.overrides)


BACKBONES: dict[str, Entry] = {
    "s4wm": Entry("backbones.s4wm"),
    "s4wm_no_mlp": Entry("backbones.s4wm", {"mlp_expansion": 0}),
    "s4wm_full_posterior": Entry("backbones.s4wm", {"posterior": "full_history"}),
    "s4d": Entry("backbones.s4wm", {"kernel": "diagonal", "discretisation": "zoh"}),
    "s5wm": Entry("backbones.s5wm"),
    "gated_delta": Entry("backbones.gated_delta"),
    "hybrid": Entry("backbones.hybrid"),
    "rssm_tbtt": Entry("backbones.rssm_tbtt"),
    "tssm_xl": Entry("backbones.tssm_xl"),
    "tssm_xl_256": Entry("backbones.tssm_xl", {"memory": 256}),
    "tssm_xl_512": Entry("backbones.tssm_xl", {"memory": 512}),
    "mts3": Entry("backbones.mts3"),
    "mts3_published": Entry(
        "backbones.mts3",
        {"task": "posterior", "abstraction": "set", "time_code": "scalar", "masks": "random", "normalise": False},
    ),
}


def find(name: str) -> Entry:
    """The entry of a registered name, or of ``module:Class`` outside the repository.

    Only a name typed by the user may come here: no string that was read from a file ever names a module.
    Raises ``ValueError`` for an unknown name, a module that cannot be imported, or one without such a config class.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    if ":" not in name:
        near = get_close_matches(name, BACKBONES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"unknown backbone {name!r}{hint} Allowed: {', '.join(BACKBONES)}, or module:Config for one of your own"
        )
    module_name, _, attribute = name.partition(":")
    try:
        module: types.ModuleType = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"backbone {name!r}: cannot import {error.name!r}; run from the folder that holds it or install it"
        ) from error
    config = getattr(module, attribute, None)
    if not (isinstance(config, type) and issubclass(config, BackboneConfig)):
        raise ValueError(f"backbone {name!r}: module {module_name!r} has no BackboneConfig class called {attribute!r}")
    return Entry(module_name, attribute=attribute)
