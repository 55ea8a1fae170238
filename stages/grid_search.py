"""Train every configuration of the grid and elect the one that validates best.

MLP_JOBS says how many at a time (without it, one per core), MLP_CLUSTER on which Dask cluster.
"""

import json
import os
import warnings
from importlib import import_module

import pandas as pd

from mlp.data import load_dataset
from mlp.files import InputError, read_json, write_json, write_text
from mlp.search import best_row, expand_grid, halving, run_search, summarise
from stages import run
from stages.params import (
    CONFIGURATION,
    SEARCHED,
    load,
)
from stages.paths import (
    BEST_PARAMS,
    GRID_SEARCH,
    PROCESSED,
    PROCESSED_META,
    TRIALS,
)

# loky's helper process complains of what killed workers leave behind, and clears it up
os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker:UserWarning")
# and joblib of the trials that Ctrl-C cancels
warnings.filterwarnings("ignore", r"\d+ tasks .*(but not used|have been cancelled)")


def jobs() -> int:
    text = os.environ.get("MLP_JOBS", "-1")
    try:
        return int(text)
    except ValueError:
        raise InputError(f"MLP_JOBS={text}: allowed is a whole number, -1 for all cores") from None


def main() -> None:
    params = load()
    search = params.search
    fixed = {"activation": search.activation, "optimizer": search.optimizer}
    space = {name: getattr(search, name) for name in SEARCHED}
    configs = [config | fixed for config in expand_grid(space)]
    steps = {"grid": 1, "halving": search.halving.rungs}[search.strategy]
    rungs = halving(len(configs), search.epochs, rungs=steps, factor=search.halving.factor)
    seeds = range(params.base.seed, params.base.seed + search.seeds)
    address = os.environ.get("MLP_CLUSTER")
    meta = read_json(PROCESSED_META)
    rows, remembered = run_search(
        configs,
        load_dataset(PROCESSED, "train"),
        load_dataset(PROCESSED, "val"),
        jobs=jobs(),
        cluster=import_module("mlp.search.cluster").Cluster(address)
        if address
        else None,  # loads Dask
        journal=TRIALS,
        classes=len(meta["classes"]),
        normalisation=meta["normalisation"],
        rungs=rungs,
        seeds=seeds,
        batch_size=search.batch_size,
        lr_decay=search.lr_decay,
    )
    total = sum(map(len, rows))
    table = [summarise(trials) for trials in rows]
    winner = best_row(table)
    if winner is None:
        raise InputError(f"none of {len(table)} trials has a result: try lower values of search.lr")
    frame = pd.DataFrame(table).drop(columns=list(fixed))
    write_text(GRID_SEARCH, frame.to_csv(index=False, lineterminator="\n", float_format="%.6g"))
    # a list of one, because `dvc metrics show` leaves lists out of its table of scores
    write_json(BEST_PARAMS, [{name: winner[name] for name in CONFIGURATION}])
    print(f"{remembered} of {total} trials remembered, {total - remembered} trained")
    found = json.dumps({name: winner[name] for name in SEARCHED})
    print(f"best of {len(table)}: {found}, validation accuracy {winner['val_accuracy']:.4f}")


if __name__ == "__main__":
    run(main)
