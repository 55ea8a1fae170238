"""The schema of params.yaml."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, model_validator
from ruamel.yaml import YAML

from mlp.files import InputError
from stages.schema import (
    SIZES,
    Activation,
    Amount,
    Count,
    Dropped,
    OptimizerName,
    Part,
    Rate,
    Section,
    Size,
    Text,
    Texts,
    check,
    items,
    pattern,
    whole,
)

PARAMS = Path("params.yaml")
# Before it runs a stage, DVC removes the stage's outs
WAY_BACK = "what DVC removed comes back by: git checkout reports && dvc checkout"
MOST_TRAININGS = 100_000


def _distinct(values: list[Any]) -> list[Any]:
    told_apart = {f"{value + 0.0:.6g}" if isinstance(value, float) else value for value in values}
    if len(told_apart) < len(values):  # the search's table has six digits
        raise ValueError("a value is repeated")
    return values


FileName = Annotated[
    str, pattern("^[A-Za-z0-9_][A-Za-z0-9._-]*$", 100, "a file's name: letters, digits, . _ -")
]
# Debian Policy, 5.6.1
Package = Annotated[
    str, pattern("^[a-z0-9][a-z0-9+.-]+$", 100, "a package's name: a to z, digits, + . -")
]
Sha256 = Annotated[str, pattern("^[0-9a-f]{64}$", 64, "64 hexadecimal digits")]
Classes = Annotated[list[Text], AfterValidator(_distinct), items(2, 256, "names")]
Sizes = Annotated[list[Size], AfterValidator(_distinct), items(1, 100, SIZES)]
Rates = Annotated[list[Rate], AfterValidator(_distinct), items(1, 100, "numbers above 0")]
Amounts = Annotated[list[Amount], AfterValidator(_distinct), items(1, 100, "numbers from 0 up")]
Best = Literal["best"]


class Base(Section):
    seed: Annotated[int, whole(0, 2**32 - 1)]


class SourceFile(Section):
    name: FileName
    sha256: Sha256


class SourceFiles(Section):
    train_images: SourceFile
    train_labels: SourceFile
    test_images: SourceFile
    test_labels: SourceFile


class Fetch(Section):
    folders: Texts
    urls: Texts
    debian_package: Package | None
    files: SourceFiles


class Preprocess(Section):
    classes: Classes
    val_size: Count


class Halving(Section):
    rungs: Annotated[int, whole(2, 20)]
    factor: Annotated[int, whole(2, 1_000)]


class Search(Section):
    hidden_size1: Sizes
    hidden_size2: Sizes
    lr: Rates
    l2_reg: Amounts
    activation: Activation
    optimizer: OptimizerName
    epochs: Count
    batch_size: Count
    lr_decay: Amount
    seeds: Annotated[int, whole(1, 1_000)]
    strategy: Literal["grid", "halving"]
    halving: Halving

    @model_validator(mode="after")
    def _feasible(self) -> "Search":
        trainings = self.seeds * math.prod(len(getattr(self, name)) for name in SEARCHED)
        if trainings > MOST_TRAININGS:
            raise ValueError(f"{trainings:,} trainings; allowed are up to {MOST_TRAININGS:,}")
        return self


class Train(Section):
    hidden_size1: Best | Size
    hidden_size2: Best | Size
    lr: Best | Rate
    l2_reg: Best | Amount
    activation: Best | Activation
    optimizer: Best | OptimizerName
    epochs: Count
    batch_size: Count
    schedule: Literal["inverse_time", "cosine"]
    lr_decay: Amount
    warmup: Part
    weight_decay: Amount
    label_smoothing: Part
    flip: bool
    shift: Annotated[int, whole(0, 100)]
    input_dropout: Dropped
    dropout: Dropped
    batch_norm: bool
    patience: Count | None

    @model_validator(mode="after")
    def _meant(self) -> "Train":
        if self.lr_decay and self.schedule != "inverse_time":
            raise ValueError(f"lr_decay {self.lr_decay:g} is for inverse_time: it must be 0 here")
        return self


class Params(Section):
    base: Base
    fetch: Fetch
    preprocess: Preprocess
    search: Search
    train: Train


# What the grid varies
SEARCHED = ("hidden_size1", "hidden_size2", "lr", "l2_reg")


def load() -> Params:
    """params.yaml, checked as a whole.

    Raises InputError that names the key, its value and what is allowed.
    """
    try:
        return check(read(), Params)
    except InputError as error:
        raise InputError(f"{PARAMS}: {error}; {WAY_BACK}") from error


def read(path: Path = PARAMS) -> Any:
    """What a file of params holds, read by DVC's own parser, so that both take `0100` for 100, and
    `yes` for a text. Raises InputError if it is not YAML 1.2, or has a key twice."""
    try:
        return YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError("there is none in this folder: run from the project's root") from error
    except OSError as error:
        raise InputError(error.strerror) from error
    except UnicodeDecodeError as error:
        raise InputError(f"not text in UTF-8: {error}") from error
    except RecursionError as error:
        raise InputError("not YAML: nested too deeply") from error
    except Exception as error:  # of a date or a number that is none, the parser has many kinds
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise InputError(f"not YAML{place}: {problem:.200}") from error
