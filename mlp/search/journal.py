"""Finished trials, remembered: one small JSON file each, named by all that decides its result."""

import hashlib
import json
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

from mlp.data import Problem
from mlp.files import InputError, read_json, reason, short, write_json
from mlp.search.trial import NO_RESULT, Row, Trial, context

WHOLE, NUMBER = (int,), (int, float)
RECIPE: dict[str, tuple[type, ...]] = {  # the types of what an entry holds
    **dict.fromkeys(("activation", "optimizer"), (str,)),
    **dict.fromkeys(("batch_size", "epochs"), WHOLE),
    **dict.fromkeys(("lr", "lr_decay", "l2_reg"), NUMBER),
    "hidden_sizes": (list,),
    "patience": (int, NoneType),
}
ROW: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("seed", "parameters", "epochs"), WHOLE),
    **dict.fromkeys(NO_RESULT, NUMBER),
    "best_epoch": WHOLE,
    "status": (str,),
}


class Entry(NamedTuple):
    """A file of the journal."""

    path: Path
    recipe: dict[str, Any]
    row: Row


class Journal:
    """A folder of finished trials, safe to delete: what is missing is trained again.

    Entries of other data or other software are not found, and stay.
    """

    def __init__(self, folder: str | Path, problem: Problem) -> None:
        self.folder = Path(folder)
        self._context = context(problem)

    def get(self, trial: Trial) -> Row | None:
        """A trial's row, or None. Of a damaged entry it warns, and goes on."""
        try:
            return read_entry(self._path(trial)).row
        except FileNotFoundError:
            return None
        except InputError as error:
            warnings.warn(f"{error}; training this trial again", stacklevel=2)
            return None

    def put(self, trial: Trial, row: Row) -> None:
        """Remember a trial's row."""
        path, recipe = self._path(trial), trial.recipe.as_dict()
        digest = _digest([path.stem, recipe, row])
        write_json(path, {"recipe": recipe, "row": row, "digest": digest})

    def __contains__(self, trial: Trial) -> bool:
        try:
            read_entry(self._path(trial))
        except (InputError, OSError):
            return False
        return True

    def checkpoint(self, trial: Trial) -> Path:
        """Where a trial's checkpoint is kept, for any number of epochs."""
        recipe = {k: v for k, v in trial.recipe.as_dict().items() if k != "epochs"}
        return self._name([recipe, trial.seed], ".npz")

    def _path(self, trial: Trial) -> Path:
        return self._name([trial.recipe.as_dict(), trial.seed], ".json")

    def _name(self, value: Any, suffix: str) -> Path:
        return self.folder / (_digest([value, self._context])[:32] + suffix)


def _digest(value: Any) -> str:
    """SHA-256 of a JSON-like value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def read_entry(path: Path) -> Entry:
    """A file of a journal. Raises InputError if it is damaged."""
    value = read_json(path)
    try:
        entry = Entry(path, dict(value["recipe"]), dict(value["row"]))
        if value["digest"] != _digest([path.stem, entry.recipe, entry.row]):
            raise ValueError("its digest is of another trial or row")
        _check(entry.recipe, RECIPE)
        _check(entry.row, ROW)
        if not all(type(size) is int for size in entry.recipe["hidden_sizes"]):
            raise TypeError(f"hidden_sizes {short(entry.recipe['hidden_sizes'])}")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: damaged ({reason(error)})") from error
    return entry


def _check(values: dict[str, Any], types: dict[str, tuple[type, ...]]) -> None:
    for name, allowed in types.items():
        value = values[name]
        if type(value) not in allowed or (allowed is NUMBER and not math.isfinite(value)):
            raise TypeError(f"{name} {short(value)}")


def entry_files(folder: str | Path) -> list[Path]:
    """The files of all entries in a folder, damaged ones too, oldest first."""
    return sorted(Path(folder).glob("*.json"), key=lambda path: path.stat().st_mtime)


def entries(folder: str | Path) -> Iterator[Entry]:
    """All entries in a folder that are not damaged, oldest first."""
    for path in entry_files(folder):
        try:
            yield read_entry(path)
        except InputError as error:
            warnings.warn(str(error), stacklevel=2)
