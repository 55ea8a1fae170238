"""The mathematics of the network as pure functions of arrays.

Each function keeps the dtype of a floating-point argument and holds for logits of any size. Where
`out` is given, which may be the argument itself, the result is written into it.
"""

import numpy as np
from numpy.typing import NDArray

from mlp.arrays import Array


def relu(x: Array, out: Array | None = None) -> Array:
    """max(x, 0), element by element.

    Glorot, Bordes and Bengio (2011), "Deep sparse rectifier neural networks".
    """
    return np.maximum(x, 0, out=out)


def sigmoid(x: Array, out: Array | None = None) -> Array:
    """1 / (1 + e⁻ˣ), element by element.

    Where that is less than the smallest normal number (float32: x < -87.3), the result is that
    number.
    """
    out = np.negative(x, out=out)
    with np.errstate(over="ignore"):
        np.exp(out, out=out)
    out += 1
    np.reciprocal(out, out=out)
    return np.maximum(out, np.finfo(out.dtype).tiny, out=out)


def softmax(x: Array, out: Array | None = None) -> Array:
    """eˣ / Σ eˣ over the last axis: logits (..., K) to probabilities (..., K).

    The row's maximum is subtracted first (Goodfellow, Bengio and Courville 2016, section 4.1),
    which changes nothing but keeps e^x from overflowing.
    """
    out = np.subtract(x, x.max(axis=-1, keepdims=True), out=out)
    np.exp(out, out=out)
    return np.divide(out, out.sum(axis=-1, keepdims=True), out=out)


def cross_entropy(x: Array, t: NDArray[np.integer]) -> float:
    """Mean of -log softmax(x)[t]: logits (N, K) and labels (N,) to a number in nats.

    Taken from the logits, as log Σ eˣ - x[t], because a probability that has underflowed to
    zero has no logarithm.
    """
    shifted = x - x.max(axis=-1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=-1))
    return float(np.mean(log_sum - shifted[np.arange(len(t)), t]))
