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
from mlp.functions import sigmoid, softmax


class Layer:
    """What the layers of a `Module` have in common."""

    weights: ClassVar[tuple[str, ...]] = ()  # learnt attributes that L2 shrinks …
    biases: ClassVar[tuple[str, ...]] = ()  # … and those that it leaves alone
    input_gradient = True  # False: nobody needs backward's result (the first layer that learns)

    def __init__(self) -> None:
        self._buffers = Buffers()
        self._thread_buffers = ThreadBuffers()

    def forward(self, x: Array, training: bool = False) -> Array:
        raise NotImplementedError

    def backward(self, dout: Array) -> Array | None:
        raise NotImplementedError

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
        self.mean = mean
        self.std = std
        self.dtype = np.dtype(dtype)
        self._scale, self._shift = 1 / (255 * std), mean / std

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
    """

    weights = ("W",)
    biases = ("b",)

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        rng: np.random.Generator,
        init: Literal["he", "glorot"] = "he",
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        variance = 2 / inputs if init == "he" else 2 / (inputs + outputs)
        limit = math.sqrt(3 * variance)
        self.W: Array = rng.uniform(-limit, limit, (inputs, outputs)).astype(dtype)
        self.b: Array = np.zeros(outputs, dtype)
        self.dW: Array = np.zeros_like(self.W)
        self.db: Array = np.zeros_like(self.b)

    def forward(self, x: Array, training: bool = False) -> Array:
        y = self.product(x, training)
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
        ones = self._buffers.get("ones", (len(dout),), dout.dtype, 1)
        np.dot(ones, dout, out=self.db)  # faster than np.sum
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
    gradient is simply (y - t) / N, with t one-hot (Bishop 2006, section 4.3.4)."""

    def __init__(self) -> None:
        self._buffers = Buffers()
        self._thread_buffers = ThreadBuffers()
        self.hits = 0  # how many of the last batch had their largest logit at the label

    def forward(self, x: Array, t: NDArray[np.integer]) -> float:
        """Logits (N, K) and labels (N,) to the mean cross-entropy in nats."""
        loops = compiled.loops(x.dtype) if x.flags.c_contiguous else None
        loss, self.hits, self._exp, self._total = self._forward(x, t, self._buffers, loops)
        self._t = t
        return loss

    def evaluate(self, x: Array, t: NDArray[np.integer]) -> tuple[float, int]:
        """What `forward` returns and `hits`, without a trace in `self`."""
        return self._forward(x, t, self._thread_buffers)[:2]

    def _forward(
        self,
        x: Array,
        t: NDArray[np.integer],
        buffers: Buffers,
        loops: compiled.Loops | None = None,
    ) -> tuple[float, int, Array, Array]:
        """Loss, hits, the numerators (N, K) and the denominators (N,) of softmax."""
        n, classes = x.shape
        exp = buffers.get("exp", x.shape, x.dtype)
        total = buffers.get("total", (n,), x.dtype)
        if loops:
            shifted = buffers.get("shifted", (n,), x.dtype)
            hits = loops.shift(x, np.ascontiguousarray(t, np.int64), exp, shifted)
        else:
            rows = np.arange(n)
            top = x.argmax(axis=1)
            hits = int(np.count_nonzero(top == t))
            np.subtract(x, x[rows, top][:, None], out=exp)
            shifted = exp[rows, t]
        np.exp(exp, out=exp)
        ones = buffers.get("ones", (classes,), x.dtype, 1)
        np.dot(exp, ones, out=total)  # faster than np.sum on short rows
        losses = np.log(total, out=buffers.get("losses", (n,), x.dtype))
        losses -= shifted
        return float(losses.sum()) / n, hits, exp, total

    def backward(self) -> Array:
        """The gradient with respect to the logits, (N, K)."""
        exp, t, n = self._exp, self._t, len(self._exp)
        dx = self._buffers.get("dx", exp.shape, exp.dtype)
        if loops := compiled.loops(exp.dtype):
            loops.softmax_gradient(exp, self._total, np.ascontiguousarray(t, np.int64), dx)
            return dx
        np.divide(exp, self._total[:, None], out=dx)
        dx[np.arange(n), t] -= 1
        dx /= n
        return dx
