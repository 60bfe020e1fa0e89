"""The card of a dataset: what must be remembered, how it was made, how large it is, and pictures of an episode.

Written beside the manifest after a dataset is complete; made from the dataset alone.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from benchmark.dataset import Dataset
from benchmark.files import atomic_write

CARD, STRIP, PREVIEW = "README.md", "strip.png", "preview.gif"
STRIP_FRAMES = 12


def strip(dataset: Dataset, index: int = 0) -> bytes:
    """Frames of a training episode, evenly spaced: context above, query below."""
    context = dataset.world.context_length
    rows = []
    for start, stop in ((0, context), (context, dataset.world.length)):
        steps = np.linspace(start, stop - 1, STRIP_FRAMES).round().astype(int)
        rows.append(
            np.concatenate([dataset.frames("train", index, int(step), int(step) + 1)[0] for step in steps], axis=1)
        )
    picture = Image.fromarray(np.concatenate(rows, axis=0))
    buffer = io.BytesIO()
    picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


def statistics(dataset: Dataset) -> list[str]:
    """Lines about the policy and the outcomes, from the table of episodes and the first shard's actions."""
    assert dataset.env is not None
    count = min(dataset.count("train"), 500)
    actions = np.concatenate([dataset.trajectory("train", index).previous_action[1:] for index in range(count)])
    shares = np.bincount(actions, minlength=dataset.env.action_count) / len(actions)
    used = ", ".join(
        f"{name} {share:.1%}" for name, share in zip(dataset.env.action_names, shares, strict=True) if share
    )
    found = [f"Actions ({count} training episodes): {used}."]
    if dataset.env.has_reward:
        last = dataset.world.length - 1
        rewarded = np.mean([dataset.trajectory("train", index, last).reward[-1] > 0.5 for index in range(count)])
        found.append(f"Episodes that end with a reward: {rewarded:.1%}.")
    facts = [json.loads(text) for text in dataset.episodes_table().query("split == 'train'")["facts"].head(count)]
    attempts = [attempt["outcome"] for one in facts for attempt in one.get("attempts", [])]
    if attempts:
        parts = [f"{name} {attempts.count(name) / len(attempts):.1%}" for name in sorted(set(attempts))]
        found.append(f"Outcomes of tries at doors: {', '.join(parts)}.")
        ends = [one["query_end"] for one in facts if one.get("query_end")]
        found.append(f"The task of the query ends at frame {np.mean(ends):.1f} in the mean; further tries fill it up.")
    return found


def text(dataset: Dataset) -> str:
    """Markdown with the header that dataset hubs read."""
    env, made = dataset.env, dataset.manifest
    assert env is not None
    frames = sum(made.episodes.values()) * env.length
    size = sum(entry.bytes for entry in (*made.shards, made.episodes_table))
    decade = 10 ** int(np.log10(frames))
    splits = "\n".join(f"| {split} | {count:,} | {count * env.length:,} |" for split, count in made.episodes.items())
    counts = ",".join(f"{split}={count}" for split, count in made.episodes.items())
    command = (
        f"python -m benchmark.collect --env {env.name} --seed {made.seed} --store {made.store} --episodes {counts}"
    )
    if made.options:
        command += f" --options '{json.dumps(made.options, sort_keys=True)}'"
    lines = [
        f"Episodes of {env.length} frames: {env.context_length} of context, {env.query_length} of query.",
        f"Observations: {' x '.join(map(str, env.image_shape))} uint8; actions: {', '.join(env.action_names)}.",
        f"Policy: `{env.policy}`. {' '.join(statistics(dataset))}",
        f"Stored as {made.store}: {size / 2**20:.1f} MiB in {len(made.shards)} shards.",
        f"Dataset seed {made.seed}, digest `{made.digest[:16]}`; Gymnasium id `{env.gym_id}`.",
        f"Made again, byte for byte, by `{command}`.",
    ]
    listed = "\n".join(f"- {line}" for line in lines)
    return f"""---
license: mit
pretty_name: {env.name}
tags: [reinforcement-learning, world-models, memory]
size_categories: {decade}<n<{decade * 10}
---

# {env.name}

{env.memory}

![context above, query below]({STRIP})

| Split | Episodes | Frames |
| --- | --- | --- |
{splits}

{listed}
"""


def write(folder: Path) -> None:
    """Card, strip, and a moving picture of the first training episode."""
    dataset = Dataset(folder, verify=False)
    if dataset.env is None:
        return
    atomic_write(folder / STRIP, strip(dataset))
    from envs.preview import gif  # with the environment that it steps

    atomic_write(folder / PREVIEW, gif(dataset.env, seed=dataset.manifest.seed))
    atomic_write(folder / CARD, text(dataset).encode())
