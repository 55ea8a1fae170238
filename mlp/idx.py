"""IDX, the format of MNIST and its kin: reading its files, each checked against its header.

A file may be compressed by gzip: its content says so, whatever its name.
"""

import gzip
import io
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from mlp.files import InputError, file_size

IMAGES_MAGIC = 0x00000803  # unsigned bytes in three dimensions: image, row, column
LABELS_MAGIC = 0x00000801  # unsigned bytes in one dimension
KINDS = {IMAGES_MAGIC: "images", LABELS_MAGIC: "labels"}
GZIP_MAGIC = b"\x1f\x8b"
MOST_FROM_A_BYTE = 1032  # bytes that deflate can expand one to (zlib's "Technical Details")
PIECE = 1 << 20


@contextmanager
def _open(path: Path, magic: int) -> Iterator[tuple[BinaryIO, tuple[int, ...], int]]:
    """An IDX file's decompressed content, after its header; the shape and length that it states.

    A plain file has that length; a compressed one is long enough that it may have.
    """
    size = file_size(path)
    header_size = 4 + 4 * (magic & 0xFF)
    with path.open("rb") as raw:
        compressed = raw.peek(2)[:2] == GZIP_MAGIC
        file: BinaryIO = gzip.GzipFile(fileobj=raw) if compressed else raw  # type: ignore[assignment]
        try:
            header = file.read(header_size)
            found = int.from_bytes(header[:4], "big")
            if found == magic and len(header) < header_size:
                raise InputError(f"{path}: truncated: its header ends after {len(header)} bytes")
            if found != magic:
                hint = " (are images and labels swapped?)" if {found, magic} == set(KINDS) else ""
                raise InputError(
                    f"{path}: not an IDX file of {KINDS[magic]}: it starts with 0x{found:08x}, "
                    f"not 0x{magic:08x}{hint}"
                )
            shape = tuple(int(n) for n in np.frombuffer(header, ">u4", offset=4))
            length = header_size + math.prod(shape)
            if length > size * MOST_FROM_A_BYTE if compressed else length != size:
                raise _wrong_length(path, shape, length, size, " compressed" * compressed)
            yield file, shape, length
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"{path}: damaged: {error}") from error


def _wrong_length(
    path: Path, shape: tuple[int, ...], length: int, found: int, note: str = ""
) -> InputError:
    return InputError(
        f"{path}: {'truncated' if found < length else 'too long'}: its header announces "
        f"{length:,} bytes ({shape}), it has {found:,}{note}"
    )


def idx_shape(path: str | Path, magic: int) -> tuple[int, ...]:
    """The shape that an IDX file's header states, with the file's length checked against it.

    Reads the header alone, so that of a compressed file's length it finds only what is impossible.
    Raises InputError if the file is of another kind than `magic` says, truncated, too long or
    damaged, or no regular file.
    """
    with _open(Path(path), magic) as (_, shape, _):
        return shape


def copy_idx(path: str | Path, magic: int, target: BinaryIO, limit: float = math.inf) -> None:
    """Write an IDX file's decompressed content, header included, to `target`.

    Never more than its header announces. Raises InputError as `idx_shape` does, and if that is
    more than `limit` bytes.
    """
    path = Path(path)
    with _open(path, magic) as (file, shape, length):
        if length > limit:
            raise InputError(f"{path}: its header announces {length:,} bytes; at most {limit:,}")
        file.seek(0)
        while piece := file.read(min(PIECE, length - file.tell())):
            target.write(piece)
        found = file.tell() + len(file.read(1))
        if found != length:
            raise _wrong_length(path, shape, length, found, " or more" * (found > length))


def read_idx(path: str | Path, magic: int) -> NDArray[np.uint8]:
    """An IDX file's array. Raises InputError as `idx_shape` does."""
    content = io.BytesIO()
    copy_idx(path, magic, content)
    header = np.frombuffer(content.getbuffer(), ">u4", 1 + (magic & 0xFF))
    return np.frombuffer(content.getbuffer(), np.uint8, offset=header.nbytes).reshape(header[1:])


def check_pair(images: str | Path, labels: str | Path) -> tuple[int, ...]:
    """The shape (N, rows, columns) of an IDX file of images, its header checked against that of
    the labels beside it. Raises InputError if they do not belong together or hold nothing."""
    shape = idx_shape(images, IMAGES_MAGIC)
    (count,) = idx_shape(labels, LABELS_MAGIC)
    if shape[0] != count:
        raise InputError(f"{images} holds {shape[0]:,} images, but {labels} {count:,} labels")
    if math.prod(shape) == 0:
        raise InputError(f"{images} holds no pixels: its shape is {shape}")
    return shape


def read_pair(
    images: str | Path, labels: str | Path, classes: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (N, rows, columns) and labels (N,) of two IDX files, checked against each other.

    Raises InputError as `check_pair` does, and if a label is not below `classes`.
    """
    check_pair(images, labels)
    t = read_idx(labels, LABELS_MAGIC).astype(np.int64)
    if t.max() >= classes:
        raise InputError(
            f"{labels}: label {t.max()} at position {t.argmax():,}, "
            f"but {classes} classes allow 0 to {classes - 1}"
        )
    return read_idx(images, IMAGES_MAGIC), t
