"""IDX, the format of MNIST and its kin: reading its files, each checked against its header."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlp.files import InputError

IMAGES_MAGIC = 0x00000803  # unsigned bytes in three dimensions: image, row, column
LABELS_MAGIC = 0x00000801  # unsigned bytes in one dimension


def idx_shape(path: str | Path, magic: int) -> tuple[int, ...]:
    """The shape that an IDX file's header states, with the file's length checked against it.

    Reads the header alone. Raises InputError if the file is of another kind than `magic` says,
    truncated, or too long.
    """
    path = Path(path)
    dimensions = magic & 0xFF
    length = 4 + 4 * dimensions
    with path.open("rb") as file:
        header = file.read(length)
    found = int.from_bytes(header[:4], "big")
    if found == magic and len(header) < length:
        raise InputError(f"{path}: truncated: its header ends after {len(header)} bytes")
    if found != magic:
        hint = " (are images and labels swapped?)" if {found, magic} == KINDS.keys() else ""
        raise InputError(
            f"{path}: not an IDX file of {KINDS[magic]}: it starts with 0x{found:08x}, "
            f"not 0x{magic:08x}{hint}"
        )
    shape = tuple(int(n) for n in np.frombuffer(header, ">u4", offset=4))
    expected, size = length + math.prod(shape), path.stat().st_size
    if size != expected:
        problem = "truncated" if size < expected else "too long"
        raise InputError(
            f"{path}: {problem}: its header announces {expected:,} bytes ({shape}), it has {size:,}"
        )
    return shape


KINDS = {IMAGES_MAGIC: "images", LABELS_MAGIC: "labels"}


def read_idx(path: str | Path, magic: int) -> NDArray[np.uint8]:
    """An IDX file's array, checked as by `idx_shape`."""
    shape = idx_shape(path, magic)
    return np.fromfile(path, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def check_pair(images: str | Path, labels: str | Path) -> tuple[int, ...]:
    """The shape (N, rows, columns) of an IDX file of images, its header checked against that of
    the labels beside it. Raises InputError if they do not belong together or hold nothing."""
    shape = idx_shape(images, IMAGES_MAGIC)
    (count,) = idx_shape(labels, LABELS_MAGIC)
    if shape[0] != count:
        raise InputError(f"{images} holds {shape[0]:,} images, but {labels} {count:,} labels")
    if math.prod(shape) == 0:
        raise InputError(f"{images} holds no pixels: its shape is {shape}")
    return shape


def read_pair(
    images: str | Path, labels: str | Path, classes: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (N, rows, columns) and labels (N,) of two IDX files, checked against each other.

    Raises InputError as `check_pair` does, and if a label is not below `classes`.
    """
    check_pair(images, labels)
    t = read_idx(labels, LABELS_MAGIC).astype(np.int64)
    if t.max() >= classes:
        raise InputError(
            f"{labels}: label {t.max()} at position {t.argmax():,}, "
            f"but {classes} classes allow 0 to {classes - 1}"
        )
    return read_idx(images, IMAGES_MAGIC), t
