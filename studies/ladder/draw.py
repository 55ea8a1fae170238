"""Draw the ladder, and write its table, with what others have published beside it."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from mlp.files import write_text
from mlp.plots.style import BLUE, INK, MUTED, VERMILION, save, styled, titled_figure
from stages import run
from studies.ladder import FIGURE, MODELS, OTHERS, PAGE, SECONDS, TABLE, rungs

TEXT = """\
# What each piece of the recipe is worth

![Accuracy of each rung](ladder.png)

Mean ± standard deviation over the networks of a rung, in percent. Every choice was made on
validation images; the test images were measured once, after all of them. A step is from the rung
above, that of "distilled" from "batch-norm", which is the same network without a teacher. It is
larger than noise if it is more than twice the standard error of the difference. Shifts and input
dropout are meant for longer trainings than those of the rungs that add them. 200 epochs without
them were not measured.

{ladder}

What others have published of fully connected networks:

{others}
"""
PERCENT = ("val_accuracy", "val_std", "test_accuracy", "test_std", "val_step", "val_noise")


def main() -> None:
    table, models, others = (pd.read_csv(path) for path in (TABLE, MODELS, OTHERS))
    table[list(PERCENT)] *= 100
    models[["val_accuracy", "test_accuracy"]] *= 100
    seconds = pd.read_csv(SECONDS, index_col="rung").seconds
    save(ladder(table, models, others), FIGURE)
    write_text(PAGE, page(table, others, seconds))


@styled
def ladder(table: pd.DataFrame, models: pd.DataFrame, others: pd.DataFrame) -> Figure:
    """Accuracy of each rung, in percent: a dot a network, and their mean."""
    figure = titled_figure(
        1.3 + 0.33 * len(table),
        "What each piece is worth",
        "Accuracy in percent: a dot a network, a bar their mean; the test set was measured once",
    )
    axes = figure.add_subplot()
    places = dict(zip(table.rung, range(len(table)), strict=True))
    for name, colour, shift in (("val", VERMILION, -0.16), ("test", BLUE, 0.16)):
        y = [places[rung] + shift for rung in models.rung]
        axes.plot(models[f"{name}_accuracy"], y, "o", ms=3, mew=0, alpha=0.5, color=colour)
        label = {"val": "validation", "test": "test"}[name]
        y = [place + shift for place in places.values()]
        axes.plot(table[f"{name}_accuracy"], y, "|", ms=11, mew=2.4, color=colour, label=label)
    best = others.loc[others.test_accuracy.idxmax()]
    axes.axvline(best.test_accuracy, color=MUTED, lw=0.9, ls=(0, (2, 2)))
    note = f"the highest published, {best.test_accuracy:g} "
    axes.text(best.test_accuracy, -0.35, note, ha="right", va="center", fontsize=8, color=MUTED)
    names = [name if name[-1].isdigit() else name.replace("-", " ") for name in table.rung]
    axes.set_yticks(range(len(table)), names)
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_xlabel("accuracy, percent")
    axes.legend(loc="lower left")
    return figure


def page(table: pd.DataFrame, others: pd.DataFrame, seconds: pd.Series) -> str:
    """The ladder as Markdown."""
    recipes = rungs()
    lines = []
    for row in table.itertuples():
        recipe = recipes.get(row.rung)
        network = "-".join(map(str, (784, *recipe.hidden_sizes, 10))) if recipe else ""
        lines.append(
            (
                row.rung,
                network,
                recipe.epochs if recipe else "",
                f"{row.parameters:,}",
                f"{seconds[row.rung]:.2f}" if row.rung in seconds else "",
                row.networks,
                _spread(row.val_accuracy, row.val_std),
                _spread(row.test_accuracy, row.test_std),
                *_step(row.val_step, row.val_noise),
            )
        )
    heads = (
        *("rung", "network", "epochs", "parameters", "seconds an epoch", "networks"),
        *("validation", "test", "step on validation", "larger than noise"),
    )
    published = [
        (other.source, other.network, f"{other.test_accuracy:g}", other.protocol)
        for other in others.itertuples()
    ]
    return TEXT.format(
        ladder="\n".join(_markdown(heads, lines)),
        others="\n".join(_markdown(("source", "network", "test", "protocol"), published)),
    )


def _spread(mean: float, std: float) -> str:
    return f"{mean:.2f}" if pd.isna(std) else f"{mean:.2f} ± {std:.2f}"


def _step(step: float, noise: float) -> tuple[str, str]:
    if pd.isna(step):
        return "", ""
    verdict = "" if pd.isna(noise) else "yes" if abs(step) > noise else "no"
    return f"{step:+.2f}", verdict


def _markdown(heads: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> list[str]:
    lines = [heads, ("---",) * len(heads), *rows]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines]


if __name__ == "__main__":
    run(main)
