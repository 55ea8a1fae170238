"""The curves of a training: what was measured after each epoch, to CSV and back."""

import csv
import io
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlp.files import InputError, read_text, short, write_text


class History:
    """What was measured after each epoch: a list of rows, and `history["val_loss"]` a column.

    Losses are mean cross-entropies in nats, without the L2 penalty, so that training and
    validation compare; the objective that is minimised is train_loss + l2_penalty.
    gradient_norm is the mean of ‖∇‖₂ over every tenth batch of the epoch, penalty included.
    """

    COLUMNS = (
        "epoch",
        "train_loss",
        "val_loss",
        "train_accuracy",
        "val_accuracy",
        "lr",
        "l2_penalty",
        "gradient_norm",
    )

    def __init__(self, rows: list[dict[str, float]] | None = None) -> None:
        self.rows = rows if rows is not None else []

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, column: str) -> list[float]:
        return [row[column] for row in self.rows]

    def to_csv(self, path: str | Path) -> None:
        """Write a line per epoch, numbers to six digits, atomically."""
        text = io.StringIO()
        writer = csv.DictWriter(text, self.COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in self.rows:
            writer.writerow({k: v if isinstance(v, int) else f"{v:.6g}" for k, v in row.items()})
        write_text(path, text.getvalue())

    @classmethod
    def from_csv(cls, path: str | Path) -> "History":
        """Read what `to_csv` wrote. Raises InputError if it is something else."""
        reader = csv.DictReader(io.StringIO(read_text(path)))
        rows = []
        try:
            if tuple(reader.fieldnames or ()) != cls.COLUMNS:
                raise ValueError(f"its columns are {short(reader.fieldnames)}")
            for number, row in enumerate(reader, start=1):
                rows.append({name: float(value) for name, value in row.items()} | {"epoch": number})
                if int(row["epoch"]) != number or not all(map(math.isfinite, rows[-1].values())):
                    raise ValueError(f"epoch {number} is {short(list(row.values()))}")
        except (csv.Error, TypeError, ValueError) as error:
            raise InputError(f"{path}: not a history: {error} (line {reader.line_num})") from error
        return cls(rows)


def checked_row(value: Any) -> dict[str, float]:
    """A JSON-like value as a row of a history. Raises ValueError if it is something else."""
    if not isinstance(value, dict) or value.keys() != {*History.COLUMNS}:
        raise ValueError(f"not what is measured after an epoch: {short(value)}")
    for number in value.values():
        # which holds for NaN and integers beyond any float too
        if type(number) not in (int, float) or not abs(number) <= sys.float_info.max:
            raise ValueError(f"not what is measured after an epoch: {short(value)}")
    return value


def rank(row: Mapping[str, float]) -> tuple[float, float]:
    """How good an epoch is, higher is better: by validation accuracy, ties by lower loss."""
    return row["val_accuracy"], -row["val_loss"]
