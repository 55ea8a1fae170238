"""Any picture of a garment, made into an image as Zalando made those of Fashion-MNIST.

Xiao, Rasul and Vollgraf (2017), "Fashion-MNIST", section 2: edges close to the corner's colour are
trimmed, the longest edge is brought to 28 pixels by subsampling, a Gaussian sharpens, the shortest
edge is extended, and intensities are negated. `page/picture.js` does the same to the last bit.
"""

import gzip
import io
import math
import sys
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlp.files import InputError
from mlp.idx import IMAGES_MAGIC, KINDS, LABELS_MAGIC, PIECE

Images = NDArray[np.uint8]
Invert = Literal["auto", "yes", "no"]

MAX_PIXELS = 50_000_000  # a picture with more is refused before it is decoded
MAX_BYTES = 2**31  # … and so is an IDX file
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")  # none starts a program
TOLERANCE = 0.05 * 255  # what differs from the ground by less belongs to it

# ImageMagick's `-sharpen 1x1`: with weights g of a Gaussian of deviation 1 on 3×3 pixels, the
# neighbours count -g and the centre 2 Σ g, all divided by their sum. The centre, beside, diagonal:
SHARPEN = (1.6608813248768484, -0.10284293687165966, -0.06237739434755245)


class Pictures(NamedTuple):
    """Images (N, rows, columns), as a network takes them, and whether they had to be negated."""

    images: Images
    inverted: bool


def read_pictures(name: str, shape: tuple[int, int], invert: Invert = "auto") -> Pictures:
    """The picture in a file, or all images of an IDX file, each as an image of `shape`.

    name: a file's name, or `-` for standard input; IDX may be compressed by gzip.
    invert: whether the garment is darker than the ground and is to be negated; `auto` finds out.

    An image that has `shape` already is left as it is, but for being negated; by `auto`, a picture
    alone is: an IDX file of that shape is what networks are trained on. Raises InputError
    if the file is neither, is damaged or too large, or shows nothing; OSError if it cannot be read.
    """
    with _opened(name) as file:
        if idx := _is_idx(file):
            images = _read_idx(file, name, IMAGES_MAGIC)
        else:
            images = _read_picture(file, name, invert)[None]
    if not images.size:
        raise InputError(f"{name}: holds no pixels")
    if idx and images.shape[1:] == shape and invert == "auto":
        return Pictures(images, False)
    ground, darker = find_ground(images)
    inverted = darker is True if invert == "auto" else invert == "yes"
    if images.shape[1:] == shape:
        return Pictures(255 - images if inverted else images, inverted)
    if darker is None:
        raise InputError(f"{name}: shows nothing: all is of the colour of its border")
    prepared = [prepare(image, shape, ground, inverted) for image in images]
    return Pictures(np.stack(prepared), inverted)


def read_labels(name: str, classes: int) -> NDArray[np.int64]:
    """Labels (N,) of an IDX file, which may be compressed by gzip.

    Raises InputError if it is not such a file, or if a label is not below `classes`.
    """
    with _opened(name) as file:
        t = _read_idx(file, name, LABELS_MAGIC).astype(np.int64)
    if t.size and t.max() >= classes:
        raise InputError(f"{name}: label {t.max()}, but {classes} classes allow 0 to {classes - 1}")
    return t


def find_ground(images: Images) -> tuple[int, bool | None]:
    """The level of grey around the garments of images (N, rows, columns), and whether garments
    are darker than it on average; None if nothing stands out from it.

    The ground is the median of all pixels at the borders, so that garments may touch those.
    """
    border = np.concatenate(
        [images[:, [0, -1], :].reshape(-1), images[:, 1:-1, [0, -1]].reshape(-1)]
    )
    ground = int(np.sort(border)[border.size // 2])
    levels = np.arange(256)
    flat = images.reshape(-1)  # counted in pieces, because bincount makes integers of eight bytes
    pieces = (flat[start : start + PIECE] for start in range(0, flat.size, PIECE))
    counts = sum(np.bincount(piece, minlength=256) for piece in pieces)
    counts = np.where(np.abs(levels - ground) > TOLERANCE, counts, 0)
    pixels = int(counts.sum())
    return ground, bool(counts @ levels / pixels < ground) if pixels else None


def prepare(image: Images, shape: tuple[int, int], ground: int, inverted: bool) -> Images:
    """A grey image (height, width) of any size to one of `shape`: negated if `inverted`, trimmed,
    subsampled, sharpened, extended.

    The ground becomes 0, which it was in Zalando's photographs once negated, because they were
    taken on white. If it is brighter than the garment even so, its grey is left as it is.
    """
    x = image.astype(np.float64)
    if inverted:
        x, ground = 255 - x, 255 - ground
    stands_out = np.abs(x - ground) > TOLERANCE
    if not stands_out.any():  # one of several images
        return np.zeros(shape, np.uint8)
    if x[stands_out].mean() > ground:
        x, ground = np.maximum(x - ground, 0) * 255 / (255 - ground), 0
    rows, columns = (np.flatnonzero(stands_out.any(axis=axis)) for axis in (1, 0))
    x = x[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]

    height, width = x.shape
    if height * shape[1] >= width * shape[0]:
        size = shape[0], _scaled(width, shape[0], height, shape[1])
    else:
        size = _scaled(height, shape[1], width, shape[0]), shape[1]
    rows, columns = (
        (2 * np.arange(n) + 1) * m // (2 * n) for n, m in zip(size, x.shape, strict=True)
    )
    x = _sharpen(x[np.ix_(rows, columns)])

    result = np.full(shape, ground, np.uint8)
    top, left = (shape[0] - size[0]) // 2, (shape[1] - size[1]) // 2
    result[top : top + size[0], left : left + size[1]] = np.floor(np.clip(x, 0, 255) + 0.5)
    return result


def _scaled(edge: int, new: int, old: int, most: int) -> int:
    """edge × new / old, rounded, from 1 to `most`."""
    return max(1, min(most, (2 * edge * new + old) // (2 * old)))


def _sharpen(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """x with `SHARPEN` over it; outside, its edges go on."""
    centre, beside, diagonal = SHARPEN
    p = np.pad(x, 1, mode="edge")
    cross = (p[:-2, 1:-1] + p[2:, 1:-1]) + (p[1:-1, :-2] + p[1:-1, 2:])
    corners = (p[:-2, :-2] + p[:-2, 2:]) + (p[2:, :-2] + p[2:, 2:])
    return centre * x + beside * cross + diagonal * corners


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    """A file by name, or standard input as `-`, that can be read again from its start."""
    if name == "-":
        yield _bounded(sys.stdin.buffer, name)
        return
    with open(name, "rb") as file:
        yield file if file.seekable() else _bounded(file, name)


def _bounded(file: BinaryIO, name: str) -> BinaryIO:
    """What a pipe holds. Raises InputError if that does not end."""
    content = _read(file, MAX_BYTES + 1)
    if len(content.getbuffer()) > MAX_BYTES:
        raise InputError(f"{name}: more than the {MAX_BYTES:,} bytes that are read")
    return content


def _read(file: BinaryIO, most: int) -> io.BytesIO:
    """Up to `most` bytes, in pieces: `file.read(most)` would take the memory for all at once."""
    content = io.BytesIO()
    while piece := file.read(min(PIECE, most - content.tell())):
        content.write(piece)
    content.seek(0)
    return content


def _is_idx(file: BinaryIO) -> bool:
    start = file.read(4)
    file.seek(0)
    return start[:2] == b"\x1f\x8b" or start[:3] == b"\0\0\x08"


def _read_idx(file: BinaryIO, name: str, magic: int) -> NDArray[np.uint8]:
    """The array of an IDX file of the kind that `magic` says, which may be compressed by gzip."""
    compressed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    stream: Any = gzip.GzipFile(fileobj=file) if compressed else file
    dimensions = magic & 0xFF
    try:
        header = stream.read(4 + 4 * dimensions)
        if header[:4] != magic.to_bytes(4, "big") or len(header) < 4 + 4 * dimensions:
            raise InputError(f"{name}: not an IDX file of {KINDS[magic]}")
        shape = tuple(int(n) for n in np.frombuffer(header, ">u4", offset=4))
        size = math.prod(shape)
        if size > MAX_BYTES:
            raise InputError(f"{name}: {size:,} bytes, more than the {MAX_BYTES:,} that are read")
        content = _read(stream, size + 1).getbuffer()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{name}: damaged: {error}") from error
    if len(content) != size:
        problem = "truncated" if len(content) < size else "too long"
        raise InputError(f"{name}: {problem}: its header announces {shape}")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _read_picture(file: BinaryIO, name: str, invert: Invert) -> Images:
    """A picture's levels of grey (height, width), upright."""
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError as error:
        raise InputError(f"{name}: pictures need Pillow: pip install pillow") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow's kinds, errors are enough
            with Image.open(file, formats=FORMATS) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    size = f"{picture.width:,}×{picture.height:,} pixels"
                    raise InputError(f"{size}, more than the {MAX_PIXELS:,} that are read")
                upright = ImageOps.exif_transpose(picture)
                deep = _deep(np.asarray(upright), upright.mode)
                if deep is not None:
                    return deep
                if upright.has_transparency_data:
                    return _without_alpha(np.asarray(upright.convert("RGBA")), invert)
                return _luma(np.asarray(upright.convert("RGB")))
    except UnidentifiedImageError as error:
        raise InputError(f"{name}: neither a picture nor an IDX file of images") from error
    except Exception as error:  # Pillow's decoders have a dozen kinds
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{name}: not readable as a picture: {reason}") from error


def _deep(levels: NDArray[Any], mode: str) -> Images | None:
    """Levels of grey of more than eight bits, brought to eight; None if they are not such."""
    if mode == "F":  # the format leaves open what is white
        levels = np.nan_to_num(levels.astype(np.float64))
        white = next((w for w in (1, 255) if levels.max() <= w), 65535)
        return np.rint(np.clip(levels / white, 0, 1) * 255).astype(np.uint8)
    if mode.startswith("I"):
        levels = np.clip(levels.astype(np.int64), 0, 65535)
        return ((levels * 255 + 32767) // 65535).astype(np.uint8)
    return None


def _luma(rgb: NDArray[np.uint8]) -> Images:
    """Levels of grey of colours (height, width, 3) after ITU-R 601-2, as Pillow rounds them."""
    red, green, blue = np.moveaxis(rgb.astype(np.uint32), 2, 0)
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(np.uint8)


def _without_alpha(rgba: NDArray[np.uint8], invert: Invert) -> Images:
    """Levels of grey of a picture (height, width, 4), with white where it is transparent, which
    Zalando's ground was; with black if the garment would hardly stand out from that."""
    rgb, alpha = rgba[..., :3].astype(np.uint32), rgba[..., 3:].astype(np.uint32)
    total = int((_luma(rgba[..., :3]) * alpha[..., 0].astype(np.int64)).sum())
    stands_out = total * 10 <= 9 * 255 * int(alpha.sum(dtype=np.int64))
    ground = np.uint32(255 if (stands_out if invert == "auto" else invert == "yes") else 0)
    return _luma(((rgb * alpha + ground * (255 - alpha) + 127) // 255).astype(np.uint8))
