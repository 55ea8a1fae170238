"""Draw the figures, and write the page that shows all results: reports/index.html."""

import math

import pandas as pd

from mlp.files import InputError, write_text
from mlp.layers import Affine
from mlp.metrics import Calibration
from mlp.plots.evaluation import confusion, mistakes, reliability
from mlp.plots.network import network
from mlp.plots.search import grid_heatmaps
from mlp.plots.style import save
from mlp.plots.training import learning_curves
from mlp.plots.weights import neurons, weight_distributions
from mlp.weights import weight_statistics
from stages import run
from stages.paths import EXAMPLES, FIGURES, MISTAKES, MODEL, PAGE, SPRITE, TEST, WEIGHTS
from stages.report import page, read_run
from stages.report.sprite import write_sprite
from stages.results import read_arrays, read_history, read_model, read_search, read_winner


def main() -> None:
    measured = read_run()
    model, classes, shape, metadata = read_model()
    weights = [layer.W for layer in model.layers if isinstance(layer, Affine)]
    statistics = [weight_statistics(W) for W in weights]
    if len(weights) < 2:
        raise InputError(f"{MODEL}: a network without a hidden layer; the figures show its neurons")
    winner = read_winner().model_dump()
    k, label = len(classes), ("iu", (None,), len(classes) - 1)
    test = read_arrays(
        TEST,
        confusion=("iu", (k, k), math.inf),
        image=("u", shape, 255),
        confidence=("f", (None,), 1),
        accuracy=("f", (None,), 1),
        support=("iu", (None,), math.inf),
    )
    answered = {"images": ("u", (None, *shape), 255), "t": label, "y": label}
    answered |= {"confidence": ("f", (None,), 1)}
    wrong, examples = read_arrays(MISTAKES, **answered), read_arrays(EXAMPLES, **answered)
    search, (history, best) = read_search(), read_history(metadata.best_metrics)

    figures = {
        "network": network(
            model.input_size,
            model.hidden_sizes,
            model.output_size,
            model.activation,
            batch_norm=model.batch_norm,
            classes=classes,
            image=test["image"],
        ),
        "learning_curves": learning_curves(history, best),
        "grid_search": grid_heatmaps(search, winner),
        "confusion": confusion(test["confusion"], classes),
        "mistakes": mistakes(**wrong, classes=classes),
        "reliability": reliability(
            Calibration(test["confidence"], test["accuracy"], test["support"])
        ),
        "weights": weight_distributions(weights, statistics),
        "neurons_layer1": neurons(weights[0], 1, shape=shape),
        "neurons_layer2": neurons(weights[1], 2),
    }
    html = page(
        measured,
        model,
        winner=winner,
        search=search,
        history=history,
        best=best,
        confusion=test["confusion"],
        examples=examples,
        mistakes=wrong,
        statistics=statistics,
        figures=list(figures),
    )
    for name, figure in figures.items():
        save(figure, FIGURES / f"{name}.png")

    table = pd.DataFrame(
        statistics, pd.Index([f"Affine {i + 1}" for i in range(len(weights))], name="layer")
    )
    write_text(WEIGHTS, table.to_csv(lineterminator="\n", float_format="%.6f"))
    write_sprite(SPRITE, examples["images"])
    write_text(PAGE, html)


if __name__ == "__main__":
    run(main)
