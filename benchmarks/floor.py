"""The floor: the matrix products of a training, and nothing else, on its very own buffers."""

from time import perf_counter
from unittest import mock

import numpy as np
from threadpoolctl import threadpool_limits

from mlp.arrays import Array
from mlp.trainer import Trainer

Product = tuple[Array, Array, Array]  # a, b and out of np.matmul


def floor(trainer: Trainer) -> float:
    """Seconds that the products of one epoch take: each batch is gathered and normalised as in
    training, off the clock, and the products that a step makes are made again, on the clock."""
    seconds = 0.0
    products: dict[int, list[Product]] = {}
    with threadpool_limits(1, user_api="blas"):
        for x, t in trainer._batches.shuffled(np.random.default_rng(0)):
            if len(t) not in products:  # the last batch may be smaller
                products[len(t)] = record(trainer, x, t)
            trainer.model.layers[0].forward(x, training=True)
            start = perf_counter()
            for a, b, out in products[len(t)]:
                np.matmul(a, b, out=out)
            seconds += perf_counter() - start
    return seconds


def record(trainer: Trainer, x: Array, t: Array) -> list[Product]:
    """The operands of all products of a step on the batch x, t, which changes no parameter."""
    products: list[Product] = []
    matmul = np.matmul

    def recorder(a: Array, b: Array, out: Array) -> Array:
        products.append((a, b, out))
        return matmul(a, b, out=out)

    with mock.patch.object(np, "matmul", recorder):
        trainer.model.loss(x, t)
        trainer.model.backward()
    # all that are needed, none that is not: one forward and two backward for each layer, less
    # the gradient of the first layer's input
    sizes = [layer.W.shape for layer in trainer.model.layers if layer.weights]
    needed = 2 * len(t) * (3 * sum(i * o for i, o in sizes) - sizes[0][0] * sizes[0][1])
    assert sum(2 * a.shape[0] * a.shape[1] * b.shape[1] for a, b, _ in products) == needed
    return products
