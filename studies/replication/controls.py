"""Train the published network on labels in random order: what is left without classes.

Without L2, with which it learns none of them.
"""

from dataclasses import replace

import numpy as np

from mlp.data import Dataset, load_problem
from mlp.files import write_text
from stages import params, run
from stages.paths import PROCESSED
from studies.ladder import rungs
from studies.networks import train_networks
from studies.replication import CONTROLS, LEARNT, PUBLISHED, load


def main() -> None:
    first, count = params.load().base.seed, load().control_seeds
    recipe = replace(rungs()[PUBLISHED], l2_reg=0.0)
    problem = load_problem(PROCESSED)
    x, t = problem.train.x, np.random.default_rng(first).permutation(problem.train.t)
    # validated on some of what it learns, so that the weights that are kept have learnt most
    some = slice(len(problem.val.t))
    problem = problem._replace(train=Dataset(x, t), val=Dataset(x[some], t[some]))
    seeds = range(first, first + count)
    table, remembered = train_networks(recipe, problem, seeds, CONTROLS)
    table = table[["seed", "best_epoch", "val_accuracy"]]
    table = table.rename(columns={"val_accuracy": "learnt"})
    write_text(LEARNT, table.to_csv(index=False, lineterminator="\n", float_format="%.6g"))
    print(f"{remembered} of {count} remembered; learnt: {table.learnt.mean():.1%} of the labels")


if __name__ == "__main__":
    run(main)
