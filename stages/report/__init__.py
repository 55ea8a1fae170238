"""The page of the results: `page` makes its HTML of what the stages measured.

Every number on it, and in the texts that describe its figures, is of this run. It holds no date and
nothing of the machine, so that the same results give the same bytes.
"""

import hashlib
from collections.abc import Mapping, Sequence
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
from stages.report import tables
from stages.report.sprite import ACROSS
from stages.report.tables import Arrays

Share = Annotated[float, Field(ge=0, le=1)]

# The published result that this network is measured against, and the data that it is of
PUBLISHED: dict[str, Any] = {"test_accuracy": 0.867, "hidden_size1": 256, "hidden_size2": 64}
PUBLISHED |= {"lr": 0.001, "l2_reg": 0.001, "activation": "relu", "optimizer": "adam"}
FASHION_MNIST = "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"  # test images


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
    digests = {file.name: file.sha256 for _, file in params.fetch.files}
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
    environment.filters |= {"percent": tables.percent, "short": tables.short}
    return environment.get_template("page.html").render(
        classes=classes,
        sizes=[model.input_size, *model.hidden_sizes, model.output_size],
        metrics=metrics,
        numbers={k: v for k, v in numbers.items() if "calibration" not in k},
        calibration={k: v for k, v in numbers.items() if "calibration" in k},
        published=published,
        scale=tables.scale(
            metrics.test_accuracy, metrics.test_accuracy_95_percent_interval, published
        ),
        place_of_published=published and tables.rank(search, published),
        recipe=tables.recipe(params, winner, model.metadata["hyper_parameters"], published),
        per_class=zip(classes, *(v.tolist() for v in per_class(confusion)), strict=True),
        averages=macro_micro_average(confusion)._asdict(),
        best=history.rows[[row["epoch"] for row in history.rows].index(best)],
        history=history,
        trials=tables.trials(search, winner),
        searched=SEARCHED,
        matrix=tables.matrix(confusion, examples),
        worst=tables.worst(confusion, classes),
        right=tables.right(examples, len(classes)),
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
            for pair in tables.flat(getattr(params, name), name)
        ),
        versions=tables.versions(run.requirements),
        digests=run.digests,
    )
