"""Measure the seconds of an epoch of each rung, on one core, into studies/ladder/seconds.csv.

No stage, because no two machines and no two minutes give the same: run it by hand on a quiet
machine, and commit what it wrote; the stage that draws reads it.
"""

import time

import pandas as pd
from threadpoolctl import threadpool_limits

from mlp.data import load_problem
from mlp.files import map_npy, write_text
from mlp.recipe import make_trainer
from stages import run
from stages.paths import PROCESSED
from studies.ladder import SECONDS, SOFT_LABELS, STUDENT, rungs


def main() -> None:
    problem, rows = load_problem(PROCESSED), []
    with threadpool_limits(1, user_api="blas"):
        for rung, recipe in rungs().items():
            soft_labels = map_npy(SOFT_LABELS) if rung == STUDENT else None
            trainer = make_trainer(
                recipe,
                problem._replace(soft_labels=soft_labels),
                seed=0,
                train_metrics="running",
            )
            trainer.fit(1)  # makes the buffers
            start = time.perf_counter()
            trainer.fit(3)
            rows.append({"rung": rung, "seconds": round((time.perf_counter() - start) / 2, 2)})
            print(rows[-1])
    write_text(SECONDS, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))


if __name__ == "__main__":
    run(main)
