"""Write docs/replication.md: each claim, what was measured, and a verdict; and its figures."""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import pandas as pd

from mlp.files import InputError, write_text
from mlp.plots.style import save
from stages import params as root
from stages import run
from stages.params import SEARCHED
from studies.ladder import MODELS
from studies.replication import (
    FIGURES,
    FIRST_STEPS,
    LAYERS,
    LEARNT,
    NEURONS,
    PAGE,
    PARAMS,
    PUBLISHED,
    RECIPE,
    SEARCH,
    Params,
    figures,
    load,
    verdicts,
)
from studies.replication.figures import MEASURES, NAMES
from studies.replication.verdicts import Verdict, spread

TEXT = """\
# The write-up's claims, put to the test

`dvc repro studies/replication/dvc.yaml` measures, decides each verdict by
[a rule](../studies/replication/verdicts.py), and writes this page.

{summary}

“As published” is the published configuration, trained as published; “with the recipe” is the same
network, trained as the rung “200-epochs” of [the ladder](../reports/ladder/README.md). There are
{seeds} networks of each, from as many seeds. Figures are mean ± standard deviation over them. One
mean is called larger than another if it is so by more than twice the standard error of their
difference.

## The winner

The whole search again, from {search_seeds} seeds. By the mean of its validation accuracies the
published configuration has rank {place.rank} of {place.of}, and with each seed alone the ranks
{ranks}. The best is {place.best}, by {place.gap:.2f} points, or {deviations:.1f} standard
deviations of one training ({place.std:.2f} points). Of so many equals, the best would lead a given
one by up to {place.noise:.2f} points, in 19 of 20 searches. Yes: it comes first; partly: chance may
have kept it from that.

![The best of the search](figures/replication_search.png)

## {accuracy} on test

The test images were measured by the ladder, once. Yes: the claim is within two standard deviations,
of seeds and of test sets of {images:,} images. As published, the network is {published_away} it,
with the recipe {recipe_away}.

## Sparser with depth

Near zero is below a tenth of the layer's standard deviation, and kurtosis tells how heavy the tails
are. Neither changes if all weights of a layer are multiplied by a number. Layers start with
different standard deviations, so these are compared as they are, and over those at the start. Yes:
both measures of a claim rise from each layer to the next, in each network; partly: one of them.

{layers}

![From layer to layer](figures/replication_layers.png)

## Neurons of layer 1

A neuron that no image makes fire learns no more, and L2 takes its weights to zero: it has died. Of
the others, *r* is the correlation, whatever its sign, of a neuron's weights with what it resembles
most of {templates} images: the mean image of each class, and the difference of each two. Chance
would find something too. So there are two controls. {controls} networks learnt {learnt} of labels
in random order, trained as published, but without L2, with which they learn none. They see the same
images, so what they resemble has nothing to do with classes. The others are the published networks
before their first step. Yes: the median of *r* is larger than that of both controls; partly: than
that of one.

{first}

![Do neurons resemble garments?](figures/replication_neurons.png)

![Neurons of layer 1, and what they resemble](figures/replication_garments.png)

## Neurons of layer 2

A neuron of layer 2 is pictured with a pixel for each neuron of layer 1. The order of these is
arbitrary, so whatever it has learnt cannot show there. So it is looked at in two ways. A pattern
would make neighbouring pixels of that picture alike (Moran's I: 0 for noise, near 1 for what is
smooth). And through layer 1, by the product of both layers' weights, the neuron has a picture of
the image's pixels. No: neighbours correlate by {pattern:g} or more; partly: they do not, but
through layer 1 the neurons resemble garments, as those of layer 1 are asked to; yes: neither.

{second}

## The first step

A network that knows nothing should have the loss of chance, ln {classes} = {chance:.2f}. This one
starts above it, because it starts with opinions: its last layer's first weights, as large as Glorot
and Bengio (2010) have them, make logits that differ. So these weights were multiplied by a smaller
number, in trainings of {epochs} epochs from {step_seeds} seeds. The last columns are accuracies on
validation images, in percent. The noise is what the best of so many equals would gain at most, in
19 of 20 cases.

{steps}

{conclusion}
"""
NETWORKS = (PUBLISHED, RECIPE)
SPARSER = {"near_zero": "share near zero", "excess_kurtosis": "kurtosis"}
DEVIATING = {"std": "standard deviation", "grown": "its ratio to the start's"}
FILES = (SEARCH, LEARNT, LAYERS, NEURONS, FIRST_STEPS, MODELS)


class Tables(NamedTuple):
    """What FILES hold."""

    search: pd.DataFrame
    learnt: pd.DataFrame
    layers: pd.DataFrame
    neurons: pd.DataFrame
    steps: pd.DataFrame
    models: pd.DataFrame


def main() -> None:
    params, classes = load(), len(root.load().preprocess.classes)
    tables = Tables(*(pd.read_csv(path) for path in FILES))
    text = page(tables, params, classes)
    setting = [getattr(params.published.winner, name) for name in SEARCHED]
    for name, figure in {
        "search": figures.search(verdicts.accuracies(tables.search), setting),
        "layers": figures.layers(tables.layers),
        "neurons": figures.neurons(tables.neurons),
    }.items():
        save(figure, FIGURES / f"replication_{name}.png")
    write_text(PAGE, text)


def page(tables: Tables, params: Params, classes: int) -> str:
    """The page as Markdown. Raises InputError if the search has no result of what was published."""
    accuracy, winner = params.published.test_accuracy, params.published.winner.model_dump()
    try:
        place = verdicts.place(tables.search, winner)
    except ValueError as error:
        raise InputError(f"{PARAMS}: published.winner: {error}") from error
    test = {name: tables.models[tables.models.rung == name].test_accuracy for name in NETWORKS}
    claimed = f"{100 * accuracy:g} %"
    setting = ", ".join(f"{winner[name]:g}" for name in SEARCHED)
    summary: list[tuple[str, ...]] = [
        (f"The winner is {setting}", said(verdicts.winner(place)), "")
    ]
    summary += [
        (claim, *(said(verdict(name)) for name in NETWORKS))
        for claim, verdict in claims(tables, test, claimed, accuracy).items()
    ]
    return TEXT.format(
        summary=markdown(("claim", *(NAMES[name] for name in NETWORKS)), summary),
        seeds=len(test[PUBLISHED]),
        search_seeds=len(place.ranks),
        place=place,
        deviations=place.gap / place.std if place.std else 0.0,
        ranks=", ".join(map(str, place.ranks)),
        accuracy=claimed,
        images=verdicts.IMAGES,
        published_away=distance(test[PUBLISHED], accuracy),
        recipe_away=distance(test[RECIPE], accuracy),
        layers=layer_table(tables.layers),
        templates=classes + math.comb(classes, 2),
        controls=len(tables.learnt),
        learnt=f"{spread(100 * tables.learnt.learnt, 1)} %",
        first=neuron_table(tables.neurons, "layer 1"),
        pattern=verdicts.PATTERN,
        second=neuron_table(tables.neurons, "layer 2", "layer 2 through layer 1"),
        classes=classes,
        chance=math.log(classes),
        epochs=params.first_steps.epochs,
        step_seeds=params.first_steps.seeds,
        steps=step_table(tables.steps),
        conclusion=conclusion(tables.steps),
    )


def claims(
    tables: Tables, test: dict[str, pd.Series], claimed: str, accuracy: float
) -> dict[str, Callable[[str], Verdict]]:
    """What is claimed of networks, and the rule that decides whether it is true of one kind."""
    layers, neurons = dict(list(tables.layers.groupby("network"))), tables.neurons
    return {
        f"{claimed} on test": lambda name: verdicts.accuracy(test[name], accuracy),
        "Weights grow sparser with depth": lambda name: verdicts.depth(layers[name], SPARSER),
        "… and deviate more from their mean": lambda name: verdicts.depth(layers[name], DEVIATING),
        "Neurons of layer 1 resemble garments": lambda name: verdicts.resemblance(
            neurons, name, "layer 1"
        ),
        "Neurons of layer 2 show no pattern": lambda name: verdicts.no_pattern(neurons, name),
    }


def distance(test: pd.Series, claimed: float) -> str:
    points = 100 * (test.mean() - claimed)
    return f"{abs(points):.2f} points {'above' if points > 0 else 'below'}"


def said(verdict: Verdict) -> str:
    return f"**{verdict.word}**: {verdict.why}"


def layer_table(layers: pd.DataFrame) -> str:
    """Of each layer, by kind of network, the mean of each measure."""
    return markdown(
        ("network", "layer", *(title for title, _ in MEASURES.values())),
        (
            (NAMES[network], layer, *(spread(rows[measure], 3) for measure in MEASURES))
            for (network, layer), rows in layers.groupby(["network", "layer"], sort=False)
        ),
    )


def neuron_table(neurons: pd.DataFrame, *views: str) -> str:
    """Of each view, by kind of network: the median of r, and how alike neighbours are."""
    return markdown(
        ("neurons", "network", "died", "median of *r*", "neighbours correlate by"),
        (
            (
                view,
                NAMES[network],
                spread(rows.dead, 0),
                spread(rows.r50) if rows.r50.notna().all() else "",
                spread(rows.neighbours),
            )
            for view in views
            for network in NAMES
            for rows in [neurons[(neurons["view"] == view) & (neurons.network == network)]]
        ),
    )


def step_table(steps: pd.DataFrame) -> str:
    """By kind of network and scale: the first loss, and what validation says later."""
    return markdown(
        ("network", "times", "first loss", "after one epoch", "after the best"),
        (
            (
                NAMES[network],
                f"{scale:g}",
                spread(rows.first_loss),
                spread(100 * rows.first_epoch),
                spread(100 * rows.val_accuracy),
            )
            for (network, scale), rows in steps.groupby(["network", "scale"], sort=False)
        ),
    )


def conclusion(steps: pd.DataFrame) -> str:
    """Whether smaller first weights help, and whether they are a head start."""
    lines, helped = [], False
    for network, rows in steps.groupby("network", sort=False):
        scale, gain, noise = verdicts.best_scale(rows)
        helped |= gain > noise
        first = rows.groupby("scale").first_epoch.mean().idxmax()
        points = f"{gain:+z.3f}".replace("-", "−")
        lines.append(
            f"- {NAMES[network]}: the best other than 1 is {scale:g}, by {points} points with a "
            f"noise of {noise:.3f}; after one epoch, the best of all is {first:g}"
        )
    verdict = (
        "So smaller first weights help."
        if helped
        else "So none is better by more than noise, and the first weights stay as they are."
    )
    return "\n".join([*lines, "", verdict])


def markdown(heads: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


if __name__ == "__main__":
    run(main)
