"""The search: the grid, one trial, and running trials in parallel."""

import contextlib
import hashlib
import itertools
import os
import re
import signal
import statistics
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from importlib import import_module
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError
from threadpoolctl import threadpool_info
from tqdm import tqdm

from mlp.data import Dataset
from mlp.files import InputError
from mlp.search.journal import Journal, digest, entry_files
from mlp.trainer import DivergenceError, make_trainer

if TYPE_CHECKING:
    from mlp.search.cluster import Cluster

Config = dict[str, Any]
Row = dict[str, Any]
Results = Generator[tuple[int, Row], None, None]  # rows as they end, by the trials' numbers

# What stands in the table for a trial without a result: tables and JSON take no NaN
NO_RESULT = {
    "best_epoch": 0,
    "train_loss": -1.0,
    "val_loss": -1.0,
    "train_accuracy": 0.0,
    "val_accuracy": 0.0,
}

# The modules that decide a trial's result
SOURCES = ("arrays", "functions", "layers", "module", "optimizer", "data", "trainer", "search")


class Trial(NamedTuple):
    """A finished trial: its place in the list of configurations, its row of the table, and
    whether the row was in the journal already."""

    number: int
    row: Row
    remembered: bool


class Rung(NamedTuple):
    """A step of a search: so many of the best configurations, trained for so many epochs in all."""

    configurations: int
    epochs: int


def expand_grid(space: Mapping[str, Sequence[Any]]) -> list[Config]:
    """All combinations of the values of each hyper-parameter, the last one varying fastest."""
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]


def halving(configurations: int, epochs: int, *, rungs: int, factor: int) -> list[Rung]:
    """The rungs of synchronous successive halving (Jamieson and Talwalkar 2016): all configurations
    for a few epochs, then from rung to rung 1/`factor` of them for `factor` times as many, up to
    `epochs` on the last. One rung is exhaustive search. Quotients are rounded up.
    """
    return [
        Rung(-(-configurations // factor**r), -(-epochs // factor ** (rungs - 1 - r)))
        for r in range(rungs)
    ]


def train_trial(
    config: Config,
    train: Dataset,
    val: Dataset,
    *,
    epochs: int,
    checkpoint: Path | None = None,
    **settings: Any,
) -> Row:
    """Train one configuration and return its row: the configuration, the number of parameters,
    the metrics of its best epoch, and a status, "ok" or "diverged".

    config: as `make_trainer` takes it, and the seed.
    checkpoint: a file to go on from, if it is there, and to leave behind. It saves time alone:
        a training that goes on gives the same bits as one that starts again.
    settings: as `make_trainer` takes them.
    """
    hyper_parameters = {name: value for name, value in config.items() if name != "seed"}
    trainer = make_trainer(
        hyper_parameters, train, val, seed=config["seed"], train_metrics="running", **settings
    )
    row = {**config, "parameters": trainer.model.params.size, "epochs": epochs}
    if checkpoint is not None:
        with contextlib.suppress(FileNotFoundError, InputError):
            trainer.load_checkpoint(checkpoint)
    try:
        trainer.fit(epochs)
    except DivergenceError:
        return {**row, **NO_RESULT, "status": "diverged"}
    if checkpoint is not None:
        trainer.save_checkpoint(checkpoint)
    best = trainer.best_metrics
    metrics = {name: best[name] for name in NO_RESULT if name != "best_epoch"}
    return {**row, "best_epoch": best["epoch"], **metrics, "status": "ok"}


def run_trials(
    configs: Sequence[Config],
    train: Dataset,
    val: Dataset,
    *,
    jobs: int = -1,
    journal: str | Path | None = None,
    checkpoints: bool = False,
    cluster: "Cluster | None" = None,
    **settings: Any,
) -> Generator[Trial, None, None]:
    """Train all configurations, `jobs` at a time (-1: one per core), and yield them as they end.

    A row depends on its configuration and the settings (see `train_trial`) alone. Arrays that are
    memory-mapped from files are shared between the processes.

    journal: a folder that remembers finished trials, so that a search that was stopped, or has
        grown, trains only what is missing; what it remembers is yielded first.
    checkpoints: keep them beside the journal's entries, so that a later call with more epochs goes
        on where this one ended.
    cluster: trains in place of this machine's processes, one trial per worker, without checkpoints
        (the bits are the same). The journal stays here. Raises InputError if it cannot go on.

    A process that dies takes down neither the search nor other trials: those that were under way
    are tried again, each by itself; one that dies again gets a row with status "failed". Ctrl-C, or
    closing the iterator, ends those under way.
    """
    book = Journal(journal, _context(train, val, settings)) if journal is not None else None
    pending = []
    for number, config in enumerate(configs):
        row = book.get(config) if book else None
        if row is None:
            pending.append(number)
        else:
            yield Trial(number, row, remembered=True)
    # longest first, so that no core is left alone with a long trial at the end
    pending.sort(key=lambda number: -_size(configs[number]))

    task = delayed(
        partial(
            _run,
            train=train,
            val=val,
            journal=book,
            checkpoints=checkpoints,
            settings=settings,
            parent=os.getpid(),
        )
    )
    started: list[int] = []

    def tasks() -> Iterator[Any]:
        for number in list(pending):
            started.append(number)
            yield task(number, configs[number])

    while pending:
        started.clear()
        if cluster is not None:
            there = [(number, configs[number]) for number in pending]
            results = cluster.train(there, train, val, settings, journal=book)
        else:
            results = _in_processes(jobs, tasks())
        try:
            with contextlib.closing(results):  # which ends what is under way, if it must
                for number, row in results:
                    pending.remove(number)
                    yield Trial(number, row, remembered=False)
        except TerminatedWorkerError:
            for number in [number for number in started if number in pending]:
                config = configs[number]
                row = book.get(config) if book else None
                row = row or _alone(task(number, config), config)
                pending.remove(number)
                yield Trial(number, row, remembered=False)


def run_search(
    configs: Sequence[Config],
    train: Dataset,
    val: Dataset,
    *,
    rungs: Sequence[Rung],
    seeds: Sequence[int],
    journal: str | Path | None = None,
    **options: Any,
) -> tuple[list[list[Row]], int]:
    """Climb the rungs with the configurations, each trained with each seed. Return the rows of each
    configuration's trials, with the number of their rung (from 1), and how many trials of all were
    remembered. Shows a bar on a terminal; after Ctrl-C, KeyboardInterrupt says how many are kept.

    From one rung to the next go the configurations of the highest mean validation accuracy, each
    from where it stands. journal, options: as `run_trials` takes them.
    """
    rows: list[list[Row]] = [[] for _ in configs]
    best, remembered, start = 0.0, 0, time.time()
    total = len(seeds) * sum(rung.configurations for rung in rungs)
    trials = _climb(configs, train, val, rungs, seeds, journal=journal, **options)
    try:
        with (
            contextlib.closing(trials),  # whatever ends this ends the trials under way
            tqdm(total=total, desc="search", unit="trial", disable=None) as bar,
        ):
            for number, row, was_remembered in trials:
                rows[number].append(row)
                remembered += was_remembered
                best = max(best, row["val_accuracy"])
                bar.set_postfix(
                    best_val_accuracy=f"{best:.4f}", remembered=remembered, refresh=False
                )
                bar.update()
    except KeyboardInterrupt:
        if journal is None:
            raise
        kept = remembered + sum(path.stat().st_mtime > start for path in entry_files(journal))
        raise KeyboardInterrupt(f"{kept} of {total} trials are kept") from None
    return rows, remembered


def _climb(
    configs: Sequence[Config],
    train: Dataset,
    val: Dataset,
    rungs: Sequence[Rung],
    seeds: Sequence[int],
    **options: Any,
) -> Generator[Trial, None, None]:
    """All trials of a search as they end, numbered by their configurations."""
    alive = list(range(len(configs)))
    summary: dict[int, Row] = {}
    for number, rung in enumerate(rungs, start=1):
        if number > 1:
            ranked = sorted(alive, key=lambda i: _rank(summary[i]))
            alive = sorted(ranked[: rung.configurations])
        trials = [(i, {**configs[i], "seed": seed}) for i in alive for seed in seeds]
        rows: dict[int, list[Row]] = {i: [] for i in alive}
        for trial in run_trials(
            [config for _, config in trials],
            train,
            val,
            epochs=rung.epochs,
            checkpoints=len(rungs) > 1,
            **options,
        ):
            i = trials[trial.number][0]
            row = {**trial.row, "rung": number}
            rows[i].append(row)
            yield Trial(i, row, trial.remembered)
        summary = {i: summarise(rows[i]) for i in alive}


def summarise(rows: Sequence[Row]) -> Row:
    """One row for a configuration, from those of its trials: of the last rung it came to, the means
    of the metrics over the seeds, and the standard deviation of validation accuracy (0 for one).

    Its status is "ok" if that of all those trials is, otherwise the first other one.
    """
    rung = max(row["rung"] for row in rows)
    rows = sorted((row for row in rows if row["rung"] == rung), key=lambda row: row["seed"])
    status = next((row["status"] for row in rows if row["status"] != "ok"), "ok")
    metrics, std = NO_RESULT, 0.0
    if status == "ok":
        metrics = {name: statistics.fmean(row[name] for row in rows) for name in NO_RESULT}
        std = statistics.stdev(row["val_accuracy"] for row in rows) if len(rows) > 1 else 0.0
    changing = {"seed", "status", *NO_RESULT}
    shared = {name: value for name, value in rows[0].items() if name not in changing}
    return {**shared, "seeds": len(rows), **metrics, "val_accuracy_std": std, "status": status}


def best_row(rows: Sequence[Row]) -> Row | None:
    """The winner among summaries: of those that came to the last rung, the highest validation
    accuracy, then lower validation loss, then fewer parameters. None if none has a result.
    """
    last = max((row["rung"] for row in rows), default=0)
    finished = [row for row in rows if row["rung"] == last and row["status"] == "ok"]
    return min(finished, key=_rank, default=None)


def _rank(row: Row) -> tuple[bool, float, float, int]:
    return row["status"] != "ok", -row["val_accuracy"], row["val_loss"], row["parameters"]


def _run(
    number: int,
    config: Config,
    *,
    train: Dataset,
    val: Dataset,
    journal: Journal | None,
    checkpoints: bool,
    settings: Mapping[str, Any],
    parent: int,
) -> tuple[int, Row]:
    """A trial in its process, which also remembers it: what is finished survives all others."""
    _end_with(parent)
    checkpoint = journal.checkpoint(config) if journal and checkpoints else None
    row = train_trial(config, train, val, checkpoint=checkpoint, **settings)
    if journal:
        journal.put(config, row)
    return number, row


@cache
def _end_with(parent: int) -> None:
    """End this process when its parent has gone, however that came: leave no orphan at work."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    if os.getpid() != parent:
        threading.Thread(target=watch, daemon=True).start()


def _in_processes(jobs: int, tasks: Iterable[Any]) -> Results:
    """The rows of tasks as they end, `jobs` at a time; none is taken from `tasks` before its turn.

    A terminal sends Ctrl-C to all processes, and this one answers it for all: it is held back here
    while the others are started, because they inherit that.
    """
    resource_tracker.ensure_running()  # which would let Ctrl-C through again as it starts
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return Parallel(jobs, return_as="generator_unordered", pre_dispatch="n_jobs")(tasks)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _alone(task: Any, config: Config) -> Row:
    """The row of a trial in a process of its own."""
    try:
        [(_, row)] = _in_processes(2, [task])
    except TerminatedWorkerError as error:
        how = re.search(r"\{(.*)\}", str(error))  # joblib names the signals, as in {SIGKILL(-9)}
        return failed(config, f"its process died twice ({how[1] if how else 'unknown cause'})")
    return row


def failed(config: Config, why: str) -> Row:
    """The row of a trial whose processes died."""
    return {**config, "parameters": 0, "epochs": 0, **NO_RESULT, "status": f"failed: {why}"}


def _size(config: Mapping[str, Any]) -> int:
    """What a configuration's epochs cost, roughly: the weights of a network on small images."""
    return int(config["hidden_size1"] * (1000 + config["hidden_size2"]))


def _context(train: Dataset, val: Dataset, settings: Mapping[str, Any]) -> dict[str, Any]:
    """All that decides a trial's result besides its configuration."""
    return {
        "settings": dict(settings),
        "data": [
            hashlib.sha256(np.ascontiguousarray(array).data).hexdigest() for array in (*train, *val)
        ],
        **software(),
    }


def software() -> dict[str, Any]:
    """What of this process, besides its input, decides a trial's result."""
    return {
        "sources": [
            digest(Path(str(import_module(f"mlp.{name}").__file__)).read_text()) for name in SOURCES
        ],
        "numpy": [np.__version__, np.show_config("dicts")["SIMD Extensions"]["found"]],
        "blas": [
            [library["internal_api"], library["version"], library["architecture"]]
            for library in threadpool_info()
            if library["user_api"] == "blas"
        ],
    }
