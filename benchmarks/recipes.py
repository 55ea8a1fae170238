"""The whole recipe, `train` in params.yaml, on 256-64, by this package, PyTorch and JAX.

All draw the order of the images and their variants from the same generator, so that without
dropout, whose noise is each library's own, they train the same weights but for rounding: `drift`
tells. Adam shrinks the weights apart from the gradient, and its rate follows a cosine step by step.
"""

import functools
import itertools
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import peers
from mlp.augment import Augmentation
from mlp.data import Dataset, Problem
from mlp.recipe import Recipe, make_trainer
from mlp.schedule import Cosine
from mlp.trainer import Trainer

RECIPE = Recipe(
    hidden_sizes=(256, 64),
    lr=0.0013,
    epochs=160,
    batch_size=128,
    schedule="cosine",
    warmup=0.02,
    weight_decay=0.1,
    label_smoothing=0.05,
    flip=True,
    shift=1,
    input_dropout=0.05,
)
PLAIN = peers.Setting(*RECIPE.hidden_sizes, RECIPE.batch_size)  # the same network and batches
TEXT = f"{PLAIN}, cosine, flips, shifts, label smoothing, input dropout, decoupled weight decay"
SURE = replace(RECIPE, input_dropout=0.0)  # what `drift` is measured with
SURE_IMAGES = 20 * RECIPE.batch_size + 1  # a last, smaller batch too


@functools.cache
def problem(images: int | None) -> Problem:
    train, val = peers.in_memory()
    classes = tuple(map(str, range(peers.CLASSES)))
    train = Dataset(train.x[:images], train.t[:images])
    return Problem(train, val, classes, (28, 28), peers.normalisation())


def with_background(x: np.ndarray, augmentation: Augmentation) -> np.ndarray:
    """Images x (N, pixels) with one more pixel, which `Contestant.sources` know as the last."""
    return np.pad(x, [(0, 0), (0, 1)], constant_values=int(augmentation.background))


class Contestant:
    """What the contestants share: this package's trainer, for the first weights, the draws and the
    rates of the steps, and which pixel each pixel of a variant comes from."""

    def __init__(self, recipe: Recipe, images: int | None = None) -> None:
        self.recipe = recipe
        self.trainer: Trainer = make_trainer(recipe, problem(images), seed=peers.SEED)
        self.train, self.val = problem(images)[:2]
        self.epochs = 0
        assert self.trainer.augmentation is not None
        self.augmentation: Augmentation = self.trainer.augmentation
        self.sources = self.augmentation._sources % (self.train.x.shape[1] + 1)  # -1 is the last
        self.least = round(256 * recipe.input_dropout)  # an input whose byte is lower is dropped
        self.first = [p.copy() for p in self.own()]

    def own(self) -> list[np.ndarray]:
        """W and b of each layer of the trainer's network."""
        layers = [layer for layer in self.trainer.model.layers if layer.weights]
        return [array for layer in layers for array in (layer.W, layer.b)]

    def draw(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """An epoch's order and variants of the images, and the rate of each step."""
        n, rng = len(self.train.t), self.trainer.rng
        order = rng.permutation(n)
        steps = -(-n // self.recipe.batch_size)
        cosine = Cosine(self.recipe.epochs, self.recipe.warmup)
        rates = [self.recipe.lr * cosine(self.epochs + (k + 0.5) / steps) for k in range(steps)]
        self.epochs += 1
        return order, self.augmentation.draw(n, rng), np.array(rates, "float32")


class Ours(Contestant):
    def epoch(self) -> float:
        start = perf_counter()
        self.trainer.optimizer.epoch = self.epochs
        with threadpool_limits(1, user_api="blas"), np.errstate(all="ignore"):
            self.trainer._train_on_batches()
        self.epochs += 1
        return perf_counter() - start

    def accuracy(self) -> float:
        return self.trainer.model.compute_accuracy(*self.val)

    def weights(self) -> list[np.ndarray]:
        return self.own()


class Torch(Contestant):
    """PyTorch, eager, fused AdamW. A batch is augmented by one `gather`, in half of the time that
    slices of padded images take; noise is bytes, eight to a word, because `nn.Dropout` takes twenty
    times as long to draw."""

    def __init__(self, recipe: Recipe, images: int | None = None) -> None:
        import torch
        from torch import nn

        torch.set_num_threads(1)
        torch.manual_seed(peers.SEED)
        super().__init__(recipe, images)
        self.torch = torch
        sizes = (784, *recipe.hidden_sizes, peers.CLASSES)
        self.linear = [nn.Linear(*pair) for pair in itertools.pairwise(sizes)]
        with torch.no_grad():
            for layer, W, b in zip(self.linear, self.first[::2], self.first[1::2], strict=True):
                layer.weight.copy_(torch.from_numpy(W.T))
                layer.bias.copy_(torch.from_numpy(b))
        hidden = [module for layer in self.linear[:-1] for module in (layer, nn.ReLU(inplace=True))]
        self.net = nn.Sequential(*hidden, self.linear[-1])
        self.mean, self.std = (255 * peers.normalisation()[name] for name in ("mean", "std"))
        weights, biases = ([getattr(k, name) for k in self.linear] for name in ("weight", "bias"))
        self.adam = torch.optim.AdamW(
            [
                {"params": weights, "weight_decay": recipe.weight_decay},
                {"params": biases, "weight_decay": 0.0},
            ],
            fused=True,
        )
        self.x = torch.from_numpy(with_background(self.train.x, self.augmentation))
        self.t = torch.from_numpy(self.train.t)
        self.sources = torch.from_numpy(self.sources.astype("int64"))

    def inputs(self, x: Any) -> Any:
        """Bytes to numbers around zero, some of them dropped."""
        if not self.least:
            return (x - self.mean) / self.std
        words = self.torch.empty(x.numel() // 8, dtype=self.torch.int64).random_(-(2**63), None)
        seen = words.view(self.torch.uint8).view(x.shape) >= self.least
        return (x - self.mean).div_(self.std * (1 - self.least / 256)).mul_(seen)

    def epoch(self) -> float:
        start = perf_counter()
        order, variants, rates = self.draw()
        size, torch = self.recipe.batch_size, self.torch
        batches = zip(
            rates.tolist(),
            torch.from_numpy(order).split(size),
            torch.from_numpy(variants).split(size),
            strict=True,
        )
        for rate, index, variant in batches:
            x = self.x.index_select(0, index).gather(1, self.sources.index_select(0, variant))
            for group in self.adam.param_groups:
                group["lr"] = rate
            self.adam.zero_grad()
            loss = torch.nn.functional.cross_entropy(
                self.net(self.inputs(x)),
                self.t[index],
                label_smoothing=self.recipe.label_smoothing,
            )
            loss.backward()
            self.adam.step()
        return perf_counter() - start

    def accuracy(self) -> float:
        x, t = map(self.torch.from_numpy, self.val)
        with self.torch.inference_mode():
            return float((self.net((x - self.mean) / self.std).argmax(1) == t).float().mean())

    def weights(self) -> list[np.ndarray]:
        return [p.detach().numpy().T for k in self.linear for p in (k.weight, k.bias)]


class Jax(Contestant):
    """JAX: an epoch is one compiled `lax.scan`. A batch is augmented by one gather, in a small
    part of the time that selections among slices take; noise is bytes, four to a word of the
    default generator, in less than a third of the time of bytes drawn one by one."""

    def __init__(self, recipe: Recipe, images: int | None = None) -> None:
        import jax

        super().__init__(recipe, images)
        self.jax = jax
        params = [
            (jax.numpy.array(W), jax.numpy.array(b))
            for W, b in zip(self.first[::2], self.first[1::2], strict=True)
        ]
        zeros = functools.partial(jax.tree.map, jax.numpy.zeros_like)
        key = jax.random.key(peers.SEED)
        self.state = params, zeros(params), zeros(params), jax.numpy.zeros((), int), key
        x = with_background(self.train.x, self.augmentation)
        self.data = tuple(map(jax.numpy.array, (x, self.train.t)))
        n = len(self.train.t)
        order, rates = np.arange(n), np.zeros(-(-n // recipe.batch_size), "float32")
        start = perf_counter()
        self.run = (
            jax.jit(self._epoch, donate_argnums=0)
            .lower(self.state, *self.data, order, order, rates)
            .compile()
        )
        self.compile_seconds = perf_counter() - start

    def _loss(self, params: Any, x: Any, t: Any) -> Any:
        jax, jnp, smoothing = self.jax, self.jax.numpy, self.recipe.label_smoothing
        for W, b in params[:-1]:
            x = jax.nn.relu(x @ W + b)
        W, b = params[-1]
        log_p = jax.nn.log_softmax(x @ W + b)
        right = jnp.take_along_axis(log_p, t[:, None], 1).mean()
        return -(1 - smoothing) * right - smoothing * log_p.mean()

    def _epoch(self, state: Any, x: Any, t: Any, order: Any, variants: Any, rates: Any) -> Any:
        jax, jnp, recipe = self.jax, self.jax.numpy, self.recipe
        normalisation = peers.normalisation()
        sources, least = jnp.array(self.sources), self.least

        def step(state: Any, drawn: Any) -> Any:
            params, m, v, steps, key = state
            index, variant, lr = drawn
            shown = jnp.take_along_axis(x[index], sources[variant], 1)
            shown = (shown / 255 - normalisation["mean"]) / normalisation["std"]
            if least:
                key, other = jax.random.split(key)
                words = jax.random.bits(other, (shown.size // 4,), "uint32")
                seen = jax.lax.bitcast_convert_type(words, "uint8").reshape(shown.shape) >= least
                shown = jnp.where(seen, shown / (1 - least / 256), 0)
            grads = jax.grad(self._loss)(params, shown, t[index])
            steps += 1
            m = jax.tree.map(lambda m, g: peers.BETA1 * m + (1 - peers.BETA1) * g, m, grads)
            v = jax.tree.map(lambda v, g: peers.BETA2 * v + (1 - peers.BETA2) * g * g, v, grads)
            scale1, scale2 = 1 - peers.BETA1**steps, 1 - peers.BETA2**steps
            kept = 1 - lr * recipe.weight_decay
            params = [(W * kept, b) for W, b in params]
            params = jax.tree.map(
                lambda p, m, v: p - lr * (m / scale1) / (jnp.sqrt(v / scale2) + peers.EPS),
                params,
                m,
                v,
            )
            return (params, m, v, steps, key), None

        size = recipe.batch_size
        full = len(order) // size * size
        batches = order[:full].reshape(-1, size), variants[:full].reshape(-1, size)
        state, _ = jax.lax.scan(step, state, (*batches, rates[: full // size]))
        if full < len(order):
            state, _ = step(state, (order[full:], variants[full:], rates[-1]))
        return state

    def epoch(self) -> float:
        start = perf_counter()
        self.state = self.run(self.state, *self.data, *self.draw())
        self.jax.block_until_ready(self.state)
        return perf_counter() - start

    def accuracy(self) -> float:
        return float(peers._jax_accuracy()(self.state[0], *self.val))

    def weights(self) -> list[np.ndarray]:
        return [np.array(p) for pair in self.state[0] for p in pair]


PEERS = {"Ours": Ours, "OursPlain": Ours, "OursPinned": Ours, "TorchFused": Torch, "Jax": Jax}


def drift(peer: str) -> float:
    """How far a peer's weights are from this package's after an epoch of 21 steps without dropout,
    as a share of how far these have moved."""
    ours, other = Ours(SURE, SURE_IMAGES), PEERS[peer](SURE, SURE_IMAGES)
    ours.epoch()
    other.epoch()
    end, start, theirs = (
        np.concatenate([p.reshape(-1) for p in arrays])
        for arrays in (ours.weights(), ours.first, other.weights())
    )
    return float(np.linalg.norm(theirs - end) / np.linalg.norm(end - start))
