"""Figures of what a network has learnt: how its weights are distributed, and its neurons."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter, StrMethodFormatter

from mlp.arrays import Array
from mlp.plots.style import (
    BLANK,
    BLUE,
    DPI,
    HEADER,
    MARGIN,
    MUTED,
    RULE,
    VERMILION,
    WIDTH,
    counted,
    plain,
    styled,
    titled_figure,
)
from mlp.weights import WeightStatistics, sparsity_verdict


@styled
def weight_distributions(
    weights: Sequence[Array], statistics: Sequence[WeightStatistics]
) -> Figure:
    """A histogram of each Affine layer's weights with the normal curve of the same mean and
    standard deviation, the statistics as a table, and the verdict on sparsity.

    weights: the layers' W, from input to output. statistics: of each, `mlp.weights` has them.
    """
    question = "Do weights grow sparser with depth?"
    figure = titled_figure(5.6, question, sparsity_verdict(statistics))
    grid = figure.add_gridspec(2, len(weights), height_ratios=[2.6, 2])
    panels = [figure.add_subplot(grid[0, i]) for i in range(len(weights))]
    limit, highest = max(float(np.abs(W).max()) for W in weights) or 1.0, 1
    edges = np.linspace(-limit, limit, 81)
    width, centres = edges[1] - edges[0], (edges[1:] + edges[:-1]) / 2
    for i, (axes, W, s) in enumerate(zip(panels, weights, statistics, strict=True)):
        counts, _ = np.histogram(W, edges)
        highest = max(highest, int(counts.max()))
        axes.stairs(counts, edges, fill=True, color=BLUE, alpha=0.85)
        if s.std:
            z = (centres - s.mean) / s.std
            normal = s.size * width / (s.std * math.sqrt(2 * math.pi)) * np.exp(-z * z / 2)
            axes.plot(centres, normal, color=VERMILION, lw=1.4)
        axes.set(title=f"Affine {i + 1}", xlabel="weight")
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.grid(axis="x", visible=False)
        if i:
            axes.sharey(panels[0])
            axes.tick_params(labelleft=False)
    panels[0].set(yscale="log", ylim=(0.7, 2 * highest), ylabel="number of weights")
    panels[0].yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    panels[0].yaxis.set_minor_formatter(NullFormatter())
    curve = Line2D([], [], color=VERMILION, lw=1.4, label="normal, same mean and σ")
    figure.legend(handles=[curve], loc="upper right").set_in_layout(False)
    _weight_table(figure.add_subplot(grid[1, :]), statistics)
    return figure


def _weight_table(axes: Axes, statistics: Sequence[WeightStatistics]) -> None:
    plain(axes)
    rows = [
        ("number of weights", "size", ",", ""),
        ("mean", "mean", "z.4f", ""),
        ("standard deviation σ", "std", ".4f", ""),
        ("near zero: |w| < σ / 10", "near_zero", ".1%", "8.0%"),
        ("excess kurtosis", "excess_kurtosis", "z.2f", "0.00"),
        ("beyond two standard deviations", "beyond_two_std", ".1%", "4.6%"),
        ("fixed threshold: |w| < 0.01", "below_001", ".1%", ""),
    ]
    axes.set(xlim=(0, 1), ylim=(len(rows) + 0.7, -0.5))
    columns = np.linspace(0.98, 0.3, len(statistics) + 2)[-2::-1]
    heads = [f"Affine {i + 1}" for i in range(len(statistics))] + ["normal"]
    for x, head in zip(columns, heads, strict=True):
        axes.text(x, 0, head, ha="right", va="center", weight="bold")
    for y, (label, field, spec, normal) in enumerate(rows, start=1):
        axes.axhline(y - 0.5, color=RULE, lw=0.8)
        axes.text(0.01, y, label, va="center", color=MUTED)
        cells = [format(getattr(s, field), spec) for s in statistics] + [normal]
        for x, cell in zip(columns, cells, strict=True):
            axes.text(x, y, cell.replace("-", "−"), ha="right", va="center")
        axes.texts[-1].set_color(MUTED)


@styled
def neurons(W: Array, layer: int, *, shape: tuple[int, int] | None = None) -> Figure:
    """The weights that come into each neuron as an image, the images as tiles of a mosaic.

    W: (inputs, neurons), of the Affine layer with that number.
    shape: rows and columns of an image; without it, as square as can be, and what is left of the
        last row stays blank.

    Each tile has its own colour range, symmetric about zero and ending where 99.5 % of its
    weights do, because one outlier would make all others pale; where those are all zero, L2 has
    taken what a neuron without gradient had. If neighbours mean something, as
    `shape` says, the smoothest images come first: what a neuron has learnt is smooth, and what is
    left of its random start is not.
    """
    inputs, n = W.shape
    side = math.ceil(math.sqrt(inputs))
    rows, cols = shape or (math.ceil(inputs / side), side)
    limits = np.quantile(np.abs(W), 0.995, axis=0)
    images = np.full((n, rows * cols), np.nan)
    images[:, :inputs] = (W / np.where(limits > 0, limits, 1)).T
    images = images.reshape(n, rows, cols)
    gap = max(1, round(min(rows, cols) / 14))
    bar_width = 0.95
    room = (WIDTH - 2 * MARGIN - bar_width) * DPI
    # a dot per weight at least, on a picture not much higher than wide
    widest, highest = (int((d - gap) / (s + gap)) for d, s in ((room, cols), (1.25 * room, rows)))
    fit = max(1, widest) * max(1, highest)
    order = np.argsort(-_smoothness(images), kind="stable") if shape else np.arange(n)
    shown = order[:fit]
    mosaic = _mosaic(images[shown], gap, max(1, widest))

    # whole dots per weight, where there are enough of them, and no tile larger than need be
    scale = min(
        room / mosaic.shape[1],
        1.25 * room / mosaic.shape[0],
        max(1, 2 * DPI / (min(rows, cols) + 2 * gap)),
    )
    scale = math.floor(scale) if scale >= 2 else scale
    width, height = mosaic.shape[1] * scale / DPI, mosaic.shape[0] * scale / DPI
    high = max(height, 0.6)  # the colour bar needs
    total = round((high + HEADER + MARGIN) * DPI) / DPI
    before = counted(inputs, "neuron") + " before it"
    if shape:
        before = f"image’s {rows} × {cols} pixels"
    notes = [
        f"The weights of each on the {before}, scaled to their own range",
        *(["smoothest first"] if shape else []),
        *([f"room for {len(shown):,} of them"] if fit < n else []),
        *([f"blank: {dead:,} that died"] if (dead := np.count_nonzero(limits[shown] == 0)) else []),
    ]
    figure = titled_figure(total, f"The {counted(n, 'neuron')} of layer {layer}", "; ".join(notes))
    figure.set_layout_engine("none")
    colours: Colormap = colormaps["RdBu_r"].resampled(127).with_extremes(bad=BLANK)
    bottom = (MARGIN + high - height) / total
    axes = figure.add_axes((MARGIN / WIDTH, bottom, width / WIDTH, height / total))
    picture = axes.imshow(mosaic, colours, Normalize(-1, 1), interpolation="nearest", aspect="auto")
    plain(axes)
    bar_height = min(high, 2.5)
    left, bottom = (MARGIN + width + 0.15) / WIDTH, (MARGIN + high - bar_height) / total
    beside = figure.add_axes((left, bottom, 0.13 / WIDTH, bar_height / total))
    bar = figure.colorbar(picture, beside, ticks=[-1, 0, 1])
    bar.ax.set_yticklabels(["negative", "zero", "positive"])
    bar.ax.tick_params(length=0)
    bar.outline.set_visible(False)
    return figure


def _smoothness(images: Array) -> Array:
    """How alike neighbouring pixels of images (n, rows, columns) are: (n,), up to about 2."""
    beside = (images[:, :, 1:] * images[:, :, :-1]).sum(axis=(1, 2))
    below = (images[:, 1:] * images[:, :-1]).sum(axis=(1, 2))
    squares = (images * images).sum(axis=(1, 2))
    return (beside + below) / np.where(squares > 0, squares, 1)


def _mosaic(images: Array, gap: int, widest: int) -> Array:
    """Images (n, rows, columns) as tiles of one nearly square image, NaN in the gaps; a complete
    rectangle of tiles if it need not be twice as wide as high. At most `widest` in a row."""
    n, rows, cols = images.shape
    start = min(n, widest, math.ceil(math.sqrt(n * rows / cols)))
    across = next((a for a in range(start, min(2 * start, widest + 1)) if n % a == 0), start)
    down = math.ceil(n / across)
    tiles = np.full((down * across, rows + gap, cols + gap), np.nan)
    tiles[:n, gap:, gap:] = images
    tiles = tiles.reshape(down, across, rows + gap, cols + gap).transpose(0, 2, 1, 3)
    mosaic = tiles.reshape(down * (rows + gap), across * (cols + gap))
    return np.pad(mosaic, ((0, gap), (0, gap)), constant_values=np.nan)
