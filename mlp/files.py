"""Files are written whole or not at all, and bad input has one exception."""

import json
import os
import pickle
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


class InputError(ValueError):
    """Input that cannot be used as it is; the message is one line that says what to do."""


@contextmanager
def temporary(path: str | Path) -> Iterator[Path]:
    """Yield a name beside `path` that no other process uses, for a file or a folder.

    What lies there at the end is removed. So is, once a process and folder, what processes of this
    machine that were killed left beside `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent.absolute())
    mine = path.with_name(f".{path.name}.{os.getpid()}.tmp")
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
        yield unfinished
        os.replace(unfinished, path)


@cache
def sweep(folder: Path) -> None:
    """Remove from `folder` the temporary files of processes that are no more."""
    if os.name != "posix":
        return  # elsewhere os.kill(pid, 0) ends the process
    for path in folder.glob(".*.tmp"):
        pid = re.search(r"\.([1-9][0-9]{0,8})\.tmp$", path.name)
        if not pid:
            continue
        try:
            os.kill(int(pid[1]), 0)
        except ProcessLookupError:
            remove(path)
        except PermissionError:
            pass  # it is another user's, and lives


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


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON. Raises ValueError for NaN and infinities."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """What a JSON file holds. Raises InputError if it is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from error


def write_npz(path: str | Path, **arrays: ArrayLike) -> None:
    """Write arrays as `.npz`: the same arrays give the same bytes, and nothing is pickled."""
    with atomic(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, allow_pickle=False, **{k: np.asarray(v) for k, v in arrays.items()})


def read_npz(path: str | Path) -> dict[str, NDArray[Any]]:
    """The arrays of an `.npz` file. Nothing is unpickled.

    Raises InputError if it is no such file or damaged, FileNotFoundError if there is none.
    """
    try:
        # opened here, because np.load leaves a file that is no zip open
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except FileNotFoundError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy have a dozen kinds
        if zipfile.is_zipfile(path) and "allow_pickle" not in str(error):
            reason = f"damaged ({type(error).__name__}: {error})"
        elif zipfile.is_zipfile(path) or Path(path).read_bytes()[:1] == pickle.PROTO:
            reason = "refused, because it holds pickled content"
        else:
            reason = "not an .npz file"
        raise InputError(f"{path}: {reason}") from error
