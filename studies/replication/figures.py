"""The figures of docs/replication.md."""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mlp.arrays import Array
from mlp.plots.style import (
    BLUE,
    INK,
    MUTED,
    VERMILION,
    plain,
    short_names,
    styled,
    titled_figure,
)
from mlp.weights import correlations
from stages.params import SEARCHED
from studies.replication import CONTROL, PUBLISHED, RECIPE, START

COLOURS = {PUBLISHED: BLUE, RECIPE: VERMILION, CONTROL: INK, START: MUTED}
NAMES = {
    PUBLISHED: "as published",
    RECIPE: "with the recipe",
    CONTROL: "labels in random order",
    START: "before the first step",
}
MEASURES = {  # of layers.csv, and what a normal distribution has
    "near_zero": ("share near zero", 0.0797),
    "excess_kurtosis": ("excess kurtosis", 0.0),
    "std": ("standard deviation", None),
    "grown": ("… over the start's", None),
}
BEST = 12  # configurations that are drawn
SHOWN = 10  # neurons that are drawn


@styled
def search(accuracies: pd.DataFrame, setting: Sequence[float]) -> Figure:
    """The best configurations, and the published `setting`: a dot a seed, in percent, and their
    mean. accuracies: as `verdicts.accuracies` has them."""
    places = {*range(min(BEST, len(accuracies))), accuracies.index.get_loc(tuple(setting))}
    table = accuracies.iloc[sorted(places)]
    figure = titled_figure(
        1.3 + 0.25 * len(table),
        f"The best of {len(accuracies)} configurations",
        f"Validation accuracy in percent: a dot a seed, a bar the mean of {table.shape[1]}; "
        "in colour, the published one",
    )
    axes = figure.add_subplot()
    for y, (found, row) in enumerate(table.iterrows()):
        colour = VERMILION if found == tuple(setting) else INK
        axes.plot(row, [y] * len(row), "o", ms=4, mew=0, alpha=0.5, color=colour)
        axes.plot(row.mean(), y, "|", ms=11, mew=2.4, color=colour)
    ranks = [
        f"{rank + 1}:  {', '.join(f'{v:g}' for v in table.index[i])}"
        for i, rank in enumerate(sorted(places))
    ]
    axes.set_yticks(range(len(table)), ranks)
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set(xlabel="accuracy, percent")
    axes.set_title(f"{', '.join(SEARCHED)}", fontsize=8, weight="normal", color=MUTED)
    return figure


@styled
def layers(table: pd.DataFrame) -> Figure:
    """What changes from layer to layer: a line a network."""
    figure = titled_figure(
        3.0, "From layer to layer", "A line a network; dashed, what a normal distribution has"
    )
    panels = figure.subplots(1, len(MEASURES))
    for axes, (measure, (title, normal)) in zip(panels, MEASURES.items(), strict=True):
        for (network, _), rows in table.groupby(["network", "seed"], sort=False):
            axes.plot(
                rows.layer, rows[measure], "o-", ms=3, lw=1, alpha=0.7, color=COLOURS[network]
            )
        if normal is not None:
            axes.axhline(normal, color=MUTED, lw=0.9, ls=(0, (3, 3)))
        axes.set(title=title, xlabel="layer")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.margins(x=0.15)
        axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    legend(figure, [PUBLISHED, RECIPE])
    return figure


@styled
def neurons(table: pd.DataFrame) -> Figure:
    """How much neurons resemble garments: a curve a network."""
    figure = titled_figure(
        3.4,
        "Do neurons resemble garments?",
        "A curve a network: r of the neurons that have not died, from the one that resembles least "
        "to the one that does most",
    )
    deciles = [column for column in table if column[1:].isdigit()]
    shares = [int(column[1:]) for column in deciles]
    for axes, view in zip(
        figure.subplots(1, 2, sharey=True), ("layer 1", "layer 2 through layer 1"), strict=True
    ):
        for row in table[table["view"] == view].to_dict("records"):
            r = [row[column] for column in deciles]
            axes.plot(shares, r, lw=1, alpha=0.8, color=COLOURS[row["network"]])
        axes.set(title=view.capitalize(), xlabel="percent of the neurons", xlim=(0, 100))
        axes.set_ylim(0, 1)
    figure.axes[0].set_ylabel("r")
    legend(figure, list(NAMES))
    return figure


def legend(figure: Figure, networks: Sequence[str]) -> None:
    lines = [Line2D([], [], color=COLOURS[name], lw=1.8, label=NAMES[name]) for name in networks]
    figure.legend(handles=lines, loc="outside lower center", ncols=len(lines), fontsize=8)


@styled
def garments(W: Array, templates: Array, classes: Sequence[str], shape: tuple[int, int]) -> Figure:
    """Neurons of layer 1, W (inputs, neurons), at even ranks of resemblance, above the template
    (`mlp.weights.class_templates`) that each resembles."""
    W = W[:, W.any(axis=0)] if W.any() else W
    found = correlations(W, templates)
    best = np.abs(found).argmax(axis=1)
    r = found[np.arange(len(found)), best]
    order = np.argsort(-np.abs(r), kind="stable")
    ranks = np.linspace(0, len(r) - 1, min(SHOWN, len(r))).round().astype(int)
    names = short_names(classes, 7)
    titles = [(name, "") for name in names] + [*itertools.combinations(names, 2)]
    figure = titled_figure(
        2.7,
        "Neurons of layer 1, and what they resemble",
        f"{len(ranks)} of the {len(r)} that have not died, from the one that resembles most to the "
        "one that resembles least; red is positive",
    )
    panels = figure.subplots(2, len(ranks), squeeze=False)
    for (above, below), neuron in zip(panels.T, order[ranks], strict=True):
        sign = -1 if r[neuron] < 0 else 1
        for axes, image in ((above, W[:, neuron]), (below, sign * templates[best[neuron]])):
            limit = np.quantile(np.abs(image), 0.995) or 1
            axes.imshow(image.reshape(shape), colormaps["RdBu_r"], vmin=-limit, vmax=limit)
            plain(axes)
        one, other = titles[best[neuron]]
        if other:
            label = f"{one}\n− {other}" if sign > 0 else f"{other}\n− {one}"
        else:
            label = f"{'− ' if sign < 0 else ''}{one}\n"
        above.set_title(f"r = {abs(r[neuron]):.2f}", weight="normal", fontsize=8, loc="center")
        below.xaxis.set_visible(True)  # for its label
        below.set_xlabel(label, fontsize=7, color=INK)
    return figure
