"""Training: epochs of batches, the best weights kept, curves recorded, and resumption."""

import copy
import json
import math
import operator
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mlp.augment import Augmentation
from mlp.checks import check_pixels, distributions, labels, samples
from mlp.data import Batches, Dataset
from mlp.files import InputError, parse_json, read_json, read_npz, reason, write_json, write_npz
from mlp.history import History, checked_row, rank
from mlp.module import Module
from mlp.optimizer import Optimizer
from mlp.progress import training_bar
from mlp.schedule import Cosine

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class DivergenceError(ArithmeticError):
    """A training whose loss is no longer finite; the message says where it happened."""


class Trainer:
    """Trains a network on `train` and keeps the weights that are best on `val`.

    schedule: the share of the optimizer's learning rate for each step; None: all of it.
    augmentation: what draws a variant of each training sample in each epoch.
    soft_labels: (N, variants, K), a teacher's probabilities for each variant of each training
        sample (one without augmentation), learnt in place of the labels.
    rng: shuffles the training set and draws the variants; layers draw from generators of their own.
    train_metrics: "full" measures training loss and accuracy with the weights at each epoch's
        end, in a pass of its own over the training set; "running" (about a quarter faster)
        averages what the batches gave while the weights were changing, as they were learnt:
        augmented, with label smoothing or a teacher's probabilities.

    Best means highest validation accuracy, ties by lower validation loss. One BLAS thread is
    used, whatever the machine has: at these sizes more gain little, and a product that is split
    over threads may round differently. (The limit is the process's: of trainings in several threads
    the first to end lifts it, so have one around them all.)

    Raises InputError if a data set is not one for this network (see `mlp.checks`), if soft labels
    are not one for each variant, or if `batch_size` is not 1 or more.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        train: Dataset,
        val: Dataset,
        *,
        batch_size: int = 100,
        schedule: Cosine | None = None,
        augmentation: Augmentation | None = None,
        soft_labels: NDArray[np.floating] | None = None,
        rng: np.random.Generator,
        train_metrics: Literal["full", "running"] = "full",
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.schedule = schedule
        self.augmentation = augmentation
        self.train, self.val = (_checked(part, model) for part in (train, val))
        self.rng = rng
        self.train_metrics = train_metrics
        self.history = History()
        self.best_metrics: dict[str, float] = {}
        if operator.index(batch_size) < 1:
            raise InputError(f"batches of {batch_size}: 1 or more samples are needed")
        if augmentation:
            check_pixels(augmentation.image_shape, model.sizes()[0])
        variants = augmentation.variants if augmentation else 1
        shape = (len(self.train.t), variants, model.sizes()[1])
        if soft_labels is not None:
            soft_labels = distributions(soft_labels, shape)
        self._batches = Batches(
            self.train,
            operator.index(batch_size),
            augmentation=augmentation,
            soft_labels=soft_labels,
        )
        self._best_params = model.params.copy()
        self._last_params = model.params.copy()
        self._within_epoch = False

    def fit(
        self,
        epochs: int,
        *,
        patience: int | None = None,
        on_epoch: Callable[[History], None] | None = None,
        checkpoint: str | Path | None = None,
        progress: bool = False,
    ) -> History:
        """Train until `epochs` epochs are done in all, those of earlier calls and of a loaded
        checkpoint included; then put the best weights into the model.

        patience: stop early after so many epochs without a new best.
        on_epoch: called with the history after each epoch.
        checkpoint: a file that `save_checkpoint` writes after each epoch.
        progress: show a bar on standard error, where that is a terminal.

        Ctrl-C ends the training too, with the best weights put in, before it is raised again.
        Raises DivergenceError when the loss is no longer finite, likewise.
        """
        if np.array_equal(self.model.params, self._best_params):  # as the last call left them
            self.model.params[:] = self._last_params
        else:  # loaded, or changed, since; they are the best only while there are no others
            self._last_params[:] = self.model.params
            if not self.history.rows:
                self._best_params[:] = self.model.params
        bar = training_bar(epochs, len(self.history), show=progress)
        try:
            with (
                bar as advance,
                threadpool_limits(1, user_api="blas"),
                np.errstate(all="ignore"),
            ):
                while len(self.history) < epochs and not self._out_of_patience(patience):
                    self._run_epoch()
                    if checkpoint is not None:
                        self.save_checkpoint(checkpoint)
                    if on_epoch is not None:
                        on_epoch(self.history)
                    advance(self.best_metrics["val_accuracy"])
        finally:
            self.model.params[:] = self._best_params
        return self.history

    def plot(self, path: str | Path | None = None) -> "Figure":
        """Loss and accuracy on training and validation set over the epochs; a file if `path`.

        Raises InputError before the first epoch.
        """
        from mlp.plots.style import save
        from mlp.plots.training import learning_curves

        best = self.best_metrics  # maybe loaded, of another training
        mark = int(best["epoch"]) if best in self.history.rows else None
        figure = learning_curves(self.history, mark)
        if path is not None:
            save(figure, path)
        return figure

    def save_best_metrics(self, path: str | Path) -> None:
        """Write the history's row of the best epoch as JSON."""
        write_json(path, self.best_metrics)

    def load_best_metrics(self, path: str | Path) -> dict[str, float]:
        """Read what `save_best_metrics` wrote into `best_metrics`, which later epochs must beat.

        Raises InputError if it is something else, and changes nothing then.
        """
        value = read_json(path)
        try:
            self.best_metrics = checked_row(value) if value != {} else {}
        except ValueError as error:
            raise InputError(f"{path}: {error}") from error
        return self.best_metrics

    def save_checkpoint(self, path: str | Path) -> None:
        """Write all that the rest of the training depends on, in one `.npz` file.

        Raises InputError after an epoch that was broken off, by Ctrl-C, say: what it changed is no
        state that a training without interruption comes through.
        """
        if self._within_epoch:
            raise InputError(f"{path}: an epoch was broken off: let `fit` write it, after each one")
        state = self.optimizer.state_dict()
        arrays = {k: v for k, v in state.items() if isinstance(v, np.ndarray)}
        header = {
            "of": self._identity(),
            "optimizer": {k: v for k, v in state.items() if k not in arrays},
            "generators": [rng.bit_generator.state for rng in self._generators()],
            "history": self.history.rows,
            "best_metrics": self.best_metrics,
        }
        write_npz(
            path,
            json=json.dumps(header, default=np.ndarray.tolist),  # which some generators have
            params=self._last_params,
            best_params=self._best_params,
            **{f"optimizer.{name}": array for name, array in arrays.items()},
        )

    def load_checkpoint(self, path: str | Path, *, at_most: int | None = None) -> None:
        """Go on from a checkpoint: `fit` then gives, to the bit, what it would have given without
        the interruption, if model, optimizer and data are made as they were.

        at_most: the most epochs that it may have gone.

        Raises InputError if the file is no checkpoint, one of another network or optimizer, or one
        that has gone further, and changes nothing then.
        """
        arrays = read_npz(path)
        model, optimizer = self.model, copy.copy(self.optimizer)
        try:
            header = parse_json(str(arrays["json"][()]))
            if header["of"] != self._identity():
                raise InputError(f"{path}: a checkpoint of {header['of']}, not {self._identity()}")
            history, best, state = header["history"], header["best_metrics"], header["optimizer"]
            if at_most is not None and len(history) > at_most:
                raise InputError(f"{path}: has gone {len(history)} epochs, more than {at_most}")
            for row in [*history, *([best] if best else [])]:
                checked_row(row)
            if [row["epoch"] for row in history] != [*range(1, len(history) + 1)]:
                raise ValueError("epochs are missing")
            if (state["steps"] > 0) != (len(history) > 0):
                raise ValueError(f"{state['steps']} steps in {len(history)} epochs")
            vectors = {"params": model.params, "best_params": model.params}
            if state["steps"]:
                names = {name: f"optimizer.{name}" for name in optimizer.arrays}
                state |= {name: arrays[entry] for name, entry in names.items()}
                vectors |= dict.fromkeys(names.values(), model.learnt)
            for entry, like in vectors.items():
                array = arrays[entry]
                if (array.shape, array.dtype) != (like.shape, like.dtype):
                    raise ValueError(f"{entry}: {array.dtype} {array.shape}")
                if not np.isfinite(array).all():
                    raise ValueError(f"{entry}: not all finite")
            optimizer.load_state_dict(state)
            generators = zip(self._generators(), header["generators"], strict=True)
            states = [_state(generator, of) for generator, of in generators]
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputError(f"{path}: not a checkpoint ({reason(error)})") from error
        self._last_params[:] = arrays["params"]
        model.params[:] = self._best_params[:] = arrays["best_params"]
        self.optimizer.load_state_dict(state)
        for generator, of in zip(self._generators(), states, strict=True):
            generator.bit_generator.state = of
        self._within_epoch = False
        self.history.rows[:] = history
        self.best_metrics = best

    def _generators(self) -> list[np.random.Generator]:
        return [self.rng, *self.model.generators()]

    def _identity(self) -> str:
        layers = ", ".join(map(repr, self.model.layers))
        how = [value for value in (self.schedule, self.augmentation) if value]
        return f"{layers} with {type(self.optimizer).__name__}{''.join(f', {h}' for h in how)}"

    def _run_epoch(self) -> None:
        model, optimizer = self.model, self.optimizer
        epoch = len(self.history) + 1
        optimizer.epoch = epoch - 1
        self._within_epoch = True
        *train, gradient_norm = self._train_on_batches()
        if self.train_metrics == "full":
            train = list(_evaluate(model, self.train))
        val = _evaluate(model, self.val)
        row = {
            "epoch": epoch,
            "train_loss": train[0],
            "val_loss": val[0],
            "train_accuracy": train[1],
            "val_accuracy": val[1],
            "lr": optimizer.current_lr,
            "l2_penalty": 0.5 * optimizer.l2_reg * model.l2_norm() ** 2,
            "gradient_norm": gradient_norm,
        }
        if not all(math.isfinite(value) for value in row.values()):
            raise DivergenceError(f"the loss is no longer finite after epoch {epoch}")
        self.history.rows.append(row)
        self._last_params[:] = model.params
        if not self.best_metrics or rank(row) > rank(self.best_metrics):
            self.best_metrics = row
            self._best_params[:] = model.params
        self._within_epoch = False

    def _train_on_batches(self) -> tuple[float, float, float]:
        """A step on each batch of an epoch; the mean of the batches' losses and accuracies, while
        the weights were changing, and of every tenth gradient's norm."""
        model, optimizer = self.model, self.optimizer
        loss = hits = 0.0
        norms = []
        steps = -(-len(self.train.t) // self._batches.size)
        for step, (x, t) in enumerate(self._batches.shuffled(self.rng)):
            if self.schedule:  # in the middle of the step, so that neither end is wasted
                optimizer.lr_factor = self.schedule(optimizer.epoch + (step + 0.5) / steps)
            batch_loss = model.loss(x, t)
            if not math.isfinite(batch_loss):
                raise DivergenceError(
                    f"the training loss is no longer finite in epoch {optimizer.epoch + 1}, "
                    f"step {step + 1}: lower the learning rate ({optimizer.lr:g})"
                )
            model.backward()
            optimizer.update(model.learnt, model.grads, model.n_weights)
            if step % 10 == 0:
                norms.append(math.sqrt(np.dot(model.grads, model.grads)))
            loss += batch_loss * len(t)
            hits += model.hits
        n = len(self.train.t)
        return loss / n, hits / n, statistics.fmean(norms)

    def _out_of_patience(self, patience: int | None) -> bool:
        if patience is None or not self.best_metrics:
            return False
        rows = self.history.rows
        since_best = next(
            (i for i, row in enumerate(reversed(rows)) if row == self.best_metrics), None
        )
        return (len(rows) if since_best is None else since_best) >= patience


def _state(generator: np.random.Generator, state: Any) -> Any:
    """A state for a generator, after trying it on another of its kind."""
    other = type(generator.bit_generator)(0)
    other.state = state
    return other.state


def _checked(data: Dataset, model: Module) -> Dataset:
    features, classes = model.sizes()
    x = samples(data.x, features)
    return Dataset(x, labels(data.t, count=len(x), classes=classes))


def _evaluate(model: Module, data: Dataset) -> tuple[float, float]:
    """`Module.evaluate` on samples that have been checked."""
    return model.evaluate_logits(model.predict_logits(data.x), data.t)
