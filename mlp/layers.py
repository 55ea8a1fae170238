"""The layers: each knows how to go forward and how to pass a gradient backward.

`forward(x)` takes a batch (N, inputs) and returns (N, outputs); `backward(dout)` takes the loss's
gradient with respect to the result of the last `forward(x, training=True)` and returns the one with
respect to `x`, by the chain rule. Arguments are never changed.

Results live in buffers that the layer's next call of the same method writes over, so that training
allocates nothing: copy what is to be kept. Training and prediction have buffers of their own, and
prediction one set per thread, so that neither it nor other threads can disturb anything.
"""

import math
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mlp import compiled
from mlp.arrays import Array, Buffers, Rows, ThreadBuffers
from mlp.files import InputError
from mlp.functions import sigmoid, softmax


class Layer:
    """What the layers of a `Module` have in common."""

    weights: ClassVar[tuple[str, ...]] = ()  # learnt attributes that L2 shrinks …
    biases: tuple[str, ...] = ()  # … those that it leaves alone …
    kept: ClassVar[tuple[str, ...]] = ()  # … and what is no optimizer's, but part of the model
    input_gradient = True  # False: nobody needs backward's result (the first layer that learns)

    def __init__(self) -> None:
        self._buffers = Buffers()
        self._thread_buffers = ThreadBuffers()

    def forward(self, x: Array, training: bool = False) -> Array:
        raise NotImplementedError

    def backward(self, dout: Array) -> Array | None:
        raise NotImplementedError

    def _sum(self, x: Array, out: Array) -> Array:
        """Σ x over the batch: x (N, features), out (features,)."""
        ones = self._buffers.get("ones", (len(x),), x.dtype, 1)
        return np.dot(ones, x, out=out)  # faster than np.sum

    def _output(self, shape: tuple[int, ...], dtype: DTypeLike, training: bool) -> Array:
        buffers = self._buffers if training else self._thread_buffers
        return buffers.get("y", shape, dtype)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Normalise(Layer):
    """y = (x / 255 - mean) / std: pixels of 0 … 255 to numbers around zero.

    A layer, so that a network takes images as they are, and data stay bytes on their way to it: a
    quarter of the memory, and of what is moved to draw a batch. `fit_normalisation` finds mean and
    std.
    """

    def __init__(self, mean: float, std: float, *, dtype: DTypeLike = np.float32) -> None:
        super().__init__()
        # Python's own, because NumPy's float64 would have float32 computed in float64
        self.mean = float(mean)
        self.std = float(std)
        self.dtype = np.dtype(dtype)
        self._scale, self._shift = 1 / (255 * self.std), self.mean / self.std

    def forward(self, x: NDArray[Any] | Rows, training: bool = False) -> Array:
        y = self._output(x.shape, self.dtype, training)
        if isinstance(x, Rows):
            if training and (loops := compiled.loops(self.dtype)):
                loops.normalise(x.x, x.index, self._scale, self._shift, y)
                return y
            x = x.gather()
        np.copyto(y, x)
        y *= self._scale
        y -= self._shift
        return y

    def backward(self, dout: Array) -> Array:
        """dx = dout / (255 std)."""
        dx = self._buffers.get("dx", dout.shape, dout.dtype)
        return np.multiply(dout, self._scale, out=dx)

    def __repr__(self) -> str:
        return f"Normalise({self.mean:.4f}, {self.std:.4f})"


class Affine(Layer):
    """y = x W + b (PyTorch's Linear), with W (inputs, outputs) and b (outputs,).

    b starts at zero and W uniformly distributed around it, with variance 2 / inputs
    (`init="he"`, for a layer that ReLU follows; He et al. 2015) or 2 / (inputs + outputs)
    (`init="glorot"`; Glorot and Bengio 2010). Uniform rather than normal, because uniform draws
    need no logarithm, whose last bit depends on the C library.

    `Affine(784, 256, rng=rng)` draws W; `Affine(W, b)` takes copies of given arrays.

    bias: False if b is to stay zero, because a `BatchNorm` follows, which adds one of its own.

    Raises ValueError if given arrays do not fit each other.
    """

    weights = ("W",)
    biases: tuple[str, ...] = ("b",)

    def __init__(
        self,
        inputs: int | Array,
        outputs: int | Array,
        *,
        rng: np.random.Generator | None = None,
        init: Literal["he", "glorot"] = "he",
        bias: bool = True,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        self.biases = ("b",) if bias else ()
        self.W: Array
        self.b: Array
        if isinstance(inputs, np.ndarray) and isinstance(outputs, np.ndarray):
            if inputs.ndim != 2 or outputs.shape != inputs.shape[1:]:
                raise ValueError(f"W of shape {inputs.shape} and b of shape {outputs.shape}")
            self.W, self.b = inputs.copy(), outputs.astype(inputs.dtype)
        else:
            assert rng is not None
            variance = 2 / inputs if init == "he" else 2 / (inputs + outputs)
            limit = math.sqrt(3 * variance)
            self.W = rng.uniform(-limit, limit, (inputs, outputs)).astype(dtype)
            self.b = np.zeros(outputs, dtype)
        self.dW: Array = np.zeros_like(self.W)
        self.db: Array = np.zeros_like(self.b)

    def forward(self, x: Array, training: bool = False) -> Array:
        y = self.product(x, training)
        if self.biases:
            y += self.b
        return y

    def product(self, x: Array, training: bool = False) -> Array:
        """x W, which lacks b alone."""
        if training:
            self._x = x
        y = self._output((len(x), len(self.b)), self.W.dtype, training)
        return np.matmul(x, self.W, out=y)

    def backward(self, dout: Array) -> Array | None:
        """dW = xᵀ dout, db = Σ dout over the batch, dx = dout Wᵀ."""
        np.matmul(self._x.T, dout, out=self.dW)
        if self.biases:
            self._sum(dout, out=self.db)
        if not self.input_gradient:
            return None
        dx = self._buffers.get("dx", self._x.shape, self.W.dtype)
        return np.matmul(dout, self.W.T, out=dx)

    def __repr__(self) -> str:
        return f"Affine({self.W.shape[0]} → {self.W.shape[1]})"


class ReLU(Layer):
    """y = max(x, 0)."""

    def forward(self, x: Array, training: bool = False) -> Array:
        # `relu`, but with an array of zeros: with a number NumPy takes four times as long
        buffers = self._buffers if training else self._thread_buffers
        zero = buffers.get("zero", x.shape, x.dtype)
        y = np.maximum(x, zero, out=buffers.get("y", x.shape, x.dtype))
        if training:
            self._y = y
        return y

    def backward(self, dout: Array) -> Array:
        """dx = dout where y > 0, else 0."""
        positive = self._buffers.get("positive", dout.shape, np.bool_)
        np.greater(self._y, 0, out=positive)
        return np.multiply(dout, positive, out=self._buffers.get("dx", dout.shape, dout.dtype))


class AffineReLU(Layer):
    """An `Affine` and the `ReLU` after it, run as one: where arithmetic is compiled, training adds
    the bias and takes the maximum in one pass, and goes back through ReLU in another."""

    def __init__(self, affine: Affine, relu: ReLU) -> None:
        super().__init__()
        self.affine = affine
        self.relu = relu

    def forward(self, x: Array, training: bool = False) -> Array:
        if training and (loops := compiled.loops(self.affine.W.dtype)):
            self._y = self.affine.product(x, training)
            loops.add_bias_relu(self._y, self.affine.b)
            return self._y
        return self.relu.forward(self.affine.forward(x, training), training)

    def backward(self, dout: Array) -> Array | None:
        if loops := compiled.loops(self.affine.W.dtype):
            dx = self._buffers.get("dx", dout.shape, dout.dtype)
            loops.relu_backward(self._y, dout, dx)
            return self.affine.backward(dx)
        return self.affine.backward(self.relu.backward(dout))


class Sigmoid(Layer):
    """y = 1 / (1 + e⁻ˣ)."""

    def forward(self, x: Array, training: bool = False) -> Array:
        y = sigmoid(x, out=self._output(x.shape, x.dtype, training))
        if training:
            self._y = y
        return y

    def backward(self, dout: Array) -> Array:
        """dx = dout y (1 - y), from the output, which is at hand."""
        dx = np.subtract(1, self._y, out=self._buffers.get("dx", dout.shape, dout.dtype))
        dx *= self._y
        dx *= dout
        return dx


class Dropout(Layer):
    """In training, each number is zero with probability `rate`, and the others are divided by
    1 - rate; in prediction, nothing happens (Srivastava et al. 2014; "inverted").

    rate: from 0 to below 1; rounded to whole 256ths, 255 at most, because a byte is drawn for each
        number.

    Raises ValueError if `rate` is something else, or for a generator of words that are not 64 bits.
    """

    def __init__(self, rate: float, *, rng: np.random.Generator) -> None:
        super().__init__()
        if isinstance(rng.bit_generator, np.random.MT19937):
            raise ValueError("MT19937 draws words of 32 bits: take np.random.default_rng")
        if not 0 <= rate < 1:
            raise ValueError(f"dropout of {rate}: a rate from 0 to below 1 is needed")
        self._least = min(round(256 * rate), 255)  # a number whose byte is lower is dropped
        self.rate = self._least / 256
        self.rng = rng

    def forward(self, x: Array, training: bool = False) -> Array:
        if not training:
            return x
        # whole words as they come from the generator, an eighth of the time of `rng.integers`
        self._noise = self.rng.bit_generator.random_raw(-(-x.size // 8)).view(np.uint8)
        dtype = x.dtype if x.dtype.kind == "f" else np.float32  # of pixels, half a one is left
        return self._drop(x, self._buffers.get("y", x.shape, dtype))

    def backward(self, dout: Array) -> Array:
        """dx = dout / (1 - rate) where x was not dropped, else 0."""
        return self._drop(dout, self._buffers.get("dx", dout.shape, dout.dtype))

    def _drop(self, x: Array, out: Array) -> Array:
        factor = 1 / (1 - self.rate)
        if loops := compiled.loops(x.dtype):
            loops.dropout(x, self._noise, self._least, factor, out)
            return out
        kept = self._buffers.get("kept", x.shape, np.bool_)
        np.greater_equal(self._noise[: x.size].reshape(x.shape), self._least, out=kept)
        np.multiply(x, kept, out=out)
        out *= factor
        return out

    def __repr__(self) -> str:
        return f"Dropout({self.rate:.3g})"


class BatchNorm(Layer):
    """y = γ (x - mean) / √(variance + ε) + β, feature by feature (Ioffe and Szegedy 2015).

    In training, mean and variance are the batch's, and their running averages are kept; in
    prediction, they are these averages. γ starts at one, β at zero.

    momentum: the share of the newest batch in the averages.
    """

    biases = ("gamma", "beta")
    kept = ("mean", "variance")

    def __init__(
        self,
        features: int,
        *,
        momentum: float = 0.1,
        eps: float = 1e-5,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        self.momentum, self.eps = float(momentum), float(eps)
        self.gamma: Array = np.ones(features, dtype)
        self.beta: Array = np.zeros(features, dtype)
        self.mean: Array = np.zeros(features, dtype)
        self.variance: Array = np.ones(features, dtype)
        self.dgamma: Array = np.zeros_like(self.gamma)
        self.dbeta: Array = np.zeros_like(self.beta)

    def line(self) -> tuple[Array, Array]:
        """Slope and intercept (features,) of what prediction does to each feature."""
        slope = self.gamma / np.sqrt(self.variance + self.eps)
        return slope, self.beta - self.mean * slope

    def forward(self, x: Array, training: bool = False) -> Array:
        y = self._output(x.shape, x.dtype, training)
        if not training:
            slope, intercept = self.line()
            np.multiply(x, slope, out=y)
            y += intercept
            return y
        n, get = len(x), self._buffers.get
        loops = compiled.loops(x.dtype)
        mean, variance, deviation = (get(k, self.mean.shape, x.dtype) for k in ("m", "v", "d"))
        centred = self._x = get("x", x.shape, x.dtype)
        self._sum(x, out=mean)
        mean /= n
        if loops:
            loops.centre(x, mean, centred, y)
        else:
            np.subtract(x, mean, out=centred)
            np.multiply(centred, centred, out=y)
        self._sum(y, out=variance)
        variance /= n
        np.add(variance, self.eps, out=deviation)
        np.sqrt(deviation, out=deviation)
        if loops:
            loops.scale(self._x, deviation, self.gamma, self.beta, y)
        else:
            self._x /= deviation
            np.multiply(self._x, self.gamma, out=y)
            y += self.beta
        self._deviation = deviation
        variance *= n / max(n - 1, 1)  # unbiased, as in the paper's algorithm 2
        for average, newest in ((self.mean, mean), (self.variance, variance)):
            average *= 1 - self.momentum
            newest *= self.momentum
            average += newest
        return y

    def backward(self, dout: Array) -> Array:
        """With x̂ what γ multiplies: dγ = Σ dout x̂, dβ = Σ dout, and
        dx = γ / √(variance + ε) · (dout - dβ / N - x̂ dγ / N)."""
        n, get = len(dout), self._buffers.get
        dx = get("dx", dout.shape, dout.dtype)
        self._sum(np.multiply(dout, self._x, out=dx), out=self.dgamma)
        self._sum(dout, out=self.dbeta)
        mean, slope, factor = (get(k, self.beta.shape, dout.dtype) for k in ("dm", "ds", "df"))
        np.divide(self.dbeta, n, out=mean)
        np.divide(self.dgamma, n, out=slope)
        np.divide(self.gamma, self._deviation, out=factor)
        if loops := compiled.loops(dout.dtype):
            loops.scale_backward(dout, self._x, mean, slope, factor, dx)
            return dx
        np.subtract(dout, mean, out=dx)
        dx -= np.multiply(self._x, slope, out=get("product", dout.shape, dout.dtype))
        dx *= factor
        return dx

    def __repr__(self) -> str:
        return f"BatchNorm({len(self.gamma)})"


class Softmax(Layer):
    """y = eˣ / Σ eˣ over each row."""

    def forward(self, x: Array, training: bool = False) -> Array:
        y = softmax(x, out=self._output(x.shape, x.dtype, training))
        if training:
            self._y = y
        return y

    def backward(self, dout: Array) -> Array:
        """dx = y (dout - Σ y dout): each row's Jacobian, diag(y) - y yᵀ, times dout."""
        dx = np.multiply(self._y, dout, out=self._buffers.get("dx", dout.shape, dout.dtype))
        total = dx.sum(axis=1, keepdims=True)
        np.subtract(dout, total, out=dx)
        dx *= self._y
        return dx


class SoftmaxWithLoss:
    """The end of a classifier: softmax and mean cross-entropy in one, because together their
    gradient is simply (y - t) / N, with t one-hot (Bishop 2006, section 4.3.4).

    What is to be learnt is either labels (N,) or each class's probability (N, K), a teacher's, say
    (Hinton, Vinyals and Dean 2015).

    smoothing: that share of a label's probability is spread over all classes (Szegedy et al. 2016),
        in training alone.

    Raises ValueError if that is no share.
    """

    def __init__(self, smoothing: float = 0.0) -> None:
        if not 0 <= smoothing <= 1:
            raise ValueError(f"label smoothing of {smoothing}: a share from 0 to 1 is needed")
        self.smoothing = float(smoothing)
        self._buffers = Buffers()
        self._thread_buffers = ThreadBuffers()
        self.hits = 0  # how many of the last batch had their largest logit at the label

    def forward(self, x: Array, t: NDArray[Any]) -> float:
        """Logits (N, K), and labels (N,) or probabilities (N, K), to the mean cross-entropy in
        nats. Raises InputError if they are not as many of each."""
        if len(t) != len(x):
            raise InputError(f"{len(x):,} samples, but {len(t):,} labels")
        self._t = t
        if t.ndim == 2:
            return self._forward_soft(x, t)
        loops = compiled.loops(x.dtype) if x.flags.c_contiguous else None
        smoothing = self.smoothing
        loss, self.hits, self._exp, self._total = self._forward(
            x, t, self._buffers, loops, smoothing
        )
        return loss

    def evaluate(self, x: Array, t: NDArray[np.integer]) -> tuple[float, int]:
        """What `forward` returns without smoothing, and `hits`, without a trace in `self`."""
        return self._forward(x, t, self._thread_buffers)[:2]

    def _forward(
        self,
        x: Array,
        t: NDArray[np.integer],
        buffers: Buffers,
        loops: compiled.Loops | None = None,
        smoothing: float = 0.0,
    ) -> tuple[float, int, Array, Array]:
        """Loss, hits, the numerators (N, K) and the denominators (N,) of softmax."""
        n, classes = x.shape
        exp = buffers.get("exp", x.shape, x.dtype)
        if loops:
            shifted = buffers.get("shifted", (n,), x.dtype)
            labels = t.astype(np.int64, "C", "same_kind", copy=False)  # TypeError: no integers
            hits = loops.subtract_maximum(x, labels, exp, shifted)
        else:
            rows = np.arange(n)
            top = x.argmax(axis=1)
            hits = int(np.count_nonzero(top == t))
            np.subtract(x, x[rows, top][:, None], out=exp)
            shifted = exp[rows, t]
        if smoothing:
            shifted *= 1 - smoothing
            shifted += smoothing / classes * _row_sums(exp, buffers)
        np.exp(exp, out=exp)
        total = _row_sums(exp, buffers)
        losses = np.log(total, out=buffers.get("losses", (n,), x.dtype))
        losses -= shifted
        return float(losses.sum()) / n, hits, exp, total

    def _forward_soft(self, x: Array, t: Array) -> float:
        """`forward` with probabilities: Σ t (log Σ eˣ - x), where Σ t = 1."""
        exp = self._buffers.get("exp", x.shape, x.dtype)
        product = self._buffers.get("product", x.shape, x.dtype)
        top = x.argmax(axis=1)
        self.hits = int(np.count_nonzero(top == t.argmax(axis=1)))
        np.subtract(x, x[np.arange(len(x)), top][:, None], out=exp)
        expected = _row_sums(np.multiply(exp, t, out=product), self._buffers).copy()
        np.exp(exp, out=exp)
        self._exp, self._total = exp, _row_sums(exp, self._buffers)
        return float((np.log(self._total) - expected).sum()) / len(x)

    def backward(self) -> Array:
        """The gradient with respect to the logits, (N, K)."""
        exp, t, (n, classes) = self._exp, self._t, self._exp.shape
        dx = self._buffers.get("dx", exp.shape, exp.dtype)
        if t.ndim == 2:
            np.divide(exp, self._total[:, None], out=dx)
            dx -= t
            dx /= n
            return dx
        if loops := compiled.loops(exp.dtype):
            labels = np.ascontiguousarray(t, np.int64)
            loops.softmax_gradient(exp, self._total, labels, self.smoothing, dx)
            return dx
        np.divide(exp, self._total[:, None], out=dx)
        dx -= self.smoothing / classes
        dx[np.arange(n), t] -= 1 - self.smoothing
        dx /= n
        return dx


def _row_sums(x: Array, buffers: Buffers) -> Array:
    """Σ x over the classes: (N, K) to (N,)."""
    n, classes = x.shape
    ones = buffers.get("ones", (classes,), x.dtype, 1)
    return np.dot(x, ones, out=buffers.get("total", (n,), x.dtype))  # faster than np.sum
