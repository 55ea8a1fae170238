"""Every figure of the project: functions that return a Matplotlib figure, and `save`.

Figures are made without pyplot, so that there is no window and no global state, and with a style
that no matplotlibrc changes, so that the same numbers give the same bytes.
"""

import io
import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from matplotlib import colormaps, style
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from mlp.arrays import Array
from mlp.files import atomic
from mlp.weights import WeightStatistics, sparsity_verdict, weight_statistics

if TYPE_CHECKING:
    from pandas import DataFrame

WIDTH = 8.5  # inches: a README shows figures some 850 pixels wide, so 1 pt is 1.4 pixels there …
DPI = 200  # … and twice as many dots keep them sharp on dense screens
MARGIN, HEADER = 0.15, 0.66  # inches

# Blue and vermilion of Okabe and Ito's palette, which the colour-blind tell apart
BLUE, VERMILION = "#0072B2", "#D55E00"
TRAIN, VAL = BLUE, VERMILION
INK, MUTED, RULE, BLANK, PALE = "#1f2937", "#6b7280", "#d9dde3", "#b4bac4", "#f6f7f9"

STYLE = {
    "font.family": "DejaVu Sans",  # comes with Matplotlib, and so is the same everywhere
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": MUTED,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "figure.dpi": DPI,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "hatch.linewidth": 0.6,
}
styled = style.context(STYLE, after_reset=True)
Style = dict[str, Any]  # drawing options that several calls share


class Columns(Protocol):
    """Whatever gives a column by its name: a `History`, a DataFrame, a dictionary of lists."""

    def __getitem__(self, name: str, /) -> Any: ...


@styled
def save(figure: Figure, path: str | Path) -> None:
    """Write a PNG, atomically; the same figure gives the same bytes.

    256 colours are enough for any figure here and make the file a third as large.
    """
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", pil_kwargs={"compress_level": 1})
    picture = Image.open(drawn).convert("RGB")
    with atomic(path) as temporary:
        picture.quantize(256, dither=Image.Dither.NONE).save(temporary, "png", optimize=True)


def _figure(height: float, title: str, subtitle: str) -> Figure:
    """A figure `height` inches high with a bold title, a line below it, and the rest for axes."""
    pad = MARGIN / 2
    left = MARGIN / WIDTH
    room = (left / 2, 0, 1 - left, 1 - HEADER / height)
    layout = ConstrainedLayoutEngine(w_pad=pad, h_pad=pad, rect=room)
    figure = Figure(figsize=(WIDTH, height), layout=layout)
    figure.text(left, 1 - 0.28 / height, title, fontsize=13, weight="bold")
    size = min(9, 1080 / len(subtitle))  # 120 characters fit
    figure.text(left, 1 - 0.52 / height, subtitle, color=MUTED, fontsize=size)
    return figure


def _readable_on(colour: tuple[float, float, float, float]) -> str:
    """White or ink, whichever is read more easily on a background."""
    red, green, blue, _ = colour
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.45 else "white"


def _plain(axes: Axes) -> None:
    """Nothing but what is drawn: no ticks, grid or frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.spines[:].set_visible(False)


@styled
def network(
    input_size: int,
    hidden_sizes: Sequence[int],
    output_size: int,
    activation: str,
    *,
    classes: Sequence[str] = (),
    image: NDArray[np.uint8] | None = None,
) -> Figure:
    """The architecture: a column of neurons per layer, what is between them, and its parameters.

    classes: names for the output neurons. image (rows, columns): shown in front of the input.
    """
    sizes = [input_size, *hidden_sizes, output_size]
    counts = [n * m + m for n, m in itertools.pairwise(sizes)]
    names = {"relu": "ReLU", "sigmoid": "Sigmoid"}
    height = 4.25
    figure = _figure(
        height,
        " → ".join(f"{size:,}" for size in sizes),
        f"{sum(counts):,} parameters in {len(counts)} Affine layers, "
        f"{names[activation]} between them, Softmax at the end",
    )
    axes = figure.add_subplot(xlim=(0, WIDTH), ylim=(0, height - HEADER))
    _plain(axes)
    top, bottom = 2.85, 0.72
    middle = (top + bottom) / 2
    left = 0.5 if image is None else 2.0
    right = WIDTH - (1.35 if classes else 0.5)
    columns = np.linspace(left, right, len(sizes))
    places = [_neuron_places(size, bottom, top) for size in sizes]

    if image is not None:
        rows, cols = image.shape
        side = 1.25 / max(rows, cols)
        w, h = cols * side / 2, rows * side / 2
        extent = (0.75 - w, 0.75 + w, middle - h, middle + h)
        axes.imshow(image, "gray_r", extent=extent, interpolation="nearest", aspect="auto")
        axes.add_patch(
            Rectangle((0.75 - w, middle - h), 2 * w, 2 * h, fill=False, ec=MUTED, lw=0.8)
        )
        axes.text(0.75, middle - h - 0.2, f"{rows} × {cols} pixels", ha="center", va="center")
        arrow = Style(arrowstyle="-|>", color=MUTED, shrinkA=0, shrinkB=0)
        axes.annotate("", (left - 0.2, middle), (0.75 + w + 0.12, middle), arrowprops=arrow)

    for i, count in enumerate(counts):
        x, y = columns[i : i + 2]
        edges = [((x, a), (y, b)) for a in places[i] for b in places[i + 1]]
        axes.add_collection(LineCollection(edges, colors=MUTED, linewidths=0.3, alpha=0.28))
        centre = (x + y) / 2
        axes.text(centre, 3.38, f"Affine {i + 1}", ha="center", weight="bold")
        axes.text(
            centre,
            3.0,
            f"{sizes[i]:,} × {sizes[i + 1]:,} + {sizes[i + 1]:,}\n= {count:,}",
            ha="center",
            color=MUTED,
            fontsize=min(8.5, 6.5 * (y - x)),
            linespacing=1.3,
        )

    roles = ["input", *[names[activation]] * len(hidden_sizes), "Softmax"]
    for x, size, ys, role in zip(columns, sizes, places, roles, strict=True):
        colour = {"input": MUTED, "Softmax": VERMILION}.get(role, BLUE)
        axes.scatter(np.full(len(ys), x), ys, s=48, c=colour, ec="white", lw=0.8, zorder=3)
        if size > len(ys):
            axes.text(x, middle, "⋮", ha="center", va="center", fontsize=14, color=colour, zorder=3)
        axes.text(x, 0.42, f"{size:,}", ha="center", va="center", fontsize=12, weight="bold")
        axes.text(x, 0.15, role, ha="center", va="center", color=colour)
    if len(places[-1]) == len(classes):
        for y, name in zip(places[-1], classes, strict=True):
            axes.text(right + 0.17, y, name, va="center", fontsize=8.5)
    return figure


def _neuron_places(size: int, bottom: float, top: float) -> Array:
    """Heights of the neurons that are drawn of a layer: all of a small one, and of a large one
    a few more the larger it is, with a gap in the middle."""
    n = size if size <= 12 else 2 * round(3 + math.log10(size)) + 2
    slots = n if n == size else n + 1
    spread = (top - bottom) * min(1, slots / 15)
    ys = (top + bottom + np.linspace(spread, -spread, slots)) / 2
    return ys if n == size else np.delete(ys, n // 2)


@styled
def learning_curves(history: Columns) -> Figure:
    """Loss and accuracy over the epochs on training and validation set, the best epoch marked."""
    epochs = list(history["epoch"])
    loss, accuracy = list(history["val_loss"]), list(history["val_accuracy"])
    best = max(range(len(epochs)), key=lambda i: (accuracy[i], -loss[i]))
    figure = _figure(
        3.9,
        "Learning curves",
        f"Best epoch: {epochs[best]} of {len(epochs)}, with validation accuracy "
        f"{accuracy[best]:.2%} and training accuracy {list(history['train_accuracy'])[best]:.2%}",
    )
    panels = figure.subplots(1, 2)
    titles = {"loss": "Loss (mean cross-entropy, nats)", "accuracy": "Accuracy"}
    curves = (("train", "training", TRAIN), ("val", "validation", VAL))
    for axes, (metric, title) in zip(panels, titles.items(), strict=True):
        axes.set_title(title)
        axes.set_xlabel("epoch")
        for prefix, label, colour in curves:
            values = list(history[f"{prefix}_{metric}"])
            marker = "o" if len(epochs) <= 40 else None
            axes.plot(epochs, values, color=colour, label=label, marker=marker, ms=3)
            ring = Style(mfc="white", mec=colour, mew=2, ms=8, clip_on=False)
            axes.plot(epochs[best], values[best], "o", **ring)
        axes.axvline(epochs[best], color=MUTED, ls=(0, (3, 3)), lw=1, zorder=1, label="best epoch")
        axes.set_xlim(epochs[0] - 0.7, epochs[-1] + 0.7)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    panels[1].yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%"))
    lines, labels = panels[0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="upper right", ncols=3).set_in_layout(False)
    return figure


@styled
def grid_heatmaps(table: "DataFrame") -> Figure:
    """The grid search: a panel for each lr and l2_reg, in it a cell for each pair of hidden sizes
    with the validation accuracy in percent. The winner has a frame.

    With several seeds, a cell also has the standard deviation over them, and those that noise does
    not tell from the winner (their means differ by less than two standard errors) are bold. With
    several rungs, it has the epochs after which its trial left.

    table: columns hidden_size1, hidden_size2, lr, l2_reg, val_accuracy, val_loss and status, a
        row per configuration, and val_accuracy_std, seeds, rung and epochs, as
        `mlp.search.summarise` makes them. A trial whose status is not "ok" diverged; a cell without
        a row is empty.
    """
    names = ("l2_reg", "lr", "hidden_size1", "hidden_size2")
    l2_regs, lrs, sizes1, sizes2 = values = [sorted(set(table[name])) for name in names]
    accuracy = np.full([len(v) for v in values], np.nan)
    diverged = np.zeros(accuracy.shape, bool)
    notes = np.full(accuracy.shape, "", object)
    error = np.zeros(accuracy.shape)  # of each mean, in points
    winner, best = None, (0, 0.0, 0.0)
    several_seeds, several_rungs = table["seeds"].max() > 1, table["rung"].nunique() > 1
    for row in table.to_dict("records"):
        place = tuple(v.index(row[name]) for name, v in zip(names, values, strict=True))
        diverged[place] = row["status"] != "ok"
        if diverged[place]:
            continue
        accuracy[place] = 100 * row["val_accuracy"]
        error[place] = 100 * row["val_accuracy_std"] / math.sqrt(row["seeds"])
        if several_seeds:
            notes[place] += f"\n± {100 * row['val_accuracy_std']:.2f}"
        if several_rungs:
            notes[place] += f"\n{row['epochs']} epochs"
        rank = row["rung"], row["val_accuracy"], -row["val_loss"]
        if winner is None or rank > best:
            winner, best = place, rank

    if winner:
        chosen = [f"{n} {v[i]:g}" for n, v, i in zip(names, values, winner, strict=True)]
        l2_reg, lr, *sizes = chosen
        settings = ", ".join([*sizes, lr, l2_reg])
        subtitle = f"Framed, the best of {len(table)}: {best[1]:.2%} with {settings}"
        if several_seeds:
            subtitle += "; bold, what noise does not tell from it"
    else:
        subtitle = f"None of {len(table)} trials ended: all diverged"
    same = np.zeros(accuracy.shape, bool)
    if winner and several_seeds:
        same = accuracy[winner] - accuracy < 2 * np.hypot(error[winner], error)
    norm, colours = _colours_of_the_good(accuracy), colormaps["YlGnBu"].resampled(40)
    lines = 1 + several_seeds + several_rungs
    height = 1.75 + len(l2_regs) * ((0.27 + 0.15 * lines) * len(sizes1) + 0.25)
    figure = _figure(height, "Grid search", subtitle)
    panels = figure.subplots(len(l2_regs), len(lrs), squeeze=False, sharex=True, sharey=True)
    for (i, j), axes in np.ndenumerate(panels):
        axes.imshow(accuracy[i, j], colours, norm, aspect="auto", interpolation="nearest")
        texts = [
            [f"{value:.2f}{note}" for value, note in zip(*row, strict=True)]
            for row in zip(accuracy[i, j], notes[i, j], strict=True)
        ]
        ink = colours(norm(accuracy[i, j]))
        _write_cells(axes, accuracy[i, j], diverged[i, j], texts, same[i, j], ink, len(lrs))
        if winner and winner[:2] == (i, j):
            frame = Style(fill=False, ec=VERMILION, lw=2.5, zorder=5, clip_on=False)
            axes.add_patch(Rectangle((winner[3] - 0.5, winner[2] - 0.5), 1, 1, **frame))
        axes.set_xticks(range(len(sizes2)), [f"{v:g}" for v in sizes2])
        axes.set_yticks(range(len(sizes1)), [f"{v:g}" for v in sizes1])
    for axes, lr in zip(panels[0], lrs, strict=True):
        axes.set_title(f"lr {lr:g}", loc="center")
    for axes in panels[-1]:
        axes.set_xlabel("hidden_size2")
    for axes in panels[:, 0]:
        axes.set_ylabel("hidden_size1")
    for axes, l2_reg in zip(panels[:, -1], l2_regs, strict=True):
        beside = Style(xytext=(8, 0), textcoords="offset points", rotation=270)
        bold = Style(weight="bold", fontsize=9.5, va="center")
        axes.annotate(f"l2_reg {l2_reg:g}", (1, 0.5), xycoords="axes fraction", **beside, **bold)
    bar = figure.colorbar(
        ScalarMappable(norm, colours),
        ax=panels,
        location="bottom",
        extend="min" if (accuracy < norm.vmin).any() else "neither",
        aspect=45,
        label="validation accuracy, %",
    )
    bar.outline.set_visible(False)
    if diverged.any():
        sample = Patch(fc=PALE, ec=MUTED, hatch="////", lw=0, label="× diverged")
        figure.legend(handles=[sample], loc="upper right").set_in_layout(False)
    return figure


def _write_cells(
    axes: Axes,
    accuracy: Array,
    diverged: NDArray[np.bool_],
    texts: Sequence[Sequence[str]],
    bold: NDArray[np.bool_],
    colours: Array,
    panels: int,
) -> None:
    """A panel's texts; a hatched cell with a cross for a trial that diverged."""
    size = min(9.0, 0.24 * WIDTH * 72 / (panels * accuracy.shape[1]))
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    for k, m in np.ndindex(accuracy.shape):
        text, ink, fill = "", INK, Style(fill=False, ec="white", lw=1.0)
        if diverged[k, m]:
            text, fill = "×", Style(fc=PALE, ec=MUTED, hatch="////", lw=0)
        elif not np.isnan(accuracy[k, m]):
            text, ink = texts[k][m], _readable_on(tuple(colours[k, m]))
        axes.add_patch(Rectangle((m - 0.5, k - 0.5), 1, 1, **fill))
        weight = "bold" if bold[k, m] else "normal"
        axes.text(m, k, text, ha="center", va="center", color=ink, fontsize=size, weight=weight)


def _colours_of_the_good(accuracy: Array) -> Normalize:
    """A colour range for accuracies, NaN apart, that tells good configurations from each other.

    One bad value of a hyper-parameter can spoil a third of the grid and more. So the range goes
    down from the best by a few times the spread of the best third; what lies below has the lowest
    colour.
    """
    finished = accuracy[~np.isnan(accuracy)]
    if not len(finished):
        return Normalize(0, 100)
    best, third = finished.max(), np.quantile(finished, 2 / 3)
    low = max(finished.min(), best - 3 * (best - third))
    return Normalize(low if low < best else best - 1, best)


@styled
def weight_distributions(weights: Sequence[Array]) -> Figure:
    """A histogram of each Affine layer's weights with the normal curve of the same mean and
    standard deviation, the statistics as a table, and the verdict on sparsity.

    weights: the layers' W, from input to output.
    """
    statistics = [weight_statistics(W) for W in weights]
    question = "Do weights grow sparser with depth?"
    figure = _figure(5.6, question, sparsity_verdict(statistics))
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
        axes.set_title(f"Affine {i + 1}")
        axes.set_xlabel("weight")
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.grid(axis="x", visible=False)
        if i:
            axes.sharey(panels[0])
            axes.tick_params(labelleft=False)
    panels[0].set(yscale="log", ylim=(0.7, 2 * highest), ylabel="number of weights")
    curve = Line2D([], [], color=VERMILION, lw=1.4, label="normal, same mean and σ")
    figure.legend(handles=[curve], loc="upper right").set_in_layout(False)
    _weight_table(figure.add_subplot(grid[1, :]), statistics)
    return figure


def _weight_table(axes: Axes, statistics: Sequence[WeightStatistics]) -> None:
    _plain(axes)
    rows = [
        ("number of weights", "size", ",", ""),
        ("mean", "mean", ".4f", ""),
        ("standard deviation σ", "std", ".4f", ""),
        ("near zero: |w| < σ / 10", "near_zero", ".1%", "8.0%"),
        ("excess kurtosis", "excess_kurtosis", ".2f", "0.00"),
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
    if shape:
        images = images[np.argsort(-_smoothness(images), kind="stable")]
    mosaic = _mosaic(images, gap=max(1, round(cols / 14)))

    # whole dots per weight, where there are enough of them
    bar_width = 0.95
    room = (WIDTH - 2 * MARGIN - bar_width) * DPI
    scale = room / mosaic.shape[1]
    scale = math.floor(scale) if scale >= 2 else scale
    width, height = mosaic.shape[1] * scale / DPI, mosaic.shape[0] * scale / DPI
    total = round((height + HEADER + MARGIN) * DPI) / DPI
    before = f"image’s {rows} × {cols} pixels" if shape else f"{inputs:,} neurons before it"
    notes = [
        f"The weights of each on the {before}, scaled to their own range",
        *(["smoothest first"] if shape else []),
        *([f"blank: {dead:,} that died"] if (dead := np.count_nonzero(limits == 0)) else []),
    ]
    figure = _figure(total, f"The {n:,} neurons of layer {layer}", "; ".join(notes))
    figure.set_layout_engine("none")
    colours: Colormap = colormaps["RdBu_r"].resampled(127).with_extremes(bad=BLANK)
    axes = figure.add_axes((MARGIN / WIDTH, MARGIN / total, width / WIDTH, height / total))
    picture = axes.imshow(mosaic, colours, Normalize(-1, 1), interpolation="nearest", aspect="auto")
    _plain(axes)
    bar_height = min(height, 2.5)
    place = (MARGIN + width + 0.15, MARGIN + height - bar_height, 0.13, bar_height)
    bar = figure.colorbar(
        picture,
        figure.add_axes((place[0] / WIDTH, place[1] / total, place[2] / WIDTH, place[3] / total)),
        ticks=[-1, 0, 1],
    )
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


def _mosaic(images: Array, gap: int) -> Array:
    """Images (n, rows, columns) as tiles of one nearly square image, NaN in the gaps; a complete
    rectangle of tiles if it need not be twice as wide as high."""
    n, rows, cols = images.shape
    start = math.ceil(math.sqrt(n * rows / cols))
    across = next((a for a in range(start, 2 * start) if n % a == 0), start)
    down = math.ceil(n / across)
    tiles = np.full((down * across, rows + gap, cols + gap), np.nan)
    tiles[:n, gap:, gap:] = images
    tiles = tiles.reshape(down, across, rows + gap, cols + gap).transpose(0, 2, 1, 3)
    mosaic = tiles.reshape(down * (rows + gap), across * (cols + gap))
    return np.pad(mosaic, ((0, gap), (0, gap)), constant_values=np.nan)


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
    figure = _figure(
        WIDTH * 0.86, "Confusion matrix: percent of each actual class, and count", worst
    )
    axes = figure.add_subplot()
    _plain(axes)
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
            ink = _readable_on(colour)
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
    figure = _figure(
        0.7 + down * (1.25 * ratio + 0.47),
        "The most confident mistakes" if len(images) else "No mistakes",
        "Above each image what it is, then what the network says and how sure it is",
    )
    panels = figure.subplots(down, across, squeeze=False)
    for axes in panels.flat:
        _plain(axes)
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
