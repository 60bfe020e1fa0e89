"""The analytic and the torch renderer against MuJoCo's; what bad OpenGL does."""

import subprocess
import sys

import numpy as np
import pytest
import torch

pytest.importorskip("mujoco", reason="the rooms need the mujoco extra")
pytest.importorskip("numba", reason="the rooms need the mujoco extra")

import envs
from benchmark.render_rooms import BatchRenderer, SceneBatch
from envs.rooms import analytic, gl_context
from envs.rooms.fingerprint import check, fingerprint
from envs.rooms.gl_context import GLUnavailableError, ensure_context, open_context
from envs.rooms.gl_renderer import check_frame
from envs.rooms.layouts import LAYOUTS
from envs.rooms.probe import BackendReport, advice, probe, psnr
from envs.rooms.rendering import frame_source
from envs.rooms.scene import sample_scene, sample_start
from envs.rooms.textures import halve, load_textures

pytestmark = pytest.mark.mujoco
POOLED, EVERY = 49.0, 38.0
"""Decibels that the analytic renderer promises."""


@pytest.fixture
def opengl():
    try:
        return ensure_context()
    except GLUnavailableError as error:
        pytest.skip(f"no OpenGL here: {error}")


def scenes_and_poses(plan, count, seed, each=20):
    """Poses anywhere an agent may be put down, in several scenes."""
    rng = np.random.default_rng(seed)
    for _ in range(count // each):
        scene = sample_scene(plan, rng)
        yield scene, np.stack([sample_start(plan, scene, rng) for _ in range(each)])


def compare(plan, count, seed):
    """Pooled PSNR and that of the worst frame, analytic against MuJoCo."""
    squared = []
    for scene, poses in scenes_and_poses(plan, count, seed):
        ours, reference = (frame_source(name)(plan, scene, poses).astype(float) for name in ("analytic", "mujoco"))
        squared.append(((ours - reference) ** 2).mean((1, 2, 3)))
    error = np.concatenate(squared)
    return 10 * np.log10(255**2 / error.mean()), 10 * np.log10(255**2 / error.max())


@pytest.mark.parametrize("name", LAYOUTS)
def test_analytic_frames_are_mujocos(name, opengl):
    pooled, worst = compare(LAYOUTS[name], 60, seed=11)
    assert pooled >= POOLED
    assert worst >= EVERY


def test_renderers_that_take_turns_give_their_own_frames(opengl):
    """The frame after another renderer's must not be a stale one."""
    draw, asked = frame_source("mujoco"), []
    for name in ("two_rooms", "four_rooms"):
        ((scene, poses),) = scenes_and_poses(LAYOUTS[name], 4, seed=13, each=4)
        asked.append((LAYOUTS[name], scene, poses))
    alone = [draw(*one) for one in asked]
    for k in range(4):
        for (plan, scene, poses), expected in zip(asked, alone, strict=True):
            apart = np.abs(draw(plan, scene, poses[k : k + 1])[0].astype(int) - expected[k])
            assert apart.max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYOUTS)
def test_analytic_frames_are_mujocos_on_1000_poses(name, opengl):
    pooled, worst = compare(LAYOUTS[name], 1000, seed=2024)
    assert pooled >= POOLED
    assert worst >= EVERY


@pytest.mark.parametrize("name", LAYOUTS)
def test_torch_frames_are_the_analytic_ones(name):
    plan = LAYOUTS[name]
    pairs = list(scenes_and_poses(plan, 8, seed=3, each=4))
    surfaces = [analytic.surfaces(plan, scene) for scene, _ in pairs]
    expected = np.stack([analytic.render(scene, poses) for scene, (_, poses) in zip(surfaces, pairs, strict=True)])
    renderer = BatchRenderer(load_textures(), frames_at_once=5)
    poses = torch.from_numpy(np.stack([poses for _, poses in pairs]))
    frames = renderer.render(SceneBatch.stack(surfaces), poses).numpy()
    apart = np.abs(frames.astype(int) - expected)
    assert apart.max() <= 1
    assert (apart > 0).mean() < 1e-3


def test_torch_batches_scenes_of_different_sizes():
    """Padding with faces and spheres of no size draws nothing."""
    small, large = (
        analytic.surfaces(LAYOUTS[name], sample_scene(LAYOUTS[name], np.random.default_rng(0)))
        for name in ("two_rooms", "ten_rooms")
    )
    poses = torch.tensor([[[-6.0, 1.0, 0.3]], [[-16.0, 4.0, 2.0]]])
    renderer = BatchRenderer(load_textures())
    together = renderer.render(SceneBatch.stack([small, large]), poses)
    alone = renderer.render(SceneBatch.stack([small]), poses[:1])
    assert torch.equal(together[0], alone[0])


def test_a_pose_decides_its_frame_whatever_else_is_rendered():
    plan = LAYOUTS["four_rooms"]
    ((scene, poses),) = scenes_and_poses(plan, 4, seed=5, each=4)
    surfaces = analytic.surfaces(plan, scene)
    together = analytic.render(surfaces, poses)
    assert all(np.array_equal(analytic.render(surfaces, poses[i : i + 1])[0], together[i]) for i in range(4))
    assert not np.array_equal(together[0], together[1])


def test_visible_area_counts_what_is_drawn():
    """Recolouring one thing changes frames exactly where the areas say that it is seen."""
    plan = LAYOUTS["two_rooms"]
    ((scene, poses),) = scenes_and_poses(plan, 20, seed=8)
    surfaces = analytic.surfaces(plan, scene)
    area = analytic.visible_area(surfaces, poses)
    assert (area.sum(1) <= 4 * 64 * 64).all()
    before = analytic.render(surfaces, poses)
    for face in range(len(surfaces.faces)):
        texture = surfaces.face_texture.copy()
        texture[face] = (texture[face] + 3) % 8
        changed = analytic.render(analytic.Surfaces(surfaces.faces, texture, surfaces.spheres), poses) != before
        pixels = changed.any(-1).sum((1, 2))
        assert ((pixels > 0) == (area[:, face] > 0)).all()
        assert (pixels <= area[:, face]).all()


def test_mip_levels_halve_by_means():
    level = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    expected = level.reshape(2, 2, 2, 2, 3).astype(float).mean((1, 3))
    assert np.abs(halve(level) - expected).max() <= 0.5
    textures = load_textures()
    assert textures.level_start.shape == (10, 11)
    assert len(textures.texels) == 10 * sum(4**k for k in range(11))


@pytest.mark.parametrize("colour", [(0, 0, 0), (10, 20, 30)])
def test_black_and_constant_frames_are_refused_by_name(colour):
    frame = np.full((64, 64, 3), colour, np.uint8)
    with pytest.raises(GLUnavailableError, match=r"from test is (black|of the one colour \(10, 20, 30\))"):
        check_frame(frame, "test")
    frame[40, 3, 1] += 1
    check_frame(frame, "test")


@pytest.mark.parametrize("name", ["two_rooms_mujoco", "memory_maze_9x9_mujoco"])
def test_environments_refuse_what_a_broken_driver_draws(name, opengl, monkeypatch):
    import mujoco

    world = envs.make(name, **envs.spec(name).gym_kwargs)
    frame, _ = world.reset(seed=0)
    assert frame.std() > 5
    monkeypatch.setattr(mujoco, "mjr_readPixels", lambda pixels, *_: pixels.fill(7))
    with pytest.raises(GLUnavailableError, match=rf"MuJoCo \({opengl}\).*one colour \(7, 7, 7\).*'analytic'"):
        world.step(1)


def test_a_broken_driver_writes_no_gif(opengl, monkeypatch, tmp_path, capsys):
    import mujoco

    from envs import preview

    monkeypatch.setattr(mujoco, "mjr_readPixels", lambda pixels, *_: pixels.fill(0))
    out = tmp_path / "walk.gif"
    assert preview.main(["--env", "two_rooms_mujoco", "--policy", "random", "--out", str(out)]) == 2
    assert "is black" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


STRANGER = """
import gc, sys
import numpy as np
from envs.rooms.fingerprint import reference_episode
from envs.rooms.gl_context import ensure_context
from envs.rooms.layouts import layout
from envs.rooms.rendering import frame_source

plan = layout("two_rooms")
scene, poses = reference_episode(plan)
ours = ensure_context()
before = frame_source("mujoco")(plan, scene, poses)
stranger = __import__("mujoco." + ours, fromlist=["GLContext"]).GLContext(64, 64)
stranger.make_current()
assert np.array_equal(frame_source("mujoco")(plan, scene, poses), before), "while the other is current"
stranger.make_current()
stranger.free()
assert np.array_equal(frame_source("mujoco")(plan, scene, poses), before), "after the other has gone"
"""


def test_a_context_of_another_package_does_no_harm(opengl):
    """Measured before contexts were made current for each frame: garbage that is neither black nor constant."""
    done = subprocess.run([sys.executable, "-c", STRANGER], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_second_context_is_refused(opengl):
    with pytest.raises(RuntimeError, match="has an OpenGL context already"):
        open_context("egl")
    assert ensure_context() == opengl


def test_missing_libraries_are_reported_together(monkeypatch):
    monkeypatch.setattr(gl_context, "_context", None)
    monkeypatch.setattr(gl_context, "_backend", None)
    monkeypatch.delenv("MUJOCO_GL", raising=False)

    def no_library(name):
        raise ImportError(f"no library for {name}")

    monkeypatch.setattr(gl_context.importlib, "import_module", no_library)
    with pytest.raises(GLUnavailableError, match=r"(?s)egl.*libegl1.*osmesa"):
        ensure_context()
    with pytest.raises(ValueError, match="glfw.*egl, osmesa"):
        open_context("glfw")


def test_unknown_renderer_is_refused():
    with pytest.raises(ValueError, match="pov.*analytic, mujoco"):
        frame_source("pov")


def test_fingerprint_accepts_itself_and_refuses_others():
    info = fingerprint("analytic", "two_rooms")
    check(info, "two_rooms")
    nearly = info | {"frames_sha256": "0", "frames_mean": [value + 0.9 for value in info["frames_mean"]]}
    check(nearly, "two_rooms")
    with pytest.raises(ValueError, match="grey levels apart"):
        check(nearly | {"frames_mean": [value + 1.5 for value in info["frames_mean"]]}, "two_rooms")
    with pytest.raises(ValueError, match="version '0'"):
        check(info | {"version": "0"}, "two_rooms")
    with pytest.raises(ValueError, match="povray"):
        check(info | {"name": "povray"}, "two_rooms")
    with pytest.raises(ValueError, match="lacks 'frames_mean'.*again"):
        check({key: value for key, value in info.items() if key != "frames_mean"}, "two_rooms")


@pytest.mark.parametrize("name", ["two_rooms", "ten_rooms_teleport", "memory_maze_9x9"])
def test_manifests_of_another_renderer_are_refused(name):
    env = envs.spec(name)
    info = envs.renderer_info(env)
    envs.check_renderer(env, info)
    # Last bits may differ between machines.
    envs.check_renderer(env, info | {"frames_sha256": "0"})
    with pytest.raises(ValueError, match="version '0'.*this installation has '1'.*make the dataset again"):
        envs.check_renderer(env, info | {"version": "0"})
    with pytest.raises(ValueError, match="textures_sha256"):
        envs.check_renderer(env, info | {"textures_sha256": "0"})


def test_probe_draws_with_every_backend(opengl):
    reports = {report.backend: report for report in probe()}
    assert list(reports) == ["egl", "osmesa", "analytic"]
    assert reports[opengl].works
    assert reports["analytic"].psnr > 40
    assert all(report.detail for report in reports.values())
    assert opengl in advice(list(reports.values()))


def test_advice_without_opengl():
    reports = [BackendReport("egl", False, "no library"), BackendReport("analytic", True, "numba")]
    assert "analytic renderer is used" in advice(reports)


def test_psnr():
    black = np.zeros((2, 2), np.uint8)
    assert psnr(black, black) == float("inf")
    assert psnr(black, black + 255) == 0
    assert psnr(black, black + 51) == pytest.approx(20 * np.log10(5))
