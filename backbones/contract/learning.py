"""Checks that a model can be trained."""

from __future__ import annotations

import torch
from torch.nn.utils import clip_grad_norm_

from backbones.contract.examples import build, check, episodes, noise
from backbones.interface import BackboneConfig, WorldModel, WorldSpec

UPDATES = 60
FALL = 0.3
"""Share of the first loss that must be gone after ``UPDATES`` on one batch."""


def same_seed_same_loss(config: BackboneConfig, spec: WorldSpec) -> None:
    """Models built from one seed give one loss, to the last bit, for one batch and one seed of the samples."""
    losses = [build(config, spec).loss(episodes(spec), None, noise())[0] for _ in range(2)]
    check(
        torch.equal(*losses), f"same seeds, but losses of {float(losses[0].detach())} and {float(losses[1].detach())}"
    )


def gradient_reaches_every_parameter(config: BackboneConfig, spec: WorldSpec) -> None:
    """One update: every parameter has a finite gradient, is in one parameter group, and stays finite."""
    model = build(config, spec).train()
    optimiser = _optimiser(model, config)
    model.loss(episodes(spec), None, noise())[0].backward()
    for name, parameter in model.named_parameters():
        check(parameter.grad is not None, f"no gradient reaches parameter {name!r}")
        check(parameter.grad is not None and bool(parameter.grad.isfinite().all()), f"gradient of {name!r} not finite")
    grouped = [id(parameter) for group in optimiser.param_groups for parameter in group["params"]]
    own = [id(parameter) for parameter in model.parameters()]
    check(sorted(grouped) == sorted(own), "parameter_groups does not hold every parameter exactly once")
    optimiser.step()
    for name, parameter in model.named_parameters():
        check(bool(parameter.isfinite().all()), f"parameter {name!r} is not finite after one update")


def overfits_one_batch(config: BackboneConfig, spec: WorldSpec) -> None:
    """The loss of one batch falls when it is trained on again and again."""
    model, batch = build(config, spec).train(), episodes(spec)
    optimiser = _optimiser(model, config)
    losses = []
    for _ in range(UPDATES):
        optimiser.zero_grad()
        loss = model.loss(batch, None, noise())[0]
        loss.backward()
        clip_grad_norm_(model.parameters(), config.training.clip_norm)
        optimiser.step()
        losses.append(float(loss.detach()))
    fallen = losses[0] - losses[-1]
    check(
        fallen > FALL * abs(losses[0]),
        f"after {UPDATES} updates on one batch the loss went from {losses[0]:.4g} to {losses[-1]:.4g}",
    )


def _optimiser(model: WorldModel, config: BackboneConfig) -> torch.optim.Optimizer:
    training = config.training
    groups = model.parameter_groups(training)
    return torch.optim.AdamW(groups, lr=training.learning_rate, betas=training.betas, eps=training.epsilon)
