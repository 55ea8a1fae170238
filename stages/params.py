"""The schema of params.yaml."""

import math
import reprlib
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML

from mlp.files import InputError

PARAMS = Path("params.yaml")
# Before it runs a stage, DVC removes the stage's outs
WAY_BACK = "what DVC removed comes back by: git checkout reports && dvc checkout"
MOST_TRAININGS = 100_000


def _distinct(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError("a value is repeated")
    return values


# A description completes "allowed is …" in error messages; choices describe themselves
def whole(low: int, high: int) -> Any:
    return Field(ge=low, le=high, description=f"a whole number from {low:,} to {high:,}")


def items(low: int, high: int, kind: str) -> Any:
    text = f"a list of different {kind}, {low} to {high} of them"
    return Field(min_length=low, max_length=high, description=text)


def pattern(regex: str, longest: int, description: str) -> Any:
    return Field(pattern=regex, max_length=longest, description=description)


Float = Annotated[float, Field(allow_inf_nan=False)]
Rate = Annotated[Float, Field(gt=0, description="a number above 0")]
Amount = Annotated[Float, Field(ge=0, description="a number from 0 up")]
Size = Annotated[int, whole(1, 10_000)]  # of a layer
SIZES = "whole numbers from 1 to 10,000"
Count = Annotated[int, whole(1, 1_000_000)]
Text = Annotated[str, pattern(r"^[^\x00-\x1f\x7f-\x9f]+$", 1000, "a text of one line")]
Texts = Annotated[list[Text], Field(max_length=100, description="a list of up to 100 texts")]
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
Activation = Literal["relu", "sigmoid"]
OptimizerName = Literal["sgd", "momentum", "adam"]
Best = Literal["best"]


class Section(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


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
        return check(read())
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


def check(values: Any) -> Params:
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise InputError(_explain(error, values)) from error


def _explain(error: ValidationError, values: Any) -> str:
    """The first thing that is wrong, in the words of params.yaml rather than of the schema."""
    first = error.errors()[0]
    section: type[Section] | None = Params
    allowed = f"sections {', '.join(Params.model_fields)}"
    key: list[str] = []
    for part in first["loc"]:
        if section is None:  # inside a value: positions in lists, branches of unions
            break
        key.append(str(part))
        if part not in section.model_fields:
            known = ", ".join(section.model_fields)
            return f"{'.'.join(key):.200}: unknown; allowed here: {known}"
        field = section.model_fields[str(part)]
        kind = field.annotation
        section = kind if isinstance(kind, type) and issubclass(kind, Section) else None
        allowed = ", ".join(section.model_fields) if section else _words(field)
        if first["type"] != "missing" or part != first["loc"][-1]:
            values = values[part]
    name = ".".join(key) or "the file"
    if first["type"] == "missing":
        return f"{name}: missing; allowed is {allowed}"
    if first["type"] == "value_error" and section:
        return f"{name}: {first['ctx']['error']}"
    if first["type"] == "string_type":  # 0, null or 2001-01-01, which are no text to YAML
        allowed += ", in quotes"
    return f"{name}: {_short(values)}; allowed is {allowed}"


def _short(value: Any) -> str:
    """A value in at most some hundred characters: repr() itself fills the memory with lists that
    hold each other by anchors."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 100
    try:
        return short.repr(value)
    except ValueError:  # of an integer with thousands of digits
        return "a number too long to show"


def _words(kind: Any) -> str:
    """What a field takes: its description, or that of its type."""
    if isinstance(kind, FieldInfo):
        return kind.description or _words(kind.annotation)
    if get_origin(kind) is Annotated:
        return next(m.description for m in kind.__metadata__ if getattr(m, "description", None))
    if get_origin(kind) in (Union, UnionType):
        kinds = get_args(kind)
        choices = [choice for part in kinds for choice in _choices(part)]
        rest = [_words(part) for part in kinds if not _choices(part)]
        return ", or ".join(filter(None, (_either(choices), *rest)))
    return _either(_choices(kind))


def _choices(kind: Any) -> list[str]:
    if get_origin(kind) is Literal:
        return [str(choice) for choice in get_args(kind)]
    return ["null"] if kind is type(None) else []


def _either(choices: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(choices[:-1]), *choices[-1:])))
