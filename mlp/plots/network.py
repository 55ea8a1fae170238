"""The figure of a network's architecture."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from mlp.arrays import Array
from mlp.plots.style import (
    BLUE,
    HEADER,
    MUTED,
    VERMILION,
    WIDTH,
    Style,
    counted,
    plain,
    short_names,
    stout,
    styled,
    titled_figure,
)


@styled
def network(
    input_size: int,
    hidden_sizes: Sequence[int],
    output_size: int,
    activation: str,
    *,
    batch_norm: bool = False,
    classes: Sequence[str] = (),
    image: NDArray[np.uint8] | None = None,
) -> Figure:
    """The architecture: a column of neurons per layer, what is between them, and its parameters.

    classes: names for the output neurons. image (rows, columns): shown in front of the input.
    """
    sizes = [input_size, *hidden_sizes, output_size]
    # BatchNorm's factors and shifts, for each neuron one, take the place of the biases
    vectors = [2 if batch_norm else 1] * len(hidden_sizes) + [1]
    counts = [n * m + k * m for (n, m), k in zip(itertools.pairwise(sizes), vectors, strict=True)]
    name = {"relu": "ReLU", "sigmoid": "Sigmoid"}[activation]
    layers = counted(len(counts), "Affine layer") + (" with BatchNorm" if batch_norm else "")
    height = 4.25
    figure = titled_figure(
        height,
        " → ".join(f"{size:,}" for size in sizes),
        f"{counted(sum(counts), 'parameter')} in {layers}, {name} between them, Softmax at the end",
    )
    axes = figure.add_subplot(xlim=(0, WIDTH), ylim=(0, height - HEADER))
    plain(axes)
    top, bottom = 2.85, 0.72
    middle = (top + bottom) / 2
    left = 0.5 if image is None else 2.0
    right = WIDTH - (1.35 if classes else 0.5)
    columns = np.linspace(left, right, len(sizes))
    places = [_neuron_places(size, bottom, top) for size in sizes]

    if image is not None:
        caption = f"{image.shape[0]} × {image.shape[1]} pixels"
        image, changed = stout(image)
        if changed:
            caption += f",\n{changed} to be seen"
        rows, cols = image.shape
        side = 1.25 / max(rows, cols)
        w, h = cols * side / 2, rows * side / 2
        extent = (0.75 - w, 0.75 + w, middle - h, middle + h)
        grey = Style(cmap="gray_r", norm=Normalize(0, 255), interpolation="nearest")
        axes.imshow(image, extent=extent, aspect="auto", **grey)
        axes.add_patch(
            Rectangle((0.75 - w, middle - h), 2 * w, 2 * h, fill=False, ec=MUTED, lw=0.8)
        )
        axes.text(0.75, middle - h - 0.2, caption, ha="center", va="center")
        arrow = Style(arrowstyle="-|>", color=MUTED, shrinkA=0, shrinkB=0)
        axes.annotate("", (left - 0.2, middle), (0.75 + w + 0.12, middle), arrowprops=arrow)

    for i, (count, k) in enumerate(zip(counts, vectors, strict=True)):
        x, y = columns[i : i + 2]
        edges = [((x, a), (y, b)) for a in places[i] for b in places[i + 1]]
        axes.add_collection(LineCollection(edges, colors=MUTED, linewidths=0.3, alpha=0.28))
        centre, times = (x + y) / 2, "2 · " if k == 2 else ""
        axes.text(centre, 3.38, f"Affine {i + 1}", ha="center", weight="bold")
        axes.text(
            centre,
            3.0,
            f"{sizes[i]:,} × {sizes[i + 1]:,} + {times}{sizes[i + 1]:,}\n= {count:,}",
            ha="center",
            color=MUTED,
            fontsize=min(8.5, 6.5 * (y - x)),
            linespacing=1.3,
        )

    roles = ["input", *[name] * len(hidden_sizes), "Softmax"]
    for x, size, ys, role in zip(columns, sizes, places, roles, strict=True):
        colour = {"input": MUTED, "Softmax": VERMILION}.get(role, BLUE)
        axes.scatter(np.full(len(ys), x), ys, s=48, c=colour, ec="white", lw=0.8, zorder=3)
        if size > len(ys):
            axes.text(x, middle, "⋮", ha="center", va="center", fontsize=14, color=colour, zorder=3)
        axes.text(x, 0.42, f"{size:,}", ha="center", va="center", fontsize=12, weight="bold")
        axes.text(x, 0.15, role, ha="center", va="center", color=colour)
    if classes:
        labels, n = short_names(classes, 10), len(places[-1])
        ends = [*labels[: (n + 1) // 2], *labels[len(labels) - n // 2 :]]
        for y, label in zip(places[-1], ends, strict=True):
            axes.text(right + 0.17, y, label, va="center", fontsize=8.5)
    return figure


def _neuron_places(size: int, bottom: float, top: float) -> Array:
    """Heights of the neurons that are drawn of a layer: all of a small one, and of a large one
    a few more the larger it is, with a gap in the middle."""
    n = size if size <= 12 else 2 * round(3 + math.log10(size)) + 2
    slots = n if n == size else n + 1
    spread = (top - bottom) * min(1, slots / 15)
    ys = (top + bottom + np.linspace(spread, -spread, slots)) / 2
    return ys if n == size else np.delete(ys, n // 2)
