"""The moving pictures of `python -m envs.preview`."""

import io
import os

import numpy as np
import pytest
from PIL import Image

import envs
from envs import preview
from envs.centered_view import MAX_TILE, MIN_TILE


@pytest.mark.parametrize("policy", preview.POLICIES)
def test_a_picture_a_frame_with_the_view_in_it(policy):
    env = envs.spec("multi_doors_keys_2")
    actions = preview.actions_of(env, policy, env_seed=1, policy_seed=2)
    shown = list(preview.pictures(env, actions, env_seed=1))
    assert len(shown) == env.length
    assert {picture.size for picture in shown} == {shown[0].size}
    world = envs.make(env.name)
    frame, _ = world.reset(seed=1)
    for action in actions[:20]:
        frame = world.step(action)[0]
    # The view is the panel on the right, five times enlarged.
    pixels = np.asarray(shown[20])
    left = world.width * MAX_TILE + 2 * preview.GAP
    panel = pixels[preview.GAP : preview.GAP + 200 : 5, left : left + 200 : 5]
    assert np.array_equal(panel, frame)


def test_long_maps_go_above_the_view():
    env = envs.spec("distracting_memory_100")
    picture = next(preview.pictures(env, [], env_seed=0))
    assert picture.width <= preview.WIDTH + 2 * preview.GAP
    assert picture.height > 40 * preview.VIEW_SCALE + 9 * MIN_TILE


@pytest.mark.mujoco
@pytest.mark.parametrize("name", ["two_rooms", "two_rooms_teleport", "memory_maze_9x9"])
def test_3d_pictures_hold_map_and_view(name):
    pytest.importorskip("mujoco", reason="the rooms need the mujoco extra")
    pytest.importorskip("numba", reason="the rooms need the mujoco extra")
    env = envs.spec(name)
    shown = list(preview.pictures(env, [1, 2, 4, 1, 1, 3], env_seed=1, every=3))
    assert len(shown) == 3
    world = envs.make(name)
    world.reset(seed=1)
    for action in [1, 2, 4, 1, 1, 3]:
        frame = world.step(action)[0]
    pixels, plan = np.asarray(shown[-1]), world.top_down(preview.WIDTH)
    height, width, _ = plan.shape
    assert np.array_equal(pixels[preview.GAP : preview.GAP + height, preview.GAP : preview.GAP + width], plan)
    left, side = width + 2 * preview.GAP, 64 * preview.VIEW_SCALE
    panel = pixels[preview.GAP : preview.GAP + side : 5, left : left + side : 5]
    assert np.array_equal(panel, frame)


def test_of_long_episodes_some_frames_are_left_out():
    shown = {name: preview.shown_every(envs.spec(name)) for name in ("two_rooms", "four_rooms", "ten_rooms")}
    assert shown == {"two_rooms": 1, "four_rooms": 2, "ten_rooms": 4}
    assert preview.shown_every(envs.spec("distracting_memory_400")) == 1
    env = envs.spec("distracting_memory_14")
    actions = preview.actions_of(env, "scripted", env_seed=1, policy_seed=2)
    every, fourth = (list(preview.pictures(env, actions, env_seed=1, every=k)) for k in (1, 4))
    times = [*range(0, env.length - 1, 4), env.length - 1]
    assert len(fourth) == len(times), "the last frame, with its reward, is shown in any case"
    view = np.s_[: -3 * preview.GAP]  # without the caption
    for picture, time in zip(fourth, times, strict=True):
        assert np.array_equal(np.asarray(picture)[view], np.asarray(every[time])[view])
        assert not np.array_equal(np.asarray(picture), np.asarray(every[time])), "the caption says it"


def test_the_command_writes_a_gif(tmp_path, capsys):
    out = tmp_path / "walk.gif"
    assert preview.main(["--env", "distracting_memory_14", "--out", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    assert [path.name for path in tmp_path.iterdir()] == ["walk.gif"]
    with Image.open(io.BytesIO(out.read_bytes())) as gif:
        assert gif.n_frames == envs.spec("distracting_memory_14").length


def test_a_file_that_cannot_reach_the_disk_leaves_the_old_one(tmp_path, capsys, monkeypatch):
    out = tmp_path / "walk.gif"
    out.write_bytes(b"old")
    synced = []

    def full(descriptor):
        synced.append(descriptor)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(preview.os, "fsync", full)
    assert preview.main(["--env", "distracting_memory_14", "--out", str(out)]) == 2
    assert synced
    assert "No space left on device" in capsys.readouterr().err
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("walk.gif", b"old")]


def test_file_is_synced_before_it_is_renamed_and_the_folder_after(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace", "rename"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, _n=name, _r=real: (calls.append(_n), _r(*a))[1])
    preview._write(tmp_path / "a.gif", b"x")
    assert calls == ["fsync", "replace", "fsync"]


def test_what_stands_under_the_temporary_name_is_not_touched(tmp_path, monkeypatch):
    monkeypatch.setattr(preview.secrets, "token_hex", lambda count: "same")
    monkeypatch.setattr(preview.os, "getpid", lambda: 1)
    precious = tmp_path / "precious"
    precious.write_bytes(b"old")
    name = f".a.gif.tmp-{preview.socket.gethostname()}-1-same"
    (tmp_path / name).symlink_to(precious)
    with pytest.raises(FileExistsError):
        preview._write(tmp_path / "a.gif", b"new")
    assert precious.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, "precious"]


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["--env", "distracting_memory_15"], "it must be even"),
        (["--env", "nowhere"], "unknown environment 'nowhere'"),
        (["--env", "distracting_memory_14", "--out", "/no/such/folder/a.gif"], "cannot write /no/such/folder/a.gif"),
        (["--env", "distracting_memory_14", "--seed", "-1"], "seed"),
    ],
)
def test_bad_input_is_one_line_and_2(arguments, fragment, capsys):
    assert preview.main(arguments) == 2
    error = capsys.readouterr().err
    assert fragment in error
    assert error.count("\n") == 1


def test_another_policy_is_refused():
    with pytest.raises(ValueError, match="allowed: scripted, random"):
        preview.actions_of(envs.spec("distracting_memory_14"), "greedy", 0, 0)
