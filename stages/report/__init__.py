"""The page of the results: `page` makes its HTML of what the stages measured.

Every number on it, and in the texts that describe its figures, is of this run. It holds no date and
nothing of the machine, so that the same results give the same bytes.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlp.files import InputError, read_json
from mlp.history import History
from mlp.metrics import macro_micro_average, per_class
from mlp.module import MLP
from mlp.weights import WeightStatistics, sparsity_verdict
from stages.params import SEARCHED, Params, load
from stages.paths import LADDER, METRICS, MODEL
from stages.report.sprite import ACROSS
from stages.schema import Section

Arrays = Mapping[str, NDArray[Any]]
Share = Annotated[float, Field(ge=0, le=1)]

# The published result that this network is measured against, and the data that it is of
PUBLISHED: dict[str, Any] = {"test_accuracy": 0.867, "hidden_size1": 256, "hidden_size2": 64}
PUBLISHED |= {"lr": 0.001, "l2_reg": 0.001, "activation": "relu", "optimizer": "adam"}
FASHION_MNIST = "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"  # test images
MOST_ROWS = 1000  # of the search's table


class Metrics(BaseModel):
    """What the page needs of metrics.json, which may hold more."""

    model_config = ConfigDict(extra="allow")
    test_accuracy: Share
    test_accuracy_95_percent_interval: tuple[Share, Share]
    uncertainty: list[dict[str, float]] = []

    def numbers(self) -> dict[str, float]:
        """Every number in it that has a name."""
        values = self.model_dump()
        for row in values.pop("uncertainty"):
            values |= row
        return {k: v for k, v in values.items() if isinstance(v, float)}


def read_metrics(path: Path) -> Metrics:
    """metrics.json. Raises InputError if it lacks what the page needs."""
    try:
        return Metrics.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"{path}: {key}: {first['msg']}; run dvc repro evaluate") from error


class Run(NamedTuple):
    """What was run, and what came of it in numbers: what the page shows besides the figures."""

    params: Params
    metrics: Metrics
    requirements: str  # the text of requirements.txt
    digests: dict[str, str]  # SHA-256 of files by their names
    # whether that study has drawn its figure, which lies beside the page: a link, not a dependency,
    # because a plain `dvc repro` would run the study then
    ladder: bool


def read_run() -> Run:
    """Raises InputError if a file is damaged, FileNotFoundError if one is missing."""
    params = load()
    files = params.fetch.files
    data = [getattr(files, role) for role in type(files).model_fields]
    digests = {file.name: file.sha256 for file in data}
    digests[MODEL.name] = hashlib.sha256(MODEL.read_bytes()).hexdigest()
    requirements = Path("requirements.txt").read_text(encoding="utf-8")
    return Run(params, read_metrics(METRICS), requirements, digests, LADDER.exists())


def page(
    run: Run,
    model: MLP,
    *,
    winner: Mapping[str, Any],
    search: pd.DataFrame,
    history: History,
    best: int,
    confusion: NDArray[np.int64],
    examples: Arrays,
    mistakes: Arrays,
    statistics: Sequence[WeightStatistics],
    figures: Sequence[str],
) -> str:
    """The page's HTML.

    winner, search: the search's winner and table. best: number of the history's best epoch.
    confusion: counts (K, K).
    examples, mistakes: images, t, y and confidence of samples to show, those of `examples` in the
        order in which `mlp.metrics.examples` has them, which is that of the sprite.
    statistics: of each layer's weights. figures: names of the figures that were drawn.
    """
    params, metrics = run.params, run.metrics
    published = PUBLISHED if params.fetch.files.test_images.sha256 == FASHION_MNIST else None
    classes, (rows, columns) = model.metadata["classes"], model.metadata["image_shape"]
    numbers = metrics.numbers()
    environment = Environment(
        loader=PackageLoader("stages.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"percent": percent, "short": short}
    return environment.get_template("page.html").render(
        classes=classes,
        sizes=[model.input_size, *model.hidden_sizes, model.output_size],
        metrics=metrics,
        numbers={k: v for k, v in numbers.items() if "calibration" not in k},
        calibration={k: v for k, v in numbers.items() if "calibration" in k},
        published=published,
        scale=scale(metrics, published),
        place_of_published=published and rank(search, published),
        recipe=recipe(params, winner, model.metadata["hyper_parameters"], published),
        per_class=zip(classes, *(v.tolist() for v in per_class(confusion)), strict=True),
        averages=macro_micro_average(confusion)._asdict(),
        best=history.rows[[row["epoch"] for row in history.rows].index(best)],
        history=history,
        trials=trials(search, winner),
        searched=SEARCHED,
        matrix=matrix(confusion, examples),
        worst=worst(confusion, classes),
        right=right(examples, len(classes)),
        confidence=[f"{p:.1%}" if p < 0.9995 else "> 99.9%" for p in examples["confidence"]],
        sprite={"across": ACROSS, "ratio": f"{rows / columns:g}"},
        mistakes=[
            f"{classes[t]} taken for {classes[y]}"
            for t, y in zip(mistakes["t"], mistakes["y"], strict=True)
        ],
        weights=[row._asdict() for row in statistics],
        sparsity=sparsity_verdict(statistics),
        figures=figures,
        ladder=run.ladder,
        params=dict(
            pair
            for name in ("base", "preprocess", "search", "train")
            for pair in flat(getattr(params, name), name)
        ),
        versions=versions(run.requirements),
        digests=run.digests,
    )


def percent(share: float, digits: int = 2) -> str:
    return f"{100 * share:.{digits}f}%"


def short(value: Any) -> str:
    """A value of a parameter or a table in few characters."""
    if isinstance(value, list):
        return ", ".join(map(short, value))
    if isinstance(value, float):
        return "–" if np.isnan(value) else f"{value:g}"
    return f"{value:,}" if isinstance(value, int | np.integer) else str(value)


def scale(metrics: Metrics, published: Mapping[str, Any] | None) -> dict[str, Any]:
    """Where on a line, from 0 to 100, accuracy and interval lie, and the published accuracy."""
    low, high = metrics.test_accuracy_95_percent_interval
    values = [low, high, *([published["test_accuracy"]] if published else [])]
    start = np.floor(100 * min(values) - 0.5)
    end = min(100, np.ceil(100 * max(values) + 0.5))

    def at(share: float) -> str:
        return f"{100 * (100 * share - start) / (end - start):.2f}"

    return {
        "start": int(start),
        "end": int(end),
        "accuracy": at(metrics.test_accuracy),
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
    ordered = search.sort_values("val_accuracy", ascending=False, kind="stable")
    for row in ordered.head(MOST_ROWS).to_dict("records"):
        cells = [
            (row[c], percent(row[c]) if c in shares and row[c] == row[c] else short(row[c]))
            for c in columns
        ]
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


def right(examples: Arrays, classes: int) -> list[tuple[list[int], list[int]]]:
    """Of each class the examples that were answered rightly: the surest, and the least sure."""
    of_class = [
        np.flatnonzero((examples["t"] == k) & (examples["y"] == k)).tolist() for k in range(classes)
    ]
    halves = [(len(found) + 1) // 2 for found in of_class]
    return [(found[:n], found[n:]) for found, n in zip(of_class, halves, strict=True)]


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
