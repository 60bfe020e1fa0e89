"""Checks of world models: reading, imagining, decoding."""

from __future__ import annotations

import io
from dataclasses import replace

import torch
from torch import Tensor

from backbones.contract.examples import ROWS, actions, build, check, check_same, check_same_latents, episodes, noise
from backbones.interface import BackboneConfig, Batch, Latents, State, WorldModel, WorldSpec
from backbones.parts.state import leaves, map_leaves


@torch.no_grad()
def past_sees_no_future(config: BackboneConfig, spec: WorldSpec) -> None:
    """Latents at ``t`` do not change when observations after ``t`` do."""
    if config.reads_own_window:
        return
    model, batch, other = build(config, spec), episodes(spec), episodes(spec, seed=1)
    before, _ = model.observe(batch, None, noise())
    for cut in (1, spec.length // 2, spec.length - 1):
        observation = torch.cat([batch.observation[:, :cut], other.observation[:, cut:]], 1)
        after, _ = model.observe(replace(batch, observation=observation), None, noise())
        what = f"latents before frame {cut} when observations from there on change"
        check_same_latents(after[:, :cut], before[:, :cut], what)


@torch.no_grad()
def observes_in_pieces(config: BackboneConfig, spec: WorldSpec) -> None:
    """Episodes that are read in pieces, the state being handed on, give what they give at once."""
    model, batch, piece = build(config, spec), episodes(spec), config.time_multiple
    check(spec.length > piece, f"episodes of {spec.length} frames cannot be cut into pieces of {piece}")
    whole, end = model.observe(batch, None, noise())
    for size in (piece, piece * max(1, spec.length // (2 * piece))):
        parts, state, generators = [], None, noise()
        for start in range(0, spec.length, size):
            part, state = model.observe(batch.frames(start, start + size), state, generators)
            parts.append(part)
        joined = Latents({name: torch.cat([part[name] for part in parts], 1) for name in whole})
        check_same_latents(joined, whole, f"pieces of {size} frames, and the whole")
        what = f"imagination after pieces of {size} frames, and after the whole"
        check_same_latents(_imagine(model, spec, state), _imagine(model, spec, end), what)


@torch.no_grad()
def imagines_one_frame_an_action(config: BackboneConfig, spec: WorldSpec) -> None:
    """Imagination has one frame an action, named and shaped like what was observed, finite and continuable."""
    model = build(config, spec)
    seen, state = model.observe(episodes(spec).frames(0, spec.context_length), None, noise())
    for time in (1, spec.query_length):
        action = actions(spec, time, torch.Generator().manual_seed(time))
        latents, after = model.imagine(action, state, noise())
        check(latents.keys() == seen.keys(), f"imagined latents are {sorted(latents)}, observed {sorted(seen)}")
        for name, value in latents.items():
            expected = (ROWS, time, *seen[name].shape[2:])
            check(value.shape == expected, f"imagined {name!r} is {tuple(value.shape)} instead of {expected}")
            check(bool(value.isfinite().all()), f"imagined {name!r} is not finite")
        model.imagine(action, after, noise())


@torch.no_grad()
def state_is_an_argument(config: BackboneConfig, spec: WorldSpec) -> None:
    """A state holds all that is needed, is not written to, carries no gradient, and has a row for each row."""
    model = build(config, spec)
    with torch.enable_grad():
        _, state = model.observe(episodes(spec).frames(0, spec.context_length), None, noise())
    tensors = [leaf for leaf in leaves(state) if isinstance(leaf, Tensor)]
    check(bool(tensors), "the state after a context holds no tensor")
    check(not any(leaf.requires_grad for leaf in tensors), "the state is not detached")
    check(all(leaf.ndim and leaf.shape[0] == ROWS for leaf in tensors), "a tensor of the state has not one row a row")
    copied = map_leaves(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, state)
    expected = _imagine(model, spec, copied)
    model.imagine(actions(spec, 2, torch.Generator().manual_seed(1)), state, noise())
    model.observe(episodes(spec, seed=1), None, noise())
    what = "imagination from one state before and after other calls (is anything kept on self, or written in place?)"
    check_same_latents(_imagine(model, spec, state), expected, what)


@torch.no_grad()
def beginning_ignores_state(config: BackboneConfig, spec: WorldSpec) -> None:
    """Rows that begin an episode ignore a state that is handed over."""
    model, batch = build(config, spec), episodes(spec)
    _, stale = model.observe(episodes(spec, seed=1), None, noise())
    fresh, _ = model.observe(batch, None, noise())
    check_same_latents(model.observe(batch, stale, noise())[0], fresh, "episodes that begin with another's state")


@torch.no_grad()
def rows_are_independent(config: BackboneConfig, spec: WorldSpec) -> None:
    """A row alone gives what it gives among others, with its own generator."""
    model, batch = build(config, spec), episodes(spec)
    together, state = model.observe(batch, None, noise())
    imagined = _imagine(model, spec, state)
    action = actions(spec, spec.query_length, torch.Generator().manual_seed(0))
    for row in range(ROWS):
        alone, state = model.observe(batch.rows(row, row + 1), None, noise()[row : row + 1])
        check_same_latents(alone, together[row : row + 1], f"row {row} alone and in a batch")
        alone, _ = model.imagine(action[row : row + 1], state, noise(7)[row : row + 1])
        check_same_latents(alone, imagined[row : row + 1], f"row {row} imagined alone and in a batch")


@torch.no_grad()
def decodes_slices(config: BackboneConfig, spec: WorldSpec) -> None:
    """Predictions and features have the shapes of the world, and those of a slice are a slice of those of all."""
    model = build(config, spec)
    latents, _ = model.observe(episodes(spec), None, noise())
    whole, features = model.decode(latents), model.features(latents)
    expected = (ROWS, spec.length, *spec.observation.shape)
    check(whole.observation.shape == expected, f"decoded {tuple(whole.observation.shape)} instead of {expected}")
    check(whole.reward.shape == expected[:2], f"rewards {tuple(whole.reward.shape)} instead of {expected[:2]}")
    check(features.shape[:2] == expected[:2] and features.ndim == 3, f"features are {tuple(features.shape)}")
    some = slice(spec.length // 3, spec.length - 1)
    part = model.decode(latents[:, some])
    check_same(part.observation, whole.observation[:, some], "observations decoded from a slice of the latents")
    check_same(part.reward, whole.reward[:, some], "rewards decoded from a slice of the latents")
    check_same(model.features(latents[:, some]), features[:, some], "features of a slice of the latents")


@torch.no_grad()
def saved_and_loaded_is_the_same(config: BackboneConfig, spec: WorldSpec) -> None:
    """A model's ``state_dict`` holds all that it is made of."""
    model, copy, file = build(config, spec), build(config, spec, seed=1), io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    copy.load_state_dict(torch.load(file, weights_only=True))
    for batch in (episodes(spec), episodes(spec, seed=1)):
        check_same(copy.loss(batch)[0], model.loss(batch)[0], "losses of a model, and of another that loaded it")
        expected = _observe_and_imagine(model, spec, batch)
        check_same_latents(_observe_and_imagine(copy, spec, batch), expected, "a model, and another that loaded it")


def _imagine(model: WorldModel, spec: WorldSpec, state: State) -> Latents:
    action = actions(spec, spec.query_length, torch.Generator().manual_seed(0))
    return model.imagine(action, state, noise(7))[0]


def _observe_and_imagine(model: WorldModel, spec: WorldSpec, batch: Batch) -> Latents:
    return _imagine(model, spec, model.observe(batch, None, noise())[1])
