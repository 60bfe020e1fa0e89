"""S4WM: published sizes, variants, settings that are refused, stepping with changed weights."""

from __future__ import annotations

import math

import pytest
import torch

from backbones import BACKBONES
from backbones.interface import DiscreteSpec, ImageSpec, WorldSpec
from backbones.parts.legs import legs_dplr
from backbones.parts.s4_layer import S4Layer
from backbones.s4wm import Config

PAPER_2D = WorldSpec(ImageSpec(40, 40), DiscreteSpec(7), context_length=199, query_length=51, has_reward=False)
PAPER_3D = WorldSpec(ImageSpec(64, 64), DiscreteSpec(6), context_length=501, query_length=500, has_reward=False)
SMALL = WorldSpec(ImageSpec(16, 16), DiscreteSpec(3), context_length=6, query_length=4)
MODULES = ("encoder", "posterior", "input", "core", "prior", "decoder")
PUBLISHED = {
    "2d": (PAPER_2D, (165_824, 2_164_736, 528_896, 19_329_280, 788_480, 5_083_971), 28_061_187),
    "3d": (PAPER_3D, (1_552_032, 7_171_024, 528_384, 19_329_280, 1_539_024, 10_994_595), 41_114_339),
}


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("which", PUBLISHED)
def test_published_number_of_parameters(which: str) -> None:
    spec, by_module, total = PUBLISHED[which]
    model = BACKBONES["s4wm"].config("paper", spec).build(spec)
    assert {name: count(part) for name, part in model.named_children()} == dict(zip(MODULES, by_module, strict=True))
    assert count(model) == total


def test_variants_differ_where_they_should() -> None:
    sizes = {}
    for name in ("s4wm", "s4wm_no_mlp", "s4wm_full_posterior", "s4d"):
        model = BACKBONES[name].config("paper", PAPER_2D).build(PAPER_2D)
        sizes[name] = {part: count(module) for part, module in model.named_children()}
    plain = sizes.pop("s4wm")
    mlps = 6 * (2_099_712 + 1024)
    assert sizes["s4wm_no_mlp"] == plain | {"core": plain["core"] - mlps}
    assert sizes["s4d"] == plain | {"core": plain["core"] - 12 * 64}  # no P
    posterior = (3200 + 7) * 512 + 1024 + plain["core"] + plain["prior"]
    assert sizes["s4wm_full_posterior"] == plain | {"posterior": posterior}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"state_size": 7}, ["state_size is 7", "even"]),
        ({"kernel": "dplr", "discretisation": "zoh"}, ["'zoh'", "'bilinear'"]),
        ({"kernel": "cauchy"}, ["'cauchy'", "'dplr', 'diagonal'"]),
        ({"dt_min": 0.2, "dt_max": 0.1}, ["0.2", "0.1"]),
        ({"blocks": 0}, ["0 blocks", "at least 1"]),
        ({"width": 0}, ["width is 0"]),
        ({"posterior": "none"}, ["'none'", "'factorised', 'full_history'"]),
        ({"decode_fraction": 0.0}, ["0.0", "above 0"]),
        ({"hidden": 0}, ["hidden is 0", "at least 1"]),
        ({"reward_head": "linear"}, ["'linear'", "'standardised', 'published'"]),
    ],
)
def test_settings_that_do_not_fit_are_refused(values: dict, words: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        Config.preset("debug", SMALL, **values).build(SMALL)
    assert all(word in str(error.value) for word in words), error.value


def test_published_training() -> None:
    training = Config.preset("paper", PAPER_2D).training
    assert (training.learning_rate, training.weight_decay, training.clip_norm, training.batch_size) == (
        1e-3,
        0.01,
        1000,
        8,
    )
    assert (training.schedule, training.warmup_updates) == ("cosine", 1000)


def test_state_space_parameters_have_their_own_group() -> None:
    config = Config.preset("debug", SMALL)
    model = config.build(SMALL)
    ordinary, special = model.parameter_groups(config.training)
    layers = [module for module in model.modules() if isinstance(module, S4Layer)]
    assert special["weight_decay"] == 0
    assert ordinary["weight_decay"] == config.training.weight_decay
    names = ("log_decay", "frequency", "drive", "low_rank", "log_dt")
    assert {id(p) for p in special["params"]} == {id(getattr(layer, name)) for layer in layers for name in names}
    assert {id(layer.readout) for layer in layers} <= {id(p) for p in ordinary["params"]}


def test_time_steps_reach_over_the_episode() -> None:
    layer = Config.preset("small", PAPER_2D).build_core(96, PAPER_2D).layers[0]
    assert math.log(0.4 / 250) <= float(layer.log_dt.detach().min()) < math.log(0.004)
    assert math.log(0.1) < float(layer.log_dt.detach().max()) <= math.log(0.2)


def test_clip_changes_the_initial_b_only() -> None:
    clipped, plain = S4Layer(4, 16, clip=2.0), S4Layer(4, 16)
    assert clipped.drive[:, 1].abs().max() == 2
    torch.testing.assert_close(plain.drive, torch.view_as_real(legs_dplr(16)[2]).float())
    assert torch.equal(clipped.frequency, plain.frequency)


@torch.no_grad()
def test_steps_follow_the_weights() -> None:
    """What is folded for stepping is folded again when a weight changes, however it changes."""
    layer, x = S4Layer(4, 8), torch.randn(2, 5, 4)

    def stepped() -> torch.Tensor:
        state, outputs = None, []
        layer.prepare()
        for frame in x.unbind(1):
            y, state = layer.step(frame, state)
            outputs.append(y)
        return torch.stack(outputs, 1)

    before = stepped()
    layer.log_dt += 0.5
    torch.testing.assert_close(stepped(), layer.outputs(x, None))
    assert not torch.allclose(stepped(), before, atol=1e-3)
    layer.load_state_dict(S4Layer(4, 8).state_dict())
    torch.testing.assert_close(stepped(), layer.outputs(x, None))
    layer.double()
    x = x.double()
    torch.testing.assert_close(stepped(), layer.outputs(x, None))


def test_half_precision_stays_outside_the_state_space_model() -> None:
    """Under autocast the layer differs by the rounding of its linear layer alone."""
    layer, x = S4Layer(8, 16), torch.randn(2, 40, 8)
    expected, state = layer(x, None)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, half_state = layer(x, None)
        step, _ = layer.step(x[:, 0], None)
    assert y.dtype == step.dtype == torch.bfloat16
    torch.testing.assert_close(half_state, state)
    torch.testing.assert_close(y.float(), expected, atol=0.03, rtol=0.03)
    torch.testing.assert_close(step.float(), expected[:, 0], atol=0.03, rtol=0.03)
