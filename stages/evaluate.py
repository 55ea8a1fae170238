"""Measure the trained model on the test set, which no other stage looks at."""

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from mlp.data import load_problem
from mlp.files import InputError, write_json, write_npz, write_text
from mlp.functions import softmax
from mlp.idx import read_pair
from mlp.metrics import (
    calibration,
    confusion_matrix,
    examples,
    macro_micro_average,
    per_class,
    top_k_accuracy,
    wilson_interval,
)
from stages import run
from stages.paths import (
    CONFUSION,
    EXAMPLES,
    METRICS,
    MISTAKES,
    MODEL,
    PER_CLASS,
    PROCESSED,
    TEST,
    TEST_IMAGES,
    TEST_LABELS,
)
from stages.results import read_model

SHOWN_MISTAKES = 24
SHOWN_OF_A_CELL = 12  # of the confusion matrix, on the report's page
SHOWN_PIXELS = 560_000  # of all of them: half a byte each, so that their picture has < 300 kB


def main() -> None:
    model, names, _, metadata = read_model()
    classes, val = np.array(names), load_problem(PROCESSED).val
    images, t = read_pair(TEST_IMAGES, TEST_LABELS, len(classes))
    x = images.reshape(len(images), -1)
    with threadpool_limits(1, user_api="blas"):
        with np.errstate(all="ignore"):
            logits = model.predict_logits(x)
        if not np.isfinite(logits).all():
            raise InputError(f"{MODEL}: what it makes of {TEST_IMAGES} is not finite")
        loss, accuracy = model.evaluate_logits(logits, t)
        val_accuracy = model.compute_accuracy(*val)

    probabilities = softmax(logits)
    y = probabilities.argmax(axis=1)
    confusion = confusion_matrix(t, y, len(classes))
    average, reliability = macro_micro_average(confusion), calibration(probabilities, t)
    low, high = wilson_interval(int(np.trace(confusion)), len(t))
    metrics = {
        "val_accuracy": val_accuracy,
        "test_accuracy": accuracy,
        "test_loss": loss,
        "macro_f1": average.macro.f1,
        # lists, because `dvc metrics show` leaves lists out of its table, which so fits a screen
        "test_accuracy_95_percent_interval": [low, high],
        "uncertainty": [
            {
                "top2_accuracy": top_k_accuracy(probabilities, t, 2),
                "calibration_error": reliability.error,
            }
        ],
        "averages": [{"over": name, **row._asdict()} for name, row in average._asdict().items()],
        "hyper_parameters": [metadata.hyper_parameters],
    }
    if absent := int(np.count_nonzero(confusion.sum(axis=1) == 0)):
        metrics["classes_without_samples"] = absent  # each counts as 0 in the macro averages
    table = pd.DataFrame({"class": classes, **per_class(confusion)._asdict()})
    samples = pd.DataFrame({"actual": classes[t], "predicted": classes[y]})

    confidence = probabilities.max(axis=1)
    wrong = np.flatnonzero(y != t)
    shown = wrong[np.argsort(-confidence[wrong], kind="stable")[:SHOWN_MISTAKES]]

    write_json(METRICS, metrics)
    write_text(PER_CLASS, table.to_csv(index=False, lineterminator="\n", float_format="%.6f"))
    write_text(CONFUSION, samples.to_csv(index=False, lineterminator="\n"))
    image = images[np.argmax(y == t)]  # which the network's figure has in front: one that is right
    write_npz(TEST, confusion=confusion, image=image, **reliability._asdict())
    write_npz(MISTAKES, images=images[shown], t=t[shown], y=y[shown], confidence=confidence[shown])
    cells = examples(t, y, confidence, SHOWN_OF_A_CELL, SHOWN_PIXELS // x.shape[1])
    write_npz(EXAMPLES, images=images[cells], t=t[cells], y=y[cells], confidence=confidence[cells])
    print(f"test accuracy {accuracy:.4f} (95 % interval {low:.4f} to {high:.4f})")


if __name__ == "__main__":
    run(main)
