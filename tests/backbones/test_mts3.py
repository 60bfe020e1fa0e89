"""MTS3: the published equations step by step beside our forms; states; sizes."""

import dataclasses

import pytest
import torch
from torch import nn

from backbones.interface import Batch, ContinuousSpec, DiscreteSpec, ImageSpec, VectorSpec, WorldSpec
from backbones.matching import STATE_BYTES
from backbones.mts3 import MTS3, Config
from backbones.parts.mts3_masks import training_mask
from backbones.parts.state import leaves
from tests.backbones.mts3_twin import Literal

SPEC = WorldSpec(VectorSpec(3), ContinuousSpec(2), context_length=9, query_length=5, has_reward=False)
WINDOW = 4
VARIANTS = [
    {"task": task, "control": control, "abstraction": abstraction}
    for task, control, abstraction in (
        ("prior", "state", "ordered"),
        ("prior", "additive", "set"),
        ("posterior", "additive", "set"),
        ("posterior", "state", "ordered"),
    )
]


def named(variant: dict[str, str]) -> str:
    return "-".join(variant.values())


def make_model(**changes: object) -> MTS3:
    torch.manual_seed(0)
    model = Config.preset("debug", SPEC, **{"window": WINDOW, **changes}).build(SPEC).double()
    with torch.no_grad():
        for level in (model.filter.slow, model.filter.fast):  # dense matrices, and noise that differs
            for parameter in (level.transition, level.other, level.noise):
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def random_batch(rows: int = 3, time: int = SPEC.length, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    valid = torch.ones(rows, time, dtype=torch.bool)
    valid[1, -3:] = False
    return Batch(
        observation=torch.randn(rows, time, 3, generator=generator, dtype=torch.float64),
        previous_action=torch.randn(rows, time, 2, generator=generator, dtype=torch.float64),
        reward=torch.zeros(rows, time),
        starts=torch.ones(rows, dtype=torch.bool),
        valid=valid,
        final=torch.zeros(rows, time, dtype=torch.bool),
    )


@pytest.mark.parametrize("variant", VARIANTS, ids=named)
@pytest.mark.parametrize("time", [14, 12, 3], ids=["last window open", "whole windows", "one window"])
def test_loss_and_gradients_equal_the_published_equations(variant: dict[str, str], time: int):
    model = make_model(**variant)
    batch = dataclasses.replace(random_batch(), valid=torch.ones(3, 14, dtype=torch.bool)).frames(0, time)
    if time == 14:
        batch.valid[1, -3:] = False
    masks = training_mask("suffix", (3, time), WINDOW, torch.Generator().manual_seed(1), torch.device("cpu"))
    ours = model.loss(batch, None, torch.Generator().manual_seed(1))[0]
    theirs = Literal(model, batch, masks & batch.valid).loss()
    torch.testing.assert_close(ours.detach(), theirs.detach(), rtol=1e-10, atol=1e-10)
    parameters = list(model.parameters())
    for name, one, other in zip(
        [name for name, _ in model.named_parameters()],
        torch.autograd.grad(ours, parameters, materialize_grads=True, allow_unused=True),
        torch.autograd.grad(theirs, parameters, materialize_grads=True, allow_unused=True),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8 * (1 + other.abs().max().item()), msg=name)


@torch.no_grad()
def test_decoding_a_share_keeps_the_mean_of_priors_and_of_posteriors(monkeypatch: pytest.MonkeyPatch):
    """Both decodings of all frames stand in one row, from which the share is drawn."""
    monkeypatch.setattr("backbones.mts3.training_mask", lambda *_: None)  # or the generator would hide frames, too
    model, batch = make_model(decode_fraction=0.3), random_batch()
    before, scored = model.filter.initial_state(3), model.scored(batch, None)
    beliefs, _ = model.filter(model._frames(batch, batch.valid, before), before)
    generator = torch.Generator().manual_seed(0)
    drawn = [model.loss(batch, None, generator)[1] for _ in range(400)]
    for name, belief in (("image_loss", beliefs.prior), ("reconstruction_loss", beliefs.posterior)):
        errors = 0.5 * (model.decoder(belief.mean) - batch.observation).square().sum(2)
        exact = (errors * scored).sum() / scored.sum()
        torch.testing.assert_close(model.loss(batch)[1][name], exact)
        estimates = torch.stack([metrics[name] for metrics in drawn])
        assert estimates.std() > 0
        assert (estimates.mean() - exact).abs() < 3 * estimates.std() / 20, name


@pytest.mark.parametrize("variant", VARIANTS, ids=named)
@pytest.mark.parametrize("context", [1, 3, 4, 5, 8, 11])
@torch.no_grad()
def test_observing_then_imagining_is_one_masked_pass(variant: dict[str, str], context: int):
    model, batch = make_model(**variant), dataclasses.replace(random_batch(), valid=torch.ones(3, 14, dtype=torch.bool))
    masked = batch.valid.clone()
    masked[:, context:] = False
    before = model.filter.initial_state(3)
    expected, _ = model.filter(model._frames(batch, masked, before), before)
    _, state = model.observe(batch.frames(0, context))
    latents, _ = model.imagine(batch.previous_action[:, context:], state)
    torch.testing.assert_close(latents["mean"], expected.prior.mean[:, context:], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(latents["covariance"], expected.prior.covariance[:, context:], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(latents["task"], expected.task[:, context:], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("variant", VARIANTS, ids=named)
@pytest.mark.parametrize("cut", [2, 4, 7])
@torch.no_grad()
def test_reading_on_after_any_cut(variant: dict[str, str], cut: int):
    """A cut within a window changes what the first piece knew of its last window, and nothing after that window."""
    model, batch = make_model(**variant), random_batch()
    whole, end = model.observe(batch)
    _, state = model.observe(batch.frames(0, cut))
    rest, after = model.observe(batch.frames(cut, 14), state)
    for name, value in rest.items():
        torch.testing.assert_close(value, whole[name][:, cut:], rtol=1e-9, atol=1e-9)
    for name, value in after.items():
        torch.testing.assert_close(value, end[name], rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_imagining_on_and_reading_on_after_imagination():
    """What was imagined is a gap: frames seen later close it as masked frames would."""
    model, batch = make_model(control="additive"), random_batch()
    gap = dataclasses.replace(batch, valid=torch.ones_like(batch.valid))
    masked = gap.valid.clone()
    masked[:, 6:9] = False
    before = model.filter.initial_state(3)
    expected, _ = model.filter(model._frames(gap, masked, before), before)
    _, state = model.observe(gap.frames(0, 6))
    _, state = model.imagine(gap.previous_action[:, 6:7], state)
    _, state = model.imagine(gap.previous_action[:, 7:9], state)
    latents, _ = model.observe(gap.frames(9, 14), state)
    torch.testing.assert_close(latents["mean"], expected.posterior.mean[:, 9:], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("variant", VARIANTS, ids=named)
@torch.no_grad()
def test_covariances_stay_positive(variant: dict[str, str]):
    model, batch = make_model(**variant), random_batch(rows=4)
    seen = torch.rand(4, 14, generator=torch.Generator().manual_seed(3)) < 0.6
    before = model.filter.initial_state(4)
    beliefs, _ = model.filter(model._frames(batch, seen, before), before)
    for belief in (beliefs.prior, beliefs.posterior):
        upper, side, lower = belief.covariance.chunk(3, -1)
        assert (upper > 0).all() and (lower > 0).all()
        assert (upper * lower - side.square() > 0).all()


@torch.no_grad()
def test_causal_and_published_differ_in_what_a_frame_knows_of_its_window():
    batch = random_batch()
    batch.observation[:, 7] += 5  # the last frame of the second window
    for task, leaks in (("prior", False), ("posterior", True)):
        model = make_model(task=task)
        before = model.observe(random_batch())[0]["mean"]
        after = model.observe(batch)[0]["mean"]
        torch.testing.assert_close(after[:, :4], before[:, :4])
        assert ((after[:, 4:7] - before[:, 4:7]).abs().max() > 1e-6) == leaks


def test_order_of_actions_matters_to_ordered_abstraction_only():
    torch.manual_seed(0)
    for kind, matters in (("ordered", True), ("set", False)):
        model = make_model(abstraction=kind, time_code="scalar")
        abstract = model.filter.abstract_action
        action = torch.randn(1, 1, WINDOW, 2, dtype=torch.float64)
        if kind == "set":  # without its place an action is a member of a set
            nn.init.zeros_(abstract.encoder.body[0].weight[:, 2:].detach())
        known = torch.ones(1, 1, WINDOW, dtype=torch.float64)
        forwards, backwards = abstract(action, known).mean, abstract(action.flip(2), known).mean
        assert ((forwards - backwards).abs().max() > 1e-6) == matters


@pytest.mark.parametrize(("size", "actions", "low", "high"), [(40, 7, 27e6, 29e6), (64, 6, 41e6, 44e6)])
def test_paper_sizes_are_comparable_to_the_other_backbones(size: int, actions: int, low: float, high: float):
    spec = WorldSpec(ImageSpec(size, size), DiscreteSpec(actions), 199, 51, has_reward=False)
    with torch.device("meta"):
        model = Config.preset("paper", spec).build(spec)
    assert low <= sum(p.numel() for p in model.parameters()) <= high


@pytest.mark.parametrize("length", [30, 250, 1000])
@torch.no_grad()
def test_matched_state_fits_at_its_largest(length: int):
    spec = WorldSpec(ImageSpec(16, 16), DiscreteSpec(7), context_length=length - 9, query_length=9, has_reward=False)
    config = Config.preset("matched_state", spec)
    model = config.build(spec)
    batch = Batch(
        observation=torch.zeros(1, config.window - 1, 3, 16, 16, dtype=torch.uint8),
        previous_action=torch.zeros(1, config.window - 1, dtype=torch.long),
        reward=torch.zeros(1, config.window - 1),
        starts=torch.ones(1, dtype=torch.bool),
        valid=torch.ones(1, config.window - 1, dtype=torch.bool),
        final=torch.zeros(1, config.window - 1, dtype=torch.bool),
    )
    size = sum(leaf.numel() * leaf.element_size() for leaf in leaves(model.observe(batch)[1]))
    assert 0.97 * STATE_BYTES < size <= STATE_BYTES


@torch.no_grad()
def test_growth_is_held_against_beliefs_that_leave_their_limits():
    model, batch = make_model(), random_batch()
    assert model.loss(batch)[1]["growth"] == 0
    model.filter.fast.transition.copy_(2 * torch.eye(16))  # doubles what it knows, frame by frame
    assert model.loss(batch, None, torch.Generator().manual_seed(0))[1]["growth"] > 1


def test_window_is_the_time_multiple():
    config = Config.preset("debug", SPEC)
    assert config.window == config.time_multiple == 4  # the root of 14 frames
    assert not config.reads_own_window
    assert Config.preset("debug", SPEC, task="posterior").reads_own_window


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": 15}, "window is 15 frames and the episode 14"),
        ({"window": 0}, "window is 0"),
        ({"pairs": 0}, "pairs is 0"),
        ({"control": "linear"}, "control is 'linear'; allowed: 'additive', 'state'"),
        ({"decode_fraction": 0.0}, "decode_fraction is 0.0"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        Config.preset("debug", SPEC, **change).build(SPEC)
