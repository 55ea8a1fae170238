"""Data sets: reading IDX files, mean and deviation, splitting, and drawing batches."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlp.files import InputError, atomic
from mlp.functions import aligned_zeros

IMAGES_MAGIC = 0x00000803  # unsigned bytes in three dimensions: image, row, column
LABELS_MAGIC = 0x00000801  # unsigned bytes in one dimension


class Dataset(NamedTuple):
    """Samples x (N, features), numbers of any kind, and their labels t (N,), integers from 0."""

    x: NDArray[Any]
    t: NDArray[np.integer]


def fit_normalisation(images: NDArray[np.uint8]) -> dict[str, float]:
    """Mean and standard deviation of all pixels of `images` (N, …), white being 1: what
    `Normalise` is made with.

    From a histogram, so that the sums are exact. Raises InputError if all pixels are equal.
    """
    counts = np.zeros(256, np.int64)
    for image in images:  # one at a time, because bincount makes integers of eight bytes
        counts += np.bincount(image.reshape(-1), minlength=256)
    values = np.arange(256)
    n, total, squares = images.size, int(counts @ values), int(counts @ values**2)
    variance = (n * squares - total * total) / (n * n)
    if variance == 0:
        raise InputError("all pixels of the training images have the same value")
    return {"mean": total / n / 255, "std": math.sqrt(variance) / 255}


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


def stratified_split(
    t: NDArray[np.integer], size: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split 0 … N-1 at random into two ascending lists of positions, the second of length `size`,
    so that each class of the labels t (N,) has its share in both.

    Where shares are not whole, the largest remainders are rounded up. Raises InputError unless
    0 < size < N.
    """
    if not 0 < size < len(t):
        raise InputError(f"cannot split {size:,} of {len(t):,} samples off: none would be left")
    counts = np.bincount(t)
    shares = counts * size
    quota = shares // len(t)
    most_left = np.argsort(-(shares % len(t)), kind="stable")
    quota[most_left[: size - quota.sum()]] += 1
    second = np.sort(
        np.concatenate([rng.permutation(np.flatnonzero(t == k))[:q] for k, q in enumerate(quota)])
    )
    return np.setdiff1d(np.arange(len(t)), second, assume_unique=True), second


def save_dataset(folder: str | Path, name: str, dataset: Dataset) -> None:
    """Write a data set as `folder/name_x.npy` and `folder/name_t.npy`."""
    for suffix, array in dataset._asdict().items():
        with atomic(Path(folder) / f"{name}_{suffix}.npy") as path, path.open("wb") as file:
            np.save(file, array, allow_pickle=False)


def load_dataset(folder: str | Path, name: str) -> Dataset:
    """Map what `save_dataset` wrote into memory, without reading it: processes share the pages."""
    x, t = (np.load(Path(folder) / f"{name}_{suffix}.npy", mmap_mode="r") for suffix in "xt")
    return Dataset(x, t)


class Batches:
    """The samples of a data set in random order, `size` at a time, the last batch maybe smaller.

    Indices are shuffled, not data; each batch is gathered into the same two buffers.
    """

    def __init__(self, dataset: Dataset, size: int) -> None:
        self.dataset = dataset
        self.size = min(size, len(dataset.t))
        self._x = aligned_zeros((self.size, *dataset.x.shape[1:]), dataset.x.dtype)
        self._t = np.empty(self.size, dataset.t.dtype)

    def shuffled(self, rng: np.random.Generator) -> Iterator[Dataset]:
        """One epoch; a batch is good until the next is drawn."""
        order = rng.permutation(len(self.dataset.t))
        for start in range(0, len(order), self.size):
            index = order[start : start + self.size]
            # mode="clip", because NumPy gathers into a copy of `out` if it may have to raise
            x = self.dataset.x.take(index, axis=0, out=self._x[: len(index)], mode="clip")
            t = self.dataset.t.take(index, out=self._t[: len(index)], mode="clip")
            yield Dataset(x, t)
