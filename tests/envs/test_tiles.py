"""Frames gathered from the atlas are MiniGrid's own."""

from dataclasses import replace

import numpy as np
import pytest
from minigrid.core.grid import Grid
from minigrid.core.world_object import Floor

import envs
from envs import tiles
from envs.tiles import CONTENTS, EMPTY, MIDDLE, PALETTE, VIEW, Square, content_of, make_grid, make_object, render_tiles

ENV = envs.spec("distracting_memory_16")


def random_views(count, rng):
    """Contents of views and the directions of their agents."""
    return rng.integers(0, len(CONTENTS), (count, VIEW, VIEW)).astype(np.uint8), rng.integers(0, 4, count)


@pytest.mark.parametrize("count", [1, tiles.FRAMES_AT_ONCE - 1, tiles.FRAMES_AT_ONCE, tiles.FRAMES_AT_ONCE + 1])
def test_frames_equal_minigrids_own(count):
    contents, directions = random_views(count, np.random.default_rng(count))
    ids = contents.reshape(count, -1).copy()
    ids[:, MIDDLE] = tiles.with_agent(ids[:, MIDDLE], directions)
    frames = render_tiles(tiles.tile_atlas(ENV), ids)
    assert frames.shape == (count, 40, 40, 3)
    for index in range(0, count, 7):
        expected = make_grid(contents[index]).render(tiles.TILE, (2, 2), int(directions[index]))
        assert np.array_equal(frames[index], expected)


def test_no_tiles_no_frames():
    assert render_tiles(tiles.tile_atlas(ENV), np.empty((0, 25), np.uint8)).shape == (0, 40, 40, 3)


def test_the_atlas_has_no_two_equal_tiles():
    atlas = tiles.tile_atlas(ENV)
    assert atlas.shape == (5 * len(CONTENTS), 8, 8, 3)
    assert len(np.unique(atlas.reshape(len(atlas), -1), axis=0)) == len(atlas)


def test_objects_and_contents_are_inverse():
    assert [content_of(make_object(content)) for content in range(len(CONTENTS))] == list(range(len(CONTENTS)))
    assert make_object(EMPTY) is None


@pytest.mark.parametrize("color", PALETTE)
def test_squares_and_stock_floors_do_not_share_cached_tiles(color):
    first = Grid.render_tile(Square(color), tile_size=11).copy()
    floor = Grid.render_tile(Floor(color), tile_size=11)
    assert not np.array_equal(first, floor)
    assert np.array_equal(Grid.render_tile(Square(color), tile_size=11), first)
    assert floor.max() < first.max()


def test_squares_have_full_colour_and_leave_the_grid_line():
    tile = tiles.tile_atlas(ENV)[tiles.content_ids("square", ("yellow",))[0]]
    assert (tile[2:, 2:] == (255, 255, 0)).all()
    assert (tile[0, 2:, 2] == 33).all()


def test_another_atlas_is_refused():
    other = tiles.tile_atlas(ENV).copy()
    tiles.check_atlas(other)
    other[0, 0, 0, 0] += 1
    with pytest.raises(ValueError, match=r"draws other tiles .* Install .* constraints\.txt"):
        tiles.check_atlas(other)


def test_an_environment_without_tiles_has_no_atlas():
    solid = replace(ENV, name="four_rooms", image_shape=(64, 64, 3))
    with pytest.raises(ValueError, match="four_rooms has frames of .* not made of tiles"):
        tiles.tile_atlas(solid)


def test_ids_of_another_atlas_are_noticed():
    atlas = tiles.tile_atlas(ENV)
    with pytest.raises(AssertionError, match="another atlas"):
        render_tiles(atlas, np.full((1, 25), len(atlas), np.uint8))


def test_the_fingerprint_is_that_of_the_atlas():
    assert envs.renderer_info(ENV)["atlas_sha256"] == tiles.ATLAS_SHA256
    assert envs.tile_atlas(ENV) is tiles.tile_atlas(ENV)
    with pytest.raises(ValueError, match="read-only"):
        envs.tile_atlas(ENV)[0] = 0
