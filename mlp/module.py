"""Networks: a stack of layers over one flat vector of parameters."""

import copy
import itertools
import math
import operator
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mlp.arrays import Array, Rows, aligned_zeros
from mlp.checks import labels, normalisation, samples
from mlp.files import InputError, reason, short
from mlp.functions import softmax
from mlp.layers import (
    Affine,
    AffineReLU,
    BatchNorm,
    Dropout,
    Layer,
    Normalise,
    ReLU,
    Sigmoid,
    SoftmaxWithLoss,
)
from mlp.model_file import read_model_file, write_model_file

if TYPE_CHECKING:
    from mlp.metrics import MacroMicroAverage

Activation = Literal["relu", "sigmoid"]

BLOCK = 500  # rows that inference takes at a time, so that a block's activations stay in cache


class Module:
    """The base of any classifier that is a stack of layers, ending in `SoftmaxWithLoss`.

    All parameters stand in one contiguous vector, `params`: first the weights (`n_weights` of
    them), then the biases, then what is kept but not learnt (BatchNorm's averages). `learnt` is its
    part without the latter, and `grads` the gradient. The layers' W, b, dW and db are views, so an
    optimizer and L2 see two vectors and the layers see matrices.

    label_smoothing: as `SoftmaxWithLoss` takes it.

    `metadata` is any JSON-like dictionary that is to travel with the parameters in a model file.
    """

    def __init__(self, layers: Sequence[Layer], *, label_smoothing: float = 0.0) -> None:
        self.layers = list(layers)
        self._first = next(
            i for i, layer in enumerate(self.layers) if layer.weights or layer.biases
        )
        self.layers[self._first].input_gradient = False
        self._joined = _join(self.layers)  # what runs; all before `_first` stand where they stood
        self.last = SoftmaxWithLoss(label_smoothing)
        self.metadata: dict[str, Any] = {}
        self._flatten()

    def _flatten(self) -> None:
        """Move what the layers learn and keep into `params`, and the gradients into `grads`."""
        weights = [(layer, name) for layer in self.layers for name in layer.weights]
        biases = [(layer, name) for layer in self.layers for name in layer.biases]
        kept = [(layer, name) for layer in self.layers for name in layer.kept]
        arrays = weights + biases + kept
        sizes = [getattr(layer, name).size for layer, name in arrays]
        self.n_weights = sum(sizes[: len(weights)])
        n_learnt = sum(sizes[: len(weights) + len(biases)])
        dtype = getattr(*arrays[0]).dtype
        self.params: Array = aligned_zeros((sum(sizes),), dtype)
        self.learnt = self.params[:n_learnt]
        self.grads: Array = aligned_zeros((n_learnt,), dtype)
        for (layer, name), size, end in zip(arrays, sizes, np.cumsum(sizes), strict=True):
            start, value = int(end) - size, getattr(layer, name)
            self.params[start:end] = value.reshape(-1)
            setattr(layer, name, self.params[start:end].reshape(value.shape))
            if end <= n_learnt:
                setattr(layer, "d" + name, self.grads[start:end].reshape(value.shape))

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._flatten()  # in a copy, views have become arrays of their own

    def __copy__(self) -> Self:
        return copy.deepcopy(self)  # two networks cannot share layers

    @property
    def hits(self) -> int:
        """How many of the batch that `loss` saw last were guessed right."""
        return self.last.hits

    def forward(self, x: NDArray[Any] | Rows, training: bool = False) -> Array:
        """A batch (N, inputs) to logits (N, K), in a buffer that the next call writes over.

        training: remember what `backward` needs. Without it, threads do not disturb each other.
        """
        if isinstance(x, Rows) and not isinstance(self.layers[0], Normalise):
            x = x.gather()
        y: Any = x
        for layer in self._joined:
            y = layer.forward(y, training)
        return y

    def loss(self, x: NDArray[Any] | Rows, t: NDArray[Any]) -> float:
        """Mean cross-entropy, in nats, of a batch x (N, inputs) with labels t (N,) or each class's
        probability t (N, K)."""
        return self.last.forward(self.forward(x, training=True), t)

    def backward(self) -> None:
        """Fill `grads` with the gradient of what `loss` returned last."""
        dout: Array | None = self.last.backward()
        for layer in reversed(self._joined[self._first :]):
            assert dout is not None
            dout = layer.backward(dout)

    def generators(self) -> list[np.random.Generator]:
        """What the layers draw from in training."""
        return [layer.rng for layer in self.layers if isinstance(layer, Dropout)]

    def l2_norm(self) -> float:
        """‖W‖₂ over the weights of all layers, without the biases."""
        weights = self.params[: self.n_weights]
        return math.sqrt(np.dot(weights, weights))

    def predict_logits(self, x: NDArray[Any]) -> Array:
        """What softmax turns into probabilities: samples (N, inputs) to (N, K).

        Raises InputError if the samples have another number of features than the network inputs.
        """
        return np.concatenate([self.forward(block).copy() for block in self._blocks(x)])

    def predict_proba(self, x: NDArray[Any]) -> Array:
        """The probability of each class: samples (N, inputs) to (N, K). Raises as
        `predict_logits`."""
        return softmax(self.predict_logits(samples(x, self.sizes()[0])))

    def predict(self, x: NDArray[Any]) -> NDArray[np.int64]:
        """The most probable class of samples (N, inputs): (N,). Raises as `predict_proba`."""
        return self.predict_proba(x).argmax(axis=1)

    def evaluate(self, x: NDArray[Any], t: NDArray[np.integer]) -> tuple[float, float]:
        """Loss (mean cross-entropy, in nats) and accuracy on samples x (N, inputs), labels t (N,).

        Raises InputError as `mlp.checks.samples` and `labels` do.
        """
        x = samples(x, self.sizes()[0])
        return self.evaluate_logits(self.predict_logits(x), t)

    def evaluate_logits(self, logits: Array, t: NDArray[np.integer]) -> tuple[float, float]:
        """`evaluate` without a pass of its own: from what `predict_logits` gave for the samples.

        Raises InputError as `mlp.checks.labels` does.
        """
        t = labels(t, count=len(logits), classes=logits.shape[1])
        loss, hits = 0.0, 0
        for start in range(0, len(t), BLOCK):
            block = logits[start : start + BLOCK]
            block_loss, block_hits = self.last.evaluate(block, t[start : start + BLOCK])
            loss += len(block) * block_loss
            hits += block_hits
        return loss / len(t), hits / len(t)

    def compute_accuracy(self, x: NDArray[Any], t: NDArray[np.integer]) -> float:
        """Share of the samples x (N, inputs) that are guessed as t (N,) says."""
        return self.evaluate(x, t)[1]

    def compute_macro_micro_avg(
        self, x: NDArray[Any], t: NDArray[np.integer]
    ) -> "MacroMicroAverage":
        """Macro and micro precision, recall and F1 on samples x (N, inputs) with labels t (N,)."""
        from mlp.metrics import confusion_matrix, macro_micro_average  # no part of training

        y = self.predict_proba(x)
        return macro_micro_average(confusion_matrix(t, y.argmax(axis=1), y.shape[1]))

    def architecture(self) -> dict[str, Any]:
        """What `save_parameters` writes of the network's shape."""
        return {"layers": [repr(layer) for layer in self.layers]}

    def save_parameters(self, path: str | Path) -> None:
        """Write a model file: `.npz` with one array per parameter (Affine1.W, Affine1.b, …) and
        the entry `json`, which holds the architecture and `metadata`."""
        header = {"architecture": self.architecture(), "metadata": self.metadata}
        write_model_file(path, header, dict(self._named_parameters()))

    def load_parameters(self, path: str | Path) -> None:
        """Fill `params` and `metadata` from a model file; the views of the layers stay as they are.

        Raises InputError if the file is no model file or is of another architecture, and
        changes nothing then.
        """
        header, arrays = read_model_file(path)
        mine = dict(self._named_parameters())
        found, expected = ({k: v.shape for k, v in some.items()} for some in (arrays, mine))
        if found != expected:
            shapes = f"{short(found)}; this network: {short(expected)}"
            raise InputError(f"{path}: a model of another shape: {shapes}")
        if header["architecture"] != self.architecture():
            other = short(header["architecture"])
            raise InputError(f"{path}: a model of another architecture: {other}")
        most = float(np.finfo(self.params.dtype).max)
        if any(float(np.abs(array).max(initial=0)) > most for array in arrays.values()):
            raise InputError(f"{path}: numbers beyond {self.params.dtype}, which this network has")
        for name, array in arrays.items():
            mine[name][...] = array
        self.metadata = header["metadata"]

    def __repr__(self) -> str:
        lines = []
        for layer in self.layers:
            size = sum(getattr(layer, name).size for name in (*layer.weights, *layer.biases))
            lines.append(f"  {layer!r:24}{f'{size:,}' if size else '':>10}".rstrip())
        total = f"{self.learnt.size:,} parameters, {self.params.dtype}"
        return "\n".join([f"{type(self).__name__}(", *lines, f")  {total}"])

    def _named_parameters(self) -> Iterator[tuple[str, Array]]:
        numbers: Counter[str] = Counter()
        for layer in self.layers:
            kind = type(layer).__name__
            numbers[kind] += 1
            for name in (*layer.weights, *layer.biases, *layer.kept):
                yield f"{kind}{numbers[kind]}.{name}", getattr(layer, name)

    def sizes(self) -> tuple[int, int]:
        """How many features a sample has, and how many classes there are."""
        affine = [layer for layer in self.layers if isinstance(layer, Affine)]
        return affine[0].W.shape[0], affine[-1].W.shape[1]

    def _blocks(self, x: NDArray[Any]) -> Iterator[NDArray[Any]]:
        x, features = np.asanyarray(x), self.sizes()[0]
        if x.ndim != 2 or x.shape[1] != features:
            raise InputError(f"samples of shape {x.shape}: this network takes (N, {features})")
        takes_bytes = isinstance(self.layers[0], Normalise)
        if takes_bytes and x.dtype.kind == "f" and x.size and 0 < x.max() <= 1:
            warnings.warn(
                "pixels between 0 and 1, but this network takes 0 to 255: multiply by 255",
                stacklevel=3,
            )
        for start in range(0, max(len(x), 1), BLOCK):
            yield x[start : start + BLOCK]


def _join(layers: Sequence[Layer]) -> list[Layer]:
    """The layers, each `Affine` and the `ReLU` after it as one."""
    joined: list[Layer] = []
    for layer in layers:
        if isinstance(layer, ReLU) and joined and isinstance(joined[-1], Affine):
            joined[-1] = AffineReLU(joined[-1], layer)
        else:
            joined.append(layer)
    return joined


class MLP(Module):
    """A multi-layer perceptron: Affine and activation for each hidden size, then Affine to logits.

    `MLP(784, [256, 64], 10, rng=rng)` is 784 → 256 → 64 → 10. Weights before a ReLU are
    initialised after He et al. (2015), the others after Glorot and Bengio (2010).

    normalisation: the arguments of a `Normalise` layer in front, for inputs that are pixels.
    batch_norm: a `BatchNorm` before each activation.
    input_dropout, dropout: rates of a `Dropout` of the inputs and after each activation, which draw
        from `rng`.
    label_smoothing: as `SoftmaxWithLoss` takes it.

    Raises ValueError for an unknown activation, and for a rate or a share that is none.
    """

    def __init__(
        self,
        input_size: int,
        hidden_sizes: Sequence[int],
        output_size: int,
        *,
        activation: Activation = "relu",
        normalisation: Mapping[str, float] | None = None,
        batch_norm: bool = False,
        input_dropout: float = 0.0,
        dropout: float = 0.0,
        label_smoothing: float = 0.0,
        rng: np.random.Generator,
        dtype: DTypeLike = np.float32,
    ) -> None:
        if activation not in ("relu", "sigmoid"):
            raise ValueError(f"activation {activation!r}: relu and sigmoid are known")
        # Python's own numbers, which a model file takes
        self.input_size = input_size = operator.index(input_size)
        self.hidden_sizes = [operator.index(size) for size in hidden_sizes]
        self.output_size = output_size = operator.index(output_size)
        self.activation = activation
        self.normalisation = (
            {k: float(v) for k, v in normalisation.items()} if normalisation else None
        )
        self.batch_norm = batch_norm
        layers: list[Layer] = []
        if self.normalisation:
            layers.append(Normalise(**self.normalisation, dtype=dtype))
        if input_dropout:
            layers.append(Dropout(input_dropout, rng=rng))
        init: Literal["he", "glorot"] = "he" if activation == "relu" else "glorot"
        inputs = input_size
        for outputs in self.hidden_sizes:
            layers.append(
                Affine(inputs, outputs, rng=rng, init=init, bias=not batch_norm, dtype=dtype)
            )
            if batch_norm:
                layers.append(BatchNorm(outputs, dtype=dtype))
            layers.append(ReLU() if activation == "relu" else Sigmoid())
            if dropout:
                layers.append(Dropout(dropout, rng=rng))
            inputs = outputs
        layers.append(Affine(inputs, output_size, rng=rng, init="glorot", dtype=dtype))
        super().__init__(layers, label_smoothing=label_smoothing)

    def architecture(self) -> dict[str, Any]:
        return {
            "input_size": self.input_size,
            "hidden_sizes": self.hidden_sizes,
            "output_size": self.output_size,
            "activation": self.activation,
            "normalisation": self.normalisation,
            **({"batch_norm": True} if self.batch_norm else {}),
        }

    @classmethod
    def from_file(cls, path: str | Path) -> "MLP":
        """The network that a model file describes, with its parameters and metadata.

        Raises InputError if the file is no model file.
        """
        header, arrays = read_model_file(path)
        architecture = header["architecture"]
        try:
            sizes = [architecture["input_size"], *architecture["hidden_sizes"]]
            sizes.append(architecture["output_size"])
            if any(type(size) is not int or size < 1 for size in sizes):
                raise TypeError("a size is no whole number from 1 up")
            # weights, counted before memory is taken; `load_parameters` compares each shape
            needed = sum(inputs * outputs for inputs, outputs in itertools.pairwise(sizes))
            if len(sizes) - 1 > len(arrays):
                raise ValueError(f"{len(sizes) - 1:,} layers, but {len(arrays):,} arrays")
            if needed > (found := sum(array.size for array in arrays.values())):
                raise ValueError(f"a model of another shape: its arrays hold {found:,} numbers")
            normalisation(architecture.get("normalisation"))
            # the draws are written over at once
            dtype = np.result_type(np.float32, *arrays.values())
            model = cls(**architecture, rng=np.random.default_rng(0), dtype=dtype)
        except (LookupError, TypeError, ValueError, ArithmeticError) as error:
            raise InputError(
                f"{path}: a model file, but not of an MLP: {short(architecture)} ({reason(error)})"
            ) from error
        model.load_parameters(path)
        return model
