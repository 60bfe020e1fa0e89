"""Gaussian conditioning and marginalisation against the reference numbers of MTS3, for every case in the file.

Another folder with files of the same names is read from ``GOLDEN_DIR``.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from backbones.parts.gaussian import (
    Evidence,
    Gaussian,
    aggregate,
    condition,
    evidence,
    marginalise,
    noise_covariance,
    pushforward,
)
from backbones.parts.mts3_encoders import Control

FOLDER = Path(os.environ.get("GOLDEN_DIR", Path(__file__).parent / "data"))
NUMBERS = {
    name: torch.from_numpy(np.asarray(value))
    for name, value in np.load(FOLDER / "mts3_gaussian.npz", allow_pickle=False).items()
    if name != "meta"
}
CONDITIONED = sorted(name.removesuffix("_post_mean") for name in NUMBERS if name.endswith("_post_mean"))
MOVED = sorted(name.removesuffix("_next_mean") for name in NUMBERS if name.endswith("_next_mean"))
TOLERANCE = 1e-9


def belief(prefix: str, parts: str = "") -> Gaussian:
    """The belief whose arrays begin with ``prefix``; ``parts`` stands before u, l and s where names differ there."""
    upper, lower, side = (NUMBERS[f"{prefix}_{parts}{half}"] for half in "uls")
    return Gaussian(NUMBERS[f"{prefix}_mean"], torch.cat([upper, side, lower], dim=-1))


def observations(case: str) -> tuple[Tensor, Tensor, Tensor | None]:
    """Values, variances and mask of a case; one that has none of its own uses those of the case it is named after."""
    while f"{case}_obs" not in NUMBERS:
        case = case.rpartition("_")[0]
    valid = NUMBERS.get(f"{case}_obs_valid")
    return NUMBERS[f"{case}_obs"], NUMBERS[f"{case}_obs_var"], None if valid is None else valid.squeeze(-1)


def sees_one_half(case: str) -> bool:
    """Whether a case observes the upper half only, as frames do; abstract actions observe both."""
    return observations(case)[0].shape[-1] * 2 == NUMBERS[f"{case}_prior_mean"].shape[-1]


def assert_close(actual: Gaussian, mean: Tensor, covariance: Tensor) -> None:
    torch.testing.assert_close(actual.mean, mean, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(actual.covariance, covariance, atol=TOLERANCE, rtol=0)


def test_the_file_holds_cases():
    assert CONDITIONED and MOVED


@pytest.mark.parametrize("case", CONDITIONED)
def test_conditioning(case: str):
    prior, expected = belief(f"{case}_prior"), belief(f"{case}_post")
    observed = evidence(*observations(case)).sum(-2)
    if sees_one_half(case):
        actual = condition(prior, observed)
    else:
        upper, _, lower = prior.covariance.chunk(3, dim=-1)
        actual = aggregate(prior.mean, torch.cat([upper, lower], dim=-1), observed)
    assert_close(actual, *expected)


@pytest.mark.parametrize("case", [case for case in CONDITIONED if sees_one_half(case)])
def test_a_set_is_its_members_one_after_the_other(case: str):
    posterior, expected = belief(f"{case}_prior"), belief(f"{case}_post")
    found = evidence(*observations(case))
    for i in range(found.precision.shape[1]):
        posterior = condition(posterior, Evidence(found.precision[:, i], found.weighted[:, i]))
    assert_close(posterior, *expected)


@pytest.mark.parametrize("case", MOVED)
def test_marginalisation(case: str):
    noise = noise_covariance(NUMBERS[f"{case}_noise_theta"])
    pairs = {"A": "z" if f"{case}_z_mean" in NUMBERS else "l", "B": "a", "C": "l"}
    terms = [
        (pushforward(NUMBERS[f"{case}_{matrix}"]), belief(f"{case}_{name}"))
        for matrix, name in pairs.items()
        if f"{case}_{matrix}" in NUMBERS
    ]
    mean, covariance = marginalise(terms, noise)
    if f"{case}_control_out" in NUMBERS:
        mean = mean + NUMBERS[f"{case}_control_out"]
    full = "full_" if f"{case}_next_full_u" in NUMBERS else ""
    assert_close(Gaussian(mean, covariance), *belief(f"{case}_next", full))
    if f"{case}_next_code_u" in NUMBERS:  # the published code leaves out the covariance of the action
        _, covariance = marginalise([term for term, matrix in zip(terms, "AB", strict=True) if matrix == "A"], noise)
        assert_close(Gaussian(mean, covariance), *belief(f"{case}_next", "code_"))


@pytest.mark.parametrize("case", [name.removesuffix("_lin_mean") for name in NUMBERS if name.endswith("_lin_mean")])
def test_linear_map(case: str):
    push, z = pushforward(NUMBERS[f"{case}_A"]), belief(f"{case}_z")
    assert_close(Gaussian(z.mean @ push.mean, z.covariance @ push.covariance), *belief(f"{case}_lin"))


@pytest.mark.parametrize(
    "case", [name.removesuffix("_control_out") for name in NUMBERS if name.endswith("_control_out")]
)
def test_control(case: str):
    weights = {name: NUMBERS[f"{case}_ctrl_{name}"] for name in ("W1", "b1", "ln_g", "ln_b", "W2", "b2")}
    control = Control(weights["W1"].shape[1], weights["W1"].shape[0], weights["W2"].shape[0]).double()
    with torch.no_grad():
        for parameter, value in zip(control.parameters(), weights.values(), strict=True):
            parameter.copy_(value)
    actual = control.from_action(NUMBERS[f"{case}_action"])
    torch.testing.assert_close(actual, NUMBERS[f"{case}_control_out"], atol=TOLERANCE, rtol=0)
