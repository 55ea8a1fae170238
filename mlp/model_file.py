"""Model files: the self-describing `.npz`, written whole and read without trust."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlp.arrays import Array
from mlp.files import InputError, read_npz, write_npz


def write_model_file(
    path: str | Path, header: Mapping[str, Any], arrays: Mapping[str, Array]
) -> None:
    """Write a header (architecture, metadata) and parameters by name.

    Raises ValueError if the header is not JSON-like.
    """
    text = json.dumps(header, ensure_ascii=False, allow_nan=False)
    write_npz(path, json=text, **arrays)


def read_model_file(path: str | Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """The header (architecture, metadata) and the arrays of a model file.

    Raises InputError if it is not a model file, FileNotFoundError if there is none.
    """
    arrays = read_npz(path)
    try:
        header = json.loads(str(arrays.pop("json")[()]))
        if not header.keys() >= {"architecture", "metadata"}:
            raise KeyError("architecture and metadata")
        if not all(np.issubdtype(array.dtype, np.floating) for array in arrays.values()):
            raise TypeError("numbers")
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a model file ({type(error).__name__}: {error})") from error
    return header, arrays
