"""Data sets: mean and deviation, splitting, files, and drawing batches."""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlp.arrays import Rows, aligned_zeros
from mlp.checks import class_names, image_shape, labels, normalisation
from mlp.files import InputError, atomic, map_npy, read_json, short, write_json

if TYPE_CHECKING:
    from mlp.augment import Augmentation

META = "meta.json"


class Dataset(NamedTuple):
    """Samples x (N, features), numbers of any kind, and their labels t (N,), integers from 0."""

    x: NDArray[Any]
    t: NDArray[np.integer]


class Problem(NamedTuple):
    """What is to be learnt.

    classes: the names of labels 0, 1, 2, …
    image_shape: rows and columns, where the samples are images.
    normalisation: as `fit_normalisation` finds it, where the samples are pixels.
    soft_labels: (N, variants, K), a teacher's probabilities for each variant of each training
        sample that augmentation draws; learnt in place of the labels.
    """

    train: Dataset
    val: Dataset
    classes: tuple[str, ...]
    image_shape: tuple[int, ...] | None = None
    normalisation: Mapping[str, float] | None = None
    soft_labels: NDArray[np.floating] | None = None

    def map_arrays(self, change: Callable[[Any], Any]) -> "Problem":
        """The problem with each of its arrays changed."""
        train, val = (Dataset(*map(change, part)) for part in (self.train, self.val))
        soft_labels = None if self.soft_labels is None else change(self.soft_labels)
        return self._replace(train=train, val=val, soft_labels=soft_labels)


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


def stratified_split(
    t: NDArray[np.integer], size: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split 0 … N-1 at random into two ascending lists of positions, the second of length `size`,
    so that each class of the labels t (N,) has its share in both.

    Where shares are not whole, the largest remainders are rounded up. Raises InputError unless
    0 < size < N.
    """
    t = np.asarray(t)
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
    """Map what `save_dataset` wrote into memory, without reading it: processes share the pages.

    Raises InputError if it is something else, as far as the headers of the files tell.
    """
    x_path, t_path = (Path(folder) / f"{name}_{suffix}.npy" for suffix in "xt")
    x, t = map_npy(x_path), map_npy(t_path)
    if x.ndim != 2 or x.dtype.kind not in "buif":
        raise InputError(f"{x_path}: {x.dtype} {x.shape}: numbers (N, features) are needed")
    if t.ndim != 1 or t.dtype.kind not in "ui":
        raise InputError(f"{t_path}: {t.dtype} {t.shape}: integers (N,) are needed")
    if len(x) != len(t):
        raise InputError(f"{x_path} holds {len(x):,} samples, but {t_path} {len(t):,} labels")
    return Dataset(x, t)


def save_problem(folder: str | Path, problem: Problem) -> None:
    """Write a problem: its data sets, and the rest as `folder/meta.json`."""
    save_dataset(folder, "train", problem.train)
    save_dataset(folder, "val", problem.val)
    meta = {name: getattr(problem, name) for name in ("classes", "image_shape", "normalisation")}
    write_json(Path(folder) / META, meta)


def load_problem(folder: str | Path) -> Problem:
    """What `save_problem` wrote, its arrays mapped into memory.

    Raises InputError if it is something else. The labels are read for that, the samples are not.
    """
    path = Path(folder) / META
    meta = read_json(path)
    try:
        names = class_names(meta["classes"])
        shape = None if meta["image_shape"] is None else image_shape(meta["image_shape"])
        scale = normalisation(meta["normalisation"])
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: {short(meta)} lacks what is to be said of a data set") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    train, val = load_dataset(folder, "train"), load_dataset(folder, "val")
    features = math.prod(shape) if shape else train.x.shape[1]
    for name, (x, t) in {"train": train, "val": val}.items():
        if x.shape[1] != features:
            raise InputError(
                f"{Path(folder) / name}_x.npy: samples of {x.shape[1]:,} features, "
                f"but {features:,} are needed"
            )
        try:
            labels(t, count=len(x), classes=len(names))
        except InputError as error:
            raise InputError(f"{Path(folder) / name}_t.npy: {error}") from error
    return Problem(train, val, tuple(names), shape, scale)


class Batches:
    """The samples of a data set in random order, `size` at a time, the last batch maybe smaller.

    augmentation: what draws a variant of each sample, new ones in each epoch.
    soft_labels: (N, variants, K), handed over in place of labels.

    Indices are shuffled, not data. Bytes are handed over as `Rows`, for `Normalise` to gather;
    other numbers, and variants, are gathered here, into the same memory for each batch.
    """

    def __init__(
        self,
        dataset: Dataset,
        size: int,
        *,
        augmentation: "Augmentation | None" = None,
        soft_labels: NDArray[np.floating] | None = None,
    ) -> None:
        # an array that is not to be written, whatever file or memory is behind it
        self._x = np.asarray(dataset.x).view()
        self._x.flags.writeable = False
        self._late = self._x.dtype == np.uint8 and self._x.ndim == 2 and self._x.flags.c_contiguous
        self._labels = dataset.t
        self._augmentation, self._soft_labels = augmentation, soft_labels
        self.size = min(size, len(dataset.t))
        self._memory = aligned_zeros((self.size, *dataset.x.shape[1:]), dataset.x.dtype)
        self._t = np.empty(self.size, dataset.t.dtype)

    def shuffled(
        self, rng: np.random.Generator
    ) -> Iterator[tuple[NDArray[Any] | Rows, NDArray[Any]]]:
        """One epoch of samples x and labels t; a batch is good until the next is drawn."""
        n = len(self._labels)
        order = rng.permutation(n)
        variants = self._augmentation.draw(n, rng) if self._augmentation else np.zeros_like(order)
        for start in range(0, n, self.size):
            index, variant = (all_[start : start + self.size] for all_ in (order, variants))
            rows = Rows(self._x, index, self._memory[: len(index)])
            if self._soft_labels is not None:
                t = self._soft_labels[index, variant]
            else:
                t = self._labels.take(index, out=self._t[: len(index)], mode="clip")
            if self._augmentation:
                yield self._augmentation.gather(self._x, index, variant, rows.memory), t
            else:
                yield rows if self._late else rows.gather(), t
