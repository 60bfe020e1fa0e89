"""TSSM-XL: published sizes; the literal Transformer-XL, segment after segment, beside our forms."""

import math

import pytest
import torch
from torch import Tensor

from backbones.interface import DiscreteSpec, ImageSpec, WorldSpec
from backbones.parts.attention import RelativeAttention, align
from backbones.tssm_xl import Config, TransformerXL

SPEC = WorldSpec(ImageSpec(16, 16), DiscreteSpec(3), context_length=11, query_length=8)
LENGTHS = [  # frames, memory, segment
    pytest.param(12, 4, 4, id="whole segments"),
    pytest.param(11, 4, 4, id="last segment open"),
    pytest.param(13, 7, 3, id="memory of several segments"),
    pytest.param(13, 2, 5, id="memory shorter than a segment"),
    pytest.param(9, 50, 4, id="memory longer than the sequence"),
    pytest.param(5, 3, 20, id="segment longer than the sequence"),
    pytest.param(7, 1, 1, id="segments of one frame"),
]


def make_core(memory: int, segment: int, pre_norm: bool = True) -> TransformerXL:
    torch.manual_seed(0)
    core = TransformerXL(8, 2, 2, feedforward=12, memory=memory, segment=segment, pre_norm=pre_norm).double()
    with torch.no_grad():
        for parameter in core.parameters():  # nothing at its neutral initial value
            parameter.add_(0.3 * torch.randn_like(parameter))
    return core


def random_input(rows: int, time: int, width: int = 8) -> Tensor:
    return torch.randn(rows, time, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def literal_attention(layer: RelativeAttention, x: Tensor, memory: Tensor, biases: Tensor) -> Tensor:
    """One segment: memory and inputs are normalised and projected anew; a loop over queries, keys and heads' scores."""
    width, heads = x.shape[-1], layer.heads
    both = layer.norm(torch.cat([memory, x], 1))
    query, key, value = layer.query_key_value(both).unflatten(-1, (3, heads, -1)).unbind(2)
    frequency = 10000.0 ** (-torch.arange(0, width, 2, dtype=x.dtype) / width)
    outputs = []
    for t in range(memory.shape[1], both.shape[1]):
        scores = []
        for j in range(t + 1):
            angle = (t - j) * frequency
            code = layer.position(torch.cat([angle.sin(), angle.cos()])).unflatten(-1, (heads, -1))
            scores.append(((query[:, t] + biases[0]) * key[:, j]).sum(-1) + ((query[:, t] + biases[1]) * code).sum(-1))
        weights = (torch.stack(scores, -1) / math.sqrt(width / heads)).softmax(-1)
        outputs.append(torch.einsum("bhj,bjhd->bhd", weights, value[:, : t + 1]).flatten(1))
    return layer.output(torch.stack(outputs, 1))


def literal_core(core: TransformerXL, x: Tensor, memory: int, segment: int) -> Tensor:
    """The published training procedure: segments in turn, memories of hidden states without gradient."""
    memories = [x[:, :0] for _ in core.layers]
    outputs = []
    for piece in x.split(segment, dim=1):
        h = piece
        for i, layer in enumerate(core.layers):
            inputs = h
            attended = literal_attention(layer.attention, h, memories[i], core.biases)
            if layer.pre_norm:
                h = h + attended
                h = h + layer.feedforward(layer.feedforward_norm(h))
            else:
                h = layer.attention_norm(h + attended)
                h = layer.feedforward_norm(h + layer.feedforward(h))
            memories[i] = torch.cat([memories[i], inputs], 1)[:, -memory:].detach()
        outputs.append(core.norm(h))
    return torch.cat(outputs, 1)


def steps(core: TransformerXL, x: Tensor, prefix: int = 0) -> Tensor:
    """A prefix at once, then frame by frame."""
    state, outputs = core.initial_state(x.shape[0]), []
    if prefix:
        y, state = core(x[:, :prefix], state)
        outputs += list(y.unbind(1))
    for frame in x[:, prefix:].unbind(1):
        y, state = core.step(frame, state)
        outputs.append(y)
    return torch.stack(outputs, 1)


def gradients(core: TransformerXL, y: Tensor, x: Tensor) -> list[Tensor]:
    weights = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(2))
    return list(torch.autograd.grad((y * weights).sum(), [x, *core.parameters()], materialize_grads=True))


@pytest.mark.parametrize(("time", "memory", "segment"), LENGTHS)
@pytest.mark.parametrize("pre_norm", [True, False], ids=["pre", "post"])
def test_all_forms_equal_the_literal_one(time: int, memory: int, segment: int, pre_norm: bool):
    core = make_core(memory, segment, pre_norm)
    x = random_input(2, time).requires_grad_()
    expected = literal_core(core, x, memory, segment)
    expected_gradients = gradients(core, expected, x)
    assert expected_gradients[0].abs().max() > 1e-3
    forms = {
        "at once": core(x, core.initial_state(2))[0],
        "at once, without the state": core.outputs(x, core.initial_state(2)),
        "steps": steps(core, x),
        "prefix, then steps": steps(core, x, prefix=time // 2),
    }
    for name, y in forms.items():
        torch.testing.assert_close(y, expected, rtol=1e-9, atol=1e-9, msg=name)
        for ours, theirs in zip(gradients(core, y, x), expected_gradients, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8, msg=name)


@pytest.mark.parametrize(("time", "memory", "segment"), LENGTHS)
@pytest.mark.parametrize("first", [1, 3, 4])
@torch.no_grad()
def test_pieces_without_gradients_equal_the_whole(time: int, memory: int, segment: int, first: int):
    core = make_core(memory, segment)
    x = random_input(2, time)
    whole, _ = core(x, core.initial_state(2))
    state, outputs = core.initial_state(2), []
    for piece in x.split([first, time - first], dim=1):
        y, state = core(piece, state)
        outputs.append(y)
    torch.testing.assert_close(torch.cat(outputs, 1), whole, rtol=1e-9, atol=1e-9)


def test_a_state_made_without_gradients_can_be_continued_with_them():
    core = make_core(memory=5, segment=4)
    x = random_input(2, 13)
    whole, _ = core(x, core.initial_state(2))
    with torch.no_grad():
        _, state = core(x[:, :6], core.initial_state(2))
    rest, _ = core(x[:, 6:], state)
    torch.testing.assert_close(rest, whole[:, 6:], rtol=1e-9, atol=1e-9)


def test_memory_ends_where_it_should():
    """The last frame of a segment sees memory + segment frames: no more, no fewer."""
    memory, segment, time = 3, 4, 12
    core = TransformerXL(8, 1, 2, feedforward=8, memory=memory, segment=segment)
    x = random_input(1, time).float()
    with torch.no_grad():
        y = core(x, core.initial_state(1))[0][:, -1]
        changed = []
        for t in range(time):
            other = x.clone()
            other[:, t] = other[:, t].flip(-1)
            changed.append(not torch.equal(core(other, core.initial_state(1))[0][:, -1], y))
    assert changed == [t >= time - memory - segment for t in range(time)]


@torch.no_grad()
def test_steps_notice_new_weights():
    """Projected positions are kept while the weights stay the same, and only then."""
    core = make_core(memory=4, segment=4)
    x = random_input(1, 6)
    steps(core, x)
    core.layers[0].attention.position.weight.mul_(-3)
    expected, _ = make_core_like(core)(x, core.initial_state(1))
    torch.testing.assert_close(steps(core, x), expected, rtol=1e-9, atol=1e-9)


def make_core_like(core: TransformerXL) -> TransformerXL:
    """A copy that has computed nothing yet."""
    attention = core.layers[0].attention
    fresh = make_core(attention.memory, attention.segment)
    fresh.load_state_dict(core.state_dict())
    return fresh


def test_align_moves_distances_to_keys():
    queries, keys = 3, 5
    columns = torch.arange(keys - 1, -1, -1).expand(queries, keys)  # a score that is its distance
    aligned = align(columns.double())
    for t in range(queries):
        for j in range(keys - queries + t + 1):
            assert aligned[t, j] == keys - queries + t - j


@pytest.mark.parametrize(
    ("size", "actions", "total", "core"),
    [(40, 7, 27_114_755, 18_382_848), (64, 6, 43_844_067, 22_059_008)],
    ids=["2d", "3d"],
)
@pytest.mark.parametrize("memory", [128, 256, 512])
def test_published_parameter_counts(size: int, actions: int, total: int, core: int, memory: int):
    spec = WorldSpec(ImageSpec(size, size), DiscreteSpec(actions), 199, 51, has_reward=False)
    with torch.device("meta"):
        model = Config.preset("paper", spec, memory=memory).build(spec)
    assert sum(p.numel() for p in model.core.parameters()) == core
    assert sum(p.numel() for p in model.parameters()) == total


def test_published_training():
    training = Config.preset("paper", SPEC).training
    assert (training.learning_rate, training.batch_size, training.schedule) == (1e-4, 8, "constant")
    assert (training.clip_norm, training.weight_decay) == (1000, 0.01)


def test_memory_defaults_to_half_an_episode():
    model = Config.preset("debug", SPEC, memory=None).build(SPEC)
    assert model.core.layers[0].attention.memory == model.core.layers[0].attention.segment == 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 30, "heads": 4}, "width 30 and 4 heads"),
        ({"width": 9, "heads": 3}, "width 9 and 3 heads"),
        ({"memory": 0}, "memory is 0"),
        ({"segment": -1}, "segment -1"),
        ({"layers": 0}, "layers is 0"),
        ({"feedforward": 0}, "feedforward is 0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change: dict[str, int], message: str):
    with pytest.raises(ValueError, match=message):
        Config.preset("debug", SPEC, **change).build(SPEC)
