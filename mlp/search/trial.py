"""One training of a search: a recipe, a seed and data to a row of numbers."""

import ast
import contextlib
import hashlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_info

from mlp.data import Problem
from mlp.files import InputError
from mlp.recipe import Recipe, make_trainer
from mlp.trainer import DivergenceError

Row = dict[str, Any]

# What stands in the table for a trial without a result: tables and JSON take no NaN
NO_RESULT: Row = {
    "best_epoch": 0,
    "train_loss": -1.0,
    "val_loss": -1.0,
    "train_accuracy": 0.0,
    "val_accuracy": 0.0,
}

# The modules that decide a trial's result; others that it loads write files or show progress
SOURCES = (
    *("arrays", "augment", "compiled", "data", "functions", "history", "layers", "module"),
    *("optimizer", "recipe", "schedule", "trainer", "search/trial"),
)


@dataclass(frozen=True)
class Trial:
    """A recipe to be trained from a seed.

    checkpoint: a file to go on from, if it is there, and to leave behind. It saves time alone:
        a training that goes on gives the same bits as one that starts again.
    keep: whether the row is to hold the best weights too.
    """

    recipe: Recipe
    seed: int
    checkpoint: Path | None = None
    keep: bool = False

    def run(self, problem: Problem) -> Row:
        """Train. The row holds the seed, the number of parameters, the metrics of the best epoch,
        and a status, "ok" or "diverged"; and `params`, the network's vector, if it is to `keep`
        them."""
        recipe, epochs = self.recipe, self.recipe.epochs
        trainer = make_trainer(recipe, problem, seed=self.seed, train_metrics="running")
        if self.checkpoint is not None:
            with contextlib.suppress(FileNotFoundError, InputError):
                trainer.load_checkpoint(self.checkpoint, at_most=epochs)
        row = {"seed": self.seed, "parameters": trainer.model.learnt.size, "epochs": epochs}
        try:
            trainer.fit(epochs, patience=recipe.patience)
        except DivergenceError:
            return {**row, **NO_RESULT, "status": "diverged"}
        if self.checkpoint is not None:
            trainer.save_checkpoint(self.checkpoint)
        best = trainer.best_metrics
        metrics = {name: best[name] for name in NO_RESULT if name != "best_epoch"}
        kept = {"params": trainer.model.params} if self.keep else {}
        return {**row, "best_epoch": best["epoch"], **metrics, "status": "ok", **kept}

    def failed(self, why: str) -> Row:
        """The row if there can be no result."""
        return {
            "seed": self.seed,
            "parameters": 0,
            "epochs": 0,
            **NO_RESULT,
            "status": f"failed: {why}",
        }


# How trials are trained: by a function that takes numbered ones from an iterator, as there is room
# for them, and yields their rows as they end. None in place of a trial says that there is no other
# before another row has ended; None in place of a row, that its trial gives no sign of life.
Trials = Iterator[tuple[int, Trial] | None]
NumberedRows = Generator[tuple[int, Row | None], None, None]
Executor = Callable[[Trials, Problem], NumberedRows]


def context(problem: Problem) -> dict[str, Any]:
    """All that decides a trial's result besides recipe and seed, JSON-like: the data, as digests of
    its arrays, and the software of this process."""
    return {
        "data": [_digest(array) for part in (problem.train, problem.val) for array in part],
        "soft_labels": None if problem.soft_labels is None else _digest(problem.soft_labels),
        "image_shape": list(problem.image_shape or ()),
        "classes": len(problem.classes),
        "normalisation": dict(problem.normalisation or {}),
        **software(),
    }


def _digest(array: NDArray[Any]) -> str:
    kind = f"{array.dtype.str} {array.shape} ".encode()
    return hashlib.sha256(kind + np.ascontiguousarray(array).data.cast("B")).hexdigest()


@cache  # a process outlives changes to its sources, which it has loaded by then
def software() -> dict[str, Any]:
    """What of this process decides a trial's result."""
    package, numpy = Path(__file__).parent.parent, Path(np.__file__).resolve().parent
    blas = [library for library in threadpool_info() if library["user_api"] == "blas"]
    # SciPy, say, brings another
    ours = (numpy.with_name("numpy.libs"), numpy / ".dylibs")
    own = [library for library in blas if Path(library["filepath"]).parent in ours]
    sources = [(package / f"{name}.py").read_text(encoding="utf-8") for name in SOURCES]
    return {
        "sources": [hashlib.sha256(meaning(text).encode()).hexdigest() for text in sources],
        "numpy": [np.__version__, np.show_config("dicts")["SIMD Extensions"].get("found", [])],
        "blas": [
            [library["internal_api"], library["version"], library["architecture"]]
            for library in own or blas
        ],
    }


def meaning(source: str) -> str:
    """A module's syntax tree, without what changes no result: comments and docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            del node.body[0]
    return ast.dump(tree)
