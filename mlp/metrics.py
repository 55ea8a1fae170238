"""What a classifier's guesses are worth: counts, averages and their uncertainty."""

import math
import operator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlp import checks
from mlp.checks import labels
from mlp.files import InputError, short


class ClassMetrics(NamedTuple):
    """Precision, recall and F1 of each class, and its number of samples: arrays of shape (K,)."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.int64]


class Average(NamedTuple):
    """Precision, recall and F1 averaged over the classes."""

    precision: float
    recall: float
    f1: float


class MacroMicroAverage(NamedTuple):
    """The macro average counts every class alike, the micro average every sample."""

    macro: Average
    micro: Average


def confusion_matrix(
    t: NDArray[np.integer], y: NDArray[np.integer], classes: int
) -> NDArray[np.int64]:
    """Labels (N,) and guesses (N,) to counts (K, K): row is the truth, column the guess.

    Raises InputError if they are not integers below `classes`, or not as many of each.
    """
    classes = operator.index(classes)  # whose square NumPy's narrow numbers do not hold
    y = labels(y, classes=classes).astype(np.int64)
    t = labels(t, count=len(y), classes=classes).astype(np.int64)
    pairs = t * classes + y
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def examples(
    t: NDArray[np.integer],
    y: NDArray[np.integer],
    confidence: NDArray[np.floating],
    most: int,
    total: int,
) -> NDArray[np.int64]:
    """Which samples to show for each cell of a confusion matrix: their indices, cell after cell.

    t, y, confidence: labels, guesses and the guesses' probabilities, (N,) each. A cell has up to
    `most`, the surest first: of errors the surest, of hits half the surest and half the least
    sure. If that makes more than `total`, every cell has fewer.
    """
    order = np.lexsort((-confidence, y, t))
    hit = (t == y)[order]
    pairs = np.stack([t, y])[:, order]
    _, first, cell, sizes = np.unique(
        pairs, axis=1, return_index=True, return_inverse=True, return_counts=True
    )
    rank = np.arange(len(order)) - first[cell]
    rank_from_end = sizes[cell] - 1 - rank
    shown = np.zeros(len(order), bool)
    for room in range(most, 0, -1):
        surest = np.where(hit, (room + 1) // 2, room)
        shown = (rank < surest) | (hit & (rank_from_end < room // 2))
        if shown.sum() <= total:
            break
    return order[shown][:total]


def per_class(confusion: NDArray[np.int64]) -> ClassMetrics:
    """Metrics of each class from a confusion matrix (K, K); 0 where a quotient is undefined.

    Raises InputError if it is none.
    """
    confusion = _counts(confusion)
    hits = np.diag(confusion).astype(np.float64)
    guessed = confusion.sum(axis=0)
    support = confusion.sum(axis=1)
    precision = hits / np.maximum(guessed, 1)
    recall = hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(guessed + support, 1)
    return ClassMetrics(precision, recall, f1, support)


def macro_micro_average(confusion: NDArray[np.int64]) -> MacroMicroAverage:
    """Macro and micro averages from a confusion matrix (K, K) (Manning et al. 2008, section 13.6).

    The macro average is over all K classes: one that has no sample counts as 0. Where each sample
    has one label and one guess, the three micro averages are the accuracy. Raises as `per_class`.
    """
    confusion = _counts(confusion)
    precision, recall, f1, _ = per_class(confusion)
    accuracy = float(np.trace(confusion) / max(confusion.sum(), 1))
    macro = Average(float(precision.mean()), float(recall.mean()), float(f1.mean()))
    return MacroMicroAverage(macro, Average(accuracy, accuracy, accuracy))


def _counts(confusion: ArrayLike) -> NDArray[np.int64]:
    """A confusion matrix as an array (K, K). Raises InputError if it is something else."""
    counts = np.asarray(confusion)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        raise InputError(f"a confusion matrix of shape {counts.shape}: (K, K) is needed")
    if counts.dtype.kind not in "ui" or (counts < 0).any():
        raise InputError(f"a confusion matrix of {counts.dtype}: counts from 0 up are needed")
    return counts.astype(np.int64)


def _shares(probabilities: ArrayLike) -> NDArray[np.floating]:
    """Probabilities (N, K) as an array. Raises InputError if one is not from 0 to 1."""
    p = checks.probabilities(probabilities)
    if (p > 1 + 1e-3).any():  # rounding of half precision
        raise InputError("probabilities above 1: softmax makes them of logits")
    return p


class Calibration(NamedTuple):
    """How sure a classifier is, and how often it is right then, bin by bin of confidence.

    confidence, accuracy: means over the samples of each bin (bins,), 0 where there are none.
    support: samples of each bin (bins,).
    """

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    support: NDArray[np.int64]

    @property
    def error(self) -> float:
        """The expected calibration error: the mean distance between confidence and accuracy, bins
        weighted by their samples (Naeini et al. 2015; Guo et al. 2017)."""
        distance = np.abs(self.confidence - self.accuracy)
        return float(distance @ self.support / max(self.support.sum(), 1))


def calibration(
    probabilities: NDArray[np.floating], t: NDArray[np.integer], bins: int = 15
) -> Calibration:
    """Probabilities (N, K) and labels t (N,) to bins of equal width over confidence, which is the
    probability of the guess.

    Raises InputError as `mlp.checks.probabilities` and `labels` do, if a probability is above 1,
    and without bins.
    """
    p = _shares(probabilities)
    t = labels(t, count=len(p), classes=p.shape[1])
    if operator.index(bins) < 1:
        raise InputError(f"{bins} bins: one or more are needed")
    y, confidence = p.argmax(axis=1), p.max(axis=1).astype(np.float64)
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    support = np.bincount(place, minlength=bins)
    n = np.maximum(support, 1)
    sure, right = (np.bincount(place, values, bins) / n for values in (confidence, y == t))
    return Calibration(sure, right, support)


def top_k_accuracy(probabilities: NDArray[np.floating], t: NDArray[np.integer], k: int) -> float:
    """Share of the samples whose label t (N,) is among the k most probable of (N, K).

    A label that is as probable as others counts as behind them. Raises InputError as
    `mlp.checks.probabilities` and `labels` do, and unless k is 1 or more.
    """
    p = checks.probabilities(probabilities)
    t = labels(t, count=len(p), classes=p.shape[1])
    if operator.index(k) < 1:
        raise InputError(f"the {k} most probable: 1 or more are needed")
    return float(np.mean((p >= p[np.arange(len(t)), t][:, None]).sum(axis=1) <= k))


def wilson_interval(hits: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Score interval of a proportion of `hits` in `n` (Wilson 1927); `z` = 1.96 gives 95 %.

    Raises InputError unless 0 ≤ hits ≤ n and n is 1 or more.
    """
    if not (0 <= hits <= n and n >= 1):
        raise InputError(f"{short(hits)} hits in {short(n)}: 0 to n, of 1 or more, are needed")
    hits, n = int(hits), int(n)  # 4 n² is beyond NumPy's narrow numbers
    p = hits / n
    centre = p + z * z / (2 * n)
    margin = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (centre - margin) / (1 + z * z / n), (centre + margin) / (1 + z * z / n)
    return max(low, 0.0), min(high, 1.0)  # rounding may put the ends outside
