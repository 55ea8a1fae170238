"""The arrays that the network is fastest on: aligned to cache lines, made once, gathered late."""

import math
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[np.floating]


def aligned_zeros(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Zeros, the first at the start of a cache line, where NumPy's own arrays rarely start.

    A vector instruction that reads or writes across two cache lines takes up to twice as long.
    """
    dtype, line = np.dtype(dtype), 64
    size = math.prod(shape) * dtype.itemsize
    memory = np.zeros(size + line, np.uint8)
    start = -memory.ctypes.data % line
    return memory[start : start + size].view(dtype).reshape(shape)


@dataclass(slots=True)
class Rows:
    """Rows of an array x (M, …), not yet gathered: whoever takes them can do so in the pass that
    it makes anyway.

    index: positions (N,).
    memory: what `gather` writes into, (N, …).
    """

    x: NDArray[Any]
    index: NDArray[np.int64]
    memory: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.memory.shape

    def gather(self) -> NDArray[Any]:
        """The rows as an array (N, …), good until others are gathered."""
        # mode="clip", because NumPy gathers into a copy of `out` if it may have to raise
        return self.x.take(self.index, axis=0, out=self.memory, mode="clip")


class Buffers:
    """Arrays by name, made once, filled with `value`, and lent again to every batch that is not
    larger. A copy begins without any."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[Any]] = {}
        self._lent: dict[tuple[str, tuple[int, ...], DTypeLike], NDArray[Any]] = {}

    def get(
        self, name: str, shape: tuple[int, ...], dtype: DTypeLike, value: float = 0
    ) -> NDArray[Any]:
        key = name, shape, dtype
        if key not in self._lent:
            self._lent[key] = self._array(name, shape, dtype, value)[: shape[0]]
        return self._lent[key]

    def _array(
        self, name: str, shape: tuple[int, ...], dtype: DTypeLike, value: float
    ) -> NDArray[Any]:
        array = self._arrays.get(name)
        if (
            array is None
            or len(array) < shape[0]
            or array.shape[1:] != shape[1:]
            or array.dtype != dtype
        ):
            array = self._arrays[name] = aligned_zeros(shape, dtype)
            array[...] = value
            self._lent.clear()  # parts of what it replaces
        return array

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return type(self), ()


class ThreadBuffers(threading.local, Buffers):
    """Buffers of which each thread has its own, without seeing those of others."""
