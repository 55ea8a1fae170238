"""Search the root's grid with several seeds. What the root's search has trained is remembered."""

import pandas as pd

from mlp.data import load_problem
from mlp.files import InputError, write_text
from mlp.search import failures, grid, run_search
from stages import params, run
from stages.executor import executor
from stages.grid_search import recipes_of
from stages.paths import PROCESSED, TRIALS
from studies.replication import SEARCH, load


def main() -> None:
    root, count = params.load(), load().search_seeds
    recipes = recipes_of(root.search)
    results, remembered = run_search(
        grid(recipes),
        load_problem(PROCESSED),
        executor(),
        seeds=range(root.base.seed, root.base.seed + count),
        journal=TRIALS,
        total=count * len(recipes),
    )
    if failed := failures(results):
        raise InputError(f"{len(failed)} trials have no result: {failed[0]}")
    rows = [result.recipe.hyper_parameters | row for result in results for row in result.rows]
    columns = [*params.SEARCHED, "seed", "best_epoch", "val_accuracy", "status"]
    table = pd.DataFrame(rows)[columns]
    write_text(SEARCH, table.to_csv(index=False, lineterminator="\n", float_format="%.6g"))
    print(f"{remembered} of {len(rows)} trials remembered, {len(rows) - remembered} trained")


if __name__ == "__main__":
    run(main)
