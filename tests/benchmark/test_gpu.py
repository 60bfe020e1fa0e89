"""The same model on a GPU and on the CPU: losses, gradients, imagination. Skipped where there is no GPU."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

import backbones
from benchmark import collect
from benchmark.dataset import Dataset
from benchmark.flags import resolve
from benchmark.loader import BatchMaker
from benchmark.open_loop import row_noise

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here"),
]


@pytest.fixture(autouse=True)
def full_precision() -> None:
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


@pytest.mark.parametrize("name", sorted(backbones.BACKBONES))
def test_loss_and_gradients_agree_with_the_cpu(name: str, dataset: Dataset) -> None:
    """Modes instead of samples, all frames decoded: nothing is random."""
    config = resolve(name, "distracting_memory_14", "debug").model
    torch.manual_seed(0)
    model = config.build(dataset.world)
    if hasattr(config, "decode_fraction"):
        object.__setattr__(model.config, "decode_fraction", 1.0)
    found = {}
    for device in ("cpu", "cuda"):
        placed = copy.deepcopy(model).to(device)
        batch = BatchMaker(dataset, torch.device(device)).episodes("train", range(4))
        loss, _, _ = placed.loss(batch)
        loss.backward()
        found[device] = (loss.item(), {n: p.grad.cpu() for n, p in placed.named_parameters() if p.grad is not None})
    assert found["cuda"][0] == pytest.approx(found["cpu"][0], rel=1e-3)
    for parameter, gradient in found["cpu"][1].items():
        scale = gradient.abs().max().clamp(min=1e-6)
        worst = (found["cuda"][1][parameter] - gradient).abs().max() / scale
        assert worst < 2e-2, f"{parameter}: {worst:.1e} of its largest gradient"


@pytest.mark.parametrize("name", sorted(backbones.BACKBONES))
def test_imagination_agrees_with_the_cpu(name: str, dataset: Dataset) -> None:
    """Noise of single rows is drawn on the CPU, so that even samples agree but for ties in the last digit."""
    torch.manual_seed(0)
    model = resolve(name, "distracting_memory_14", "debug").model.build(dataset.world).eval()
    context = dataset.world.context_length
    frames = {}
    with torch.no_grad():
        for device in ("cpu", "cuda"):
            placed = copy.deepcopy(model).to(device)
            batch = BatchMaker(dataset, torch.device(device)).episodes("test", range(4))
            noise = row_noise(0, 0, range(4))
            _, state = placed.observe(batch.frames(0, context), None, noise)
            latents, _ = placed.imagine(batch.previous_action[:, context:], state, noise)
            frames[device] = placed.decode(latents).observation.cpu()
    same = (frames["cuda"] - frames["cpu"]).abs().flatten(2).amax(-1) < 1e-2
    assert same.float().mean() > 0.9


@pytest.mark.mujoco
def test_rooms_drawn_on_the_gpu_are_those_of_the_cpu(tmp_path: Path) -> None:
    pytest.importorskip("mujoco", reason="the rooms need the mujoco extra")
    collect.collect(collect.Request("two_rooms", 0, "states", {"train": 2, "val": 1, "test": 1}), tmp_path, workers=1)
    data = Dataset(tmp_path)
    cpu, gpu = (BatchMaker(data, torch.device(name)).episodes("train", range(2)) for name in ("cpu", "cuda"))
    apart = (cpu.observation.int() - gpu.observation.cpu().int()).abs()
    assert apart.max() <= 1 and (apart > 0).float().mean() < 1e-3
