"""A MiniGrid world seen from above the agent: the view of every 2D task of the benchmark."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import UInt8
from minigrid.core.grid import Grid
from minigrid.core.mission import MissionSpace
from minigrid.minigrid_env import MiniGridEnv

from envs.tiles import FRAME_SHAPE, MIDDLE, TILE, VIEW, content_of, with_agent

RIGHT, DOWN, LEFT, UP = range(4)
"""Directions of the agent."""
MARGIN = VIEW // 2
"""Tiles that the view reaches beyond the agent."""
MAP_WIDTH = 960
"""Pixels that a map may be wide, unless that takes tiles smaller than ``MIN_TILE``."""
MIN_TILE, MAX_TILE = 4, 16


class CenteredViewEnv(MiniGridEnv):
    """Observations are the 5 x 5 tiles around the agent, 8 pixels each: ``(40, 40, 3)`` uint8.

    Unlike MiniGrid's own partial view this one does not turn with the agent (the triangle in the middle turns), goes
    through walls and carries no highlight; beyond the map there is wall. Subclasses fill in ``_gen_grid`` and
    ``facts``.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, mission: str, width: int, height: int, max_steps: int, render_mode: str | None = None):
        super().__init__(
            mission_space=MissionSpace(mission_func=lambda: mission),
            width=width,
            height=height,
            max_steps=max_steps,
            agent_view_size=VIEW,
            see_through_walls=True,
            tile_size=TILE,
            render_mode=render_mode,
        )
        self.observation_space = spaces.Box(0, 255, FRAME_SHAPE, np.uint8)

    @property
    def facts(self) -> dict[str, Any]:
        """What has happened in the episode so far and cannot be read off its frames; JSON values."""
        raise NotImplementedError

    def gen_obs(self) -> UInt8[np.ndarray, "40 40 3"]:
        return self._view().render(TILE, (MARGIN, MARGIN), self.agent_dir)

    def tiles(self) -> UInt8[np.ndarray, 25]:
        """Tile ids of the current view (``envs.tiles``), row by row."""
        tiles = np.array([content_of(obj) for obj in self._view().grid], np.uint8)
        tiles[MIDDLE] = with_agent(tiles[MIDDLE], self.agent_dir)
        return tiles

    def top_down(self, width: int = MAP_WIDTH) -> UInt8[np.ndarray, "height width 3"]:
        """The whole map, some ``width`` pixels wide at most, with the tiles in the agent's view highlighted."""
        return self._map(int(np.clip(width // self.width, MIN_TILE, MAX_TILE)))

    def _map(self, tile_size: int) -> UInt8[np.ndarray, "height width 3"]:
        agent_x, agent_y = map(int, self.agent_pos)
        # MiniGrid's own loop over the cells takes ten times as long, which is felt with hallways of 400 cells.
        rows = [
            [
                Grid.render_tile(
                    self.grid.get(x, y),
                    self.agent_dir if (x, y) == (agent_x, agent_y) else None,
                    max(abs(x - agent_x), abs(y - agent_y)) <= MARGIN,
                    tile_size,
                )
                for x in range(self.width)
            ]
            for y in range(self.height)
        ]
        return np.concatenate([np.concatenate(row, axis=1) for row in rows]).astype(np.uint8)

    def get_frame(self, highlight: bool = True, tile_size: int = TILE, agent_pov: bool = False) -> np.ndarray:
        """What ``render`` returns: the whole map (the observation itself is the agent's view)."""
        return self._map(tile_size)

    def _view(self) -> Grid:
        x, y = map(int, self.agent_pos)
        return self.grid.slice(x - MARGIN, y - MARGIN, VIEW, VIEW)
