"""The schema of params.yaml."""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from mlp.files import InputError

PARAMS = Path("params.yaml")


def _number(value: Any) -> Any:
    """DVC writes 1e-05, which YAML 1.1, and so PyYAML, reads as a string."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _distinct(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError("a value is repeated")
    return values


# A description completes "allowed is …" in error messages
Float = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Rate = Annotated[Float, Field(gt=0, description="a number above 0")]
Amount = Annotated[Float, Field(ge=0, description="a number from 0 up")]
Count = Annotated[int, Field(ge=1, description="a whole number from 1 up")]
Text = Annotated[str, Field(min_length=1, description="a text")]
Texts = Annotated[list[Text], Field(description="a list of texts")]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="64 hexadecimal digits")]
Activation = Annotated[Literal["relu", "sigmoid"], Field(description="relu or sigmoid")]
OptimizerName = Annotated[
    Literal["sgd", "momentum", "adam"], Field(description="sgd, momentum or adam")
]
Sizes = Annotated[
    list[Count],
    AfterValidator(_distinct),
    Field(min_length=1, description="a list of different whole numbers from 1 up"),
]
Rates = Annotated[
    list[Rate],
    AfterValidator(_distinct),
    Field(min_length=1, description="a list of different numbers above 0"),
]
Amounts = Annotated[
    list[Amount],
    AfterValidator(_distinct),
    Field(min_length=1, description="a list of different numbers from 0 up"),
]
Best = Literal["best"]


class Section(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Base(Section):
    seed: Annotated[int, Field(ge=0, description="a whole number from 0 up")]


class SourceFile(Section):
    name: Text
    sha256: Sha256


class SourceFiles(Section):
    train_images: SourceFile
    train_labels: SourceFile
    test_images: SourceFile
    test_labels: SourceFile


class Fetch(Section):
    folders: Texts
    urls: Texts
    debian_package: Annotated[Text | None, Field(description="a package's name, or null")]
    files: SourceFiles


class Preprocess(Section):
    classes: Annotated[
        list[Text],
        AfterValidator(_distinct),
        Field(min_length=2, description="a list of different names, two or more"),
    ]
    val_size: Count


class Halving(Section):
    rungs: Annotated[int, Field(ge=2, description="a whole number from 2 up")]
    factor: Annotated[int, Field(ge=2, description="a whole number from 2 up")]


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
    seeds: Count
    strategy: Annotated[Literal["grid", "halving"], Field(description="grid or halving")]
    halving: Halving


class Train(Section):
    hidden_size1: Annotated[Count | Best, Field(description="best, or a whole number from 1 up")]
    hidden_size2: Annotated[Count | Best, Field(description="best, or a whole number from 1 up")]
    lr: Annotated[Rate | Best, Field(description="best, or a number above 0")]
    l2_reg: Annotated[Amount | Best, Field(description="best, or a number from 0 up")]
    activation: Annotated[Activation | Best, Field(description="best, relu or sigmoid")]
    optimizer: Annotated[OptimizerName | Best, Field(description="best, sgd, momentum or adam")]
    epochs: Count
    batch_size: Count
    lr_decay: Amount
    patience: Count


class Params(Section):
    base: Base
    fetch: Fetch
    preprocess: Preprocess
    search: Search
    train: Train


# The hyper-parameters that make a configuration (`mlp.trainer.make_trainer`), and those of them
# that the grid varies
SEARCHED = ("hidden_size1", "hidden_size2", "lr", "l2_reg")
CONFIGURATION = (*SEARCHED, "activation", "optimizer")


def load() -> Params:
    """params.yaml, checked as a whole.

    Raises InputError that names the key, its value and what is allowed.
    """
    try:
        values = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"{PARAMS}: not YAML: {' '.join(str(error).split())}") from error
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{PARAMS}: {_explain(error, values)}") from error


def _explain(error: ValidationError, values: Any) -> str:
    """The first thing that is wrong, in the words of params.yaml rather than of the schema."""
    first = error.errors()[0]
    section: type[Section] | None = Params
    allowed: str | None = "sections of keys and values"
    key: list[str] = []
    for part in first["loc"]:
        if section is None:  # inside a value: positions in lists, branches of unions
            break
        key.append(str(part))
        if part not in section.model_fields:
            return f"{'.'.join(key)}: unknown; allowed here: {', '.join(section.model_fields)}"
        field = section.model_fields[str(part)]
        kind = field.annotation
        section = kind if isinstance(kind, type) and issubclass(kind, Section) else None
        allowed = ", ".join(section.model_fields) if section else field.description
        if first["type"] != "missing" or part != first["loc"][-1]:
            values = values[part]
    if first["type"] == "missing":
        return f"{'.'.join(key)}: missing; allowed is {allowed}"
    return f"{'.'.join(key) or 'the file'}: {values!r:.200}; allowed is {allowed}"
