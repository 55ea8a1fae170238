"""Draw the figures, and write the page that shows all results: reports/index.html."""

import pandas as pd

from mlp.files import read_json, read_npz, write_text
from mlp.history import History
from mlp.layers import Affine
from mlp.module import MLP
from mlp.plots.evaluation import confusion, mistakes
from mlp.plots.network import network
from mlp.plots.search import grid_heatmaps
from mlp.plots.style import save
from mlp.plots.training import learning_curves
from mlp.plots.weights import neurons, weight_distributions
from mlp.weights import weight_statistics
from stages import run
from stages.paths import (
    BEST_PARAMS,
    EXAMPLES,
    FIGURES,
    GRID_SEARCH,
    HISTORY,
    MISTAKES,
    MODEL,
    PAGE,
    SPRITE,
    TEST,
    WEIGHTS,
)
from stages.report import page, read_run
from stages.report.sprite import write_sprite


def main() -> None:
    measured = read_run()
    model = MLP.from_file(MODEL)
    classes, shape = model.metadata["classes"], tuple(model.metadata["image_shape"])
    weights = [layer.W for layer in model.layers if isinstance(layer, Affine)]
    statistics = [weight_statistics(W) for W in weights]
    [winner] = read_json(BEST_PARAMS)
    search, history = pd.read_csv(GRID_SEARCH), History.from_csv(HISTORY)
    test, wrong, examples = read_npz(TEST), read_npz(MISTAKES), read_npz(EXAMPLES)

    figures = {
        "network": network(
            model.input_size,
            model.hidden_sizes,
            model.output_size,
            model.activation,
            classes=classes,
            image=test["image"],
        ),
        "learning_curves": learning_curves(history, model.metadata["best_metrics"]["epoch"]),
        "grid_search": grid_heatmaps(search, winner),
        "confusion": confusion(test["confusion"], classes),
        "mistakes": mistakes(**wrong, classes=classes),
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
