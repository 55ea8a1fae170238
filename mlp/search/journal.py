"""Finished trials, remembered: one small JSON file each, named by all that decides its result."""

import hashlib
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mlp.files import InputError, read_json, write_json


def digest(value: Any) -> str:
    """SHA-256 of a JSON-like value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


class Entry(NamedTuple):
    """A file of the journal."""

    path: Path
    config: dict[str, Any]
    row: dict[str, Any]


class Journal:
    """A folder of finished trials, safe to delete: what is missing is trained again.

    context: all that decides a trial's result besides its configuration, as a JSON-like dictionary,
        with the search's settings under "settings". Entries of another context are not found, and
        stay.
    """

    def __init__(self, folder: str | Path, context: dict[str, Any]) -> None:
        self.folder = Path(folder)
        self.context = context

    def get(self, config: dict[str, Any]) -> dict[str, Any] | None:
        """The row of a configuration's trial, or None. Of a damaged entry it warns, and goes on."""
        path = self._path(config)
        if not path.exists():
            return None
        try:
            return read_entry(path).row
        except InputError as error:
            warnings.warn(f"{error}; training this trial again", stacklevel=2)
            return None

    def put(self, config: dict[str, Any], row: dict[str, Any]) -> None:
        """Remember the row of a configuration's trial."""
        write_json(self._path(config), {"config": config, "row": row, "digest": digest(row)})

    def checkpoint(self, config: dict[str, Any]) -> Path:
        """Where a configuration's checkpoint is kept, for any number of epochs."""
        settings = {k: v for k, v in self.context["settings"].items() if k != "epochs"}
        return self._name([config, self.context | {"settings": settings}], ".npz")

    def _path(self, config: dict[str, Any]) -> Path:
        return self._name([config, self.context], ".json")

    def _name(self, value: Any, suffix: str) -> Path:
        return self.folder / f"{digest(value)[:32]}{suffix}"


def read_entry(path: Path) -> Entry:
    """One entry. Raises InputError if it is damaged."""
    value = read_json(path)
    try:
        entry = Entry(path, value["config"], value["row"])
        if value["digest"] != digest(entry.row):
            raise ValueError("its digest is of another row")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: damaged ({type(error).__name__}: {error})") from error
    return entry


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
