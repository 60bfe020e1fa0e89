"""Checks of sequence cores: parallel form and single steps are one function, and a causal one."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from backbones.contract.examples import ROWS, build, check_same
from backbones.interface import BackboneConfig, SequenceCore, State, WorldSpec
from backbones.parts.latent_world_model import CoreConfig
from backbones.parts.state import detached

GRADIENT_TOLERANCE = 2e-3
HEAD_START = 5
"""Frames behind a state that is not empty."""


def step_equals_forward(config: BackboneConfig, spec: WorldSpec) -> None:
    """Single steps give the outputs, gradients and state of the parallel form, from an empty state or not."""
    for name, core, width in _cores(config, spec):
        for behind in (0, HEAD_START):
            for time in (1, spec.length | 1):
                _compare(core, _inputs(width, behind + time + 3), behind, time, f"{name} after {behind} frames")


def core_in_pieces(config: BackboneConfig, spec: WorldSpec) -> None:
    """A sequence that is cut anywhere, the state being handed on, gives what it gives in one piece."""
    for name, core, width in _cores(config, spec):
        x = _inputs(width, spec.length)
        with torch.no_grad():
            whole, _ = core(x, core.initial_state(ROWS))
            check_same(core.outputs(x, core.initial_state(ROWS)), whole, f"{name}: outputs() and forward()")
            for cut in (1, spec.length // 2, spec.length - 1):
                first, state = core(x[:, :cut], core.initial_state(ROWS))
                second, _ = core(x[:, cut:], state)
                check_same(torch.cat([first, second], 1), whole, f"{name}: pieces cut at frame {cut}, and the whole")


def core_sees_no_future(config: BackboneConfig, spec: WorldSpec) -> None:
    """Output ``t`` does not depend on inputs after ``t``."""
    for name, core, width in _cores(config, spec):
        x = _inputs(width, spec.length)
        with torch.no_grad():
            before = core.outputs(x, core.initial_state(ROWS))
            for cut in (1, spec.length // 2, spec.length - 1):
                changed = torch.cat([x[:, :cut], -x[:, cut:]], 1)
                after = core.outputs(changed, core.initial_state(ROWS))
                what = f"{name}: outputs before frame {cut} when inputs from there on change"
                check_same(after[:, :cut], before[:, :cut], what)


def _cores(config: BackboneConfig, spec: WorldSpec) -> Iterator[tuple[str, SequenceCore, int]]:
    """Cores that are not part of another core, by name, and their width; none where a model is not made of cores."""
    if not isinstance(config, CoreConfig):
        return
    outer: list[str] = []
    for name, module in build(config, spec).named_modules():
        if isinstance(module, SequenceCore) and not any(name.startswith(f"{other}.") for other in outer):
            outer.append(name)
            yield name, module, config.width


def _inputs(width: int, time: int) -> Tensor:
    return torch.randn((ROWS, time, width), generator=torch.Generator().manual_seed(time))


def _compare(core: SequenceCore, x: Tensor, behind: int, time: int, name: str) -> None:
    """Both forms over ``time`` frames after ``behind`` frames; the rest of ``x`` goes on from either state."""
    state = core.initial_state(ROWS)
    if behind:
        with torch.no_grad():
            state = core(x[:, :behind], state)[1]
    past, now, later = x.split([behind, time, x.shape[1] - behind - time], 1)
    whole, after = core(now.requires_grad_(), state)
    stepped, after_steps = _step(core, now, state)
    check_same(stepped, whole, f"{name}: step and forward over {time} frames")
    parameters = [parameter for parameter in core.parameters() if parameter.requires_grad]
    # A fixed random direction, so that no gradient cancels by symmetry.
    direction = torch.randn(whole.shape, generator=torch.Generator().manual_seed(1))
    pairs = (
        torch.autograd.grad((y * direction).sum(), [now, *parameters], allow_unused=True) for y in (whole, stepped)
    )
    for of_whole, of_steps in zip(*pairs, strict=True):
        none = torch.zeros(())
        one, other = (none if gradient is None else gradient for gradient in (of_whole, of_steps))
        check_same(other, one, f"{name}: gradients of step and forward over {time} frames", GRADIENT_TOLERANCE)
    with torch.no_grad():
        core.prepare()
        check_same(_step(core, now, state)[0], whole, f"{name}: prepared steps and forward over {time} frames")
        following = core(later, detached(after))[0]
        check_same(core(later, detached(after_steps))[0], following, f"{name}: the frames after {time} steps")


def _step(core: SequenceCore, x: Tensor, state: State) -> tuple[Tensor, State]:
    outputs = []
    for t in range(x.shape[1]):
        y, state = core.step(x[:, t], state)
        outputs.append(y)
    return torch.stack(outputs, 1), state
