"""What a caller hands over, checked once at the border, so that inside nothing is checked."""

import math
import re
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlp.files import InputError, short

LEAST, MOST = 1e-30, 1e30  # between which float32 has what `Normalise` makes of its arguments


def samples(x: ArrayLike, features: int) -> NDArray[Any]:
    """Samples (N, features) as an array. Raises InputError if they are of another shape, or no
    numbers below 1e30, of which float32 holds the sums."""
    x = _array(x, "samples")
    if x.ndim != 2 or x.shape[1] != features:
        raise InputError(f"samples of shape {x.shape}: this network takes (N, {features})")
    if x.dtype.kind not in "buif":
        raise InputError(f"samples of type {x.dtype}: numbers are needed")
    if (
        x.dtype.kind == "f"
        and not -MOST < float(x.min(initial=0)) <= float(x.max(initial=0)) < MOST
    ):
        raise InputError(f"samples that are not all finite numbers below {MOST:g}")
    return x


def labels(t: ArrayLike, *, count: int | None = None, classes: int) -> NDArray[np.integer]:
    """Labels (count,), if that is known, as an array of integers, booleans as 0 and 1.

    Raises InputError if they are of another shape or kind, are none, or not below `classes`.
    """
    t = _array(t, "labels")
    if t.ndim == 2 and t.shape[1] == classes > 1:
        raise InputError(f"labels of shape {t.shape}: if they are one-hot, take t.argmax(axis=1)")
    if t.ndim != 1:
        raise InputError(f"labels of shape {t.shape}: an integer for each sample is needed, (N,)")
    if len(t) == 0 and not count:
        raise InputError("no samples: one or more are needed")
    if count not in (None, len(t)):
        raise InputError(f"{count:,} samples, but {len(t):,} labels")
    if t.dtype.kind == "b":
        t = t.astype(np.int64)
    if t.dtype.kind not in "ui":
        raise InputError(f"labels of type {t.dtype}: integers are needed")
    wrong = (t < 0) | (t >= classes)
    if wrong.any():
        i = int(wrong.argmax())
        raise InputError(f"label {t[i]} at position {i:,}: the classes are 0 to {classes - 1}")
    return t


def probabilities(values: ArrayLike) -> NDArray[np.floating]:
    """Probabilities (N, K) as an array. Raises InputError if they are of another shape or kind."""
    p = _array(values, "probabilities")
    if p.ndim != 2 or p.dtype.kind != "f" or not np.all((p >= 0) & np.isfinite(p)):
        raise InputError(f"probabilities: {p.dtype} {p.shape}; numbers from 0 up (N, K) are needed")
    return p


def distributions(values: ArrayLike, shape: tuple[int, int, int]) -> NDArray[np.floating]:
    """Soft labels (N, variants, K) as an array. Raises InputError if they are of another shape, or
    are no probabilities whose sum over the classes is 1."""
    p = _array(values, "soft labels")
    if p.shape != shape:
        raise InputError(f"soft labels of shape {p.shape}: {shape} is needed")
    if p.dtype.kind not in "buif" or not ((p >= 0).all() and (abs(p.sum(-1) - 1) < 1e-2).all()):
        raise InputError("soft labels that are no probabilities: from 0 up, with a sum of 1")
    return p


def normalisation(value: Any) -> dict[str, float] | None:
    """A JSON-like value as the arguments of `Normalise`, or None.

    Raises InputError unless it is one of them: a mean and a deviation above 0, both finite.
    """
    if value is None:
        return None
    numbers = value.values() if isinstance(value, dict) else ()
    if (
        set(value if numbers else ()) != {"mean", "std"}
        or not all(type(n) in (int, float) and abs(n) < MOST for n in numbers)
        or not value["std"] > LEAST
    ):
        raise InputError(
            f"normalisation {short(value)}: a finite mean and an std above 0 are needed, or null"
        )
    return dict(value)


def class_names(value: Any) -> list[str]:
    """A JSON-like value as the names of classes. Raises InputError if it is something else."""
    if not isinstance(value, list | tuple) or not value or {*map(type, value)} != {str}:
        raise InputError(f"classes {short(value)}: a list of names is needed")
    for name in value:
        if not re.fullmatch(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]+", name):
            raise InputError(f"classes: {short(name)} is no name of one line")
    return list(value)


def image_shape(value: Any) -> tuple[int, int]:
    """A JSON-like value as rows and columns. Raises InputError if it is something else."""
    if not isinstance(value, list | tuple) or [*map(type, value)] != [int, int] or min(value) < 1:
        raise InputError(f"image_shape {short(value)}: rows and columns are needed")
    return value[0], value[1]


def check_pixels(shape: tuple[int, int], features: int) -> None:
    """Raise InputError unless images (rows, columns) have as many pixels as samples features."""
    if math.prod(shape) != features:
        raise InputError(f"images of {shape[0]}×{shape[1]} pixels, but samples of {features}")


def _array(values: ArrayLike, name: str) -> NDArray[Any]:
    if isinstance(values, np.ma.MaskedArray):
        raise InputError(f"{name} that are masked: leave out what is not to count")
    try:
        # a mapped file stays one; a matrix does not, whose rows and products are others
        return np.asarray(values) if isinstance(values, np.matrix) else np.asanyarray(values)
    except ValueError as error:  # lists of unequal lengths
        raise InputError(f"{name} that are no array: {error}") from error
