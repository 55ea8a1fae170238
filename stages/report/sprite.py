"""One picture of many small images, of which a page shows parts."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mlp.files import atomic

ACROSS = 24  # images in a row


def write_sprite(path: str | Path, images: NDArray[np.uint8]) -> None:
    """Write images (N, rows, columns) as one PNG, dark on white, in 16 shades of grey: half a byte
    a pixel at most. The same images give the same bytes."""
    n, rows, columns = images.shape
    down = max(1, -(-n // ACROSS))
    tiles = np.zeros((down * ACROSS, rows, columns), np.uint8)
    tiles[:n] = images
    tiles = tiles.reshape(down, ACROSS, rows, columns).swapaxes(1, 2)
    shades = (255 - tiles.reshape(down * rows, ACROSS * columns)) // 16
    picture = Image.fromarray(shades, "P")
    picture.putpalette([17 * shade for shade in range(16) for _ in "RGB"])
    with atomic(path) as temporary:
        picture.save(temporary, "png", optimize=True, bits=4)
