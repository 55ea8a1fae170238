"""Measure all networks on the test set: once, after every choice has been made."""

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from mlp.arrays import Array
from mlp.data import load_dataset
from mlp.files import write_text
from mlp.idx import read_pair
from mlp.module import MLP
from stages import run
from stages.paths import PROCESSED, TEST_IMAGES, TEST_LABELS
from studies.ladder import (
    ENSEMBLE,
    MODELS,
    STUDENT,
    TABLE,
    TEACHER,
    UNTAUGHT,
    model_files,
    rungs,
)


def main() -> None:
    recipes = rungs()
    models = {rung: [MLP.from_file(path) for path in model_files(rung)] for rung in recipes}
    validation = load_dataset(PROCESSED, "val")
    classes = models[TEACHER][0].sizes()[1]
    images, t = read_pair(TEST_IMAGES, TEST_LABELS, classes)
    sets = {"val": validation, "test": (images.reshape(len(images), -1), t)}
    rows, ensemble = [], {name: np.zeros((len(t), classes)) for name, (_, t) in sets.items()}
    with threadpool_limits(1, user_api="blas"):
        for rung, networks in models.items():
            for model in networks:
                row = {"rung": rung, "parameters": model.learnt.size}
                for name, (x, t) in sets.items():
                    answers: Array = model.predict_proba(x)
                    row[f"{name}_accuracy"] = float(np.mean(answers.argmax(axis=1) == t))
                    if rung == TEACHER:
                        ensemble[name] += answers
                rows.append(row)
            if rung == TEACHER:
                row = {"rung": ENSEMBLE, "parameters": sum(m.learnt.size for m in networks)}
                for name, (_, t) in sets.items():
                    row[f"{name}_accuracy"] = float(np.mean(ensemble[name].argmax(axis=1) == t))
                rows.append(row)

    table = pd.DataFrame(rows)
    write_text(MODELS, table.to_csv(index=False, lineterminator="\n", float_format="%.6g"))
    write_text(TABLE, summary(table).to_csv(index=False, lineterminator="\n", float_format="%.6g"))


def summary(models: pd.DataFrame) -> pd.DataFrame:
    """A row a rung: mean and standard deviation over its networks, the step up from the rung before
    it (of the student, from the same network without a teacher), and that step's noise: twice the
    standard error of the difference of the two means."""
    groups = models.groupby("rung", sort=False)
    table = groups.agg(
        networks=("parameters", "size"),
        parameters=("parameters", "first"),
        val_accuracy=("val_accuracy", "mean"),
        val_std=("val_accuracy", "std"),
        test_accuracy=("test_accuracy", "mean"),
        test_std=("test_accuracy", "std"),
    )
    before = table.shift()
    before.loc[STUDENT] = table.loc[UNTAUGHT]
    error, other = (t.val_std / np.sqrt(t.networks) for t in (table, before))
    table["val_step"] = table.val_accuracy - before.val_accuracy
    table["val_noise"] = 2 * np.hypot(error, other)
    return table.reset_index()


if __name__ == "__main__":
    run(main)
