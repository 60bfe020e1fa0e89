"""The map of Multi Doors Keys: its measures, and how a random one is drawn.

Corridor, doors and keys are where the published strip shows them (S4WM, arXiv 2307.02064, section 5.6, Figure 9). The
rooms behind them reach beyond every view of the scripted policy; they are those of MiniGrid's grid of 5 x 5 rooms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int, UInt8

from envs.tiles import EMPTY, PALETTE, WALL, content_ids

PITCH = 4
"""From one door or key to the next."""
HEIGHT = 3 * PITCH + 1
DOOR_Y, CORRIDOR_Y, GAP_Y, KEY_Y = 4, 6, 8, 9
"""Doors are in the upper wall of the corridor; keys lie behind the gaps in its lower wall."""


def column_x(column: int) -> int:
    """Where a door is, and the key below it."""
    return PITCH * column + PITCH // 2


def width_of(keys: int) -> int:
    return PITCH * keys + 1


def start_column(keys: int) -> int:
    """In front of which door the agent starts."""
    return keys // 2


@dataclass(frozen=True)
class DoorsKeysMap:
    """One drawn map. Colours are indices into ``PALETTE``, by column."""

    contents: UInt8[np.ndarray, "13 width"]
    door_colors: Int[np.ndarray, " keys"]
    key_colors: Int[np.ndarray, " keys"]


def draw_map(uniforms: Float64[np.ndarray, "2 keys"]) -> DoorsKeysMap:
    """A map from random numbers in [0, 1): every door has its colour from the four, every key belongs to one door."""
    door_colors = (uniforms[0] * len(PALETTE)).astype(int)
    return make_map(door_colors, door_colors[np.argsort(uniforms[1])])


def make_map(door_colors: Int[np.ndarray, " keys"], key_colors: Int[np.ndarray, " keys"]) -> DoorsKeysMap:
    """The map with these doors and keys."""
    columns = [column_x(column) for column in range(len(door_colors))]

    contents = np.full((HEIGHT, width_of(len(door_colors))), EMPTY, np.uint8)
    contents[::PITCH] = WALL
    contents[:, ::PITCH] = WALL
    contents[DOOR_Y + 1 : GAP_Y, 1:-1] = EMPTY
    contents[GAP_Y, columns] = EMPTY
    contents[DOOR_Y, columns] = content_ids("locked_door")[door_colors]
    contents[KEY_Y, columns] = content_ids("key")[key_colors]
    return DoorsKeysMap(contents, door_colors, key_colors)
