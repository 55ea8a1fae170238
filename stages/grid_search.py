"""Train every configuration of the grid and elect the one that validates best.

MLP_JOBS says how many at a time (without it, one per core), MLP_CLUSTER on which Dask cluster.
"""

import json
import warnings

import pandas as pd

from mlp.data import load_problem
from mlp.files import InputError, write_json, write_text
from mlp.recipe import Recipe
from mlp.search import expand_grid, failures, halving, run_search, rungs_of, winner
from stages import run
from stages.executor import executor
from stages.params import SEARCHED, Search, load
from stages.paths import BEST_PARAMS, GRID_SEARCH, PROCESSED, TRIALS


def recipes_of(search: Search) -> list[Recipe]:
    """The recipes of the grid."""
    points = expand_grid({name: getattr(search, name) for name in SEARCHED})
    return [
        Recipe(
            hidden_sizes=(point.pop("hidden_size1"), point.pop("hidden_size2")),
            **point,
            activation=search.activation,
            optimizer=search.optimizer,
            lr_decay=search.lr_decay,
            batch_size=search.batch_size,
            epochs=search.epochs,
        )
        for point in points
    ]


def main() -> None:
    params = load()
    search = params.search
    recipes = recipes_of(search)
    steps = {"grid": 1, "halving": search.halving.rungs}[search.strategy]
    rungs = rungs_of(len(recipes), search.epochs, rungs=steps, factor=search.halving.factor)
    total = search.seeds * sum(rung.recipes for rung in rungs)
    results, remembered = run_search(
        halving(recipes, rungs),  # with one rung, all of the grid
        load_problem(PROCESSED),
        executor(),
        seeds=range(params.base.seed, params.base.seed + search.seeds),
        journal=TRIALS,
        checkpoints=steps > 1,
        total=total,
    )
    best = winner(results)
    failed = failures(results)
    if best is None:
        why = failed[0] if failed else "all diverged: try lower values of search.lr"
        raise InputError(f"none of {len(results)} trials has a result: {why}")
    if failed:
        warnings.warn(f"{len(failed)} of {total} trials cannot win: {failed[0]}", stacklevel=1)
    summary = best.summary()
    frame = pd.DataFrame([result.summary() for result in results])
    frame = frame.drop(columns=["activation", "optimizer"])
    write_text(GRID_SEARCH, frame.to_csv(index=False, lineterminator="\n", float_format="%.6g"))
    # a list of one row, which is what DVC draws a table of
    write_json(BEST_PARAMS, [best.recipe.hyper_parameters])
    print(f"{remembered} of {total} trials remembered, {total - remembered} trained")
    found = json.dumps({name: summary[name] for name in SEARCHED})
    print(f"best of {len(results)}: {found}, validation accuracy {summary['val_accuracy']:.4f}")


if __name__ == "__main__":
    run(main)
