"""The figure of a training."""

from typing import Any, Protocol

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from mlp.files import InputError
from mlp.plots.style import BLUE, MUTED, VERMILION, Style, counted, styled, titled_figure

TRAIN, VAL = BLUE, VERMILION


class Columns(Protocol):
    """Whatever gives a column by its name: a `History`, a DataFrame, a dictionary of lists."""

    def __getitem__(self, name: str, /) -> Any: ...


@styled
def learning_curves(history: Columns, best: int | None) -> Figure:
    """Loss and accuracy over the epochs on training and validation set.

    best: the number of the epoch to mark, of which the title gives the accuracies; None where the
        best is not of this training.

    Raises InputError if the history has no epoch, or not that one.
    """
    epochs = [int(epoch) for epoch in history["epoch"]]
    if not epochs:
        raise InputError("the history has no epoch: there is nothing to draw")
    if best not in (None, *epochs):
        raise InputError(f"the best epoch, {best}, is not in the history, which has {len(epochs)}")
    at = None if best is None else epochs.index(best)
    subtitle = counted(len(epochs), "epoch")
    if at is not None:
        train, val = (list(history[f"{part}_accuracy"])[at] for part in ("train", "val"))
        subtitle = (
            f"Best epoch: {best} of {len(epochs)}, with validation accuracy {val:.2%} "
            f"and training accuracy {train:.2%}"
        )
    figure = titled_figure(3.9, "Learning curves", subtitle)
    panels = figure.subplots(1, 2)
    titles = {"loss": "Loss (mean cross-entropy, nats)", "accuracy": "Accuracy"}
    curves = (("train", "training", TRAIN), ("val", "validation", VAL))
    for axes, (metric, title) in zip(panels, titles.items(), strict=True):
        for prefix, label, colour in curves:
            values = list(history[f"{prefix}_{metric}"])
            marker = "o" if len(epochs) <= 40 else None
            axes.plot(epochs, values, color=colour, label=label, marker=marker, ms=3)
            if at is not None:
                ring = Style(mfc="white", mec=colour, mew=2, ms=8, clip_on=False)
                axes.plot(epochs[at], values[at], "o", **ring)
        if at is not None:
            dashed = Style(color=MUTED, ls=(0, (3, 3)), lw=1, zorder=1)
            axes.axvline(epochs[at], label="best epoch", **dashed)
        axes.set(title=title, xlabel="epoch", xlim=(epochs[0] - 0.7, epochs[-1] + 0.7))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    panels[1].yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%"))
    lines, labels = panels[0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="upper right", ncols=3).set_in_layout(False)
    return figure
