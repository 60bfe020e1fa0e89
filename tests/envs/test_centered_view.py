"""The view is the part of MiniGrid's own picture of the map that lies around the agent."""

import numpy as np
import pytest
from minigrid.core.grid import Grid

import envs
from envs.tiles import TILE, WALL, make_object


def crop_of_map(world):
    """The observation, cut out of MiniGrid's rendering of the whole map."""
    picture = world.grid.render(TILE, tuple(world.agent_pos), world.agent_dir)
    wall = Grid.render_tile(make_object(WALL), tile_size=TILE).astype(np.uint8)
    padded = np.tile(wall, (world.height + 4, world.width + 4, 1))
    padded[2 * TILE : -2 * TILE, 2 * TILE : -2 * TILE] = picture
    x, y = world.agent_pos
    return padded[y * TILE : (y + 5) * TILE, x * TILE : (x + 5) * TILE]


@pytest.mark.parametrize("name", ["distracting_memory_14", "distracting_memory_16", "multi_doors_keys_3"])
def test_random_walks_show_what_minigrid_draws(name):
    world, rng = envs.make(name), np.random.default_rng(0)
    seen = 0
    for seed in range(4):
        frame, _ = world.reset(seed=seed)
        for _ in range(50):
            assert np.array_equal(frame, crop_of_map(world))
            seen += 1
            # Mostly forward, so that the walk gets somewhere.
            frame, _, terminated, truncated, _ = world.step(rng.choice([0, 1, 2, 2, 2, 3, 4, 5, 6]))
            if terminated or truncated:
                break
    assert seen >= 100


@pytest.mark.parametrize("name", ["distracting_memory_14", "multi_doors_keys_3"])
def test_top_down_is_minigrids_picture_with_the_view_highlighted(name):
    world = envs.make(name, render_mode="rgb_array")
    world.reset(seed=3)
    x, y = world.agent_pos
    visible = np.zeros((world.width, world.height), bool)
    visible[max(x - 2, 0) : x + 3, max(y - 2, 0) : y + 3] = True
    expected = world.grid.render(9, tuple(world.agent_pos), world.agent_dir, visible)
    assert np.array_equal(world.get_frame(tile_size=9), expected)
    assert np.array_equal(world.top_down(9 * world.width + 8), expected), "as large as the width allows"
    assert np.array_equal(world.render(), world.top_down(8 * world.width))


def test_tiles_name_what_is_drawn():
    world = envs.make("multi_doors_keys_2")
    frame, _ = world.reset(seed=0)
    atlas = envs.tile_atlas(envs.spec("multi_doors_keys_2"))
    for action in (0, 2, 5, 1, 1, 2, 2, 2, 3):
        rows = atlas[world.tiles()].reshape(5, 5, 8, 8, 3)
        assert np.array_equal(rows.transpose(0, 2, 1, 3, 4).reshape(40, 40, 3), frame)
        frame = world.step(action)[0]
