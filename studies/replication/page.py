"""Write docs/replication.md: each claim, what was measured, and a verdict; and its figures."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mlp.files import InputError, read_npz, write_text
from mlp.plots.style import BLUE, INK, MUTED, VERMILION, plain, save, styled, titled_figure
from stages import run
from studies import replication as files
from studies.ladder import MODELS
from studies.replication import PUBLISHED, RECIPE, params, verdicts
from studies.replication.verdicts import SETTINGS, Verdict

TEXT = """\
# The write-up's claims, put to the test

This page is generated: `dvc repro studies/replication/dvc.yaml` measures, and decides each verdict
by a rule. “Published” is the published configuration, trained as published; “recipe” is the same
network with the best recipe of the ladder ([reports/ladder](../reports/ladder/README.md)). Figures
are mean ± standard deviation over the seeds. The test set is opened by the ladder alone.

{summary}

## The winner

{winner}.

![The best of the search](figures/replication_search.png)

## Depth

A layer's weights start with a spread of its own, so a comparison of layers must not depend on it.
“Near zero” is below a tenth of the layer's standard deviation; kurtosis tells how heavy the tails
are. The spread is measured as it is, and over what it was before the first step.

![The layers](figures/replication_layers.png)

{layers}

## Neurons

What a neuron resembles is the mean image of a class, or the difference of two, with which its
weights correlate most (|r|, of {templates} such images). Two controls show what such a maximum is
worth: the same networks before their first step, and {controls} trained on labels in random order,
of which they learnt {learnt}. The order of layer 1's neurons is arbitrary, so a picture of a
neuron of layer 2 can have no pattern by its making: seen through layer 1, whose weights are
multiplied by its own, it has one as far as it resembles garments.

![How much neurons resemble garments](figures/replication_neurons.png)

![Neurons and what they resemble](figures/replication_examples.png)

## The first step

The first loss is above ln {classes} = {chance:.2f}, because the last layer's first weights make
guesses of their own. Smaller ones bring it down. Do they help?

{steps}

{first}
"""
COLOURS = {PUBLISHED: BLUE, RECIPE: VERMILION, "controls": INK, "start": MUTED}
NAMES = {
    PUBLISHED: "published",
    RECIPE: "recipe",
    "controls": "labels in random order",
    "start": "before the first step",
}
MEASURES = {
    "near_zero": "share near zero",
    "excess_kurtosis": "excess kurtosis",
    "growth": "spread over that at the start",
}


def main() -> None:
    claimed = params("published")
    tables = (files.SEARCH, files.LAYERS, files.NEURONS, files.FIRST_STEPS, files.LEARNT, MODELS)
    search, layers, neurons, steps, learnt, models = (pd.read_csv(path) for path in tables)
    layers["growth"] = layers["std"] / layers["start_std"]
    pictures = read_npz(files.EXAMPLES)
    for name, figure in {
        "search": best_of_search(search, claimed["winner"]),
        "layers": depth(layers),
        "neurons": resemblance(neurons),
        "examples": examples(**pictures),
    }.items():
        save(figure, files.FIGURES / f"replication_{name}.png")
    write_text(files.PAGE, page(claimed, search, layers, neurons, steps, learnt, models))


def page(
    claimed: dict[str, Any],
    search: pd.DataFrame,
    layers: pd.DataFrame,
    neurons: pd.DataFrame,
    steps: pd.DataFrame,
    learnt: pd.DataFrame,
    models: pd.DataFrame,
) -> str:
    try:
        winner = verdicts.winner(search, claimed["winner"])
    except ValueError as error:
        raise InputError(f"{files.PARAMS}: published.winner: {error}") from error
    setting = ", ".join(f"{claimed['winner'][name]:g}" for name in SETTINGS)
    accuracy = claimed["test_accuracy"]
    rows: list[tuple[str, str, Verdict]] = [(f"The winner is {setting}", "search", winner)]
    for rung, name in ((PUBLISHED, "published"), (RECIPE, "recipe")):
        test = models[models.rung == rung].test_accuracy
        own = layers[layers.network == rung]
        rows += [
            (f"{accuracy:.1%} on test", name, verdicts.accuracy(test, accuracy)),
            (
                "Weights grow sparser with depth",
                name,
                verdicts.depth(own, "near_zero", "excess_kurtosis"),
            ),
            ("… and deviate more from their mean", name, verdicts.depth(own, "std", "growth")),
            ("Neurons of layer 1 resemble garments", name, verdicts.garments(neurons, rung)),
            ("Neurons of layer 2 show no pattern", name, verdicts.no_pattern(neurons, rung)),
        ]
    rows[1:] = sorted(rows[1:], key=lambda row: [r[0] for r in rows].index(row[0]))
    first = {rung: group for rung, group in steps.groupby("network", sort=False)}
    answers = {rung: verdicts.smaller_start(group) for rung, group in first.items()}
    conclusion = (
        "No: none of them validates better by more than noise, so the first weights stay those of "
        "Glorot and Bengio (2010)."
        if all(answer.word == "no" for answer in answers.values())
        else "Yes, in places: a smaller scale validates better by more than noise."
    )
    k = int((neurons.template.dropna().nunique() and neurons_classes(neurons)) or 0)
    return TEXT.format(
        summary=markdown(
            ("claim", "networks", "verdict", "measured"),
            ((claim, of, f"**{v.word}**", v.why) for claim, of, v in rows),
        ),
        winner=winner.why[0].upper() + winner.why[1:],
        layers=layer_table(layers),
        templates=k + k * (k - 1) // 2,
        controls=len(learnt),
        learnt=f"{learnt.accuracy.mean():.1%}",
        classes=k,
        chance=np.log(k),
        steps=step_table(steps),
        first=conclusion,
    )
