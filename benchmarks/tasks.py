"""What a worker does when it is called: trainings by name, kept from one call to the next."""

from collections.abc import Callable
from typing import Any

import threadpoolctl

from benchmarks.floor import floor as products_of

CHECKED = 3  # epochs after which the accuracies of all peers are compared

_trainings: dict[str, Any] = {}
_epochs: dict[str, int] = {}
_accuracies: dict[str, float] = {}
_snapshots: dict[tuple[str, int], dict[str, Any]] = {}


def start(name: str, contestant: Callable[..., Any], *arguments: Any) -> float:
    """Make a training; the seconds of compilation, if there is any.

    Raises ModuleNotFoundError if the contestant's library is not installed.
    """
    _trainings[name] = training = contestant(*arguments)
    _epochs[name] = 0
    return getattr(training, "compile_seconds", 0.0)


def epoch(name: str) -> float:
    """Seconds of one more epoch."""
    seconds = _trainings[name].epoch()
    _epochs[name] += 1
    if _epochs[name] == CHECKED:
        _accuracies[name] = _trainings[name].accuracy()
    return seconds


def accuracy(name: str) -> float:
    """On the validation set, after CHECKED epochs."""
    return _accuracies[name]


def floor(name: str) -> float:
    """Seconds of one epoch's matrix products alone."""
    return products_of(_trainings[name].trainer)


def train_to(name: str, epoch: int) -> None:
    """Train up to the start of an epoch (from 1), and remember the state there."""
    while _epochs[name] < epoch - 1:
        _trainings[name].epoch()
        _epochs[name] += 1
    model, optimizer = _trainings[name].trainer.model, _trainings[name].trainer.optimizer
    _snapshots[name, epoch] = {"params": model.params.copy(), "optimizer": optimizer.state_dict()}


def epoch_again(name: str, epoch: int) -> float:
    """Seconds of an epoch, run once more from the state that `train_to` remembered."""
    model, optimizer = _trainings[name].trainer.model, _trainings[name].trainer.optimizer
    model.params[:] = _snapshots[name, epoch]["params"]
    optimizer.load_state_dict(_snapshots[name, epoch]["optimizer"])
    return _trainings[name].epoch()


def blas() -> str:
    """NumPy's BLAS, and the kernels that it chose."""
    blas = [i for i in threadpoolctl.threadpool_info() if i["user_api"] == "blas"]
    info = next(i for i in blas if "numpy" in i["filepath"])  # SciPy may have brought its own
    return f"{info['internal_api']} {info['version']}, {info['architecture']} kernels"
