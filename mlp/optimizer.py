"""The optimizers, in order of increasing complexity: each turns a gradient into a step.

All work in place on a network's flat vectors: `update(params, grads, n_weights)` is a handful of
passes, whatever the number of layers. Nothing is allocated after the first step.
"""

import math
from typing import Any, ClassVar

import numpy as np

from mlp.functions import Array

# Adam's and Momentum's averages of a gradient that has become zero shrink step by step into the
# denormal numbers, on which processors are up to a hundred times slower. They mean nothing long
# before: every FLUSH_EVERY steps, what is below TINY (for Adam's squares, TINY²) becomes zero.
FLUSH_EVERY = 100
TINY = 1e-15


class Optimizer:
    """What all optimizers share: the learning rate's decay, L2, and a state that can be saved.

    lr: the learning rate of the first epoch.
    lr_decay: epoch e (from 0) trains at lr / (1 + lr_decay · e): inverse time decay, per epoch
        and not per step (Bottou 2012, "Stochastic gradient descent tricks").
    l2_reg: adds ½ · l2_reg · ‖W‖² to the loss, so l2_reg · W to the gradient, of the weights
        alone: biases are not shrunk.
    """

    arrays: ClassVar[tuple[str, ...]] = ()  # the vectors that the method keeps between steps

    def __init__(self, lr: float, *, lr_decay: float = 0.0, l2_reg: float = 0.0) -> None:
        self.lr = lr
        self.lr_decay = lr_decay
        self.l2_reg = l2_reg
        self.epoch = 0  # finished epochs; whoever trains counts them up
        self.steps = 0
        self._scratch: Array = np.empty(0)

    @property
    def current_lr(self) -> float:
        """The learning rate of this epoch."""
        return self.lr / (1 + self.lr_decay * self.epoch)

    def update(self, params: Array, grads: Array, n_weights: int | None = None) -> None:
        """Make one step: change `params` (P,) by the gradient `grads` (P,), both contiguous.

        L2 shrinks the first `n_weights` parameters (all if None); its gradient is added to `grads`.
        """
        if self.steps == 0 or self._scratch.shape != params.shape:
            self._allocate(params)
        self.steps += 1
        if self.l2_reg:
            weights = slice(n_weights)
            np.multiply(params[weights], self.l2_reg, out=self._scratch[weights])
            grads[weights] += self._scratch[weights]
        self._step(params, grads)
        if self.arrays and self.steps % FLUSH_EVERY == 0:
            self._flush()

    def _step(self, params: Array, grads: Array) -> None:
        raise NotImplementedError

    def _allocate(self, params: Array) -> None:
        self._scratch = np.empty_like(params)
        self._small = np.empty(params.shape, np.bool_)
        if self.steps == 0:
            for name in self.arrays:
                setattr(self, name, np.zeros_like(params))

    def _flush(self) -> None:
        for name in self.arrays:
            array: Array = getattr(self, name)
            np.abs(array, out=self._scratch)
            np.less(self._scratch, TINY * TINY if name == "v" else TINY, out=self._small)
            np.copyto(array, 0, where=self._small)

    def state_dict(self) -> dict[str, Any]:
        """Copies of all that later steps depend on, apart from the constructor's arguments."""
        state: dict[str, Any] = {"epoch": self.epoch, "steps": self.steps}
        if self.steps:
            state |= {name: getattr(self, name).copy() for name in self.arrays}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned; the state's arrays are copied."""
        self.epoch, self.steps = int(state["epoch"]), int(state["steps"])
        for name in self.arrays if self.steps else ():
            setattr(self, name, np.array(state[name]))


class SGD(Optimizer):
    """Stochastic gradient descent (Robbins and Monro 1951).

    params -= lr · g
    """

    def _step(self, params: Array, grads: Array) -> None:
        np.multiply(grads, self.current_lr, out=self._scratch)
        params -= self._scratch


class Momentum(Optimizer):
    """SGD with the heavy-ball momentum of Polyak (1964), or Nesterov's (Sutskever et al. 2013).

    v = momentum · v + g
    params -= lr · v                    (heavy ball)
    params -= lr · (g + momentum · v)   (nesterov=True)
    """

    arrays = ("velocity",)
    velocity: Array

    def __init__(
        self,
        lr: float,
        *,
        momentum: float = 0.9,
        nesterov: bool = False,
        lr_decay: float = 0.0,
        l2_reg: float = 0.0,
    ) -> None:
        super().__init__(lr, lr_decay=lr_decay, l2_reg=l2_reg)
        self.momentum = momentum
        self.nesterov = nesterov

    def _step(self, params: Array, grads: Array) -> None:
        v: Array = self.velocity
        v *= self.momentum
        v += grads
        if self.nesterov:
            np.multiply(v, self.momentum, out=self._scratch)
            self._scratch += grads
            self._scratch *= self.current_lr
        else:
            np.multiply(v, self.current_lr, out=self._scratch)
        params -= self._scratch


class Adam(Optimizer):
    """Adaptive moment estimation (Kingma and Ba 2015).

    m = β₁ · m + (1 - β₁) · g,  m̂ = m / (1 - β₁ᵗ)
    v = β₂ · v + (1 - β₂) · g²,  v̂ = v / (1 - β₂ᵗ)
    params -= lr · m̂ / (√v̂ + ε)

    The vectors kept are m / (1 - β₁) and v / (1 - β₂), and all constant factors are gathered into
    two numbers a step, which saves four passes over the parameters.
    """

    arrays = ("m", "v")
    m: Array
    v: Array

    def __init__(
        self,
        lr: float = 0.001,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        lr_decay: float = 0.0,
        l2_reg: float = 0.0,
    ) -> None:
        super().__init__(lr, lr_decay=lr_decay, l2_reg=l2_reg)
        self.beta1 = beta1
        self.beta2 = beta2
        self.eps = eps
        # β₁ᵗ and β₂ᵗ, as products, because pow's last bit depends on the C library
        self.power1 = self.power2 = 1.0

    def _step(self, params: Array, grads: Array) -> None:
        m, v, scratch = self.m, self.v, self._scratch
        m *= self.beta1
        m += grads
        v *= self.beta2
        np.multiply(grads, grads, out=scratch)
        v += scratch

        self.power1 *= self.beta1
        self.power2 *= self.beta2
        scale1 = (1 - self.beta1) / (1 - self.power1)
        scale2 = math.sqrt((1 - self.beta2) / (1 - self.power2))
        # lr · scale1 · m / (scale2 · √v + ε), with both sides divided by scale2
        np.sqrt(v, out=scratch)
        scratch += self.eps / scale2
        np.divide(m, scratch, out=scratch)
        scratch *= self.current_lr * scale1 / scale2
        params -= scratch

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"power1": self.power1, "power2": self.power2}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.power1, self.power2 = float(state["power1"]), float(state["power2"])


OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "momentum": Momentum, "adam": Adam}
