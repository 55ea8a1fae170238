"""Figures of a classifier on the test set: what it takes for what, and its mistakes."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from mlp.arrays import Array
from mlp.plots.style import (
    INK,
    PALE,
    RULE,
    VERMILION,
    WIDTH,
    Style,
    plain,
    readable_on,
    styled,
    titled_figure,
)


@styled
def confusion(matrix: NDArray[np.integer], classes: Sequence[str]) -> Figure:
    """Which class is taken for which: counts (K, K), row the truth, column the guess.

    A cell shows the share of its row and, where there is room, the count. Hits and errors have
    a colour scale each, because hits are so many more that errors would all look alike.
    """
    k = len(classes)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    errors = np.where(np.eye(k, dtype=bool), 0, shares)
    truth, guess = divmod(int(errors.argmax()), k)
    worst = (
        f"Largest error: {errors[truth, guess]:.1%} of {classes[truth]} taken for {classes[guess]}"
        if errors.any()
        else "No errors"
    )
    figure = titled_figure(
        WIDTH * 0.86, "Confusion matrix: percent of each actual class, and count", worst
    )
    axes = figure.add_subplot()
    plain(axes)
    hit_norm = Normalize(0, max(shares.diagonal().max(), 0.01))
    error_norm = Normalize(0, max(errors.max(), 0.01))
    size = min(9.5, 5.4 * 72 / k / 4.4)
    for i, j in np.ndindex(k, k):
        norm, name = (hit_norm, "Blues") if i == j else (error_norm, "Oranges")
        # four fifths of a map: its darkest end is too dark to write on
        colour = colormaps[name](0.8 * norm(shares[i, j]))
        if matrix[i, j] == 0:
            colour = to_rgba(PALE)
        axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fc=colour, ec="white", lw=1.5))
        if matrix[i, j] and k <= 25:
            ink = readable_on(colour)
            text = Style(ha="center", color=ink)
            axes.text(j, i + 0.05, f"{100 * shares[i, j]:.1f}", fontsize=size, va="bottom", **text)
            axes.text(j, i + 0.1, f"{matrix[i, j]:,}", fontsize=0.75 * size, va="top", **text)
    axes.set(xlim=(-0.5, k - 0.5), ylim=(k - 0.5, -0.5))
    turned = Style(rotation=40, va="bottom") if k <= 12 else Style(rotation=90, va="center")
    axes.set_xticks(range(k), classes, ha="left", rotation_mode="anchor", **turned)
    axes.set_yticks(range(k), classes)
    axes.tick_params(length=0, labelcolor=INK, labelsize=min(9, 300 / k))
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")
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
    across = 6
    down = max(1, math.ceil(len(images) / across))
    ratio = images.shape[1] / images.shape[2]
    figure = titled_figure(
        0.7 + down * (1.25 * ratio + 0.47),
        "The most confident mistakes" if len(images) else "No mistakes",
        "Above each image what it is, then what the network says and how sure it is",
    )
    panels = figure.subplots(down, across, squeeze=False)
    for axes in panels.flat:
        plain(axes)
    for axes, image, truth, guess, p in zip(panels.flat, images, t, y, confidence, strict=False):
        axes.imshow(image, "gray_r", Normalize(0, 255), interpolation="nearest")
        axes.spines[:].set(visible=True, color=RULE)
        sure = f"{p:.1%}" if p < 0.9995 else "> 99.9%"
        axes.set_title(classes[truth], pad=16, fontsize=8.5)
        axes.text(
            0,
            1.04,
            f"{classes[guess]}, {sure}",
            transform=axes.transAxes,
            color=VERMILION,
            fontsize=8,
        )
    return figure
