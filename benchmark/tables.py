"""Scores as the tables of a record."""

from __future__ import annotations

import numpy as np
import pandas as pd

from backbones.interface import WorldSpec
from benchmark.open_loop import EpisodeScores


def per_episode(scores: EpisodeScores) -> pd.DataFrame:
    """One row an episode: mean errors, predicted and true rewards. NaN where only the first episodes were scored."""
    table = pd.DataFrame({"episode": scores.indices})
    for name, matrix in scores.frame.items():
        table[f"{name}_mse"] = matrix.mean(1)
    table["final_frame_mse"] = scores.frame["generation"][:, -1]
    for name, values in scores.episode.items():
        table[name] = values
    for name, values in scores.partial.items():
        table[f"{name}_mse"] = np.concatenate([values, np.full(len(table) - len(values), np.nan)])
    return table


def per_step(scores: EpisodeScores, world: WorldSpec) -> pd.DataFrame:
    """One row a frame from 1 on: means over the episodes; query columns are NaN in the context."""
    table = pd.DataFrame({"step": range(1, world.length)})
    table["in_query"] = table["step"] >= world.context_length
    for name, matrix in scores.frame.items():
        column = np.full(len(table), np.nan)
        column[-matrix.shape[1] :] = matrix.mean(0)
        table[name] = column
    return table
