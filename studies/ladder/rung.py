"""Train the networks of a rung, and write down what validation says of them."""

from mlp.data import load_problem
from mlp.files import InputError, map_npy, write_text
from stages import run
from stages.params import load
from stages.paths import PROCESSED
from studies.ladder import DATA, SOFT_LABELS, STUDENT, rows_file, rungs, seeds
from studies.networks import train_networks


def main(rung: str) -> None:
    recipes = rungs()
    if rung not in recipes:
        raise InputError(f"{rung}: unknown; the rungs are {', '.join(recipes)}")
    recipe, first, count = recipes[rung], load().base.seed, seeds(rung)
    problem = load_problem(PROCESSED)
    if rung == STUDENT:
        problem = problem._replace(soft_labels=map_npy(SOFT_LABELS))
    table, remembered = train_networks(recipe, problem, range(first, first + count), DATA / rung)
    table = table.drop(columns="status")
    write_text(rows_file(rung), table.to_csv(index=False, lineterminator="\n", float_format="%.6g"))
    mean, std = table.val_accuracy.mean(), table.val_accuracy.std()
    print(f"{remembered} of {count} remembered; {rung}: {mean:.4f} ± {std:.4f} on validation")


if __name__ == "__main__":
    run(main, "RUNG")
