"""The contestants, one class each: the same network, data, batches, optimizer and first weights.

An `epoch` is shuffling, gathering batches, loss, gradient and Adam, L2 on the weights alone;
nothing is evaluated. Batches come in the same order to all but scikit-learn, which shuffles
itself. They are drawn from bytes and then normalised, which makes PyTorch and JAX faster too;
scikit-learn and the textbook have all images normalised before. Every class but `Ours` does no more
than a user of that library would write.
"""

import functools
import itertools
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from mlp import compiled
from mlp.data import Dataset, load_dataset
from mlp.files import read_json
from mlp.layers import Normalise
from mlp.module import MLP
from mlp.optimizer import Adam
from mlp.trainer import Trainer

DATA = Path("data/processed")
CLASSES = 10
SEED = 42
BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


class Setting(NamedTuple):
    """One training: network, batch size, Adam's learning rate and L2."""

    hidden_size1: int
    hidden_size2: int
    batch_size: int = 100
    lr: float = 0.001
    l2_reg: float = 1e-4

    def __str__(self) -> str:
        return f"{self.hidden_size1}-{self.hidden_size2}, batch {self.batch_size}"


@functools.cache
def load(name: str) -> Dataset:
    return load_dataset(DATA, name)


@functools.cache
def normalisation() -> dict[str, float]:
    return read_json(DATA / "meta.json")["normalisation"]


@functools.cache
def in_memory() -> tuple[Dataset, Dataset]:
    """Training and validation set as arrays that no file backs, for libraries that want that."""
    return tuple(Dataset(*map(np.array, load(name))) for name in ("train", "val"))


@functools.cache
def normalised(dtype: str) -> tuple[Dataset, Dataset]:
    """… normalised, for those that do not normalise batch by batch."""
    return tuple(
        Dataset(Normalise(**normalisation(), dtype=dtype).forward(x), t) for x, t in in_memory()
    )


def join(*parts: Dataset) -> Dataset:
    return Dataset(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def network(setting: Setting) -> MLP:
    return MLP(
        784,
        [setting.hidden_size1, setting.hidden_size2],
        CLASSES,
        normalisation=normalisation(),
        rng=np.random.default_rng(SEED),
    )


def first_weights(setting: Setting) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(layer.W, layer.b) for layer in network(setting).layers if layer.weights]


class Ours:
    """This package, its arithmetic compiled. Its epoch also counts hits and takes gradients' norms,
    for `History`. Raises ModuleNotFoundError if numba is not installed."""

    compiled = True

    def __init__(self, setting: Setting, images: int | None = None) -> None:
        # None also where numba is forbidden, by whoever started the process
        if (compiled.loops(np.dtype("float32")) is not None) != self.compiled:
            raise ModuleNotFoundError("numba is not installed")
        train = load("train")
        if images is not None and images > len(train.t):  # all there are
            train = Dataset(
                *(np.concatenate(pair) for pair in zip(train, load("val"), strict=True))
            )
        self.trainer = Trainer(
            network(setting),
            Adam(setting.lr, l2_reg=setting.l2_reg),
            Dataset(train.x[:images], train.t[:images]),
            load("val"),
            batch_size=setting.batch_size,
            rng=np.random.default_rng(SEED),
        )

    def epoch(self) -> float:
        start = perf_counter()
        with threadpool_limits(1, user_api="blas"), np.errstate(all="ignore"):
            self.trainer._train_on_batches()
        return perf_counter() - start

    def accuracy(self) -> float:
        return self.trainer.model.compute_accuracy(*self.trainer.val)


class OursPlain(Ours):
    """This package as it runs without numba, which is up to who starts the process."""

    compiled = False


class OursPinned(Ours):
    """This package on the kernels that the pipeline pins, which is up to who starts the process."""


class Torch:
    """PyTorch, eager, its default Adam (a loop over the parameters)."""

    fused: bool | None = None

    def __init__(self, setting: Setting) -> None:
        import torch
        from torch import nn

        torch.set_num_threads(1)
        self.torch = torch
        self.batch_size = setting.batch_size
        self.rng = np.random.default_rng(SEED)
        self.train, self.val = (Dataset(*map(torch.from_numpy, data)) for data in in_memory())
        sizes = (784, setting.hidden_size1, setting.hidden_size2, CLASSES)
        linear = [nn.Linear(*pair) for pair in itertools.pairwise(sizes)]
        with torch.no_grad():
            for layer, (W, b) in zip(linear, first_weights(setting), strict=True):
                layer.weight.copy_(torch.from_numpy(W.T))
                layer.bias.copy_(torch.from_numpy(b))
        self.net = nn.Sequential(linear[0], nn.ReLU(), linear[1], nn.ReLU(), linear[2])
        self.mean, self.std = (255 * normalisation()[name] for name in ("mean", "std"))
        self.adam = torch.optim.Adam(
            [
                {"params": [layer.weight for layer in linear], "weight_decay": setting.l2_reg},
                {"params": [layer.bias for layer in linear], "weight_decay": 0.0},
            ],
            lr=setting.lr,
            fused=self.fused,
        )

    def epoch(self) -> float:
        start = perf_counter()
        x, t = self.train
        order = self.torch.from_numpy(self.rng.permutation(len(t)))
        for index in order.split(self.batch_size):
            self.adam.zero_grad()
            logits = self.net((x[index] - self.mean) / self.std)
            loss = self.torch.nn.functional.cross_entropy(logits, t[index])
            loss.backward()
            self.adam.step()
        return perf_counter() - start

    def accuracy(self) -> float:
        with self.torch.inference_mode():
            logits = self.net((self.val.x - self.mean) / self.std)
            return float((logits.argmax(1) == self.val.t).float().mean())


class TorchFused(Torch):
    """PyTorch, eager, its Adam of one fused kernel."""

    fused = True


class Jax:
    """JAX: an epoch is one compiled `lax.scan`, with lr and l2_reg as arguments, so that it is
    compiled once a shape. `compile_seconds` are apart."""

    def __init__(self, setting: Setting) -> None:
        import jax

        self.jax = jax
        self.setting = setting
        self.rng = np.random.default_rng(SEED)
        self.train, self.val = _jax_data()
        params = [(jax.numpy.array(W), jax.numpy.array(b)) for W, b in first_weights(setting)]
        zeros = functools.partial(jax.tree.map, jax.numpy.zeros_like)
        self.state = params, zeros(params), zeros(params), jax.numpy.zeros((), int)
        shape = setting.hidden_size1, setting.hidden_size2, setting.batch_size
        start = perf_counter()
        self.run = _jax_epoch(*shape)
        self.compile_seconds = perf_counter() - start

    def epoch(self) -> float:
        start = perf_counter()
        order = self.rng.permutation(len(self.train.t))
        self.state = self.run(self.state, *self.train, order, self.setting.lr, self.setting.l2_reg)
        self.jax.block_until_ready(self.state)
        return perf_counter() - start

    def accuracy(self) -> float:
        return float(_jax_accuracy()(self.state[0], *self.val))


@functools.cache
def _jax_data() -> tuple[Dataset, Dataset]:
    import jax

    return tuple(Dataset(*map(jax.numpy.array, data)) for data in in_memory())


def _jax_forward(params: Any, x: Any) -> Any:
    import jax

    x = (x / 255 - normalisation()["mean"]) / normalisation()["std"]
    for W, b in params[:-1]:
        x = jax.nn.relu(x @ W + b)
    W, b = params[-1]
    return x @ W + b


@functools.cache
def _jax_accuracy() -> Any:
    import jax

    return jax.jit(lambda params, x, t: (_jax_forward(params, x).argmax(1) == t).mean())


@functools.cache
def _jax_epoch(hidden_size1: int, hidden_size2: int, batch_size: int) -> Any:
    """(state, x, t, order, lr, l2_reg) -> state, compiled for a network and a batch size."""
    import jax
    from jax import numpy as jnp

    def loss(params: Any, x: Any, t: Any) -> Any:
        log_p = jax.nn.log_softmax(_jax_forward(params, x))
        return -jnp.take_along_axis(log_p, t[:, None], 1).mean()

    def epoch(state: Any, x: Any, t: Any, order: Any, lr: Any, l2_reg: Any) -> Any:
        def step(state: Any, index: Any) -> Any:
            params, m, v, steps = state
            grads = jax.grad(loss)(params, x[index], t[index])
            grads = [(dW + l2_reg * W, db) for (dW, db), (W, _) in zip(grads, params, strict=True)]
            steps += 1
            m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, grads)
            v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, grads)
            scale1, scale2 = 1 - BETA1**steps, 1 - BETA2**steps
            params = jax.tree.map(
                lambda p, m, v: p - lr * (m / scale1) / (jnp.sqrt(v / scale2) + EPS), params, m, v
            )
            return (params, m, v, steps), None

        full = len(order) // batch_size * batch_size
        state, _ = jax.lax.scan(step, state, order[:full].reshape(-1, batch_size))
        return step(state, order[full:])[0] if full < len(order) else state

    sizes = (784, hidden_size1, hidden_size2, CLASSES)
    params = [(jnp.zeros(p), jnp.zeros(p[1])) for p in itertools.pairwise(sizes)]
    train = _jax_data()[0]
    order = np.arange(len(train.t))
    arguments = (params, params, params, jnp.zeros((), int)), *train, order, 0.1, 0.1
    return jax.jit(epoch, donate_argnums=0).lower(*arguments).compile()


class Sklearn:
    """scikit-learn's MLPClassifier, an epoch being one `partial_fit`. Its own first weights and
    order of batches; it divides alpha by the batch size, so alpha = l2_reg · batch size."""

    def __init__(self, setting: Setting) -> None:
        from sklearn.neural_network import MLPClassifier

        self.train, self.val = normalised("float32")
        self.net = MLPClassifier(
            (setting.hidden_size1, setting.hidden_size2),
            alpha=setting.l2_reg * setting.batch_size,
            batch_size=setting.batch_size,
            learning_rate_init=setting.lr,
            random_state=np.random.RandomState(SEED),  # it takes no Generator
        )

    def epoch(self) -> float:
        start = perf_counter()
        self.net.partial_fit(*self.train, classes=np.arange(CLASSES))
        return perf_counter() - start

    def accuracy(self) -> float:
        return self.net.score(*self.val)


class Textbook:
    """The loop that a textbook prints: NumPy in float64, a new array for every result."""

    def __init__(self, setting: Setting) -> None:
        self.train, self.val = normalised("float64")
        self.setting = setting
        self.rng = np.random.default_rng(SEED)
        self.params = [p.astype("float64") for pair in first_weights(setting) for p in pair]
        self.m = [np.zeros_like(p) for p in self.params]
        self.v = [np.zeros_like(p) for p in self.params]
        self.steps = 0

    def forward(self, x: np.ndarray) -> list[np.ndarray]:
        W1, b1, W2, b2, W3, b3 = self.params
        a1 = np.maximum(x @ W1 + b1, 0)
        a2 = np.maximum(a1 @ W2 + b2, 0)
        return [x, a1, a2, a2 @ W3 + b3]

    def gradient(self, x: np.ndarray, t: np.ndarray) -> list[np.ndarray]:
        *inputs, logits = self.forward(x)
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        dout = (p - np.eye(CLASSES)[t]) / len(t)
        grads = []
        for i in (2, 1, 0):
            a, W = inputs[i], self.params[2 * i]
            grads = [a.T @ dout + self.setting.l2_reg * W, dout.sum(axis=0), *grads]
            if i:
                dout = (dout @ W.T) * (a > 0)
        return grads

    def epoch(self) -> float:
        start = perf_counter()
        x, t = self.train
        order = self.rng.permutation(len(t))
        for i in range(0, len(t), self.setting.batch_size):
            index = order[i : i + self.setting.batch_size]
            grads = self.gradient(x[index], t[index])
            self.steps += 1
            for k, g in enumerate(grads):
                self.m[k] = BETA1 * self.m[k] + (1 - BETA1) * g
                self.v[k] = BETA2 * self.v[k] + (1 - BETA2) * g * g
                m = self.m[k] / (1 - BETA1**self.steps)
                v = self.v[k] / (1 - BETA2**self.steps)
                self.params[k] = self.params[k] - self.setting.lr * m / (np.sqrt(v) + EPS)
        return perf_counter() - start

    def accuracy(self) -> float:
        return float(np.mean(self.forward(self.val.x)[-1].argmax(axis=1) == self.val.t))
