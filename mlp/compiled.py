"""The same arithmetic sooner: what NumPy does in several passes over memory, numba does in one.

Each function has its plain text where it is called, and gives the same bits as that text on every
processor: its operations are conversions, comparisons, + - × ÷ and √, which IEEE 754 rounds
exactly, each by itself and in the text's order. numba lets LLVM use whatever vectors a processor
has, but neither reorder nor contract (a × b + c in one rounding) unless told so (`fastmath`). No
sum and no eˣ is here, because their last bits depend on the order and on the library.
"""

import os
from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlp.arrays import Array


def adam(
    params: Array, grads: Array, m: Array, v: Array, n_weights: int, numbers: tuple[float, ...]
) -> None:
    """`Adam`'s step, with L2 and weight decay on the first `n_weights` parameters; numbers: l2_reg,
    1 - lr · weight_decay, β₁, β₂, rate, ε.

    All arrays (P,).
    """
    number = params.dtype.type  # numba would compute in float64 otherwise
    l2_reg, shrinkage, beta1 = number(numbers[0]), number(numbers[1]), number(numbers[2])
    beta2, rate, eps = number(numbers[3]), number(numbers[4]), number(numbers[5])
    penalised = n_weights if l2_reg != 0 else 0
    for i in range(len(params)):
        g = grads[i]  # a number at hand, because reading back what was just written is slow
        if i < penalised:
            g += l2_reg * params[i]
        m[i] = beta1 * m[i] + g
        v[i] = beta2 * v[i] + g * g
        kept = params[i] * shrinkage if i < n_weights else params[i]
        params[i] = kept - rate * (m[i] / (np.sqrt(v[i]) + eps))
        grads[i] = g


def normalise(
    x: NDArray[np.uint8], rows: NDArray[np.int64], scale: float, shift: float, y: Array
) -> int:
    """y = x[rows] · scale - shift: bytes x (M, features), positions rows (N,), y (N, features).

    What it returns means nothing.
    """
    factor, offset = y.dtype.type(scale), y.dtype.type(shift)
    # Rows drawn at random are in no cache. A byte of each cache line first, because such reads wait
    # for memory together; returned, so that the compiler does not leave them out.
    touched = 0
    for i in range(len(rows)):
        source = x[rows[i]]
        for j in range(0, y.shape[1], 64):
            touched |= source[j]
    for i in range(len(rows)):
        source = x[rows[i]]
        for j in range(y.shape[1]):
            y[i, j] = y.dtype.type(source[j]) * factor - offset
    return touched


def add_bias_relu(y: Array, b: Array) -> None:
    """y = max(y + b, 0), in place: y (N, outputs), b (outputs,)."""
    zero = y.dtype.type(0)
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            z = y[i, j] + b[j]
            y[i, j] = zero if z <= zero else z  # NaN stays


def relu_backward(y: Array, dout: Array, dx: Array) -> None:
    """dx = dout · (y > 0): all (N, outputs)."""
    zero, one = y.dtype.type(0), y.dtype.type(1)
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            dx[i, j] = dout[i, j] * (one if y[i, j] > zero else zero)


def subtract_maximum(x: Array, t: NDArray[np.int64], y: Array, shifted: Array) -> int:
    """y = x - max x, row by row; shifted = y[t]; returns how many rows have their maximum at t.

    x and y (N, K), labels t and shifted (N,).
    """
    hits = 0
    for i in range(x.shape[0]):
        if not 0 <= t[i] < x.shape[1]:
            raise IndexError("a label is none of the classes")
        top = 0  # as argmax: the first of the largest, or the first NaN
        for k in range(1, x.shape[1]):
            if x[i, top] == x[i, top] and not x[i, k] <= x[i, top]:
                top = k
        for k in range(x.shape[1]):
            y[i, k] = x[i, k] - x[i, top]
        shifted[i] = y[i, t[i]]
        hits += top == t[i]
    return hits


def softmax_gradient(
    exp: Array, total: Array, t: NDArray[np.int64], smoothing: float, dx: Array
) -> None:
    """dx = (exp / total - smoothing / K - (1 - smoothing) · one-hot t) / N: exp and dx (N, K),
    total and labels t (N,)."""
    number = exp.dtype.type
    others, label, n = number(smoothing / exp.shape[1]), number(1 - smoothing), number(exp.shape[0])
    for i in range(exp.shape[0]):
        for k in range(exp.shape[1]):
            q = exp[i, k] / total[i] - others
            dx[i, k] = (q - label if k == t[i] else q) / n


def dropout(x: Array, noise: NDArray[np.uint8], least: int, scale: float, y: Array) -> None:
    """y = x · (noise ≥ least) · scale: x and y (N, inputs), noise (N · inputs or some more,)."""
    factor, zero, one = y.dtype.type(scale), y.dtype.type(0), y.dtype.type(1)
    width = x.shape[1]
    for i in range(x.shape[0]):
        drawn = noise[i * width : (i + 1) * width]
        for j in range(width):
            y[i, j] = x[i, j] * (one if drawn[j] >= least else zero) * factor


def augment(
    x: NDArray[np.uint8],
    rows: NDArray[np.int64],
    variants: NDArray[np.int64],
    sources: NDArray[np.int32],
    background: int,
    y: NDArray[np.uint8],
) -> None:
    """y[i, j] = x[rows[i], sources[variants[i], j]], or the background where the source is -1:
    x (M, pixels), rows and variants (N,), y (N, pixels)."""
    for i in range(len(rows)):
        image, source = x[rows[i]], sources[variants[i]]
        for j in range(y.shape[1]):
            y[i, j] = image[source[j]] if source[j] >= 0 else background


def centre(x: Array, mean: Array, centred: Array, squares: Array) -> None:
    """centred = x - mean, squares = centred²: all (N, features), mean (features,)."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            distance = x[i, j] - mean[j]
            centred[i, j] = distance
            squares[i, j] = distance * distance


def scale(x: Array, deviation: Array, gamma: Array, beta: Array, y: Array) -> None:
    """x = x / deviation, in place; y = x · gamma + beta: x and y (N, features), the others
    (features,)."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            standard = x[i, j] / deviation[j]
            x[i, j] = standard
            y[i, j] = standard * gamma[j] + beta[j]


def scale_backward(
    dout: Array, x: Array, mean: Array, slope: Array, factor: Array, dx: Array
) -> None:
    """dx = (dout - mean - x · slope) · factor: dout, x and dx (N, features), the others
    (features,)."""
    for i in range(dout.shape[0]):
        for j in range(dout.shape[1]):
            dx[i, j] = (dout[i, j] - mean[j] - x[i, j] * slope[j]) * factor[j]


class Loops(NamedTuple):
    """The functions of this module, compiled for one dtype."""

    adam: Callable[..., None]
    normalise: Callable[..., int]
    add_bias_relu: Callable[..., None]
    relu_backward: Callable[..., None]
    subtract_maximum: Callable[..., int]
    softmax_gradient: Callable[..., None]
    dropout: Callable[..., None]
    augment: Callable[..., None]
    centre: Callable[..., None]
    scale: Callable[..., None]
    scale_backward: Callable[..., None]


@cache
def loops(dtype: "np.dtype[Any]") -> Loops | None:
    """The compiled functions for arrays of `dtype` that are contiguous; None where they cannot be
    had: numba does not import, `MLP_COMPILED=0` forbids it, or the dtype is neither float32 nor
    float64.

    Takes a second or so, for numba's import, and more where nothing is cached on disk yet. Only
    training asks for them, so that a process that predicts does not wait.
    """
    if os.environ.get("MLP_COMPILED") == "0" or dtype not in (np.float32, np.float64):
        return None
    try:
        from numba import config, float64, from_dtype, int32, int64, types, uint8
    except Exception:  # not installed, not for this NumPy, LLVM does not load, odd NUMBA_…
        return None
    if config.DISABLE_JIT:
        return None
    number = from_dtype(dtype)
    vector, matrix, labels = number[::1], number[:, ::1], int64[::1]
    data = types.Array(uint8, 2, "C", readonly=True)
    numbers = types.UniTuple(float64, 6)

    def compiled(function: Any, *arguments: Any) -> Any:
        return _compile(function, dtype, *arguments)

    return Loops(
        adam=compiled(adam, vector, vector, vector, vector, int64, numbers),
        normalise=compiled(normalise, data, labels, float64, float64, matrix),
        add_bias_relu=compiled(add_bias_relu, matrix, vector),
        relu_backward=compiled(relu_backward, matrix, matrix, matrix),
        subtract_maximum=compiled(subtract_maximum, matrix, labels, matrix, vector),
        softmax_gradient=compiled(softmax_gradient, matrix, vector, labels, float64, matrix),
        dropout=compiled(dropout, matrix, uint8[::1], int64, float64, matrix),
        augment=compiled(augment, data, labels, labels, int32[:, ::1], int64, uint8[:, ::1]),
        centre=compiled(centre, matrix, vector, matrix, matrix),
        scale=compiled(scale, matrix, vector, vector, vector, matrix),
        scale_backward=compiled(scale_backward, matrix, matrix, vector, vector, vector, matrix),
    )


def _compile(function: Any, dtype: "np.dtype[Any]", *arguments: Any) -> Any:
    """A function compiled for the types of its arguments, or taken from the cache on disk: beside
    this file or, where that cannot be written, in the user's folder for such things."""
    from llvmlite import binding
    from numba import njit

    # numba names a cache's files by the function. An entry of its own for each dtype and processor,
    # because processes that write into the same one at the same time could mix their code up.
    name = f"{function.__name__}_{dtype}_{binding.get_host_cpu_name()}"
    copy = FunctionType(function.__code__, function.__globals__, name)
    copy.__qualname__ = name
    # NumPy's rules for division by zero, because the check that Python's need keeps loops scalar
    try:
        return njit([arguments], cache=True, error_model="numpy")(copy)
    except Exception:  # whatever a folder that cannot be written, or damaged files, may raise
        return njit([arguments], error_model="numpy")(copy)
