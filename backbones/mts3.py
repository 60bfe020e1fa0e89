"""MTS3: two time scales of Gaussian beliefs, conditioned and moved in closed form.

Source: Shaj et al., "Multi Time Scale World Models" (2023); equations in ``parts/gaussian.py``, levels in
``parts/mts3_levels.py``. Written from the mathematics of the paper; what we add or change:

- Observations may be images: a CNN (or patch coder) in front of the encoders, and a decoder of the fast mean. The
  likelihood has unit variance, as for the other backbones. Posteriors are decoded too (reconstruction).
- Windows: frame t is moved by the action that led to it under the task of its own window. The published code moves
  the first frame of a window under the task of the window before.
- ``task="prior"``: the fast level reads the slow level's *prior* of its window, so that no frame knows later frames.
  ``task="posterior"`` is published: within an observed window frames know later frames, see ``reads_own_window``.
- The covariance of abstract actions enters the slow level (the published code loses it); process noise has a floor.
- The last window of a sequence may be incomplete; a state may be taken, and imagination begun, anywhere.

Nothing is sampled: beliefs are decoded at their mean, an uncertain future is a blurred one. Generators only draw the
masks of training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from backbones.interface import (
    BackboneConfig,
    Batch,
    Latents,
    Noise,
    State,
    TrainingConfig,
    WorldModel,
    WorldSpec,
    encode_action,
)
from backbones.matching import STATE_BYTES
from backbones.parts.gaussian import Evidence, Gaussian
from backbones.parts.mts3_encoders import TIME_CODES, AbstractAction, Control, UncertainEncoder, time_code
from backbones.parts.mts3_filter import Frames, TwoLevelFilter
from backbones.parts.mts3_levels import STARTS, FastLevel, SlowLevel
from backbones.parts.mts3_masks import MASKS, training_mask
from backbones.parts.observation_model import ObservationConfig, ObservationModel
from backbones.parts.reward_head import masked_mean
from backbones.parts.state import detached, merged

GROWTH_LIMITS = (100.0, 1000.0)
"""Size of means and covariances from which on the loss holds growth against them; a first belief has variance 10."""


@dataclass(frozen=True, kw_only=True)
class Config(ObservationConfig):
    """MTS3. Published sizes are for vectors of 2 to 30 numbers; sizes for images are ours."""

    pairs: int = 30
    """d: beliefs are about 2d numbers, d of them observed (published: 30)."""
    window: int = 15
    """H: frames of a window, one step of the slow level (published: 15 to 75); presets take the root of the length."""
    hidden: int = 120
    """Hidden units of control, encoders and reward head (published: 120 for frames and control, else 240)."""
    task: str = "prior"
    """The slow belief of the same window that the fast level reads: ``prior`` (causal, ours) or ``posterior``."""
    control: str = "additive"
    """What an action adds to the fast state: ``additive``, b(a), as published; ``state``, b(a, m), ours."""
    abstraction: str = "ordered"
    """How the slow level reads a window's actions: ``set``, as published, or ``ordered``, ours."""
    time_code: str = "sinusoidal"
    """Code of a frame's place in its window: ``scalar``, as published, or ``sinusoidal``, ours."""
    start: str = "published"
    """Transitions before training: ``published`` forgets at once, ``persistent`` does not (ours)."""
    normalise: bool = True
    """LayerNorm on the means that encoders give for frames (published for a sibling model, not for MTS3)."""
    action_covariance: bool = True
    """The uncertainty of abstract actions enters the slow level (the published code loses it)."""
    masks: str = "suffix"
    """Frames hidden in training: ``random``, as published; ``suffix`` also hides all that follows, in half the rows."""
    reconstruction_weight: float = 1.0
    """Weight of decoding posteriors of seen frames, beside 1 for priors (ours; published: priors only)."""
    growth_weight: float = 1.0
    """Weight of the logarithm by which beliefs exceed ``GROWTH_LIMITS``. Ours: decoders that normalise do not mind
    huge means, so that transitions may come to amplify without end."""
    parameter_dial: ClassVar[tuple[str, int] | None] = ("hidden", 1)

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "matched_state": {},  # see ``preset``
        "debug": {"pairs": 8},
        "small": {"pairs": 48},
        "standard": {"pairs": 128},
        "paper_2d": {"pairs": 512, "hidden": 1728, "training": TrainingConfig(learning_rate=3e-4, batch_size=8)},
        "paper_3d": {"pairs": 512, "hidden": 1600, "training": TrainingConfig(learning_rate=3e-4, batch_size=8)},
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        choices = {
            "task": ("prior", "posterior"),
            "control": ("additive", "state"),
            "abstraction": ("set", "ordered"),
            "time_code": tuple(TIME_CODES),
            "start": tuple(STARTS),
            "masks": MASKS,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}; allowed: {', '.join(map(repr, allowed))}")
        for name in ("pairs", "window"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")

    @property
    def time_multiple(self) -> int:  # type: ignore[override]
        """Pieces that end with a window leave nothing open."""
        return self.window

    @property
    def reads_own_window(self) -> bool:  # type: ignore[override]
        return self.task == "posterior"

    @classmethod
    def preset(cls, name: str, spec: WorldSpec, **overrides: Any) -> BackboneConfig:
        """As for all backbones. Unless it is given, a window has about as many frames as an episode has windows.

        ``matched_state`` has as many pairs as fit into the state's bytes when all but the last frame of a window are
        open.
        """
        window = overrides.setdefault("window", max(2, round(math.sqrt(spec.length))))
        if name == "matched_state":
            numbers = (STATE_BYTES - 1) // 4 - (window - 1) * (spec.action.size + 1)
            overrides.setdefault("pairs", max(1, numbers // (12 + 2 * (window - 1))))
        return super().preset(name, spec, **overrides)

    def build(self, spec: WorldSpec) -> WorldModel:
        if self.window > spec.length:
            raise ValueError(
                f"window is {self.window} frames and the episode {spec.length}; a window must not be longer than it"
            )
        return MTS3(self, spec)


class MTS3(ObservationModel):
    """The model. State: beliefs at the end of the last complete window, and what is known of the open one."""

    config: Config

    def __init__(self, config: Config, spec: WorldSpec) -> None:
        super().__init__(config, spec, decoded=2 * config.pairs, features=4 * config.pairs)
        pairs, hidden, actions = config.pairs, config.hidden, spec.action.size
        self.fast_encoder = UncertainEncoder(self.encoder.size, hidden, pairs, config.normalise)
        code = TIME_CODES[config.time_code]
        self.slow_encoder = UncertainEncoder(self.encoder.size + code, hidden, pairs, config.normalise)
        control = Control(actions, hidden, 2 * pairs, reads_state=config.control == "state")
        self.filter = TwoLevelFilter(
            AbstractAction(config.abstraction, actions, config.window, hidden, 2 * pairs, config.time_code),
            SlowLevel(pairs, config.start, config.action_covariance),
            FastLevel(pairs, config.start, control, config.window),
            config.task,
        )

    def loss(
        self, batch: Batch, state: State = None, generator: Noise = None
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor], State]:
        shown = training_mask(self.config.masks, batch.shape, self.config.window, generator, batch.valid.device)
        seen = batch.valid if shown is None else batch.valid & shown
        before = self._before(batch, state)
        beliefs, after = self.filter(self._frames(batch, seen, before), before)
        scored = self.scored(batch, state)
        means = torch.cat([beliefs.prior.mean, beliefs.posterior.mean], 1)
        of_prior, of_posterior = self.squared_errors(means, batch.observation, generator).chunk(2, 1)
        count = scored.sum().clamp(min=1)
        prediction, reconstruction = (of_prior * scored).sum() / count, (of_posterior * (scored & seen)).sum() / count
        growth = masked_mean(_growth(beliefs.prior), batch.valid)
        features = self.features(_latents(beliefs.posterior, beliefs.task))
        reward, reward_metrics = self.reward_loss(features, batch, scored)
        metrics = {
            "image_loss": prediction.detach(),
            "reconstruction_loss": reconstruction.detach(),
            "growth": growth.detach(),
        }
        weighted = self.config.reconstruction_weight * reconstruction + self.config.growth_weight * growth
        return prediction + weighted + reward, metrics | reward_metrics, detached(after)

    def observe(self, batch: Batch, state: State = None, generator: Noise = None) -> tuple[Latents, State]:
        before = self._before(batch, state)
        beliefs, after = self.filter(self._frames(batch, batch.valid, before), before)
        return _latents(beliefs.posterior, beliefs.task), detached(after)

    def imagine(
        self, previous_action: Shaped[Tensor, "B H *act"], state: State, generator: Noise = None
    ) -> tuple[Latents, State]:
        if state is None:
            raise ValueError("nothing to imagine from: state is None; pass the state that observe returned")
        action = encode_action(previous_action, self.spec.action).to(state["fast_mean"].dtype)
        nothing = action.new_zeros(len(action), 0, self.config.pairs)
        unseen = Evidence(nothing, nothing)
        frames = Frames(unseen, unseen, action, action.new_ones(action.shape[:2]))
        beliefs, after = self.filter(frames, state)
        return _latents(beliefs.prior, beliefs.task), detached(after)

    def decoder_input(self, latents: Latents) -> Float[Tensor, "B T F"]:
        return latents["mean"]

    def features(self, latents: Latents) -> Float[Tensor, "B T F"]:
        """Means of the fast state and of the task."""
        return torch.cat([latents["mean"], latents["task"]], -1)

    def _before(self, batch: Batch, state: State) -> dict[str, Tensor]:
        if state is not None and not batch.starts.any():
            return state
        fresh = self.filter.initial_state(len(batch.starts))
        return fresh if state is None or batch.starts.all() else merged(batch.starts, fresh, state)

    def _frames(self, batch: Batch, seen: Bool[Tensor, "B T"], before: dict[str, Tensor]) -> Frames:
        """Encode a batch; frames that are not ``seen`` say nothing."""
        embedding = self.embed(batch)
        shown = seen.to(embedding.dtype)
        first = before["action"].shape[1]
        index = torch.arange(first, first + shown.shape[1], device=shown.device) % self.config.window
        code = time_code(self.config.time_code, index.to(shown.dtype) / self.config.window)
        slow_input = torch.cat([embedding, code.expand(len(shown), -1, -1)], -1)
        return Frames(
            self.fast_encoder(embedding, shown),
            self.slow_encoder(slow_input, shown),
            encode_action(batch.previous_action, self.spec.action).to(shown.dtype),
            batch.valid.to(shown.dtype),
        )


def _growth(belief: Gaussian) -> Float[Tensor, "B T"]:
    """Sum of the logarithms by which means and covariances exceed their limits."""
    parts = zip(belief, GROWTH_LIMITS, strict=True)
    mean, covariance = ((part.abs() / limit).clamp_min(1).log().sum(-1) for part, limit in parts)
    return mean + covariance


def _latents(belief: Gaussian, task: Float[Tensor, "B T D2"]) -> Latents:
    return Latents(mean=belief.mean, covariance=belief.covariance, task=task)
