"""What every backbone must keep to, as checks that say in words what is wrong. No test framework is needed.

A check takes a configuration and a world, builds the model from a fixed seed, and raises :class:`ContractViolation`.
``CHECKS`` names them all, :func:`violations` runs them. Use the ``debug`` preset: what is checked does not depend on
size. Episodes should be at least three times ``config.time_multiple`` long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from backbones.contract.cores import core_in_pieces, core_sees_no_future, step_equals_forward
from backbones.contract.examples import ContractViolation
from backbones.contract.learning import gradient_reaches_every_parameter, overfits_one_batch, same_seed_same_loss
from backbones.contract.losses import first_frame_is_not_scored, padding_is_not_scored, refuses_wrong_types
from backbones.contract.models import (
    beginning_ignores_state,
    decodes_slices,
    imagines_one_frame_an_action,
    observes_in_pieces,
    past_sees_no_future,
    rows_are_independent,
    saved_and_loaded_is_the_same,
    state_is_an_argument,
)
from backbones.interface import BackboneConfig, WorldSpec

Check = Callable[[BackboneConfig, WorldSpec], None]

CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        step_equals_forward,
        core_in_pieces,
        core_sees_no_future,
        past_sees_no_future,
        observes_in_pieces,
        imagines_one_frame_an_action,
        state_is_an_argument,
        beginning_ignores_state,
        rows_are_independent,
        decodes_slices,
        saved_and_loaded_is_the_same,
        padding_is_not_scored,
        first_frame_is_not_scored,
        refuses_wrong_types,
        same_seed_same_loss,
        gradient_reaches_every_parameter,
        overfits_one_batch,
    )
}

__all__ = ["CHECKS", "Check", "ContractViolation", "violations"]


def violations(config: BackboneConfig, spec: WorldSpec) -> Iterator[tuple[str, str | None]]:
    """Name of each check, and what is wrong or None. A check that crashes is a violation too."""
    for name, check in CHECKS.items():
        try:
            check(config, spec)
        except ContractViolation as violation:
            yield name, str(violation)
        except Exception as error:
            yield name, f"{type(error).__name__}: {error}"
        else:
            yield name, None
