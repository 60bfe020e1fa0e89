"""Whole models: RSSM-TBTT, MTS3, and the decoding that all share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backbones import mts3, rssm_tbtt
from backbones.interface import Batch, ContinuousSpec, DiscreteSpec, ImageSpec, VectorSpec, WorldSpec, as_float
from backbones.parts.image_coder import CoderConfig, build_decoder, map_frames
from backbones.parts.mts3_masks import training_mask
from tests.backbones.mts3_twin import Literal
from tests.backbones.rssm_twin import literal_loss
from tests.bench.contest import OTHER, OURS, PEER, TWIN, Contender, Contest, Work, differentiated


def _batch(rows: int, time: int, observation: int, action: Tensor) -> Batch:
    return Batch(
        observation=torch.randn(rows, time, observation),
        previous_action=action,
        reward=torch.zeros(rows, time),
        starts=torch.zeros(rows, dtype=torch.bool),
        valid=torch.ones(rows, time, dtype=torch.bool),
        final=torch.zeros(rows, time, dtype=torch.bool),
    )


def rssm_chunk(small: bool) -> Contest:
    rows, time, width, hidden = (2, 5, 12, 8) if small else (4, 48, 2048, 512)
    spec = WorldSpec(VectorSpec(16), DiscreteSpec(6), context_length=24, query_length=24, has_reward=False)
    coder = CoderConfig(hidden=hidden)

    def build(twin: bool) -> Work:
        model = rssm_tbtt.Config.preset("paper_2d", spec, deterministic=width, hidden=hidden, coder=coder).build(spec)
        batch = _batch(rows, time, 16, torch.randint(6, (rows, time)))
        state = {"h": torch.rand(rows, width), "z": torch.rand(rows, model.latents.size)}

        def work() -> list[Tensor]:
            generator = torch.Generator().manual_seed(2)
            loss = literal_loss(model, batch, state, generator) if twin else model.loss(batch, state, generator)[0]
            return differentiated([loss], list(model.parameters()))

        return work

    return Contest(
        f"RSSM-TBTT, loss and gradients of a piece of {time} frames, {rows} rows, deterministic size {width}",
        (
            Contender("hoisted, weight gradients once a piece", OURS, lambda: build(False)),
            Contender("frame by frame, nothing hoisted", TWIN, lambda: build(True), target=2),
        ),
    )


def rssm_rollout(small: bool) -> Contest:
    rows, time, width, hidden, actions = (2, 5, 12, 8, 3) if small else (4, 64, 512, 256, 6)
    embedding = hidden

    def ours() -> Work:
        spec = WorldSpec(VectorSpec(embedding), ContinuousSpec(actions), 32, 32, has_reward=False)
        config = rssm_tbtt.Config(deterministic=width, hidden=hidden, coder=CoderConfig(hidden=embedding), unimix=0.0)
        model = config.build(spec)
        for module in list(model.modules()):  # the peer's cell and layers have no LayerNorm
            for name, child in module.named_children():
                if isinstance(child, nn.LayerNorm):
                    setattr(module, name, nn.Identity())
        model.encoder = nn.Identity()
        batch = _batch(rows, time, embedding, torch.randn(rows, time, actions))
        state = {"h": torch.zeros(rows, width), "z": torch.zeros(rows, model.latents.size)}
        weights = [*model.gru.parameters(), *model.input.parameters(), *model.prior.parameters()]
        weights += model.posterior.parameters()

        def work() -> list[Tensor]:
            latents, posterior, _ = model._read(batch, state, torch.Generator().manual_seed(2))
            return differentiated([posterior, model.prior(latents["h"])], weights)

        return work

    def torchrl() -> Work:
        from tensordict import TensorDict
        from tensordict.nn import TensorDictModule
        from torchrl.modules.models.model_based_v3 import RSSMPosteriorV3, RSSMPriorV3, RSSMRolloutV3

        prior = RSSMPriorV3(
            hidden_dim=hidden, rnn_hidden_dim=width, action_dim=actions, recurrent_model="gru", prior_num_layers=1
        )
        posterior = RSSMPosteriorV3(hidden_dim=hidden, rnn_hidden_dim=width, obs_embed_dim=embedding)
        rollout = RSSMRolloutV3(
            TensorDictModule(
                prior,
                in_keys=["state", "belief", "action"],
                out_keys=[("next", "prior_logits"), ("next", "state"), ("next", "belief")],
            ),
            TensorDictModule(
                posterior,
                in_keys=[("next", "belief"), ("next", "encoded_latents")],
                out_keys=[("next", "posterior_logits"), ("next", "state")],
            ),
        )
        given = TensorDict(
            {
                "state": torch.zeros(rows, time, 1024),
                "belief": torch.zeros(rows, time, width),
                "action": torch.randn(rows, time, actions),
                "next": {"encoded_latents": torch.randn(rows, time, embedding)},
            },
            [rows, time],
        )
        weights = [*prior.parameters(), *posterior.parameters()]

        def work() -> list[Tensor]:
            found = rollout(given.clone())
            return differentiated([found["next", "posterior_logits"], found["next", "prior_logits"]], weights)

        return work

    return Contest(
        f"RSSM without LayerNorm, forward and backward, B={rows}, T={time}, deterministic size {width}",
        (
            Contender("hoisted, weight gradients once a piece", OURS, ours),
            Contender("torchrl RSSMRolloutV3, GRU", PEER, torchrl, "torchrl", target=1),
        ),
        note="Same layers and sizes; torchrl's cell and layers have biases and no LayerNorm, so ours has none here.",
    )


def _mts3(small: bool, context: int, query: int) -> tuple[mts3.MTS3, Batch]:
    spec = WorldSpec(VectorSpec(10), ContinuousSpec(5), context, query, has_reward=False)
    sizes = {"pairs": 4, "hidden": 8, "window": 4} if small else {"pairs": 30, "hidden": 120, "window": 30}
    model = mts3.Config(coder=CoderConfig(hidden=sizes["hidden"]), **sizes).build(spec)
    rows = 3 if small else 16
    batch = _batch(rows, context + query, 10, torch.randn(rows, context + query, 5))
    return model, Batch(**(vars(batch) | {"starts": torch.ones(rows, dtype=torch.bool)}))


def mts3_training(small: bool) -> Contest:
    time = 14 if small else 900

    def build(twin: bool) -> Work:
        model, batch = _mts3(small, time // 2, time // 2)

        def work() -> list[Tensor]:
            generator = torch.Generator().manual_seed(2)
            if twin:
                shown = training_mask("suffix", batch.shape, model.config.window, generator, torch.device("cpu"))
                loss = Literal(model, batch, shown).loss()
            else:
                loss = model.loss(batch, None, generator)[0]
            return differentiated([loss], list(model.parameters()))

        return work

    return Contest(
        f"MTS3, loss and gradients, B={3 if small else 16}, T={time}",
        (
            Contender("windows side by side", OURS, lambda: build(False)),
            Contender("published equations frame by frame", TWIN, lambda: build(True), target=5),
        ),
    )


def mts3_imagination(small: bool) -> Contest:
    time = 14 if small else 451

    def build(twin: bool) -> Work:
        model, batch = _mts3(small, 1, time - 1)
        shown = torch.zeros(batch.shape, dtype=torch.bool)
        shown[:, 0] = True

        @torch.no_grad()
        def work() -> list[Tensor]:
            if twin:
                return [torch.stack([belief[0] for belief in Literal(model, batch, shown).priors[1:]], 1)]
            _, state = model.observe(batch.frames(0, 1))
            return [model.imagine(batch.previous_action[:, 1:], state)[0]["mean"]]

        return work

    return Contest(
        f"MTS3 imagines {time - 1} frames, {3 if small else 16} rows",
        (
            Contender("by doubling", OURS, lambda: build(False)),
            Contender("published equations frame by frame", TWIN, lambda: build(True)),
        ),
    )


def decoding(small: bool) -> Contest:
    """Not faster (activations are computed twice) but smaller: look at the memory."""
    rows, time, at_once = (2, 6, 4) if small else (8, 100, 100)
    image = ImageSpec(16, 16) if small else ImageSpec(40, 40)

    def build(whole: bool) -> Work:
        features = torch.randn(rows, time, 128).requires_grad_()
        decoder = build_decoder(CoderConfig(depth=4 if small else 32), image, 128)
        observation = torch.randint(256, (rows, time, *image.shape), dtype=torch.uint8)

        def error(features: Tensor, observation: Tensor) -> Tensor:
            return (decoder(features) - as_float(observation)).square().flatten(1).sum(1)

        def work() -> list[Tensor]:
            pieces = rows * time if whole else at_once
            loss = map_frames(error, features, observation, at_once=pieces, recompute=True).mean()
            return differentiated([loss], [features, *decoder.parameters()])

        return work

    return Contest(
        f"Decoding and squared error of {rows * time} frames of {image.height}x{image.width}, forward and backward",
        (
            Contender(f"{at_once} frames at once", OURS, lambda: build(False)),
            Contender("all frames at once", OTHER, lambda: build(True)),
        ),
        note="Slower, since activations are computed twice; made for the memory.",
    )


CONTESTS = (rssm_chunk, rssm_rollout, mts3_training, mts3_imagination, decoding)
