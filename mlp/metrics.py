"""What a classifier's guesses are worth: counts, averages and their uncertainty."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


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
    """Labels (N,) and guesses (N,) to counts (K, K): row is the truth, column the guess."""
    pairs = np.asarray(t, np.int64) * classes + np.asarray(y, np.int64)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def per_class(confusion: NDArray[np.int64]) -> ClassMetrics:
    """Metrics of each class from a confusion matrix (K, K); 0 where a quotient is undefined."""
    hits = np.diag(confusion).astype(np.float64)
    guessed = confusion.sum(axis=0)
    support = confusion.sum(axis=1)
    precision = hits / np.maximum(guessed, 1)
    recall = hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(guessed + support, 1)
    return ClassMetrics(precision, recall, f1, support)


def macro_micro_average(confusion: NDArray[np.int64]) -> MacroMicroAverage:
    """Macro and micro averages from a confusion matrix (K, K) (Manning et al. 2008, section 13.6).

    Where each sample has one label and one guess, the three micro averages are the accuracy.
    """
    precision, recall, f1, _ = per_class(confusion)
    accuracy = float(np.trace(confusion) / max(confusion.sum(), 1))
    macro = Average(float(precision.mean()), float(recall.mean()), float(f1.mean()))
    return MacroMicroAverage(macro, Average(accuracy, accuracy, accuracy))


def wilson_interval(hits: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Score interval of a proportion of `hits` in `n` (Wilson 1927); `z` = 1.96 gives 95 %."""
    p = hits / n
    centre = p + z * z / (2 * n)
    margin = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (centre - margin) / (1 + z * z / n), (centre + margin) / (1 + z * z / n)
    return max(low, 0.0), min(high, 1.0)  # rounding may put the ends outside


class WeightStatistics(NamedTuple):
    """How the weights of a layer are distributed around their mean and around zero."""

    size: int
    mean: float
    std: float
    excess_kurtosis: float  # 0 for a normal distribution, above it where tails are heavier
    beyond_two_std: float  # share with |w - mean| > 2 std; 4.6 % of a normal distribution
    near_zero: float  # share with |w| < std / 10; 8.0 % of a normal distribution
    below_001: float  # share with |w| < 0.01, whatever the layer's scale


def weight_statistics(W: NDArray[np.floating]) -> WeightStatistics:
    """Statistics of weights of any shape, in float64.

    Layers start with, and keep, different scales: a fixed threshold such as 0.01 mostly tells
    which layer has small weights. So sparsity is to be read from the two measures that do not
    change when all weights are multiplied by a number: `near_zero` and `excess_kurtosis`.
    """
    w = np.asarray(W, np.float64).reshape(-1)
    mean = w.mean()
    deviation = w - mean
    squares = deviation * deviation
    variance = squares.mean()
    std = math.sqrt(variance)
    kurtosis = (squares * squares).mean() / (variance * variance) - 3 if variance else 0.0
    return WeightStatistics(
        size=w.size,
        mean=float(mean),
        std=std,
        excess_kurtosis=float(kurtosis),
        beyond_two_std=float(np.mean(np.abs(deviation) > 2 * std)),
        near_zero=float(np.mean(np.abs(w) < std / 10)),
        below_001=float(np.mean(np.abs(w) < 0.01)),
    )


def sparsity_verdict(layers: Sequence[WeightStatistics]) -> str:
    """One line on whether weights grow sparser from layer to layer, with the figures it rests on.

    Sparser is a larger share near zero and a larger kurtosis, both from every layer to the next.
    """
    shares = [layer.near_zero for layer in layers]
    kurtoses = [layer.excess_kurtosis for layer in layers]
    figures = (
        f"share near zero {' → '.join(f'{share:.1%}' for share in shares)}, "
        f"excess kurtosis {' → '.join(f'{k:.2f}' for k in kurtoses)}"
    ).replace("-", "−")
    if len(layers) < 2:
        return f"A single layer has no depth to compare: {figures}"
    if _rises(shares) and _rises(kurtoses):
        return f"Yes: {figures}"
    if _rises(shares[::-1]) and _rises(kurtoses[::-1]):
        return f"No, less sparse: {figures}"
    return f"No steady trend: {figures}"


def _rises(values: Sequence[float]) -> bool:
    return all(a < b for a, b in itertools.pairwise(values))
