"""RSSM-TBTT: published sizes, the literal per-frame form beside ours, pieces of an episode."""

import dataclasses

import pytest
import torch
from torch import Tensor

from backbones.interface import Batch, ContinuousSpec, DiscreteSpec, ImageSpec, VectorSpec, WorldSpec
from backbones.parts.gru import DeferredWeight, LayerNormGRU
from backbones.rssm_tbtt import Config
from tests.backbones.rssm_twin import literal_loss

VECTORS = WorldSpec(VectorSpec(6), ContinuousSpec(2), context_length=5, query_length=4)
IMAGES = WorldSpec(ImageSpec(16, 16), DiscreteSpec(3), context_length=5, query_length=4)


def random_batch(spec: WorldSpec, rows: int, time: int, starts: list[bool], seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    if isinstance(spec.observation, ImageSpec):
        shape = (rows, time, *spec.observation.shape)
        observation = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    else:
        observation = torch.randn(rows, time, *spec.observation.shape, generator=generator, dtype=torch.float64)
    if isinstance(spec.action, DiscreteSpec):
        action = torch.randint(0, spec.action.count, (rows, time), generator=generator)
    else:
        action = torch.randn(rows, time, spec.action.size, generator=generator, dtype=torch.float64)
    final = torch.zeros(rows, time, dtype=torch.bool)
    final[0, -1] = True
    valid = torch.ones(rows, time, dtype=torch.bool)
    valid[1:, -2:] = False
    reward = torch.zeros(rows, time, dtype=observation.dtype if observation.is_floating_point() else torch.float32)
    return Batch(observation, action, reward, torch.tensor(starts), valid, final)


@pytest.mark.parametrize(("spec", "tolerance"), [(VECTORS, 1e-7), (IMAGES, 2e-4)], ids=["vectors", "images"])
def test_equals_the_literal_form(spec: WorldSpec, tolerance: float):
    torch.manual_seed(0)
    spec = dataclasses.replace(spec, has_reward=False)
    model = Config.preset("debug", spec).build(spec)
    if isinstance(spec.observation, VectorSpec):
        model = model.double()
    dtype = next(model.parameters()).dtype
    with torch.no_grad():  # a learned state of zero would hide mistakes about it
        model.initial.normal_()
    batch = random_batch(spec, 3, 6, starts=[True, False, True])
    state = {"h": torch.rand(3, model.gru.width, dtype=dtype), "z": torch.rand(3, model.latents.size, dtype=dtype)}
    values, gradients = [], []
    for loss in (
        model.loss(batch, state, torch.Generator().manual_seed(1))[0],
        literal_loss(model, batch, state, torch.Generator().manual_seed(1)),
    ):
        model.zero_grad()
        loss.backward()
        values.append(loss.detach())
        gradients.append({name: parameter.grad.clone() for name, parameter in model.named_parameters()})
    torch.testing.assert_close(values[0], values[1], rtol=tolerance, atol=tolerance)
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(
            gradient,
            gradients[1][name],
            rtol=tolerance,
            atol=tolerance * gradients[1][name].abs().max().item(),
            msg=name,
        )


def test_deferred_gradient_is_the_sum_over_uses():
    weight = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    xs = torch.randn(5, 2, 4, dtype=torch.float64, requires_grad=True)

    def deferred(weight: Tensor, xs: Tensor) -> Tensor:
        product = DeferredWeight(weight)
        return torch.stack([product(x).tanh() for x in xs])

    assert torch.autograd.gradcheck(deferred, (weight, xs))


def test_deferred_gradient_of_a_second_backward_pass_is_the_same():
    weight = torch.randn(3, 4, requires_grad=True)
    y = DeferredWeight(weight)(torch.randn(2, 4)).sum()
    first = torch.autograd.grad(y, weight, retain_graph=True)[0]
    second = torch.autograd.grad(y, weight)[0]
    assert first.abs().sum() > 0
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_cell_step_by_step():
    torch.manual_seed(0)
    cell = LayerNormGRU(4, 6)
    x, h = torch.randn(2, 5, 4), torch.randn(2, 6)
    together, last = cell(x, h)
    for t in range(5):
        h = cell.step(x[:, t], h)
        torch.testing.assert_close(together[:, t], h)
    torch.testing.assert_close(last, h)


@torch.no_grad()
def test_carried_state_replaces_the_frames_before_it():
    torch.manual_seed(0)
    model = Config.preset("debug", IMAGES).build(IMAGES)
    batch = random_batch(IMAGES, 2, 9, starts=[True, True])
    whole, after = model.observe(batch)
    first, state = model.observe(batch.frames(0, 5))
    second, state = model.observe(batch.frames(5, 9), state)
    for name in ("h", "z"):
        torch.testing.assert_close(torch.cat([first[name], second[name]], 1), whole[name])
        torch.testing.assert_close(state[name], after[name])
    assert not state["h"].requires_grad


@torch.no_grad()
def test_a_row_that_starts_forgets_its_state():
    torch.manual_seed(0)
    model = Config.preset("debug", IMAGES).build(IMAGES)
    batch = random_batch(IMAGES, 2, 4, starts=[True, False])
    fresh, _ = model.observe(batch)
    state = {"h": torch.randn(2, model.gru.width), "z": torch.randn(2, model.latents.size)}
    carried, _ = model.observe(batch, state)
    torch.testing.assert_close(carried["h"][0], fresh["h"][0])
    assert (carried["h"][1] - fresh["h"][1]).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("size", "actions", "total", "parts"),
    [
        (40, 7, 31_225_091, {"encoder": 165_824, "posterior": 3_213_312, "input": 528_896, "gru": 15_742_976,
                             "prior": 1_574_912, "decoder": 9_999_171}),
        (64, 6, 54_051_107, {"encoder": 1_552_032, "posterior": 9_219_024, "input": 1_032_000, "gru": 18_741_248,
                             "prior": 3_075_024, "decoder": 20_431_779}),
    ],
    ids=["2d", "3d"],
)  # fmt: skip
def test_published_parameter_counts(size: int, actions: int, total: int, parts: dict[str, int]):
    spec = WorldSpec(ImageSpec(size, size), DiscreteSpec(actions), 199, 51, has_reward=False)
    with torch.device("meta"):
        model = Config.preset("paper", spec).build(spec)
    counts = {name: sum(p.numel() for p in child.parameters()) for name, child in model.named_children()}
    counts["gru"] += model.initial.numel()
    assert counts == parts
    assert sum(p.numel() for p in model.parameters()) == total


def test_published_training():
    config = Config.preset("paper", WorldSpec(ImageSpec(64, 64), DiscreteSpec(6), 501, 500))
    training = config.training
    assert (training.learning_rate, training.epsilon, training.clip_norm, training.batch_size) == (3e-4, 1e-5, 200, 32)
    assert config.train_length == 48 and config.carries_state


def test_imagining_needs_a_state():
    model = Config.preset("debug", IMAGES).build(IMAGES)
    with pytest.raises(ValueError, match="state is None"):
        model.imagine(torch.zeros(1, 2, dtype=torch.long), None)
