"""Measure the networks' weights: how they are distributed, and what they look like."""

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from mlp.arrays import Array
from mlp.data import load_problem
from mlp.files import InputError, write_npz, write_text
from mlp.layers import Affine
from mlp.module import MLP, Module
from mlp.recipe import make_trainer
from mlp.weights import class_templates, correlations, neighbour_correlation, weight_statistics
from stages import run
from stages.params import load
from stages.paths import PROCESSED
from studies.ladder import model_files, rungs
from studies.replication import CONTROLS, EXAMPLES, LAYERS, NEURONS, PUBLISHED, RECIPE

SHOWN = 10  # neurons, from the one that resembles most to the one that resembles least


def main() -> None:
    problem, recipes, seed = load_problem(PROCESSED), rungs(), load().base.seed
    if problem.image_shape is None:
        raise InputError(f"{PROCESSED}: no images, so there is nothing that neurons could resemble")
    templates = class_templates(np.asarray(problem.train.x), np.asarray(problem.train.t))
    pairs = itertools.combinations(problem.classes, 2)
    names = [*problem.classes, *(f"{one} − {other}" for one, other in pairs)]

    def networks() -> Iterator[tuple[str, int, Module, Module]]:
        """Name, seed, network, and the same before its first step."""
        controls = sorted(CONTROLS.glob("*.npz"), key=lambda path: int(path.stem))
        files = {rung: model_files(rung) for rung in (PUBLISHED, RECIPE)} | {"controls": controls}
        for name, paths in files.items():
            recipe = recipes.get(name, recipes[PUBLISHED])
            for path in paths:
                start = make_trainer(recipe, problem, seed=int(path.stem)).model
                yield name, int(path.stem), MLP.from_file(path), start
                if name == PUBLISHED:
                    yield "start", int(path.stem), start, start

    layers, neurons = [], []
    with threadpool_limits(1, user_api="blas"):
        for name, number, model, start in networks():
            weights, before = weights_of(model), weights_of(start)
            of = {"network": name, "seed": number}
            for layer, (W, W0) in enumerate(zip(weights, before, strict=True), start=1):
                statistics = weight_statistics(W)._asdict()
                layers.append(of | {"layer": layer, **statistics, "start_std": float(W0.std())})
            order = np.random.default_rng(number).permutation(len(weights[1]))
            for layer, view, W, pictures in (
                (1, "its weights", weights[0], weights[0].T.reshape(-1, *problem.image_shape)),
                (2, "through layer 1", weights[0] @ weights[1], tiles(weights[1])),
                (2, "in another order", None, tiles(weights[1][order])),
            ):
                found = correlations(W, templates) if W is not None else None
                for neuron, alike in enumerate(neighbour_correlation(pictures)):
                    row = of | {"layer": layer, "view": view, "neuron": neuron, "neighbours": alike}
                    if found is not None:
                        best = int(np.abs(found[neuron]).argmax())
                        row |= {"correlation": found[neuron, best], "template": names[best]}
                    neurons.append(row)
            if (name, number) == (PUBLISHED, seed):
                examples(weights[0], templates, names, problem.image_shape)

    for path, rows in ((LAYERS, layers), (NEURONS, neurons)):
        table = pd.DataFrame(rows)
        write_text(path, table.to_csv(index=False, lineterminator="\n", float_format="%.5g"))


def weights_of(model: Module) -> list[Array]:
    return [layer.W for layer in model.layers if isinstance(layer, Affine)]


def tiles(W: Array) -> Array:
    """The weights of each neuron, W (inputs, neurons), as a picture as the figures have it: as
    square as can be, NaN where the last row has no more inputs."""
    inputs, n = W.shape
    side = math.ceil(math.sqrt(inputs))
    pictures: Array = np.full((n, math.ceil(inputs / side) * side), np.nan)
    pictures[:, :inputs] = W.T
    return pictures.reshape(n, -1, side)


def examples(W: Array, templates: Array, names: list[str], shape: tuple[int, ...]) -> None:
    """Write neurons at even ranks of resemblance, each with the template that it resembles, turned
    to its sign."""
    found = correlations(W, templates)
    best = np.abs(found).argmax(axis=1)
    r = found[np.arange(len(found)), best]
    ranks = np.linspace(0, len(r) - 1, min(SHOWN, len(r))).round().astype(int)
    shown = np.argsort(-np.abs(r), kind="stable")[ranks]
    write_npz(
        EXAMPLES,
        neurons=W.T[shown].reshape(-1, *shape),
        templates=(np.sign(r)[:, None] * templates[best])[shown].reshape(-1, *shape),
        names=[names[i] if r[n] >= 0 else mirrored(names[i]) for n, i in zip(shown, best[shown])],
        correlations=np.abs(r[shown]),
    )


def mirrored(name: str) -> str:
    one, minus, other = name.partition(" − ")
    return f"{other}{minus}{one}" if minus else f"− {name}"


if __name__ == "__main__":
    run(main)
