"""Files are written whole or not at all, and bad input has one exception."""

import json
import math
import os
import pickle
import re
import reprlib
import shutil
import stat
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

MOST_TEXT = 1 << 27  # bytes: the history of a million epochs
MOST_EXPANSION = 10  # times that an archive may inflate; weights hardly do, a bomb a thousand times


class InputError(ValueError):
    """Input that cannot be used as it is; the message is one line that says what to do."""


def short(value: Any) -> str:
    """A value in a line of at most 300 characters: repr() itself fills the memory with lists that
    hold each other."""
    text = reprlib.Repr()
    text.maxstring = text.maxother = 100
    text.maxlevel, text.maxdict = 3, 8
    try:
        return f"{text.repr(value):.300}"
    except ValueError:  # of an integer with thousands of digits
        return "a number too long to show"


def reason(error: BaseException) -> str:
    """An exception in a line of at most 200 characters."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return "".join(c if c.isprintable() else "?" for c in f"{text:.200}")


@contextmanager
def temporary(path: str | Path) -> Iterator[Path]:
    """Yield a name beside `path` that nobody else uses, for a file or a folder.

    What lies there at the end is removed. So is, once a process and folder, what processes of this
    machine that were killed left beside `path`.
    """
    path = Path(path)
    if not path.name:
        raise InputError(f"{path}: not the name of a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent.absolute())
    mine = path.with_name(f".{path.name}.mlp-{os.getpid()}-{threading.get_native_id()}.tmp")
    try:
        yield mine
    finally:
        remove(mine)


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds.

    A reader sees the old file or the new one, never a part; a block that raises leaves
    the old file as it was and the temporary one removed.
    """
    with temporary(path) as unfinished:
        if Path(path).exists() and not Path(path).is_file():
            raise InputError(f"{path}: not a regular file")  # as root, one would replace a device
        yield unfinished
        os.replace(unfinished, path)


@cache
def sweep(folder: Path) -> None:
    """Remove from `folder` the temporary files of processes that are no more."""
    if os.name != "posix":
        return  # elsewhere os.kill(pid, 0) ends the process
    for path in folder.glob(".*.mlp-*.tmp"):
        pid = re.search(r"\.mlp-([1-9][0-9]{0,8})-[0-9]+\.tmp$", path.name)
        if not pid:
            continue
        with suppress(OSError):  # another user's process, or file
            try:
                os.kill(int(pid[1]), 0)
            except ProcessLookupError:
                remove(path)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    with suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8 with `\\n` line ends on every system."""
    with atomic(path) as unfinished:
        unfinished.write_bytes(text.encode())


def file_size(path: str | Path) -> int:
    """Bytes of a file. Raises InputError for what is no regular file: to open a pipe would wait
    for its other end, and a device may have none."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: not a regular file")
    return status.st_size


def read_text(path: str | Path) -> str:
    """A text in UTF-8.

    Raises InputError if it is none, longer than any that this package writes, or no regular file;
    FileNotFoundError if there is none.
    """
    size = file_size(path)
    if size > MOST_TEXT:
        raise InputError(f"{path}: {size:,} bytes; at most {MOST_TEXT:,} are read as text")
    try:
        return Path(path).read_bytes().decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not text in UTF-8: {error}") from error


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON. Raises ValueError for NaN and infinities."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """What a JSON file holds. Raises InputError as `read_text` does, and if it is not JSON."""
    text = read_text(path)
    try:
        return parse_json(text)
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from error


def parse_json(text: str) -> Any:
    """What a JSON text says. Raises ValueError for all that it cannot say, NaN and infinities
    included, and for a key that an object has twice."""
    try:
        return json.loads(
            text, parse_constant=_no_number, parse_float=_number, object_pairs_hook=_object
        )
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _number(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a key twice: {short([key for key, _ in pairs])}")
    return found


def write_npz(path: str | Path, **arrays: ArrayLike) -> None:
    """Write arrays as `.npz`: the same arrays give the same bytes, and nothing is pickled."""
    with atomic(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, allow_pickle=False, **{k: np.asarray(v) for k, v in arrays.items()})


def read_npz(path: str | Path) -> dict[str, NDArray[Any]]:
    """The arrays of an `.npz` file. Nothing is unpickled.

    Nothing is read before all headers have been, and what they announce is held against the file's
    length. Raises InputError if it is no such file or damaged, FileNotFoundError if there is none.
    """
    size = file_size(path)
    with _complaints(path), zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        names = [entry.filename.removesuffix(".npy") for entry in entries]
        if len({*names}) < len(names):
            raise InputError(f"{path}: has an array twice")
        total = sum(entry.file_size for entry in entries)
        if total > MOST_EXPANSION * size:
            raise InputError(f"{path}: a file of {size:,} bytes that inflates to {total:,}")
        for entry in entries:
            with archive.open(entry) as file:
                _check_header(file, entry.file_size)
        arrays = {}
        for name, entry in zip(names, entries, strict=True):
            with archive.open(entry) as file:
                arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
        return arrays


def map_npy(path: str | Path) -> NDArray[Any]:
    """An `.npy` file's array, mapped into memory without reading it.

    Raises InputError if its length is not what its header announces, if it is no such file or
    empty, FileNotFoundError if there is none.
    """
    size = file_size(path)
    with _complaints(path):
        with open(path, "rb") as file:
            _check_header(file, size)
        return np.lib.format.open_memmap(path, mode="r")


def _check_header(file: IO[bytes], size: int) -> None:
    """Read an array's header. Raises ValueError unless it announces an array of numbers or text
    that ends after `size` bytes."""
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise pickle.UnpicklingError
    announced = file.tell() + math.prod(shape) * dtype.itemsize
    if announced != size or min(shape, default=0) < 0:
        raise ValueError(f"its header announces {announced:,} bytes ({shape}), it has {size:,}")


@contextmanager
def _complaints(path: str | Path) -> Iterator[None]:
    """Make a line of whatever is wrong with a file of arrays."""
    try:
        yield
    except (InputError, FileNotFoundError, PermissionError):
        raise
    except MemoryError as error:
        raise InputError(f"{path}: not enough memory for its arrays") from error
    except pickle.UnpicklingError as error:
        raise InputError(f"{path}: refused, because it holds pickled content") from error
    except Exception as error:  # zipfile, zlib and NumPy have a dozen kinds
        with open(path, "rb") as file:
            start = file.read(len(np.lib.format.MAGIC_PREFIX))
        kind = "npy" if Path(path).suffix == ".npy" else "npz"
        if start == np.lib.format.MAGIC_PREFIX if kind == "npy" else zipfile.is_zipfile(path):
            fault = f"damaged ({reason(error)})"
        elif start[:1] == pickle.PROTO:
            fault = "refused, because it holds pickled content"
        else:
            fault = f"not an .{kind} file"
        raise InputError(f"{path}: {fault}") from error
