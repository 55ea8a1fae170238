"""Train the networks of a rung, and write down what validation says of them."""

import pandas as pd

from mlp.data import load_problem
from mlp.files import InputError, map_npy, write_text
from mlp.recipe import make_trainer
from mlp.search import grid, run_search
from stages import run
from stages.executor import executor
from stages.params import load
from stages.paths import PROCESSED, TRIALS
from studies.ladder import DATA, SOFT_LABELS, STUDENT, rows_file, rungs, seeds


def main(rung: str) -> None:
    recipes = rungs()
    if rung not in recipes:
        raise InputError(f"{rung}: unknown; the rungs are {', '.join(recipes)}")
    recipe, first, count = recipes[rung], load().base.seed, seeds(rung)
    problem = load_problem(PROCESSED)
    if rung == STUDENT:
        problem = problem._replace(soft_labels=map_npy(SOFT_LABELS))
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
        raise InputError(f"{rung}: a training has no result: {result.summary()['status']}")
    rows = sorted(result.rows, key=lambda row: row["seed"])
    for row in rows:
        model = make_trainer(recipe, problem, seed=row["seed"]).model
        model.params[:] = row.pop("params")
        model.save_parameters(DATA / rung / f"{row['seed']}.npz")
    table = pd.DataFrame(rows).drop(columns="status")
    write_text(rows_file(rung), table.to_csv(index=False, lineterminator="\n", float_format="%.6g"))
    mean, std = table.val_accuracy.mean(), table.val_accuracy.std()
    print(f"{remembered} of {count} remembered; {rung}: {mean:.4f} ± {std:.4f} on validation")


if __name__ == "__main__":
    run(main, "RUNG")
