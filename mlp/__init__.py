"""A multi-layer perceptron in NumPy: layers, networks, optimizers, training and search.

Names are imported when they are first used, so that a program loads only the modules it needs.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "Affine": "layers",
    "BatchNorm": "layers",
    "Dropout": "layers",
    "Normalise": "layers",
    "ReLU": "layers",
    "Sigmoid": "layers",
    "Softmax": "layers",
    "SoftmaxWithLoss": "layers",
    "Module": "module",
    "MLP": "module",
    "SGD": "optimizer",
    "Momentum": "optimizer",
    "Adam": "optimizer",
    "Trainer": "trainer",
    "Recipe": "recipe",
    "make_trainer": "recipe",
    "History": "history",
    "DivergenceError": "trainer",
    "Dataset": "data",
    "fit_normalisation": "data",
    "InputError": "files",
}
__all__ = list(_HOME)
_HOME["__version__"] = "version"


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mlp' has no attribute {name!r}")
    return getattr(import_module(f"mlp.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
