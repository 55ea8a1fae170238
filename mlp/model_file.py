"""Model files: the self-describing `.npz`, written whole and read without trust."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlp.arrays import Array
from mlp.checks import class_names, image_shape
from mlp.files import InputError, parse_json, read_npz, reason, short, write_npz

if TYPE_CHECKING:
    from mlp.module import Module


def write_model_file(
    path: str | Path, header: Mapping[str, Any], arrays: Mapping[str, Array]
) -> None:
    """Write a header (architecture, metadata) and parameters by name. NumPy's numbers and arrays in
    the header become Python's own.

    Raises InputError if they are not what `read_model_file` would take: of a long training there
    would be nothing left.
    """
    try:
        _check(header, arrays)
        text = json.dumps(header, ensure_ascii=False, allow_nan=False, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be written ({reason(error)})") from error
    write_npz(path, json=text, **arrays)


def read_model_file(path: str | Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """The header (architecture, metadata) and the arrays of a model file.

    Raises InputError if it is not a model file, FileNotFoundError if there is none.
    """
    arrays = read_npz(path)
    try:
        header = parse_json(str(arrays.pop("json")[()]))
        _check(header, arrays)
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not a model file ({reason(error)})") from error
    return header, arrays


def _check(header: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Raise KeyError, TypeError or ValueError at what is none of a model file's."""
    for part in ("architecture", "metadata"):
        if not isinstance(header[part], dict):
            raise TypeError(f"{part} {short(header[part])}")
    for name, array in arrays.items():
        if array.dtype.kind != "f" or array.dtype.itemsize > 8:
            raise TypeError(f"{name} of type {array.dtype}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} has numbers that are not finite")


def _plain(value: Any) -> Any:
    """A number or an array of NumPy's as JSON knows it."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{short(value)} is not JSON-like")


def described(model: "Module", name: object) -> tuple[list[str], tuple[int, int]]:
    """The class names and the image shape of a model whose file is called `name`.

    Raises InputError if its metadata lacks them, or they do not fit the network.
    """
    try:
        classes = class_names(model.metadata["classes"])
        rows, columns = image_shape(model.metadata["image_shape"])
    except KeyError as error:
        raise InputError(
            f"{name}: its metadata lacks {error}: save it with model.metadata "
            "= {'classes': […], 'image_shape': [rows, columns]}"
        ) from error
    except InputError as error:
        raise InputError(f"{name}: its metadata: {error}") from error
    sizes = model.sizes()
    if sizes != (rows * columns, len(classes)):
        raise InputError(
            f"{name}: {rows}×{columns} pixels and {len(classes)} classes, "
            f"but its network takes {sizes[0]} numbers and returns {sizes[1]}"
        )
    return classes, (rows, columns)
