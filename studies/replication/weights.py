"""Measure the networks' weights: how they are distributed, and what neurons resemble."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from mlp.arrays import Array
from mlp.data import load_problem
from mlp.files import InputError, write_text
from mlp.layers import Affine
from mlp.module import MLP, Module
from mlp.plots.style import save
from mlp.recipe import make_trainer
from mlp.weights import class_templates, correlations, neighbour_correlation, weight_statistics
from stages import params, run
from stages.paths import PROCESSED
from studies.ladder import model_files, rungs
from studies.replication import (
    CONTROL,
    CONTROLS,
    FIGURES,
    LAYERS,
    NEURONS,
    PUBLISHED,
    RECIPE,
    START,
)
from studies.replication.figures import garments

DECILES = np.linspace(0, 1, 11)


def main() -> None:
    problem, recipes, first = load_problem(PROCESSED), rungs(), params.load().base.seed
    if problem.image_shape is None or len(problem.image_shape) != 2:
        raise InputError(f"{PROCESSED}: no images, so there is nothing that neurons could resemble")
    rows, columns = problem.image_shape
    shape = (rows, columns)
    templates = class_templates(np.asarray(problem.train.x), np.asarray(problem.train.t))
    layers, neurons = [], []
    with threadpool_limits(1, user_api="blas"):
        for network, path in networks():
            seed = int(path.stem)
            recipe = recipes[RECIPE if network == RECIPE else PUBLISHED]
            start = weights_of(make_trainer(recipe, problem, seed=seed).model)
            weights = weights_of(MLP.from_file(path))
            of = {"network": network, "seed": seed}
            if network != CONTROL:
                for layer, (W, W0) in enumerate(zip(weights, start, strict=True), start=1):
                    statistics = weight_statistics(W)
                    grown = {"grown": statistics.std / float(W0.std())}
                    layers.append(of | {"layer": layer} | statistics._asdict() | grown)
            neurons += [of | row for row in measured_neurons(weights, templates, shape)]
            if network == PUBLISHED:
                untrained = measured_neurons(start, templates, shape)
                neurons += [of | {"network": START} | row for row in untrained]
            if (network, seed) == (PUBLISHED, first):
                figure = garments(weights[0], templates, problem.classes, shape)
                save(figure, FIGURES / "replication_garments.png")
    for path, measured in ((LAYERS, layers), (NEURONS, neurons)):
        table = pd.DataFrame(measured)
        write_text(path, table.to_csv(index=False, lineterminator="\n", float_format="%.5g"))


def networks() -> Iterator[tuple[str, Path]]:
    """The networks' names and files, by seed."""
    controls = sorted(CONTROLS.glob("*.npz"), key=lambda path: int(path.stem))
    files = {PUBLISHED: model_files(PUBLISHED), RECIPE: model_files(RECIPE), CONTROL: controls}
    for name, paths in files.items():
        if not paths:
            raise FileNotFoundError(f"no networks of {name}")
        yield from ((name, path) for path in paths)


def weights_of(model: Module) -> list[Array]:
    return [layer.W for layer in model.layers if isinstance(layer, Affine)]


def measured_neurons(
    weights: list[Array], templates: Array, shape: tuple[int, int]
) -> Iterator[dict[str, Any]]:
    """Of the neurons of layers 1 and 2, and of those of layer 2 seen through layer 1: how many have
    died, that is, have no weight but zero; and of the others the mean correlation of neighbours in
    their pictures, and, where these are of an image's pixels, the deciles of r, the absolute
    correlation with the template that a neuron resembles most."""
    first, second = weights[:2]
    for view, W in {
        "layer 1": first,
        "layer 2": second,
        "layer 2 through layer 1": first @ second,
    }.items():
        alive = W.any(axis=0)
        living = W[:, alive] if alive.any() else W
        pictures = tiles(living) if view == "layer 2" else living.T.reshape(-1, *shape)
        row = {"view": view, "dead": int((~alive).sum())}
        row["neighbours"] = float(neighbour_correlation(pictures).mean())
        if view != "layer 2":
            r = np.abs(correlations(living, templates)).max(axis=1)
            row |= {f"r{100 * q:.0f}": float(np.quantile(r, q)) for q in DECILES}
        yield row


def tiles(W: Array) -> Array:
    """The weights of each neuron, W (inputs, neurons), as a picture as the figures have it: as
    square as can be, NaN where the last row has no more inputs."""
    inputs, n = W.shape
    side = math.ceil(math.sqrt(inputs))
    pictures: Array = np.full((n, math.ceil(inputs / side) * side), np.nan)
    pictures[:, :inputs] = W.T
    return pictures.reshape(n, -1, side)


if __name__ == "__main__":
    run(main)
