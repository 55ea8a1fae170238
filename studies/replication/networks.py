"""Train the published configuration on labels in random order: what is left without garments."""

import numpy as np
import pandas as pd

from mlp.data import Dataset, load_problem
from mlp.files import InputError, write_text
from mlp.recipe import make_trainer
from mlp.search import grid, run_search
from stages import run
from stages.executor import executor
from stages.params import load
from stages.paths import PROCESSED, TRIALS
from studies.ladder import rungs
from studies.replication import CONTROLS, LEARNT, PUBLISHED, params


def main() -> None:
    recipe, first, count = rungs()[PUBLISHED], load().base.seed, params("controls")["seeds"]
    problem = load_problem(PROCESSED)
    x, t = problem.train.x, np.random.default_rng(first).permutation(problem.train.t)
    # validated on what it learns, so that the weights that are kept are those that learnt most
    held = slice(len(problem.val.t))
    problem = problem._replace(train=Dataset(x, t), val=Dataset(x[held], t[held]))
    [result], remembered = run_search(
        grid([recipe]),
        problem,
        executor(),
        seeds=range(first, first + count),
        journal=TRIALS,
        keep=True,
        total=count,
    )
    if not result.ok:
        raise InputError(f"a training has no result: {result.summary()['status']}")
    rows = []
    for row in sorted(result.rows, key=lambda row: row["seed"]):
        model = make_trainer(recipe, problem, seed=row["seed"]).model
        model.params[:] = row["params"]
        model.save_parameters(CONTROLS / f"{row['seed']}.npz")
        rows.append({"seed": row["seed"], "accuracy": row["val_accuracy"]})
    table = pd.DataFrame(rows)
    write_text(LEARNT, table.to_csv(index=False, lineterminator="\n", float_format="%.6g"))
    print(f"{remembered} of {count} remembered; learnt: {table.accuracy.mean():.4f} of the labels")


if __name__ == "__main__":
    run(main)
