"""Checks of what a loss counts."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from backbones.contract.examples import ContractViolation, build, check, check_same, episodes
from backbones.interface import BackboneConfig, Batch, WorldSpec


@torch.no_grad()
def padding_is_not_scored(config: BackboneConfig, spec: WorldSpec) -> None:
    """Frames that are not valid do not change the loss, whatever is in them."""
    model, batch = build(config, spec), episodes(spec)
    expected = model.loss(batch)[0]
    for seed in (1, 2):
        padded = _padded(batch, episodes(spec, seed).frames(1, 1 + config.time_multiple))
        check_same(model.loss(padded)[0], expected, "losses with and without padding at the end of the rows")


@torch.no_grad()
def first_frame_is_not_scored(config: BackboneConfig, spec: WorldSpec) -> None:
    """The first frame of an episode counts in no loss."""
    batch = episodes(spec)
    only_first = torch.zeros_like(batch.valid)
    only_first[:, 0] = True
    loss = build(config, spec).loss(replace(batch, valid=only_first))[0]
    check(bool(loss == 0), f"the loss is {float(loss):.3g} where only the first frame is valid; it must be 0")


def refuses_wrong_types(config: BackboneConfig, spec: WorldSpec) -> None:
    """Integers as observations and the wrong kind of actions are refused, not computed with."""
    model, batch = build(config, spec), episodes(spec)
    action = batch.previous_action
    wrong_action = action.long() if action.is_floating_point() else action.float()
    wrong: dict[str, Batch] = {
        "int64 observations": replace(batch, observation=batch.observation.long()),
        f"{wrong_action.dtype} actions": replace(batch, previous_action=wrong_action),
    }
    for name, example in wrong.items():
        try:
            model.loss(example)
        except (TypeError, ValueError):
            continue
        raise ContractViolation(f"the model computed a loss with {name}; as_float and encode_action refuse them")


def _padded(batch: Batch, rest: Batch) -> Batch:
    """The batch with the frames of ``rest`` behind it, as padding."""
    both: dict[str, Tensor] = {
        name: torch.cat([value, getattr(rest, name)], 1) for name, value in vars(batch).items() if name != "starts"
    }
    time = batch.shape[1]
    both["valid"][:, time:] = False
    both["final"][:, time:] = False
    return Batch(**both, starts=batch.starts)
