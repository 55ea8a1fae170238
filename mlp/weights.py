"""What the weights of a trained network look like, in numbers."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


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
