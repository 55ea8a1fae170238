"""What the weights and neurons of a trained network look like, in numbers."""

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


def class_templates(x: NDArray[np.number], t: NDArray[np.integer]) -> NDArray[np.float64]:
    """What a detector of a class, or of one against another, would look like: the mean of the
    samples x (N, features) of each label in t (N,), from the lowest on, then the difference of each
    two means, as itertools.combinations has them. (K + K (K - 1) / 2, features)."""
    means = [x[t == label].mean(axis=0, dtype=np.float64) for label in np.unique(t)]
    return np.array([*means, *(one - other for one, other in itertools.combinations(means, 2))])


def correlations(W: NDArray[np.floating], templates: NDArray[np.floating]) -> NDArray[np.float64]:
    """Pearson's correlation of each neuron's weights, W (inputs, neurons), with each template
    (T, inputs): (neurons, T). 0 for a neuron whose weights are all zero."""
    neurons = W.shape[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        r = np.corrcoef(W.T, templates, dtype=np.float64)[:neurons, neurons:]
    return np.nan_to_num(r)


def neighbour_correlation(images: NDArray[np.floating]) -> NDArray[np.float64]:
    """How alike neighbours, side by side or one above the other, are in images (n, rows, columns):
    Moran's I, (n,). Near 1 if an image is smooth, -1 / (pixels - 1) on average if its pixels are in
    any order. NaN is no pixel; 0 for an image of zeros."""
    pixels = np.ma.masked_invalid(np.asarray(images, np.float64))
    z = pixels - pixels.mean(axis=(1, 2), keepdims=True)
    products = (z[:, :, 1:] * z[:, :, :-1], z[:, 1:] * z[:, :-1])
    sums, counts = (sum(getattr(p, f)(axis=(1, 2)) for p in products) for f in ("sum", "count"))
    return np.ma.filled(sums / counts / (z * z).mean(axis=(1, 2)), 0.0)
