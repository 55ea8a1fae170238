"""What the page's tables, scales and sentences say, from what the stages measured."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.params import SEARCHED, Params
from stages.schema import Section

Arrays = Mapping[str, NDArray[Any]]

MOST_ROWS = 1000  # of the search's table


def percent(share: float, digits: int = 2) -> str:
    return f"{100 * share:.{digits}f}%"


def short(value: Any) -> str:
    """A value of a parameter or a table in few characters."""
    if isinstance(value, list):
        return ", ".join(map(short, value))
    if value is None or isinstance(value, bool):
        return json.dumps(value)  # as in params.yaml
    if isinstance(value, float):
        return "–" if np.isnan(value) else f"{value:g}"
    return f"{value:,}" if isinstance(value, int | np.integer) else str(value)


def scale(
    accuracy: float, interval: tuple[float, float], published: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Where on a line, from 0 to 100, accuracy and interval lie, and the published accuracy."""
    low, high = interval
    values = [low, high, *([published["test_accuracy"]] if published else [])]
    start = np.floor(100 * min(values) - 0.5)
    end = min(100, np.ceil(100 * max(values) + 0.5))

    def at(share: float) -> str:
        return f"{100 * (100 * share - start) / (end - start):.2f}"

    return {
        "start": int(start),
        "end": int(end),
        "accuracy": at(accuracy),
        "low": at(low),
        "width": f"{float(at(high)) - float(at(low)):.2f}",
        "published": published and at(published["test_accuracy"]),
    }


def same(row: Mapping[str, Any], recipe: Mapping[str, Any]) -> bool:
    """Whether a row of the search is of a recipe, to the six digits that its table has."""
    return all(f"{row[name]:.6g}" == f"{recipe[name]:.6g}" for name in SEARCHED)


def rank(search: pd.DataFrame, recipe: Mapping[str, Any]) -> dict[str, Any] | None:
    """The place of a recipe in the search and its accuracy; None if it has no result there."""
    ended = search[search["status"] == "ok"]
    for row in ended.to_dict("records"):
        if same(row, recipe):
            accuracy = row["val_accuracy"]
            better = int((ended["val_accuracy"] > accuracy).sum())
            return {"place": better + 1, "of": len(search), "val_accuracy": accuracy}
    return None


def recipe(
    params: Params,
    winner: Mapping[str, Any],
    trained: Mapping[str, Any],
    published: Mapping[str, Any] | None,
) -> Iterator[dict[str, Any]]:
    """Each hyper-parameter: what was searched, what won, what was trained, what is published."""
    for name in winner:
        yield {
            "name": name,
            "searched": getattr(params.search, name),
            "won": winner[name],
            "trained": trained.get(name, "–"),
            "published": published and published[name],
        }


def trials(search: pd.DataFrame, winner: Mapping[str, Any]) -> dict[str, Any]:
    """The search's table for the page: its columns, and the best of its rows, best first."""
    several = {"val_accuracy_std": "seeds", "epochs": "rung"}
    columns = [*SEARCHED, "val_accuracy"]
    columns += [c for c, of in several.items() if search[of].nunique() > 1 or search[of][0] > 1]
    columns.append("train_accuracy")
    if (search["status"] != "ok").any():
        columns.append("status")
    shares = {"val_accuracy", "val_accuracy_std", "train_accuracy"}
    rows = []
    ordered = search.sort_values(
        ["val_accuracy", "val_loss", "parameters"], ascending=[False, True, True], kind="stable"
    )
    for row in ordered.head(MOST_ROWS).to_dict("records"):
        cells = [(row[c], percent(row[c]) if c in shares else short(row[c])) for c in columns]
        rows.append({"cells": cells, "won": same(row, winner)})
    return {"columns": columns, "rows": rows, "total": len(search)}


def matrix(confusion: NDArray[np.int64], examples: Arrays) -> list[list[dict[str, Any]]]:
    """The confusion matrix: of each cell the count, the share of its row, how strong its colour is,
    and which examples are of it: the first, and how many."""
    counts = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    hit = np.eye(len(confusion), dtype=bool)
    strongest = np.where(hit, counts[hit].max(), counts[~hit].max(initial=0)).clip(min=0.01)
    strength = np.where(confusion > 0, 0.06 + 0.34 * counts / strongest, 0)
    pairs = list(zip(examples["t"].tolist(), examples["y"].tolist(), strict=True))
    first = {pair: i for i, pair in reversed(list(enumerate(pairs)))}
    shown = Counter(pairs)
    return [
        [
            {
                "count": int(confusion[t, y]),
                "share": counts[t, y],
                "strength": f"{strength[t, y]:.2f}",
                "first": first.get((t, y), 0),
                "shown": shown[t, y],
            }
            for y in range(len(confusion))
        ]
        for t in range(len(confusion))
    ]


def worst(confusion: NDArray[np.int64], classes: Sequence[str]) -> str:
    """The most frequent error, in words."""
    errors = confusion * (1 - np.eye(len(confusion), dtype=int))
    t, y = np.unravel_index(errors.argmax(), errors.shape)
    if not errors[t, y]:
        return "No image was taken for one of another class."
    share = errors[t, y] / confusion[t].sum()
    return f"The most frequent error: {percent(share, 1)} of {classes[t]} taken for {classes[y]}."


def right(examples: Arrays, classes: int) -> list[list[list[int]]]:
    """Of each class the examples that were answered rightly: the surest, and the least sure."""
    hit = examples["t"] == examples["y"]
    of_class = (np.flatnonzero(hit & (examples["t"] == k)) for k in range(classes))
    return [[half.tolist() for half in np.array_split(found, 2)] for found in of_class]


def flat(section: Section, name: str) -> Iterator[tuple[str, Any]]:
    """The parameters of a section by their dotted names."""
    for key in type(section).model_fields:
        value = getattr(section, key)
        if isinstance(value, Section):
            yield from flat(value, f"{name}.{key}")
        else:
            yield f"{name}.{key}", value


def versions(requirements: str) -> list[tuple[str, str]]:
    """The packages that requirements.txt pins for the pipeline itself: those of its first block."""
    block = requirements.split("\n\n", 1)[0].splitlines()
    pins = [line.partition("==") for line in block if not line.startswith("#")]
    return [(name, version) for name, _, version in pins]
