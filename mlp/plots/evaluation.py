"""Figures of a classifier on the test set: what it takes for what, and its mistakes."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from mlp.arrays import Array
from mlp.metrics import Calibration
from mlp.plots.style import (
    BLUE,
    HEADER,
    INK,
    MARGIN,
    MUTED,
    PALE,
    RULE,
    VERMILION,
    WIDTH,
    Style,
    plain,
    readable_on,
    short_names,
    stout,
    styled,
    titled_figure,
)

SHOWN_CLASSES = 30


@styled
def confusion(matrix: NDArray[np.integer], classes: Sequence[str]) -> Figure:
    """Which class is taken for which: counts (K, K), row the truth, column the guess.

    A cell shows the share of its row and, where there is room, the count. Hits and errors have
    a colour scale each, because hits are so many more that errors would all look alike. Of more
    than 30 classes, those 30 are shown that the largest errors are between.
    """
    k = len(classes)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    errors = np.where(np.eye(k, dtype=bool), 0, shares)
    truth, guess = divmod(int(errors.argmax()), k)
    names = short_names(classes, 14)
    notes = [
        f"Largest error: {errors[truth, guess]:.1%} of {names[truth]} taken for {names[guess]}"
        if errors.any()
        else "No errors"
    ]
    if k > SHOWN_CLASSES:
        notes.append(f"of {k:,} classes, the {SHOWN_CLASSES} most confused are shown")
        largest = np.maximum(errors.max(axis=0), errors.max(axis=1))
        shown = np.sort(np.argsort(-largest, kind="stable")[:SHOWN_CLASSES])
        k, names = SHOWN_CLASSES, [names[i] for i in shown]
        matrix, shares, errors = (a[np.ix_(shown, shown)] for a in (matrix, shares, errors))
    roomy = k <= 12
    figure = titled_figure(
        WIDTH * 0.86,
        f"Confusion matrix: percent of each actual class{', and count' if roomy else ''}",
        "; ".join(notes),
    )
    axes = figure.add_subplot()
    axes.grid(False)
    axes.spines[:].set_visible(False)
    # four fifths of a map: its darkest end is too dark to write on
    hits, misses = (
        colormaps[name](0.8 * Normalize(0, max(values.max(), 0.01))(shares))
        for name, values in (("Blues", shares.diagonal()), ("Oranges", errors))
    )
    colours = np.where(np.eye(k, dtype=bool)[:, :, None], hits, misses)
    colours[matrix == 0] = to_rgba(PALE)
    edges = np.arange(k + 1) - 0.5
    axes.pcolormesh(edges, edges, colours, edgecolors="white", lw=1.5)
    size = min(16 if roomy else 9.5, 5.4 * 72 / k / (4.4 if roomy else 1.9))
    for i, j in np.argwhere(matrix):
        share = 100 * shares[i, j]
        text = Style(ha="center", color=readable_on(tuple(colours[i, j])), in_layout=False)
        if roomy:
            axes.text(j, i + 0.05, f"{share:.1f}", fontsize=size, va="bottom", **text)
            axes.text(j, i + 0.1, f"{matrix[i, j]:,}", fontsize=0.75 * size, va="top", **text)
        else:
            whole = f"{share:.0f}" if share >= 0.5 else "<1"
            axes.text(j, i, whole, fontsize=size, va="center_baseline", **text)
    axes.set(xlim=(-0.5, k - 0.5), ylim=(k - 0.5, -0.5), xlabel="predicted", ylabel="actual")
    turned = Style(rotation=40, va="bottom") if roomy else Style(rotation=90, va="center")
    axes.set_xticks(range(k), names, ha="left", rotation_mode="anchor", **turned)
    axes.set_yticks(range(k), names)
    axes.tick_params(length=0, labelcolor=INK, labelsize=9)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    return figure


@styled
def mistakes(
    images: NDArray[np.uint8],
    t: NDArray[np.integer],
    y: NDArray[np.integer],
    confidence: Array,
    classes: Sequence[str],
) -> Figure:
    """Images (M, rows, columns) that the network got wrong, in the order given: above each its
    label t (M,), and the guess y (M,) with its confidence (M,), a probability."""
    if not len(images):
        return titled_figure(
            HEADER + MARGIN, "No mistakes", "The network is right about every image"
        )
    across = 6
    down = math.ceil(len(images) / across)
    images, changed = stout(images)
    ratio = min(images.shape[1] / images.shape[2], 1.5)
    subtitle = "Above each image what it is, then what the network says and how sure it is"
    figure = titled_figure(
        0.7 + down * (1.25 * ratio + 0.47),
        "The most confident mistakes",
        f"{subtitle}; {changed} to be seen" if changed else subtitle,
    )
    panels = figure.subplots(down, across, squeeze=False)
    for axes in panels.flat:
        plain(axes)
    titles, guesses = short_names(classes, 9.5), short_names(classes, 6.8)
    for axes, image, truth, guess, p in zip(panels.flat, images, t, y, confidence, strict=False):
        axes.imshow(image, "gray_r", Normalize(0, 255), interpolation="nearest")
        axes.set_anchor("W")  # under the start of its texts
        axes.spines[:].set(visible=True, color=RULE)
        sure = f"{p:.1%}" if p < 0.9995 else "> 99.9%"
        axes.set_title(titles[truth], pad=16, fontsize=8.5)
        axes.annotate(
            f"{guesses[guess]}, {sure}",
            (0, 1),
            xycoords="axes fraction",
            xytext=(0, 3.5),
            textcoords="offset points",
            color=VERMILION,
            fontsize=8,
            in_layout=False,
        )
    return figure


@styled
def reliability(calibration: Calibration) -> Figure:
    """How often the network is right where it is so sure: the accuracy of each bin of confidence
    beside the diagonal, on which it would be as often right as it is sure, and the samples of each
    bin (DeGroot and Fienberg 1983)."""
    bins, n = len(calibration.support), calibration.support.sum()
    surer = (calibration.confidence - calibration.accuracy) @ calibration.support > 0
    figure = titled_figure(
        5.2,
        "Calibration: how often it is right where it is so sure",
        f"Expected calibration error {calibration.error:.1%}; on the whole the network is "
        f"{'surer than it is right' if surer else 'right more often than it is sure'}",
    )
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    edges = np.arange(bins) / bins
    there = calibration.support > 0
    width = 0.94 / bins
    top.bar(edges[there], calibration.accuracy[there], width, align="edge", color=BLUE)
    top.plot([0, 1], [0, 1], color=VERMILION, lw=1.2, ls=(0, (4, 2)))
    top.text(0.01, 0.28, "as often right\nas sure", color=VERMILION, fontsize=8)
    top.set(ylim=(0, 1), ylabel="share that is right")
    bottom.bar(edges, calibration.support / n, width, align="edge", color=MUTED)
    bottom.set(xlim=(0, 1), xlabel="confidence: the probability of the guess", ylabel="samples")
    bottom.yaxis.set_major_formatter(PercentFormatter(1, 0))
    return figure
