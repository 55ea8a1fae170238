"""Augmentation: images flipped and shifted at random, so that no epoch shows the same ones."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlp import compiled
from mlp.files import InputError


@dataclass(frozen=True)
class Augmentation:
    """The variants of an image (rows, columns): mirrored or not, and shifted by up to `shift`
    pixels up, down, left and right.

    flip: mirror half of the images left to right (not for digits or letters).
    background: what the pixels that a shift uncovers are filled with.

    Raises InputError if a shift is below 0 or would leave nothing of the image.
    """

    image_shape: tuple[int, int]
    flip: bool = False
    shift: int = 0
    background: float = 0

    def __post_init__(self) -> None:
        if not 0 <= self.shift < min(self.image_shape):
            size = "×".join(map(str, self.image_shape))
            raise InputError(f"a shift by {self.shift} pixels: 0 or more that leave some of {size}")

    @property
    def variants(self) -> int:
        """How many there are; 18 with flips and shifts by one pixel."""
        return (1 + self.flip) * (2 * self.shift + 1) ** 2

    @cached_property
    def _sources(self) -> NDArray[np.int32]:
        """Which pixel each pixel comes from, (variants, pixels); -1 for the background."""
        rows, columns = self.image_shape
        pixels = np.full((rows + 2 * self.shift, columns + 2 * self.shift), -1, np.int32)
        inner = pixels[self.shift : self.shift + rows, self.shift : self.shift + columns]
        inner[...] = np.arange(rows * columns).reshape(rows, columns)
        windows = np.lib.stride_tricks.sliding_window_view(pixels, self.image_shape)
        sources = windows.reshape(-1, rows, columns)
        if self.flip:
            sources = np.concatenate([sources, sources[:, :, ::-1]])
        return sources.reshape(self.variants, -1).copy()

    def draw(self, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """A variant for each of n images, (n,), each with the same probability."""
        return rng.integers(0, self.variants, n)

    def gather(
        self,
        x: NDArray[Any],
        index: NDArray[np.int64],
        variants: NDArray[np.int64],
        out: NDArray[Any],
    ) -> NDArray[Any]:
        """Images x[index] in the given variants: x (M, pixels), index and variants (N,), out
        (N, pixels)."""
        loops = compiled.loops(np.dtype(np.float32)) if x.dtype == np.uint8 else None
        if loops and x.flags.c_contiguous:
            loops.augment(x, index, variants, self._sources, int(self.background), out)
            return out
        background = np.full((len(index), 1), self.background, x.dtype)  # at position -1
        images = np.concatenate([x[index], background], axis=1)
        out[...] = np.take_along_axis(images, self._sources[variants], axis=1)
        return out


def background(images: NDArray[Any], image_shape: tuple[int, int]) -> float:
    """The most frequent value at the borders of the first thousand images (N, pixels)."""
    border = np.ones(image_shape, bool)
    border[1:-1, 1:-1] = False
    values, counts = np.unique(np.asarray(images[:1000])[:, border.reshape(-1)], return_counts=True)
    return float(values[counts.argmax()])
