"""RSSM-TBTT's loss as published, frame by frame: nothing leaves the loop, every use of a weight is differentiated."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear

from backbones.interface import Batch, as_float, encode_action
from backbones.rssm_tbtt import RSSM


def literal_loss(model: RSSM, batch: Batch, state: dict[str, Tensor], generator: torch.Generator) -> Tensor:
    """The loss of a batch without rewards that continues from ``state`` where no episode starts."""
    rows, time = batch.shape
    config, kinds = model.config, model.latents
    noise = torch.rand(time, rows, kinds.count, generator=generator)
    h, z = state["h"], state["z"]
    h0 = model.initial.tanh().expand(rows, -1)
    z0 = kinds.sample(model.prior(h0), None)
    total, counted = torch.zeros((), dtype=h.dtype), 0
    for t in range(time):
        action = encode_action(batch.previous_action[:, t : t + 1], model.spec.action)[:, 0]
        frame = as_float(batch.observation[:, t])
        if t == 0:
            h, z = torch.where(batch.starts[:, None], h0, h), torch.where(batch.starts[:, None], z0, z)
        x = model.input(torch.cat([z, action.to(h.dtype)], -1))
        gates = model.gru.norm(linear(torch.cat([x, h], -1), model.gru.weight))
        reset, candidate, update = gates.chunk(3, -1)
        update = torch.sigmoid(update - 1)
        h = update * torch.tanh(torch.sigmoid(reset) * candidate) + (1 - update) * h
        prior = model.prior(h)
        posterior = model.posterior(torch.cat([h, model.encoder(frame)], -1))
        z = kinds.sample(posterior, noise[t])
        error = (model.decoder(torch.cat([h, z], -1)) - frame).square().flatten(1).sum(1)
        q, p = kinds.probabilities(posterior), kinds.probabilities(prior)
        moves_prior = (q.detach() * (q.detach().log() - p.log())).sum((1, 2))
        moves_posterior = (q * (q.log() - p.detach().log())).sum((1, 2))
        frame_loss = 0.5 * error + config.kl_dynamics * moves_prior + config.kl_representation * moves_posterior
        counts = batch.valid[:, t] & ~batch.starts if t == 0 else batch.valid[:, t]
        total, counted = total + (frame_loss * counts).sum(), counted + counts.sum()
    return total / counted
