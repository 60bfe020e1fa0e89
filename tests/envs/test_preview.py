"""The moving pictures of `python -m envs.preview`."""

import io

import numpy as np
import pytest
from PIL import Image

import envs
from envs import preview


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
    left = world.width * preview.MAX_TILE + 2 * preview.GAP
    panel = pixels[preview.GAP : preview.GAP + 200 : 5, left : left + 200 : 5]
    assert np.array_equal(panel, frame)


def test_long_maps_go_above_the_view():
    env = envs.spec("distracting_memory_100")
    picture = next(preview.pictures(env, [], env_seed=0))
    assert picture.width <= preview.MAP_WIDTH + 2 * preview.GAP
    assert picture.height > preview.VIEW_SIDE + 9 * preview.MIN_TILE


def test_the_command_writes_a_gif(tmp_path, capsys):
    out = tmp_path / "walk.gif"
    assert preview.main(["--env", "distracting_memory_14", "--out", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    assert [path.name for path in tmp_path.iterdir()] == ["walk.gif"]
    with Image.open(io.BytesIO(out.read_bytes())) as gif:
        assert gif.n_frames == envs.spec("distracting_memory_14").length


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
