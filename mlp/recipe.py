"""A recipe: all that decides a training besides data and seed; and the trainer that it makes."""

import hashlib
import json
import math
import operator
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args, get_origin

import numpy as np

from mlp.augment import Augmentation, background
from mlp.checks import check_pixels
from mlp.data import Dataset, Problem
from mlp.files import InputError, short
from mlp.module import MLP, Activation
from mlp.optimizer import OPTIMIZERS, OptimizerName
from mlp.schedule import Cosine, ScheduleName
from mlp.trainer import Trainer

COUNTS = ("size", "epochs", "batch_size")  # from 1
SHARES = ("warmup", "label_smoothing", "input_dropout", "dropout")  # from 0 to below 1


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A network and how it is trained. Without values for the others, hidden sizes are enough.

    hidden_sizes: neurons of each hidden layer, from the input on.
    batch_norm, input_dropout, dropout, label_smoothing: as `MLP` takes them.
    lr, lr_decay, l2_reg, weight_decay: as every optimizer takes them (`mlp.optimizer.Optimizer`).
    schedule, warmup: "inverse_time" is `lr_decay`'s; "cosine" is `mlp.schedule.Cosine`.
    flip, shift: as `mlp.augment.Augmentation` takes them.
    patience: stop after so many epochs without a better validation accuracy; None: never.

    Numbers of any kind are taken, and become Python's own. Raises InputError if one is of another
    kind or has no meaning.
    """

    hidden_sizes: tuple[int, ...]
    activation: Activation = "relu"
    batch_norm: bool = False
    optimizer: OptimizerName = "adam"
    lr: float = 0.001
    schedule: ScheduleName = "inverse_time"
    lr_decay: float = 0.0
    warmup: float = 0.0
    l2_reg: float = 0.0
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    input_dropout: float = 0.0
    dropout: float = 0.0
    flip: bool = False
    shift: int = 0
    batch_size: int = 100
    epochs: int = 10
    patience: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            try:
                object.__setattr__(self, field.name, _checked(field.name, field.type, value))
            except (TypeError, ValueError, OverflowError) as error:
                raise InputError(f"a recipe's {field.name}: {short(value)}: {error}") from error

    @property
    def hyper_parameters(self) -> dict[str, Any]:
        """What a search varies, by the names that tables and params.yaml use."""
        sizes = {f"hidden_size{i}": size for i, size in enumerate(self.hidden_sizes, start=1)}
        varied = {"lr": self.lr, "l2_reg": self.l2_reg}
        return {**sizes, **varied, "activation": self.activation, "optimizer": self.optimizer}

    def as_dict(self) -> dict[str, Any]:
        """All of it, JSON-like."""
        return asdict(self) | {"hidden_sizes": list(self.hidden_sizes)}

    def __str__(self) -> str:
        sizes = "-".join(map(str, self.hidden_sizes))
        return f"{sizes}, lr {self.lr:g}, l2_reg {self.l2_reg:g}"


def _checked(name: str, kind: Any, value: Any) -> Any:
    """A recipe's value as Python's own number. Raises TypeError or ValueError."""
    if name == "hidden_sizes":
        return tuple(_checked("size", int, size) for size in value)
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise ValueError(f"allowed is {' or '.join(get_args(kind))}")
        return value
    if value is None and kind == int | None:
        return None
    if isinstance(value, str):
        raise TypeError("a number is needed")
    if kind is bool:
        if value not in (False, True):
            raise ValueError("true or false is needed")
        return bool(value)
    number = float(value) if kind is float else operator.index(value)
    most = 1 if name in SHARES else math.inf if kind is float else 2**63
    if not (name in COUNTS) <= number < most:
        raise ValueError("out of range")
    return abs(number)  # as -0.0 has another text, from which draws come


def make_trainer(
    recipe: Recipe,
    problem: Problem,
    *,
    seed: int,
    train_metrics: Literal["full", "running"] = "full",
) -> Trainer:
    """The trainer of the network that a recipe describes, on the problem's data. The network's
    `metadata` say what it was made of.

    The hyper-parameters and `seed` decide every random draw, so that a recipe gives the same
    network wherever and whenever it is trained. The network is of the data's dtype, float32 for
    integers. train_metrics: as `Trainer` takes it.

    Raises InputError as `Trainer` does, and if the recipe flips or shifts what are no images.
    """
    train, val = (Dataset(*map(np.asanyarray, part)) for part in (problem.train, problem.val))
    problem = problem._replace(train=train, val=val)
    text = json.dumps(recipe.hyper_parameters, sort_keys=True)
    entropy = [seed, *np.frombuffer(hashlib.sha256(text.encode()).digest(), "<u4").tolist()]
    weights_rng, shuffle_rng = np.random.default_rng(np.random.SeedSequence(entropy)).spawn(2)
    x = problem.train.x
    model = MLP(
        x.shape[1],
        recipe.hidden_sizes,
        len(problem.classes),
        activation=recipe.activation,
        normalisation=problem.normalisation,
        batch_norm=recipe.batch_norm,
        input_dropout=recipe.input_dropout,
        dropout=recipe.dropout,
        label_smoothing=recipe.label_smoothing,
        rng=weights_rng,
        dtype=np.result_type(x, np.float32) if x.dtype.kind == "f" else np.float32,
    )
    settings = {k: v for k, v in recipe.as_dict().items() if k != "hidden_sizes"}
    model.metadata = {
        "classes": list(problem.classes),
        "image_shape": list(problem.image_shape) if problem.image_shape else None,
        "hyper_parameters": recipe.hyper_parameters | settings,
    }
    optimizer = OPTIMIZERS[recipe.optimizer](
        recipe.lr,
        lr_decay=recipe.lr_decay,
        l2_reg=recipe.l2_reg,
        weight_decay=recipe.weight_decay,
    )
    return Trainer(
        model,
        optimizer,
        problem.train,
        problem.val,
        batch_size=recipe.batch_size,
        schedule=Cosine(recipe.epochs, recipe.warmup) if recipe.schedule == "cosine" else None,
        augmentation=augmentation_of(recipe, problem),
        soft_labels=problem.soft_labels,
        rng=shuffle_rng,
        train_metrics=train_metrics,
    )


def augmentation_of(recipe: Recipe, problem: Problem) -> Augmentation | None:
    """What a recipe does to the images of a problem; None if nothing. Raises InputError if they
    are no images."""
    if not (recipe.flip or recipe.shift):
        return None
    if problem.image_shape is None or len(problem.image_shape) != 2:
        raise InputError("flip and shift are for images: the data's image_shape is unknown")
    rows, columns = problem.image_shape
    check_pixels((rows, columns), problem.train.x.shape[1])
    filling = background(problem.train.x, (rows, columns))
    return Augmentation((rows, columns), recipe.flip, recipe.shift, filling)
