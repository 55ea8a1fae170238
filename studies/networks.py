"""The networks of a study: a recipe trained from several seeds, and kept."""

from pathlib import Path

import pandas as pd

from mlp.data import Problem
from mlp.files import InputError
from mlp.recipe import Recipe, make_trainer
from mlp.search import grid, run_search
from stages.executor import executor
from stages.paths import TRIALS


def train_networks(
    recipe: Recipe, problem: Problem, seeds: range, folder: Path
) -> tuple[pd.DataFrame, int]:
    """Train a network from each seed, through the search's journal, and write `folder/SEED.npz`.

    Returns their rows, ascending by seed, and how many of them were remembered. Raises InputError
    if one has no result.
    """
    [result], remembered = run_search(
        grid([recipe]),
        problem,
        executor(),
        seeds=seeds,
        journal=TRIALS,
        keep=True,
        total=len(seeds),
    )
    if not result.ok:
        raise InputError(f"a training has no result: {result.summary()['status']}")
    rows = sorted(result.rows, key=lambda row: row["seed"])
    for row in rows:
        model = make_trainer(recipe, problem, seed=row["seed"]).model
        model.params[:] = row.pop("params")
        model.save_parameters(folder / f"{row['seed']}.npz")
    return pd.DataFrame(rows), remembered
