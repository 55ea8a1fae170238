"""Draw the figures, which reports/index.html shows on one page."""

import numpy as np
import pandas as pd

from mlp import plots
from mlp.files import write_text
from mlp.layers import Affine
from mlp.metrics import confusion_matrix
from mlp.module import MLP
from mlp.weights import weight_statistics
from stages import run
from stages.paths import (
    CONFUSION,
    FIGURES,
    GRID_SEARCH,
    HISTORY,
    MISTAKES,
    MODEL,
    WEIGHTS,
)


def main() -> None:
    model = MLP.from_file(MODEL)
    classes, shape = model.metadata["classes"], tuple(model.metadata["image_shape"])
    weights = [layer.W for layer in model.layers if isinstance(layer, Affine)]
    statistics = [weight_statistics(W) for W in weights]
    history, trials = pd.read_csv(HISTORY), pd.read_csv(GRID_SEARCH)
    samples = pd.read_csv(CONFUSION, dtype=str, keep_default_na=False)
    actual, predicted = (samples[name].map(classes.index) for name in ("actual", "predicted"))
    with np.load(MISTAKES, allow_pickle=False) as file:
        mistakes = dict(file)

    sizes = [W.shape[0] for W in weights] + [len(classes)]
    image = mistakes["images"][-1] if len(mistakes["images"]) else None
    figures = {
        "network": plots.network(
            sizes[0], sizes[1:-1], sizes[-1], model.activation, classes=classes, image=image
        ),
        "learning_curves": plots.learning_curves(history),
        "grid_search": plots.grid_heatmaps(trials),
        "confusion": plots.confusion(confusion_matrix(actual, predicted, len(classes)), classes),
        "mistakes": plots.mistakes(**mistakes, classes=classes),
        "weights": plots.weight_distributions(weights),
        "neurons_layer1": plots.neurons(weights[0], 1, shape=shape),
        "neurons_layer2": plots.neurons(weights[1], 2),
    }
    for name, figure in figures.items():
        plots.save(figure, FIGURES / f"{name}.png")

    table = pd.DataFrame(
        statistics, pd.Index([f"Affine {i + 1}" for i in range(len(weights))], name="layer")
    )
    write_text(WEIGHTS, table.to_csv(lineterminator="\n", float_format="%.6f"))


if __name__ == "__main__":
    run(main)
