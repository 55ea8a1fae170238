"""A recipe: all that decides a training besides data and seed; and the trainer that it makes."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from mlp.data import Problem
from mlp.module import MLP, Activation
from mlp.optimizer import OPTIMIZERS, OptimizerName
from mlp.trainer import Trainer


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A network and how it is trained.

    hidden_sizes: neurons of each hidden layer, from the input on.
    lr, lr_decay, l2_reg: as every optimizer takes them (`mlp.optimizer.Optimizer`).
    patience: stop after so many epochs without a better validation accuracy; None: never.
    """

    hidden_sizes: tuple[int, ...]
    activation: Activation = "relu"
    optimizer: OptimizerName = "adam"
    lr: float = 0.001
    lr_decay: float = 0.0
    l2_reg: float = 0.0
    batch_size: int = 100
    epochs: int = 10
    patience: int | None = None

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


def make_trainer(
    recipe: Recipe,
    problem: Problem,
    *,
    seed: int,
    train_metrics: Literal["full", "running"] = "full",
) -> Trainer:
    """The trainer of the network that a recipe describes, on the problem's data.

    The hyper-parameters and `seed` decide every random draw, so that a recipe gives the same
    network wherever and whenever it is trained. The network is of the data's dtype, float32 for
    integers. train_metrics: as `Trainer` takes it.
    """
    text = json.dumps(recipe.hyper_parameters, sort_keys=True)
    entropy = [seed, *np.frombuffer(hashlib.sha256(text.encode()).digest(), "<u4").tolist()]
    weights_rng, shuffle_rng = np.random.default_rng(np.random.SeedSequence(entropy)).spawn(2)
    model = MLP(
        problem.train.x.shape[1],
        recipe.hidden_sizes,
        len(problem.classes),
        activation=recipe.activation,
        normalisation=problem.normalisation,
        rng=weights_rng,
        dtype=np.result_type(problem.train.x, np.float32),
    )
    optimizer = OPTIMIZERS[recipe.optimizer](
        recipe.lr, lr_decay=recipe.lr_decay, l2_reg=recipe.l2_reg
    )
    return Trainer(
        model,
        optimizer,
        problem.train,
        problem.val,
        batch_size=recipe.batch_size,
        rng=shuffle_rng,
        train_metrics=train_metrics,
    )
