"""Train every configuration of the grid and elect the one that validates best.

MLP_JOBS says how many at a time (without it, one per core), MLP_CLUSTER on which Dask cluster.
"""

import json
import os
import time
import warnings
from collections import defaultdict
from collections.abc import Generator
from contextlib import closing
from importlib import import_module

import pandas as pd
from tqdm import tqdm

from mlp.data import load_dataset
from mlp.files import InputError, read_json, write_json, write_text
from mlp.journal import entry_files
from mlp.search import Row, Trial, best_row, expand_grid, halving, run_search, summarise
from stages import run
from stages.config import (
    BEST_PARAMS,
    CONFIGURATION,
    GRID_SEARCH,
    PROCESSED,
    PROCESSED_META,
    SEARCHED,
    TRIALS,
    load,
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


def follow(trials: Generator[Trial, None, None], total: int) -> tuple[dict[int, list[Row]], int]:
    """The rows of each configuration by its number, with a bar on the way, and how many trials
    were remembered. Ctrl-C says how many are kept."""
    rows: dict[int, list[Row]] = defaultdict(list)
    best, remembered, start = 0.0, 0, time.time()
    try:
        with (
            closing(trials),  # whatever ends this ends the trials under way
            tqdm(total=total, desc="grid search", unit="trial", disable=None) as bar,
        ):
            for number, row, was_remembered in trials:
                rows[number].append(row)
                remembered += was_remembered
                best = max(best, row["val_accuracy"])
                bar.set_postfix(
                    best_val_accuracy=f"{best:.4f}", remembered=remembered, refresh=False
                )
                bar.update()
    except KeyboardInterrupt:
        kept = remembered + sum(path.stat().st_mtime > start for path in entry_files(TRIALS))
        raise KeyboardInterrupt(f"{kept} of {total} trials are kept") from None
    return rows, remembered


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
    trials = run_search(
        configs,
        load_dataset(PROCESSED, "train"),
        load_dataset(PROCESSED, "val"),
        jobs=jobs(),
        cluster=import_module("mlp.cluster").Cluster(address) if address else None,  # loads Dask
        journal=TRIALS,
        classes=len(meta["classes"]),
        normalisation=meta["normalisation"],
        rungs=rungs,
        seeds=seeds,
        batch_size=search.batch_size,
        lr_decay=search.lr_decay,
    )
    total = len(seeds) * sum(rung.configurations for rung in rungs)
    rows, remembered = follow(trials, total)

    table = [summarise(rows[number]) for number in range(len(configs))]
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
