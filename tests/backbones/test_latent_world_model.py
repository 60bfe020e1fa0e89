"""The world model around any core: what its loss is made of, where episodes begin, what it hands on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from backbones import BACKBONES
from backbones.contract.examples import episodes, noise
from backbones.interface import Batch, DiscreteSpec, ImageSpec, Latents, WorldModel, WorldSpec, as_float
from backbones.parts.state import map_leaves, merged
from backbones.s4wm import Config

SPEC = WorldSpec(ImageSpec(16, 16), DiscreteSpec(3), context_length=8, query_length=4)


def build(**values: object) -> tuple[WorldModel, Batch]:
    return Config.preset("debug", SPEC, **values).build(SPEC).eval(), episodes(SPEC)


@torch.no_grad()
def test_loss_is_the_papers_sum() -> None:
    """Half the squared error over pixels, plus balanced divergences, a mean over frames 1 to the end; plus reward."""
    model, batch = build(kl_dynamics=0.7, kl_representation=0.2)
    loss, metrics, _ = model.loss(batch, None, noise())
    latents, _ = model.observe(batch, None, noise())
    prediction = model.decode(latents)
    error = (prediction.observation - as_float(batch.observation)).square().flatten(2).sum(2) / 2
    posterior, prior = model.posterior.head(model.embed(batch)), model.prior(latents["h"])
    divergence = model.latents.divergence(posterior, prior)
    reward = torch.nn.functional.binary_cross_entropy(prediction.reward[:, -1], batch.reward[:, -1])
    torch.testing.assert_close(loss, error[:, 1:].mean() + 0.9 * divergence[:, 1:].mean() + 2 * reward)
    expected = {
        "image_loss": error[:, 1:].mean(),
        "kl": divergence[:, 1:].mean(),
        "last_step_kl": divergence[:, -1].mean(),
        "reward_loss": 2 * reward,
        "last_step_reward_loss": reward,
    }
    torch.testing.assert_close(metrics, expected)


@torch.no_grad()
def test_decoding_a_share_of_the_frames_keeps_the_mean() -> None:
    model, batch = build(decode_fraction=0.25)
    batch.valid[0, 7:] = False
    exact = model.loss(batch)[1]["image_loss"]
    latents, _ = model.observe(batch, None, None)
    scored = model.scored(batch, None)
    generator = torch.Generator().manual_seed(0)
    features = model.features(latents)

    def estimate() -> Tensor:
        errors = model.squared_errors(features, batch.observation, generator)
        return (errors * scored).sum() / scored.sum()

    estimates = torch.stack([estimate() for _ in range(400)])
    assert estimates.std() > 0
    assert (estimates.mean() - exact).abs() < 3 * estimates.std() / 20


@torch.no_grad()
def test_decoding_in_pieces_changes_nothing() -> None:
    model, batch = build()
    pieces = Config.preset("debug", SPEC, frames_at_once=5).build(SPEC).eval()
    pieces.load_state_dict(model.state_dict())
    torch.testing.assert_close(pieces.loss(batch)[0], model.loss(batch)[0])
    latents, _ = model.observe(batch)
    torch.testing.assert_close(pieces.observe(batch)[0], latents)
    torch.testing.assert_close(pieces.decode(latents).observation, model.decode(latents).observation)


@torch.no_grad()
def test_first_frame_of_an_episode_has_no_history() -> None:
    model, batch = build()
    latents, state = model.observe(batch, None, noise())
    assert latents["h"][:, 0].abs().max() == 0 < latents["h"][:, 1].abs().max()
    assert model.scored(batch, None).sum(1).tolist() == [SPEC.length - 1] * 3
    going_on = replace(batch, starts=torch.zeros(3, dtype=torch.bool))
    assert model.observe(going_on, state, noise())[0]["h"][:, 0].abs().min() > 0
    assert model.scored(going_on, state).all()
    assert not model.scored(going_on, None)[:, 0].any()  # nothing is known about what came before


@torch.no_grad()
@pytest.mark.parametrize("posterior", ["factorised", "full_history"])
@pytest.mark.parametrize("time", [1, 4])
def test_rows_that_begin_and_rows_that_go_on_share_a_batch(posterior: str, time: int) -> None:
    model, batch = build(posterior=posterior)
    _, state = model.observe(batch.frames(0, 6), None, noise())
    piece = batch.frames(6, 6 + time)
    expected = [
        model.observe(replace(piece, starts=torch.full((3,), begins)), state, noise()) for begins in (0 > 1, 1 > 0)
    ]
    mixed = torch.tensor([False, True, False])
    latents, after = model.observe(replace(piece, starts=mixed), state, noise())
    for row, begins in enumerate(mixed.tolist()):
        right, right_state = expected[begins]
        torch.testing.assert_close(latents[row : row + 1], right[row : row + 1])
        future = [model.imagine(piece.previous_action, end, noise())[0]["h"][row] for end in (after, right_state)]
        torch.testing.assert_close(*future)


@torch.no_grad()
def test_only_the_full_posterior_reads_the_past() -> None:
    for posterior, reads in (("factorised", False), ("full_history", True)):
        model, batch = build(posterior=posterior)
        changed = replace(batch, observation=torch.cat([255 - batch.observation[:, :1], batch.observation[:, 1:]], 1))
        logits = [model._read(each, None, None, keep=False)[1][:, -1] for each in (batch, changed)]
        assert torch.equal(*logits) != reads


@torch.no_grad()
def test_any_core_can_be_a_full_posterior() -> None:
    """Also one whose state grows, so that rows that begin and rows that go on have states of different shapes."""
    config = BACKBONES["tssm_xl"].config("debug", SPEC)
    model, batch = replace(config, posterior="full_history").build(SPEC).eval(), episodes(SPEC)
    whole, _ = model.observe(batch, None, noise())
    generators = noise()
    first, state = model.observe(batch.frames(0, 6), None, generators)
    second, _ = model.observe(batch.frames(6, 12), state, generators)
    torch.testing.assert_close(torch.cat([first["h"], second["h"]], 1), whole["h"], atol=1e-5, rtol=1e-4)


def test_loss_hands_on_state_where_it_is_asked_to() -> None:
    model, batch = build()
    assert model.loss(batch)[2] is None
    model, batch = build(carries_state=True)
    first = model.loss(batch.frames(0, 5), None, noise())
    second, _, _ = model.loss(batch.frames(5, 12), first[2], noise())
    assert second.isfinite()
    _, state = model.observe(batch.frames(0, 5), None, noise())
    torch.testing.assert_close(first[2]["z"], state["z"])


@torch.no_grad()
def test_imagination_is_the_prior_of_the_history() -> None:
    """Imagined frames, read back as if they had been observed, have the histories that imagination had."""
    model, batch = build()
    _, state = model.observe(batch.frames(0, 8), None, noise())
    action = batch.previous_action[:, 8:]
    imagined, _ = model.imagine(action, state, noise(3))
    before = torch.cat([state["z"].unsqueeze(1), imagined["z"][:, :-1]], 1)
    one_hot = torch.nn.functional.one_hot(action, 3).float()
    h, _ = model.core(model.input(torch.cat([before, one_hot], -1)), state["core"])
    torch.testing.assert_close(imagined["h"], h, atol=1e-4, rtol=1e-4)
    modes = model.latents.sample(model.prior(h[:, :1]), None)
    torch.testing.assert_close(model.imagine(action, state)[0]["z"][:, :1], modes)
    with pytest.raises(ValueError, match="state is None"):
        model.imagine(action, None)


@torch.no_grad()
def test_a_world_without_reward_has_no_head() -> None:
    spec = replace(SPEC, has_reward=False)
    model = Config.preset("debug", spec).build(spec).eval()
    batch = episodes(spec)
    assert model.reward is None
    assert "reward_loss" not in model.loss(batch)[1]
    assert model.decode(model.observe(batch)[0]).reward.abs().max() == 0


def test_merging_states() -> None:
    chosen = torch.tensor([True, False])
    first = {"a": [torch.ones(2, 3), None], "b": 4}
    second = {"a": [torch.zeros(2, 3), torch.ones(2)], "b": 4}
    both = merged(chosen, first, second)
    assert both["a"][0].tolist() == [[1, 1, 1], [0, 0, 0]]
    assert both["a"][1].tolist() == [0, 1]  # None stands for zeros
    assert both["b"] == 4
    with pytest.raises(ValueError, match="rows with 4 and rows with 5"):
        merged(chosen, first, second | {"b": 5})
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(2, 2\)"):
        merged(chosen, torch.ones(2, 3), torch.ones(2, 2))


def test_map_leaves_keeps_the_nest() -> None:
    assert map_leaves(lambda x, y: x + y, {"a": (1, [2])}, {"a": (10, [20])}) == {"a": (11, [22])}
    assert isinstance(map_leaves(lambda x: x, Latents(h=torch.ones(1)))["h"], torch.Tensor)
