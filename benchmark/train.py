"""The one training loop. It asks a backbone's config what it wants and never for its name.

Everything random in an update follows from (run seed, update number), so that a run which was killed and continued
has the same curve as one that was not.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backbones.interface import Batch, Noise, State, TrainingConfig, WorldModel
from benchmark import checkpoint, states
from benchmark.budget import BudgetMeter
from benchmark.config import RunConfig
from benchmark.dataset import Dataset
from benchmark.loader import BatchMaker, Schedule, prefetched
from benchmark.open_loop import generation_error
from benchmark.progress import ProgressLine

Curve = list[dict[str, float | int]]


def seed_of(*parts: int) -> int:
    """One seed from several numbers."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)


@dataclass
class TrainResult:
    """What training left behind. The model holds the weights of the best validation."""

    meter: BudgetMeter
    curve: Curve
    status: str
    """``completed`` or ``diverged``."""
    stopped_by: str
    best_updates: int
    best_validation: float | None


class Trainer:
    """Trains ``model`` and leaves its best weights in it.

    ``identity`` are the hashes that a checkpoint in ``folder`` must carry to be continued.
    """

    def __init__(
        self,
        config: RunConfig,
        model: WorldModel,
        dataset: Dataset,
        device: torch.device,
        folder: Path,
        identity: dict[str, str],
    ) -> None:
        self.config, self.model, self.dataset, self.folder, self.identity = config, model, dataset, folder, identity
        self.training: TrainingConfig = config.model.training
        self.maker = BatchMaker(dataset, device)
        self.schedule = Schedule(config.model, dataset.world.length, dataset.count("train"), config.seed)
        self.noise = torch.Generator(device)
        self.optimizer = torch.optim.AdamW(
            model.parameter_groups(self.training),
            lr=self.training.learning_rate,
            betas=self.training.betas,
            eps=self.training.epsilon,
        )
        self.peak_rates = [group["lr"] for group in self.optimizer.param_groups]
        self.meter = BudgetMeter(config.budget)
        self.carried: State = None
        self.curve: Curve = []
        self.best: dict[str, Any] = {"updates": 0, "value": None, "model": None}
        self.validated = self.logged = 0
        self._metrics: list[dict[str, Tensor]] = []
        self._saved_at = time.monotonic()

    def run(self) -> TrainResult:
        self._restore()
        config = self.config
        batches = prefetched(self.batch, self.meter.updates)
        status = "completed"
        with ProgressLine(f"train {config.backbone} seed {config.seed}") as line:
            while self.meter.stopped_by is None:
                began = time.perf_counter()
                batch = next(batches)
                self._update(batch)
                self.meter.spend(self._frames(self.meter.updates), time.perf_counter() - began)
                if self._due("logged", config.train.log_points) and not self._log():
                    status = "diverged"
                    break
                if self._due("validated", config.train.validations):
                    self._validate()
                self._save_sometimes()
                line.update(self.meter.fraction, self._words())
        batches.close()
        if status == "completed" and self._metrics:
            status = "completed" if self._log() else "diverged"
        self._save()
        if self.best["model"] is not None:
            self.model.load_state_dict(self.best["model"])
        return TrainResult(
            meter=self.meter,
            curve=self.curve,
            status=status,
            stopped_by=self.meter.stopped_by or "loss is not finite",
            best_updates=self.best["updates"],
            best_validation=self.best["value"],
        )

    def batch(self, update: int) -> Batch:
        return self.maker("train", self.schedule.pieces(update), pad_to=self.schedule.piece)

    def _frames(self, update: int) -> int:
        return self.schedule.rows * self.schedule.frames(update)

    def _update(self, batch: Batch) -> None:
        self.model.train()
        self.noise.manual_seed(seed_of(self.config.seed, 1, self.meter.updates))
        torch.manual_seed(seed_of(self.config.seed, 2, self.meter.updates))  # for dropout, if a backbone has it
        factor = self.meter.learning_rate_factor(self.training.schedule, self.training.warmup_updates)
        for group, peak in zip(self.optimizer.param_groups, self.peak_rates, strict=True):
            group["lr"] = peak * factor
        self.optimizer.zero_grad(set_to_none=True)
        loss, metrics = self.backward(batch, self.noise)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.training.clip_norm)
        self.optimizer.step()
        self._metrics.append({**metrics, "loss": loss, "gradient_norm": norm.detach()})

    def backward(self, batch: Batch, noise: Noise) -> tuple[Tensor, dict[str, Tensor]]:
        """Adds the gradient of a batch, part by part, and carries the state on. Returns loss and metrics."""
        part = self.training.batch_size // self.training.accumulate
        after: list[State] = []
        seen: list[dict[str, Tensor]] = []
        for start in range(0, self.training.batch_size, part):
            before = None if self.carried is None else states.rows(self.carried, start, start + part)
            loss, metrics, state = self.model.loss(batch.rows(start, start + part), before, noise)
            (loss / self.training.accumulate).backward()
            after.append(state)
            seen.append({**metrics, "loss": loss.detach()})
        if self.config.model.carries_state:
            self.carried = states.joined(after)
        means = {name: torch.stack([one[name] for one in seen]).nanmean() for name in seen[0]}
        return means["loss"], means

    def _due(self, counter: str, points: int) -> bool:
        """True once for each of ``points`` equal shares of the budget."""
        reached = math.floor(self.meter.fraction * points + 1e-9)
        if reached <= getattr(self, counter):
            return False
        setattr(self, counter, reached)
        return True

    def _drain(self) -> None:
        """Waits for the GPU and books the time, which would otherwise be lost between two updates."""
        if self.maker.device.type == "cuda":
            began = time.perf_counter()
            torch.cuda.synchronize(self.maker.device)
            self.meter.seconds += time.perf_counter() - began

    def _log(self) -> bool:
        """Adds the mean of the metrics since the last entry; false if the loss stopped being a number."""
        self._drain()
        names = self._metrics[-1].keys()
        entry = {
            name: float(torch.stack([m[name].float() for m in self._metrics if name in m]).nanmean()) for name in names
        }
        finite = all(bool(torch.isfinite(m["loss"]) & torch.isfinite(m["gradient_norm"])) for m in self._metrics)
        self._metrics.clear()
        progress = {"updates": self.meter.updates, "frames": self.meter.frames, "seconds": self.meter.seconds}
        self.curve.append({**progress, **{name: value for name, value in entry.items() if math.isfinite(value)}})
        return finite

    def _validate(self) -> None:
        self._drain()
        count = min(self.config.train.validation_episodes, self.dataset.count("val"))
        error = generation_error(
            self.model,
            self.maker,
            "val",
            range(count),
            self.config.seed,
            self.config.score.batch_size,
            self.config.score.decode_frames,
        )
        self.curve.append(
            {
                "updates": self.meter.updates,
                "frames": self.meter.frames,
                "seconds": self.meter.seconds,
                "validation": error,
            }
        )
        if math.isfinite(error) and (self.best["value"] is None or error < self.best["value"]):
            weights = {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}
            self.best = {"updates": self.meter.updates, "value": error, "model": weights}

    def _words(self) -> str:
        best = self.best["value"]
        return f"{self.meter.updates} updates, {self.meter.frames:,} frames" + (
            f", best validation MSE {best:.3g}" if best else ""
        )

    def _save_sometimes(self) -> None:
        if time.monotonic() - self._saved_at >= self.config.train.checkpoint_seconds:
            self._save()

    def _save(self) -> None:
        content = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "carried": self.carried,
            "best": self.best,
            "curve": self.curve,
            "metrics": self._metrics,
            "counters": {"validated": self.validated, "logged": self.logged},
            "meter": {"frames": self.meter.frames, "updates": self.meter.updates, "seconds": self.meter.seconds},
        }
        checkpoint.save(self.folder, content, {"updates": self.meter.updates, "identity": self.identity})
        self._saved_at = time.monotonic()

    def _restore(self) -> None:
        found = checkpoint.load(self.folder, self.identity)
        if found is None:
            return
        self.model.load_state_dict(found["model"])
        self.optimizer.load_state_dict(found["optimizer"])
        self.carried = states.map_tensors(lambda tensor: tensor.to(self.maker.device), found["carried"])
        self.best, self.curve, self._metrics = found["best"], found["curve"], found["metrics"]
        self.validated, self.logged = found["counters"]["validated"], found["counters"]["logged"]
        for name, value in found["meter"].items():
            setattr(self.meter, name, value)


def train(
    config: RunConfig, model: WorldModel, dataset: Dataset, device: torch.device, folder: Path, identity: dict[str, str]
) -> TrainResult:
    """Trains within the budget, continuing from a checkpoint in ``folder`` if there is one."""
    return Trainer(config, model, dataset, device, folder, identity).run()
