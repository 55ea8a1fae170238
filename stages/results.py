"""What stages read of each other's outputs: a reader a kind, each of which checks what it reads."""

import io
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from mlp.files import InputError, read_json, read_npz, read_text, reason, short
from mlp.history import History
from mlp.model_file import described
from mlp.module import MLP
from stages.paths import BEST_PARAMS, GRID_SEARCH, HISTORY, MODEL
from stages.schema import (
    Activation,
    Amount,
    Float,
    OptimizerName,
    Rate,
    Section,
    Size,
    check,
    whole,
)

if TYPE_CHECKING:
    from pandas import DataFrame

Share = Annotated[Float, Field(ge=0, le=1, description="a number from 0 to 1")]


class Winner(Section):
    hidden_size1: Size
    hidden_size2: Size
    lr: Rate
    l2_reg: Amount
    activation: Activation
    optimizer: OptimizerName


class Configuration(Section):
    """A row of the search's table, as far as it is shown."""

    model_config = ConfigDict(extra="ignore")

    hidden_size1: Size
    hidden_size2: Size
    lr: Rate
    l2_reg: Amount
    epochs: Annotated[int, whole(0, 1_000_000)]
    rung: Annotated[int, whole(1, 20)]
    seeds: Annotated[int, whole(1, 1_000)]
    train_accuracy: Share
    val_accuracy: Share
    val_accuracy_std: Amount
    status: Annotated[str, Field(description="a text")]


class Metadata(Section):
    """Of a model that train-best wrote, besides what `described` checks."""

    model_config = ConfigDict(extra="ignore")

    hyper_parameters: Annotated[dict[str, Any], Field(description="a mapping")]
    best_metrics: Annotated[dict[str, Float], Field(description="a mapping of names to numbers")]


def read_winner() -> Winner:
    """The search's winner. Raises InputError if the file says anything else."""
    value = read_json(BEST_PARAMS)
    if not isinstance(value, list) or len(value) != 1:
        raise InputError(f"{BEST_PARAMS}: {short(value)}; allowed is a list of one winner")
    return _named(BEST_PARAMS, value[0], Winner)


def read_model() -> tuple[MLP, list[str], tuple[int, int], Metadata]:
    """The trained model, the names of its classes, the shape of its images, and what else its file
    says. Raises InputError if that is not a model of train-best."""
    model = MLP.from_file(MODEL)
    classes, shape = described(model, MODEL)
    return model, classes, shape, _named(f"{MODEL}: metadata", model.metadata, Metadata)


def read_history(best: Mapping[str, float]) -> tuple[History, int]:
    """The history of the training whose best epoch was `best`, and that epoch's number.

    Raises InputError if the file is no history, or that of another training.
    """
    history = History.from_csv(HISTORY)
    line = _line(best)
    for row in history.rows:
        if _line(row) == line:
            return history, int(row["epoch"])
    raise InputError(f"{HISTORY}: the best epoch of {MODEL} is not in the history: {short(best)}")


def _line(row: Mapping[str, float]) -> dict[str, str]:
    return {name: f"{value:.6g}" for name, value in row.items()}  # as in the file


def read_search() -> "DataFrame":
    """The search's table. Raises InputError if it lacks columns or rows, or a value is none."""
    import pandas as pd  # which train-best does without

    text = io.StringIO(read_text(GRID_SEARCH))
    try:
        table = pd.read_csv(text)
    except ValueError as error:  # pandas has many kinds of it
        raise InputError(f"{GRID_SEARCH}: not a table ({reason(error)})") from error
    if table.empty:
        raise InputError(f"{GRID_SEARCH}: no rows")
    for number, row in enumerate(table.to_dict("records"), start=1):
        _named(f"{GRID_SEARCH}: row {number}", row, Configuration)
    return table


def read_arrays(
    path: Any, **expected: tuple[str, tuple[int | None, ...], float]
) -> dict[str, NDArray[Any]]:
    """Arrays of an `.npz` file by name.

    expected: of each the kinds of dtype, the shape, where None is the same length wherever it
        stands, and the highest value; the lowest is 0.

    Raises InputError if one is missing or is something else.
    """
    arrays, count = read_npz(path), None
    for name, (kinds, shape, highest) in expected.items():
        if name not in arrays:
            raise InputError(f"{path}: lacks {name}; it has {short(sorted(arrays))}")
        array = arrays[name]
        if None in shape and count is None and array.ndim:
            count = len(array)
        shape = tuple(count if n is None else n for n in shape)
        if array.dtype.kind not in kinds or array.shape != shape:
            raise InputError(
                f"{path}: {name} is {array.dtype} {array.shape}; allowed is "
                f"{' or '.join(kinds)} {shape}"
            )
        if not np.all((array >= 0) & (array <= highest)):
            above = "" if math.isinf(highest) else f" to {highest:g}"
            raise InputError(f"{path}: {name} has a value that is not from 0{above}")
    return {name: arrays[name] for name in expected}


def _named(name: object, values: Any, schema: Any) -> Any:
    """`check`, with the file's name in front of what is wrong."""
    try:
        return check(values, schema)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
