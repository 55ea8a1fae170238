"""The figure of a grid search."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from mlp.arrays import Array
from mlp.files import InputError
from mlp.plots.style import (
    INK,
    MUTED,
    PALE,
    VERMILION,
    WIDTH,
    Style,
    counted,
    readable_on,
    styled,
    titled_figure,
)

if TYPE_CHECKING:
    from pandas import DataFrame

CELL = ("l2_reg", "lr", "hidden_size1", "hidden_size2")  # panels down and across, then cells


@styled
def grid_heatmaps(table: "DataFrame", winner: Mapping[str, Any] | None) -> Figure:
    """The grid search: a panel for each lr and l2_reg, in it a cell for each pair of hidden sizes
    with the validation accuracy in percent. The winner has a frame.

    With several seeds, a cell also has the standard deviation over them, and those that noise does
    not tell from the winner (their means differ by less than two standard errors) are bold. With
    several rungs, it has the epochs after which its trial left.

    table: columns hidden_size1, hidden_size2, lr, l2_reg, val_accuracy and status, a row per
        configuration, and val_accuracy_std, seeds, rung and epochs, as
        `mlp.search.summarise` makes them. A trial whose status is not "ok" diverged; a cell without
        a row is empty.
    winner: its hyper-parameters, as `mlp.search.best_row` elects it; None if nothing has a result.

    Raises InputError if the winner is not in the table.
    """
    l2_regs, lrs, sizes1, sizes2 = values = [sorted(set(table[name])) for name in CELL]
    accuracy = np.full([len(v) for v in values], np.nan)
    diverged = np.zeros(accuracy.shape, bool)
    notes = np.full(accuracy.shape, "", object)
    error = np.zeros(accuracy.shape)  # of each mean, in points
    several_seeds, several_rungs = table["seeds"].max() > 1, table["rung"].nunique() > 1
    for row in table.to_dict("records"):
        place = _place(row, values)
        diverged[place] = row["status"] != "ok"
        if diverged[place]:
            continue
        accuracy[place] = 100 * row["val_accuracy"]
        error[place] = 100 * row["val_accuracy_std"] / math.sqrt(row["seeds"])
        if several_seeds:
            notes[place] += f"\n± {100 * row['val_accuracy_std']:.2f}"
        if several_rungs:
            notes[place] += f"\n{counted(row['epochs'], 'epoch')}"

    framed = None
    if winner:
        best = _row(table, winner)
        framed = _place(best, values)
        l2_reg, lr, *sizes = (f"{name} {best[name]:g}" for name in CELL)
        settings = ", ".join([*sizes, lr, l2_reg])
        subtitle = f"Framed, the best of {len(table)}: {best['val_accuracy']:.2%} with {settings}"
        if several_seeds:
            subtitle += "; bold, what noise does not tell from it"
    else:
        subtitle = f"None of {counted(len(table), 'trial')} ended: all diverged"
    same = np.zeros(accuracy.shape, bool)
    if framed and several_seeds:
        same = accuracy[framed] - accuracy < 2 * np.hypot(error[framed], error)
    norm, colours = _colours_of_the_good(accuracy), colormaps["YlGnBu"].resampled(40)
    lines = 1 + several_seeds + several_rungs
    height = 1.75 + len(l2_regs) * ((0.27 + 0.15 * lines) * len(sizes1) + 0.25)
    figure = titled_figure(height, "Grid search", subtitle)
    panels = figure.subplots(len(l2_regs), len(lrs), squeeze=False, sharex=True, sharey=True)
    for (i, j), axes in np.ndenumerate(panels):
        axes.imshow(accuracy[i, j], colours, norm, aspect="auto", interpolation="nearest")
        ink = colours(norm(accuracy[i, j]))
        _write_cells(axes, accuracy[i, j], diverged[i, j], notes[i, j], same[i, j], ink, len(lrs))
        if framed and framed[:2] == (i, j):
            frame = Style(fill=False, ec=VERMILION, lw=2.5, zorder=5, clip_on=False)
            axes.add_patch(Rectangle((framed[3] - 0.5, framed[2] - 0.5), 1, 1, **frame))
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


def _row(table: "DataFrame", winner: Mapping[str, Any]) -> dict[str, Any]:
    """The winner's row. Compared to six digits, because a table that was in a file has no more."""
    for row in table.to_dict("records"):
        if all(f"{row[name]:.6g}" == f"{winner[name]:.6g}" for name in CELL):
            return dict(row)
    raise InputError(f"the winner is not in the table of the search: {dict(winner)}")


def _place(row: Mapping[str, Any], values: Sequence[list[Any]]) -> tuple[int, ...]:
    """The indices of a row's cell among the values of each hyper-parameter."""
    return tuple(v.index(row[name]) for name, v in zip(CELL, values, strict=True))


def _write_cells(
    axes: Axes,
    accuracy: Array,
    diverged: NDArray[np.bool_],
    notes: NDArray[np.object_],
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
            text = f"{accuracy[k, m]:.2f}{notes[k, m]}"
            ink = readable_on(tuple(colours[k, m]))
        axes.add_patch(Rectangle((m - 0.5, k - 0.5), 1, 1, **fill))
        style = Style(color=ink, fontsize=size, weight="bold" if bold[k, m] else "normal")
        axes.text(m, k, text, ha="center", va="center", in_layout=False, **style)


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
