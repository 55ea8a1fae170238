"""What a file's schema is made of, and what it says to values that do not fit."""

from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from mlp.files import InputError, short


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
Part = Annotated[Float, Field(ge=0, lt=1, description="a number from 0 to below 1")]
Dropped = Annotated[Float, Field(ge=0, le=0.99, description="a number from 0 to 0.99")]
Size = Annotated[int, whole(1, 10_000)]  # of a layer
SIZES = "whole numbers from 1 to 10,000"
Count = Annotated[int, whole(1, 1_000_000)]
Text = Annotated[str, pattern(r"^[^\x00-\x1f\x7f-\x9f]+$", 1000, "a text of one line")]
Texts = Annotated[list[Text], Field(max_length=100, description="a list of up to 100 texts")]
Activation = Literal["relu", "sigmoid"]
OptimizerName = Literal["sgd", "momentum", "adam"]


class Section(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


SectionT = TypeVar("SectionT", bound=Section)


def check(values: Any, schema: type[SectionT]) -> SectionT:
    """Values, as YAML and JSON know them, in a schema. Raises InputError that names the first that
    is wrong, and what is allowed."""
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise InputError(_explain(error, values, schema)) from error


def _explain(error: ValidationError, values: Any, schema: type[Section]) -> str:
    """The first thing that is wrong, in the words of the file rather than of the schema."""
    first = error.errors()[0]
    section: type[Section] | None = schema
    allowed = f"keys {', '.join(schema.model_fields)}"
    key: list[str] = []
    for part in first["loc"]:
        if section is None:  # inside a value: positions in lists, branches of unions
            break
        key.append(str(part))
        if part not in section.model_fields:
            known = ", ".join(section.model_fields)
            return f"{_line(key):.200}: unknown; allowed here: {known}"
        field = section.model_fields[str(part)]
        kind = field.annotation
        section = kind if isinstance(kind, type) and issubclass(kind, Section) else None
        allowed = ", ".join(section.model_fields) if section else _words(field)
        if first["type"] != "missing" or part != first["loc"][-1]:
            values = values[part]
    name = _line(key) or "the file"
    if first["type"] == "missing":
        return f"{name}: missing; allowed is {allowed}"
    if first["type"] == "value_error" and section:
        return f"{name}: {first['ctx']['error']}"
    if first["type"] == "string_type":  # 0, null or 2001-01-01, which are no text to YAML
        allowed += ", in quotes"
    return f"{name}: {short(values)}; allowed is {allowed}"


def _line(key: list[str]) -> str:
    """A dotted key, in one line whatever it is."""
    return "".join(c if c.isprintable() else "?" for c in ".".join(key))


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
    if kind is bool:
        return ["true", "false"]
    return ["null"] if kind is type(None) else []


def _either(choices: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(choices[:-1]), *choices[-1:])))
