"""Finished trials, remembered: one small JSON file each, named by all that decides its result."""

import hashlib
import json
import math
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlp.data import Problem
from mlp.files import InputError, read_json, read_npz, reason, short, write_json, write_npz
from mlp.recipe import Recipe
from mlp.search.trial import NO_RESULT, Row, Trial, context

DIGITS = 32  # of the digest that names a file
WHOLE, NUMBER = (int,), (int, float)
ROW: dict[str, tuple[type, ...]] = {  # the types of what a row holds
    **dict.fromkeys(("seed", "parameters", "epochs"), WHOLE),
    **dict.fromkeys(NO_RESULT, NUMBER),
    "best_epoch": WHOLE,
    "status": (str,),
}


class Entry(NamedTuple):
    """A file of the journal."""

    path: Path
    recipe: Recipe
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
            row = read_entry(self._path(trial)).row
            digest = row.pop("params_digest", None)
            if not trial.keep or row["status"] != "ok":
                return row
            path = self._path(trial).with_suffix(".npz")
            params = read_npz(path).get("params", np.empty(0))
            if digest != hashlib.sha256(params.tobytes()).hexdigest():
                raise InputError(f"{path}: damaged")
            return row | {"params": params}
        except FileNotFoundError:
            return None
        except InputError as error:
            warnings.warn(f"{error}; training this trial again", stacklevel=2)
            return None

    def put(self, trial: Trial, row: Row) -> None:
        """Remember a trial's row; its `params`, if it has any, in a file beside it."""
        path, recipe = self._path(trial), trial.recipe.as_dict()
        row = dict(row)
        if (params := row.pop("params", None)) is not None:
            row["params_digest"] = hashlib.sha256(params.tobytes()).hexdigest()
            write_npz(path.with_suffix(".npz"), params=params)
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
        return self.folder / (_digest([value, self._context])[:DIGITS] + suffix)


def _digest(value: Any) -> str:
    """SHA-256 of a JSON-like value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def read_entry(path: Path) -> Entry:
    """A file of a journal. Raises InputError if it is damaged."""
    value = read_json(path)
    try:
        recipe, row = dict(value["recipe"]), dict(value["row"])
        if value["digest"] != _digest([path.stem, recipe, row]):
            raise ValueError("its digest is of another trial or row")
        entry = Entry(path, Recipe(**recipe), row)
        for name, allowed in ROW.items():
            number = entry.row[name]
            if type(number) not in allowed or (allowed is NUMBER and not math.isfinite(number)):
                raise TypeError(f"{name} {short(number)}")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: damaged ({reason(error)})") from error
    return entry


def own_files(folder: str | Path, suffix: str) -> list[Path]:
    """A journal's own files in a folder, which may be any and hold others, oldest first: .json are
    all entries, damaged ones too, .npz are checkpoints and weights."""
    own = re.compile(f"[0-9a-f]{{{DIGITS}}}")
    found = Path(folder).glob(f"*{suffix}")
    files = (path for path in found if own.fullmatch(path.stem) and path.is_file())
    return sorted(files, key=lambda path: path.stat().st_mtime)


def entries(folder: str | Path) -> Iterator[Entry]:
    """All entries in a folder that are not damaged, oldest first."""
    for path in own_files(folder, ".json"):
        try:
            yield read_entry(path)
        except InputError as error:
            warnings.warn(str(error), stacklevel=2)
