"""The optimizers, in order of increasing complexity: each turns a gradient into a step.

All work in place on a network's flat vectors: `update(params, grads, n_weights)` is a handful of
passes, whatever the number of layers. Nothing is allocated after the first step.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np

from mlp import compiled
from mlp.arrays import Array, Buffers, aligned_zeros
from mlp.files import InputError
from mlp.schedule import inverse_time

# Parameters that an update takes at a time: with their gradients and what the method keeps of them
# (1.3 MB for Adam), most stay in a core's second-level cache from the first pass to the last.
BLOCK = 2**16
# Weights that nothing but L2 still moves shrink step by step into the denormal numbers, on which
# processors are up to a hundred times slower, and so do Adam's and Momentum's averages of a
# gradient that has become zero. They mean nothing long before: every FLUSH_EVERY steps, what is
# below TINY (of squares, TINY²) becomes zero.
FLUSH_EVERY = 100
TINY = 1e-15


class Optimizer:
    """What all optimizers share: the learning rate's decay, L2, and a state that can be saved.

    lr: the learning rate of the first epoch.
    lr_decay: epoch e (from 0) trains at lr / (1 + lr_decay · e) (`mlp.schedule.inverse_time`).
    l2_reg: adds ½ · l2_reg · ‖W‖² to the loss, so l2_reg · W to the gradient, of the weights
        alone: biases are not shrunk.
    weight_decay: shrinks the weights by the factor 1 - current_lr · weight_decay before each step,
        apart from the gradient (Loshchilov and Hutter 2019, "Decoupled weight decay"; times the
        learning rate as in PyTorch, where the paper has the schedule's share of it alone).
    """

    # the vectors that the method keeps between steps, and below what an element of them is nothing
    arrays: ClassVar[Mapping[str, float]] = {}

    def __init__(
        self, lr: float, *, lr_decay: float = 0.0, l2_reg: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        # Python's own, because NumPy's float64 would have float32 computed in float64
        self.lr = float(lr)
        self.lr_decay = float(lr_decay)
        self.l2_reg = float(l2_reg)
        self.weight_decay = float(weight_decay)
        self.epoch = 0  # finished epochs; whoever trains counts them up
        self.lr_factor = 1.0  # of a schedule; whoever trains sets it
        self.steps = 0
        self._buffers = Buffers()

    @property
    def current_lr(self) -> float:
        """The learning rate of the next step."""
        return float(self.lr_factor * inverse_time(self.lr, self.epoch, self.lr_decay))

    def update(self, params: Array, grads: Array, n_weights: int | None = None) -> None:
        """Make one step: change `params` (P,) by the gradient `grads` (P,), both contiguous.

        L2 and weight decay shrink the first `n_weights` parameters (all if None); L2's gradient is
        added to `grads`.

        Raises InputError if the gradient or earlier steps are of another number of parameters.
        """
        if self.steps == 0:
            for name in self.arrays:
                setattr(self, name, aligned_zeros(params.shape, params.dtype))
        state = [getattr(self, name) for name in self.arrays]
        if any(array.shape != params.shape for array in (grads, *state)):
            raise InputError("parameters of another number: each network needs its own optimizer")
        self.steps += 1
        self._start_step()
        n_weights = len(params) if n_weights is None else n_weights
        if not self._update_compiled(params, grads, n_weights, *state):
            for block in _blocks(params):
                parts = (array[block] for array in state)
                self._update_block(
                    params[block], grads[block], max(n_weights - block.start, 0), *parts
                )
        if self.steps % FLUSH_EVERY == 0:
            for array, least in zip([params, *state], [TINY, *self.arrays.values()], strict=True):
                for block in _blocks(params):
                    self._flush(array[block], least)

    def _start_step(self) -> None:
        """What a method computes once a step, not once a block."""

    def _update_compiled(self, params: Array, grads: Array, n_weights: int, *state: Array) -> bool:
        """Make the step in one pass over whole vectors, if there is a compiled function for it."""
        return False

    def _update_block(self, params: Array, grads: Array, n_weights: int, *state: Array) -> None:
        scratch = self._buffers.get("scratch", params.shape, params.dtype)
        if self.l2_reg:
            penalty = np.multiply(params[:n_weights], self.l2_reg, out=scratch[:n_weights])
            grads[:n_weights] += penalty
        if self.weight_decay:
            params[:n_weights] *= self._shrinkage()
        self._descend(params, grads, scratch, *state)

    def _shrinkage(self) -> float:
        return 1 - self.current_lr * self.weight_decay

    def _descend(self, params: Array, grads: Array, scratch: Array, *state: Array) -> None:
        """The method itself, on a block of parameters, of their gradients (L2 is in them) and of
        `arrays`; `scratch` is an array of their size to use."""
        raise NotImplementedError

    def _flush(self, array: Array, least: float) -> None:
        size = np.abs(array, out=self._buffers.get("scratch", array.shape, array.dtype))
        large = self._buffers.get("large", array.shape, np.bool_)
        array *= np.greater_equal(size, least, out=large)

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
            array = aligned_zeros(state[name].shape, state[name].dtype)
            array[:] = state[name]
            setattr(self, name, array)


def _blocks(params: Array) -> list[slice]:
    return [slice(start, start + BLOCK) for start in range(0, len(params), BLOCK)]


class SGD(Optimizer):
    """Stochastic gradient descent (Robbins and Monro 1951).

    params -= lr · g
    """

    def _descend(self, params: Array, grads: Array, scratch: Array, *state: Array) -> None:
        np.multiply(grads, self.current_lr, out=scratch)
        params -= scratch


class Momentum(Optimizer):
    """SGD with the heavy-ball momentum of Polyak (1964), or Nesterov's (Sutskever et al. 2013).

    v = momentum · v + g
    params -= lr · v                    (heavy ball)
    params -= lr · (g + momentum · v)   (nesterov=True)
    """

    arrays: ClassVar = {"velocity": TINY}

    def __init__(
        self,
        lr: float,
        *,
        momentum: float = 0.9,
        nesterov: bool = False,
        lr_decay: float = 0.0,
        l2_reg: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(lr, lr_decay=lr_decay, l2_reg=l2_reg, weight_decay=weight_decay)
        self.momentum = float(momentum)
        self.nesterov = nesterov

    def _descend(self, params: Array, grads: Array, scratch: Array, *state: Array) -> None:
        [velocity] = state
        velocity *= self.momentum
        velocity += grads
        if self.nesterov:
            np.multiply(velocity, self.momentum, out=scratch)
            scratch += grads
            scratch *= self.current_lr
        else:
            np.multiply(velocity, self.current_lr, out=scratch)
        params -= scratch


class Adam(Optimizer):
    """Adaptive moment estimation (Kingma and Ba 2015); with `weight_decay`, it is AdamW.

    m = β₁ · m + (1 - β₁) · g,  m̂ = m / (1 - β₁ᵗ)
    v = β₂ · v + (1 - β₂) · g²,  v̂ = v / (1 - β₂ᵗ)
    params -= lr · m̂ / (√v̂ + ε)

    The vectors kept are m / (1 - β₁) and v / (1 - β₂), and all constant factors are gathered into
    two numbers a step, which saves four passes over the parameters.
    """

    arrays: ClassVar = {"m": TINY, "v": TINY**2}

    def __init__(
        self,
        lr: float = 0.001,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        lr_decay: float = 0.0,
        l2_reg: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(lr, lr_decay=lr_decay, l2_reg=l2_reg, weight_decay=weight_decay)
        self.beta1 = float(beta1)
        self.beta2 = float(beta2)
        self.eps = float(eps)
        # β₁ᵗ and β₂ᵗ, as products, because pow's last bit depends on the C library
        self.power1 = self.power2 = 1.0

    def _start_step(self) -> None:
        self.power1 *= self.beta1
        self.power2 *= self.beta2
        scale1 = (1 - self.beta1) / (1 - self.power1)
        scale2 = math.sqrt((1 - self.beta2) / (1 - self.power2))
        # lr · scale1 · m / (scale2 · √v + ε), with numerator and denominator divided by scale2
        self._rate, self._eps = self.current_lr * scale1 / scale2, self.eps / scale2

    def _update_compiled(self, params: Array, grads: Array, n_weights: int, *state: Array) -> bool:
        loops = compiled.loops(params.dtype) if grads.dtype == params.dtype else None
        if loops:
            shrunk = n_weights if self.l2_reg or self.weight_decay else 0
            numbers = (self.l2_reg, self._shrinkage(), self.beta1, self.beta2)
            loops.adam(params, grads, *state, shrunk, (*numbers, self._rate, self._eps))
        return loops is not None

    def _descend(self, params: Array, grads: Array, scratch: Array, *state: Array) -> None:
        m, v = state
        m *= self.beta1
        m += grads
        v *= self.beta2
        np.multiply(grads, grads, out=scratch)
        v += scratch
        np.sqrt(v, out=scratch)
        scratch += self._eps
        np.divide(m, scratch, out=scratch)
        scratch *= self._rate
        params -= scratch

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"power1": self.power1, "power2": self.power2}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.power1, self.power2 = float(state["power1"]), float(state["power2"])


OptimizerName = Literal["sgd", "momentum", "adam"]
OPTIMIZERS: dict[OptimizerName, type[Optimizer]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "adam": Adam,
}
