"""Train with smaller first weights of the last layer, which make the first loss that of chance."""

from dataclasses import replace

import pandas as pd

from mlp.data import load_problem
from mlp.files import InputError, write_text
from stages import params, run
from stages.executor import executor
from stages.paths import PROCESSED
from studies.ladder import rungs
from studies.replication import FIRST_STEPS, PUBLISHED, RECIPE, load
from studies.replication.scaled import Scaled


def main() -> None:
    settings, first, recipes = load().first_steps, params.load().base.seed, rungs()
    trials = [
        (rung, Scaled(replace(recipes[rung], epochs=settings.epochs), seed, scale=scale))
        for rung in (PUBLISHED, RECIPE)
        for scale in settings.scales
        for seed in range(first, first + settings.seeds)
    ]
    numbered = ((number, trial) for number, (_, trial) in enumerate(trials))
    rows = {n: row for n, row in executor()(numbered, load_problem(PROCESSED)) if row is not None}
    for row in rows.values():
        if row["status"] != "ok":
            raise InputError(f"a training has no result: {row['status']}")
    named = [{"network": rung} | rows[number] for number, (rung, _) in enumerate(trials)]
    table = pd.DataFrame(named).drop(columns="status")
    write_text(FIRST_STEPS, table.to_csv(index=False, lineterminator="\n", float_format="%.6g"))
    print(table.groupby(["network", "scale"], sort=False).val_accuracy.mean().to_string())


if __name__ == "__main__":
    run(main)
