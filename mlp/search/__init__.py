"""A search: a strategy says which recipes to train, an executor trains them, the best one wins.

A strategy is a generator: it yields lists of recipes, and is sent what came of each list before it
goes on. `grid` and `halving` are two; random search would be

    def random_search(recipes, n, rng):
        yield [recipes[i] for i in rng.choice(len(recipes), n, replace=False)]

An executor is a function (`mlp.search.processes.train`, `mlp.search.cluster.train`): it takes
numbered trials from an iterator and yields their rows as they end, with their numbers.
"""

import contextlib
import itertools
import operator
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlp.checks import labels, normalisation, samples
from mlp.data import Dataset, Problem
from mlp.files import InputError, short
from mlp.progress import SearchBar
from mlp.recipe import Recipe
from mlp.search.journal import Journal
from mlp.search.result import Result, failures, winner
from mlp.search.trial import Executor, Row, Trial, Trials

__all__ = [
    "Result",
    "Rung",
    "Strategy",
    "expand_grid",
    "failures",
    "grid",
    "halving",
    "run_search",
    "rungs_of",
    "winner",
]

Strategy = Generator[list[Recipe], list[Result], None]


class Rung(NamedTuple):
    """A step of halving: so many of the best recipes, trained for so many epochs in all."""

    recipes: int
    epochs: int


def expand_grid(space: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """All combinations of the values of each hyper-parameter, the last one varying fastest."""
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]


def grid(recipes: Sequence[Recipe]) -> Strategy:
    """Exhaustive search: all recipes for all their epochs."""
    yield list(recipes)


def rungs_of(recipes: int, epochs: int, *, rungs: int, factor: int) -> list[Rung]:
    """The rungs of `halving`. Quotients are rounded up."""
    return [
        Rung(-(-recipes // factor**r), -(-epochs // factor ** (rungs - 1 - r)))
        for r in range(rungs)
    ]


def halving(recipes: Sequence[Recipe], rungs: Sequence[Rung]) -> Strategy:
    """Synchronous successive halving (Jamieson and Talwalkar 2016): all recipes for a few epochs,
    then from rung to rung the best of them for more, each from where it stands."""
    alive = list(recipes)
    ranks: list[Any] = [0] * len(alive)
    for rung in rungs:
        best = sorted(range(len(alive)), key=ranks.__getitem__, reverse=True)[: rung.recipes]
        alive = [replace(alive[i], epochs=rung.epochs) for i in sorted(best)]
        ranks = [result.rank() for result in (yield alive)]


def run_search(
    strategy: Strategy,
    problem: Problem,
    executor: Executor,
    *,
    seeds: Iterable[int],
    journal: str | Path | None = None,
    checkpoints: bool = False,
    keep: bool = False,
    total: int = 0,
) -> tuple[list[Result], int]:
    """Train the recipes that a strategy asks for, each with each seed. Return what came of each, in
    the order in which the strategy first named them, and how many trials were remembered.

    journal: a folder that remembers finished trials, so that a search that was stopped, or has
        grown, trains only what is missing.
    checkpoints: keep them in that folder, so that a recipe which the strategy asks for again, with
        more epochs, goes on where it stands.
    keep: give each row the best weights too, as `params`.
    total: how many trials it will be, if that is known.

    Shows a bar on a terminal. Ctrl-C ends the trials under way; KeyboardInterrupt then says how
    many are kept. Raises InputError if the problem is none (see `mlp.checks`), if the seeds are not
    one or more different ones, or if a list names a recipe twice, and whatever the executor raises.
    """
    problem, seeds = _checked(problem), _checked_seeds(seeds)
    book = Journal(journal, problem) if journal is not None else None
    with SearchBar(total) as bar:
        search = _Search(strategy, seeds, book, bar, checkpoints, keep)
        try:
            with contextlib.closing(executor(search.trials(), problem)) as rows:
                for number, row in rows:
                    search.record(number, row)
        except KeyboardInterrupt:
            if book is None:
                raise
            kept = sum(trial in book for trial in search.named)
            raise KeyboardInterrupt(f"{kept} of {bar.total} trials are kept") from None
    return list(search.results.values()), search.remembered


def _checked(problem: Problem) -> Problem:
    """The problem with arrays and Python's own numbers, as files and processes take them."""
    names, shape, scale = problem.classes, problem.image_shape, problem.normalisation
    try:
        _, features = np.shape(problem.train.x)
        shape = None if shape is None else tuple(map(operator.index, shape))
        scale = {k: float(v) for k, v in scale.items()} if scale else None
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"samples (N, features), image_shape or normalisation of a problem: {error}"
        ) from error
    if features < 1:
        raise InputError("samples without features")

    def checked(part: Dataset) -> Dataset:
        x = samples(part.x, features)
        return Dataset(x, labels(part.t, count=len(x), classes=len(names)))

    return problem._replace(
        train=checked(problem.train),
        val=checked(problem.val),
        classes=tuple(names),
        image_shape=shape,
        normalisation=normalisation(scale),
        soft_labels=None if problem.soft_labels is None else np.asarray(problem.soft_labels),
    )


def _checked_seeds(seeds: Iterable[int]) -> list[int]:
    """Seeds as Python's own numbers. Raises InputError unless they are different, from 0 up."""
    try:
        numbers = [operator.index(seed) for seed in seeds]
    except TypeError as error:
        raise InputError(f"a search's seeds: {error}") from error
    if not numbers or min(numbers) < 0 or len({*numbers}) < len(numbers):
        raise InputError(
            f"a search's seeds {short(numbers)}: one or more are needed, different, from 0 up"
        )
    return numbers


@dataclass
class _Search:
    """Where a search stands: the trials that were named, and what has come of each."""

    strategy: Strategy
    seeds: Sequence[int]
    journal: Journal | None
    bar: SearchBar
    checkpoints: bool
    keep: bool
    named: list[Trial] = field(default_factory=list)
    rows: dict[int, Row] = field(default_factory=dict)
    remembered: int = 0
    results: dict[Recipe, Result] = field(default_factory=dict)  # by recipe, whatever its epochs

    def trials(self) -> Trials:
        """What is to be trained, list by list, the longest first, so that no core is left alone
        with a long one at the end."""
        batch = next(self.strategy, None)
        for rung in itertools.count(1):
            if batch is None:
                return
            numbers = self._name(batch)
            missing = [number for number in numbers if not self._remember(number)]
            for number in sorted(missing, key=lambda number: -_size(self.named[number].recipe)):
                yield number, self.named[number]
            while not self.rows.keys() >= set(numbers):
                yield None
            batch = self._answer(batch, numbers, rung)

    def record(self, number: int, row: Row | None) -> None:
        """What an executor says of a trial."""
        trial = self.named[number]
        if row is None:
            self.bar.silent(number, str(trial.recipe))
            return
        if self.journal and not row["status"].startswith("failed"):
            self.journal.put(trial, row)
        self._end(number, row, remembered=False)

    def _name(self, batch: Sequence[Recipe]) -> range:
        """Number the trials of a list of recipes."""
        if len({replace(recipe, epochs=1) for recipe in batch}) < len(batch):
            raise InputError("a strategy's list names a recipe twice, if for other epochs")
        start = len(self.named)
        for recipe in batch:
            for seed in self.seeds:
                trial = Trial(recipe, seed, keep=self.keep)
                if self.journal and self.checkpoints:
                    trial = replace(trial, checkpoint=self.journal.checkpoint(trial))
                self.named.append(trial)
        self.bar.expect(len(self.named))
        return range(start, len(self.named))

    def _remember(self, number: int) -> bool:
        row = self.journal.get(self.named[number]) if self.journal else None
        if row is None:
            return False
        self.remembered += 1
        self._end(number, row, remembered=True)
        return True

    def _end(self, number: int, row: Row, *, remembered: bool) -> None:
        self.rows[number] = row
        self.bar.advance(number, row["val_accuracy"], remembered=remembered)

    def _answer(self, batch: list[Recipe], numbers: range, rung: int) -> list[Recipe] | None:
        """Tell the strategy what came of its list; its next one, or None."""
        results = []
        for recipe, start in zip(batch, numbers[:: len(self.seeds)], strict=True):
            rows = [self.rows[start + i] for i in range(len(self.seeds))]
            results.append(Result(recipe, rung, rows))
            self.results[replace(recipe, epochs=1)] = results[-1]
        with contextlib.suppress(StopIteration):
            return self.strategy.send(results)
        return None


def _size(recipe: Recipe) -> int:
    """What a recipe's epochs cost, roughly: the weights of a network on small images."""
    sizes = (1000, *recipe.hidden_sizes)
    return recipe.epochs * sum(a * b for a, b in itertools.pairwise(sizes))
