"""Train the published network on labels in random order: what is left without classes.

Without L2, with which it learns none of them.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from mlp.data import Dataset, load_problem
from mlp.files import InputError, write_text
from mlp.recipe import make_trainer
from mlp.search import grid, run_search
from stages import params, run
from stages.executor import executor
from stages.paths import PROCESSED, TRIALS
from studies.ladder import rungs
from studies.replication import CONTROLS, LEARNT, PUBLISHED, load


def main() -> None:
    first, count = params.load().base.seed, load().control_seeds
    recipe = replace(rungs()[PUBLISHED], l2_reg=0.0)
    problem = load_problem(PROCESSED)
    x, t = problem.train.x, np.random.default_rng(first).permutation(problem.train.t)
    # validated on some of what it learns, so that the weights that are kept have learnt most
    some = slice(len(problem.val.t))
    problem = problem._replace(train=Dataset(x, t), val=Dataset(x[some], t[some]))
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
    rows = sorted(result.rows, key=lambda row: row["seed"])
    for row in rows:
        model = make_trainer(recipe, problem, seed=row["seed"]).model
        model.params[:] = row["params"]
        model.save_parameters(CONTROLS / f"{row['seed']}.npz")
    table = pd.DataFrame(rows)[["seed", "best_epoch", "val_accuracy"]]
    table = table.rename(columns={"val_accuracy": "learnt"})
    write_text(LEARNT, table.to_csv(index=False, lineterminator="\n", float_format="%.6g"))
    print(f"{remembered} of {count} remembered; learnt: {table.learnt.mean():.1%} of the labels")


if __name__ == "__main__":
    run(main)
