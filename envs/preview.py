"""A moving picture of an environment: the whole map beside what the agent sees.

    python -m envs.preview --env multi_doors_keys_3
    python -m envs.preview --env distracting_memory_100 --policy random --out walk.gif

The scripted policy's actions are those of ``envs.simulate``; the environment itself is stepped and drawn.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

import envs
from envs.centered_view import CenteredViewEnv
from envs.episode import episode_seeds
from envs.spec import EnvSpec

POLICIES = ("scripted", "random")
MAP_WIDTH = 960
"""Pixels that a map may be wide, unless that takes tiles smaller than ``MIN_TILE``."""
MIN_TILE, MAX_TILE = 4, 16
VIEW_SIDE = 200
GAP = 10
FRAME_MILLISECONDS = 100
COLORS = 128


def actions_of(env: EnvSpec, policy: str, env_seed: int, policy_seed: int) -> list[int]:
    """Actions of an episode of the scripted policy, or random ones. ``ValueError`` for another policy."""
    if policy not in POLICIES:
        raise ValueError(f"unknown policy {policy!r}; allowed: {', '.join(POLICIES)}")
    if policy == "scripted":
        return envs.simulate(env, [(env_seed, policy_seed)])[0].previous_action[1:].tolist()
    return np.random.default_rng(policy_seed).integers(env.action_count, size=env.length - 1).tolist()


def pictures(env: EnvSpec, actions: list[int], env_seed: int) -> Iterator[Image.Image]:
    """One picture a frame of the episode; ends with the episode if that is earlier than the actions."""
    world = envs.make(env.name, **env.gym_kwargs)
    frame, _ = world.reset(seed=env_seed)
    yield _picture(world, frame, f"frame 0 of {env.length}, context")
    for time, action in enumerate(actions, start=1):
        frame, reward, terminated, truncated, _ = world.step(action)
        part = "context" if time < env.context_length else "query"
        caption = f"frame {time} of {env.length}, {part}, after {env.action_names[action]}, reward {float(reward):g}"
        yield _picture(world, frame, caption)
        if terminated or truncated:
            return


def _picture(world: gymnasium.Env, frame: UInt8[np.ndarray, "height width 3"], caption: str) -> Image.Image:
    scale = VIEW_SIDE // frame.shape[0]
    panels = [np.kron(frame, np.ones((scale, scale, 1), np.uint8))]
    if isinstance(world, CenteredViewEnv):
        tile = int(np.clip(MAP_WIDTH // world.width, MIN_TILE, MAX_TILE))
        panels.insert(0, world.top_down(tile))
    # A long map goes above the view.
    across = sum(panel.shape[1] for panel in panels) + GAP * (len(panels) + 1) <= MAP_WIDTH
    corners, x, y = [], GAP, GAP
    for panel in panels:
        corners.append((x, y))
        x, y = (x + panel.shape[1] + GAP, y) if across else (x, y + panel.shape[0] + GAP)
    right = max(x + panel.shape[1] for (x, _), panel in zip(corners, panels, strict=True))
    bottom = max(y + panel.shape[0] for (_, y), panel in zip(corners, panels, strict=True))
    canvas = Image.new("RGB", (max(right, 300) + GAP, bottom + 3 * GAP), "white")
    for panel, corner in zip(panels, corners, strict=True):
        canvas.paste(Image.fromarray(panel), corner)
    ImageDraw.Draw(canvas).text((GAP, bottom + GAP // 2), caption, fill="black")
    return canvas


def gif(env: EnvSpec, policy: str = "scripted", seed: int = 0) -> bytes:
    """The bytes of a GIF of the first training episode of the dataset with this seed."""
    env_seed, policy_seed = episode_seeds(seed, "train", 0)
    shown = pictures(env, actions_of(env, policy, env_seed, policy_seed), env_seed)
    first, *others = [picture.quantize(COLORS, Image.Quantize.FASTOCTREE) for picture in shown]
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=others, duration=FRAME_MILLISECONDS, loop=0)
    return file.getvalue()


def main(arguments: list[str] | None = None) -> int:
    """The command; 0, or 2 after a line that says what was wrong."""
    parser = argparse.ArgumentParser(prog="python -m envs.preview", description=__doc__.splitlines()[0])
    parser.add_argument("--env", required=True, help=f"such as {', '.join(envs.names())}")
    parser.add_argument("--policy", choices=POLICIES, default="scripted")
    parser.add_argument("--seed", type=int, default=0, help="of the dataset whose first episode is shown")
    parser.add_argument("--out", type=Path, help="file to write; by default <env>_<policy>.gif")
    options = parser.parse_args(arguments)
    out = options.out or Path(f"{options.env}_{options.policy}.gif")
    try:
        picture = gif(envs.spec(options.env), options.policy, options.seed)
        unfinished = out.with_name(f".{out.name}.{os.getpid()}")
        unfinished.write_bytes(picture)
        unfinished.replace(out)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"cannot write {out}: {error.strerror}; give another --out", file=sys.stderr)
        return 2
    print(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
