"""A multi-layer perceptron in NumPy: layers, networks, optimizers, training and search.

Names are imported when they are first used, so that a program loads only the modules it needs.
"""

from importlib import import_module
from typing import Any

_NAMES = {
    "layers": "Affine BatchNorm Dropout Normalise ReLU Sigmoid Softmax SoftmaxWithLoss",
    "module": "Module MLP",
    "optimizer": "SGD Momentum Adam",
    "trainer": "Trainer DivergenceError",
    "recipe": "Recipe make_trainer",
    "history": "History",
    "data": "Dataset fit_normalisation",
    "files": "InputError",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}
__all__ = list(_HOME)
_HOME["__version__"] = "version"


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mlp' has no attribute {name!r}")
    return getattr(import_module(f"mlp.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
