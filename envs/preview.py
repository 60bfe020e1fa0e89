"""A moving picture of an environment: the whole map beside what the agent sees.

    python -m envs.preview --env multi_doors_keys_3
    python -m envs.preview --env distracting_memory_100 --policy random --out walk.gif

The scripted policy's actions are those of ``envs.simulate``; the environment itself is stepped and drawn. Of long
episodes every second, third, ... frame is shown, so that the file stays small.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import secrets
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

import envs
from envs.episode import episode_seeds
from envs.spec import EnvSpec

POLICIES = ("scripted", "random")
WIDTH = 960
"""Pixels that map and view may be wide side by side."""
VIEW_SCALE = 5
GAP = 10
FRAME_MILLISECONDS = 100
COLORS = 256
PALETTE_PICTURES = 12
"""Pictures whose colours are those of the whole GIF."""
VIEW_PIXELS = 501 * 64 * 64
"""Pixels that the agent sees in all pictures of a GIF together; of episodes with more not every frame is shown. That
keeps a GIF under 6 MB."""


def actions_of(env: EnvSpec, policy: str, env_seed: int, policy_seed: int) -> list[int]:
    """Actions of an episode of the scripted policy, or random ones. ``ValueError`` for another policy."""
    if policy not in POLICIES:
        raise ValueError(f"unknown policy {policy!r}; allowed: {', '.join(POLICIES)}")
    if policy == "scripted":
        return envs.simulate(env, [(env_seed, policy_seed)])[0].previous_action[1:].tolist()
    return np.random.default_rng(policy_seed).integers(env.action_count, size=env.length - 1).tolist()


def pictures(env: EnvSpec, actions: list[int], env_seed: int, every: int = 1) -> Iterator[Image.Image]:
    """Pictures of one frame in ``every`` of the episode and of its last; ends with the episode if that is earlier than
    the actions."""
    world = envs.make(env.name, **env.gym_kwargs)
    frame, _ = world.reset(seed=env_seed)
    skipping = "" if every == 1 else f", 1 frame in {every} shown"
    yield _picture(world, frame, f"frame 0 of {env.length}, context{skipping}")
    collected = 0.0
    for time, action in enumerate(actions, start=1):
        frame, reward, terminated, truncated, _ = world.step(action)
        collected += float(reward)
        over = terminated or truncated
        if over or time % every == 0:
            part = "context" if time < env.context_length else "query"
            gain = f", reward {collected:g}" if env.has_reward or collected else ""
            caption = f"frame {time} of {env.length}, {part}, after {env.action_names[action]}{gain}{skipping}"
            yield _picture(world, frame, caption)
            collected = 0.0
        if over:
            return


def _picture(world: gymnasium.Env, frame: UInt8[np.ndarray, "height width 3"], caption: str) -> Image.Image:
    panels = [np.kron(frame, np.ones((VIEW_SCALE, VIEW_SCALE, 1), np.uint8))]
    if hasattr(world, "top_down"):
        panels.insert(0, world.top_down(WIDTH))
    # A long map goes above the view.
    across = sum(panel.shape[1] for panel in panels) + GAP * (len(panels) + 1) <= WIDTH
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


def shown_every(env: EnvSpec) -> int:
    """A GIF shows one frame in so many."""
    height, width, _ = env.image_shape
    return math.ceil(env.length * height * width / VIEW_PIXELS)


def _palette(samples: list[Image.Image]) -> Image.Image:
    """The colours that serve all of these pictures."""
    together = np.concatenate([np.asarray(sample) for sample in samples])
    return Image.fromarray(together).quantize(COLORS, Image.Quantize.FASTOCTREE)


def gif(env: EnvSpec, policy: str = "scripted", seed: int = 0) -> bytes:
    """The bytes of a GIF of the first training episode of the dataset with this seed."""
    env_seed, policy_seed = episode_seeds(seed, "train", 0)
    actions = actions_of(env, policy, env_seed, policy_seed)
    # One palette for all frames: then what stays the same from frame to frame takes no room.
    palette = _palette(list(pictures(env, actions, env_seed, every=math.ceil(env.length / PALETTE_PICTURES))))
    shown = pictures(env, actions, env_seed, every=shown_every(env))
    first, *others = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in shown]
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=others, duration=FRAME_MILLISECONDS, loop=0)
    return file.getvalue()


def _write(path: Path, data: bytes) -> None:
    """The file appears whole and on the disk, or not at all: ``benchmark.files.atomic_write``, which ``envs`` may not
    import."""
    unfinished = path.with_name(f".{path.name}.tmp-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}")
    with unfinished.open("xb") as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)  # or a power failure could undo the renaming
    finally:
        os.close(folder)


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
        _write(out, picture)
    except (ValueError, ModuleNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"cannot write {out}: {error.strerror}; give another --out", file=sys.stderr)
        return 2
    print(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
