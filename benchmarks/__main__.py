"""python -m benchmarks: measure everything, interleaved, and write benchmarks/RESULTS.md."""

import argparse
import itertools
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from tqdm import tqdm

from benchmarks import searches, tasks
from benchmarks.peers import DATA, Setting
from benchmarks.processes import Worker, peak_memory
from benchmarks.report import (
    FLOORS,
    NAMES,
    Cell,
    Results,
    accuracy_table,
    ratio_table,
    render,
    seconds_table,
)
from mlp.files import InputError

ROUNDS = 5
LATE_ROUNDS = 15  # because what is compared differs by a few percent at most
MAIN = Setting(256, 64, 100)
NETWORKS = [(64, 64), (256, 64), (256, 256)]
BATCH_SIZES = [32, 100, 256]
IMAGES = [5_000, 10_000, 20_000, 40_000, 60_000]
HIDDEN = [64, 128, 256, 512, 1024, 2048]
LATE = [1, 2, 60]
LATE_SETTINGS = {MAIN.l2_reg: MAIN, 0.01: MAIN._replace(lr=0.01, l2_reg=0.01)}
QUICK = ["Ours", "OursPlain", "OursPinned", "TorchFused", "Jax"]
RESULTS = Path("benchmarks/RESULTS.md")


def say(text: str) -> None:
    tqdm.write(text, file=sys.stderr)


def medians(calls: Mapping[Any, Callable[[], float]], label: str, rounds: int) -> dict[Any, float]:
    """The median of what each call returns, all of them made in turn, `rounds` times."""
    results: dict[Any, list[float]] = {name: [] for name in calls}
    with tqdm(total=rounds * len(calls), desc=label, leave=False) as bar:
        for _ in range(rounds):
            for name, call in calls.items():
                results[name].append(call())
                bar.update()
    found = {name: median(values) for name, values in results.items()}
    say(f"{label}: " + ", ".join(f"{name} {value:.3g}" for name, value in found.items()))
    return found


def worker_of(name: str, *, one_core: bool) -> Worker:
    return Worker(one_core=one_core, pinned=name == "OursPinned", plain=name == "OursPlain")


def start_workers(names: list[str]) -> dict[str, Worker]:
    """A process on one core for each peer whose library is installed."""
    workers = {}
    for name in names:
        worker = worker_of(name, one_core=True)
        try:
            worker.call(tasks.start, "warm-up", name, Setting(8, 8))
            workers[name] = worker
        except (ModuleNotFoundError, InputError) as error:
            say(f"{NAMES[name]} is skipped: {error}")
            worker.close()
    return workers


def one_thread(workers: dict[str, Worker], settings: list[Setting]) -> dict[Setting, Cell]:
    """Seconds per epoch of every peer and of the floors, and the accuracies of the peers."""
    cells = {}
    for setting in settings:
        compiled = {
            name: worker.call(tasks.start, "training", name, setting)
            for name, worker in workers.items()
        }
        calls = {
            name: partial(worker.call, tasks.epoch, "training") for name, worker in workers.items()
        }
        for name, floor in FLOORS.items():
            calls[floor] = partial(workers[name].call, tasks.floor, "training")
        seconds = medians(calls, f"{setting}, seconds per epoch", ROUNDS)
        accuracy = {
            name: worker.call(tasks.accuracy, "training") for name, worker in workers.items()
        }
        cells[setting] = Cell(seconds, accuracy, compiled.get("Jax"))
    return cells


def late_epochs(worker: Worker) -> dict[tuple[float, int], float]:
    """Seconds of the first, second and sixtieth epoch of a run, each repeated from its start,
    with ordinary L2 and with L2 so strong that most weights die."""
    calls = {}
    for l2_reg, setting in LATE_SETTINGS.items():
        worker.call(tasks.start, f"L2 {l2_reg}", "Ours", setting)
        for number in LATE:
            worker.call(tasks.train_to, f"L2 {l2_reg}", number)
            calls[l2_reg, number] = partial(worker.call, tasks.epoch_again, f"L2 {l2_reg}", number)
    return medians(calls, "(L2, number of the epoch), seconds", LATE_ROUNDS)


def by_images(worker: Worker) -> dict[int, float]:
    for n in IMAGES:
        worker.call(tasks.start, f"{n} images", "Ours", MAIN, n)
    calls = {n: partial(worker.call, tasks.epoch, f"{n} images") for n in IMAGES}
    return medians(calls, "images, seconds per epoch", ROUNDS)


def by_hidden(worker: Worker) -> dict[int, tuple[float, float]]:
    """Seconds per epoch and of its floor."""
    for h in HIDDEN:
        worker.call(tasks.start, f"{h} hidden", "Ours", Setting(h, h), IMAGES[0])
    calls = {}
    for h in HIDDEN:
        calls[str(h)] = partial(worker.call, tasks.epoch, f"{h} hidden")
        calls[f"{h} floor"] = partial(worker.call, tasks.floor, f"{h} hidden")
    seconds = medians(calls, "hidden units, seconds per epoch", ROUNDS)
    return {h: (seconds[str(h)], seconds[f"{h} floor"]) for h in HIDDEN}


def search(name: str, *jobs: int) -> float:
    """Seconds of a whole search, from a process of its own."""
    worker = worker_of(name, one_core=False)
    seconds, accuracy = worker.call(searches.SEARCHES[name], searches.CONFIGS, *jobs)
    worker.close()
    say(f"  search by {NAMES[name]}: {seconds:.1f} s, best validation accuracy {accuracy:.4f}")
    return seconds


def memory(jobs: int) -> float:
    """MB at the peak of a search, from a process of its own."""
    worker = worker_of("Ours", one_core=False)
    megabytes = peak_memory(worker, searches.ours, searches.SHAPES, jobs)
    worker.close()
    return megabytes


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"only {MAIN}, and write nothing")
    parser.add_argument(
        "--searches", type=int, default=1, metavar="N", help="how often each peer searches"
    )
    arguments = parser.parse_args()
    if not (Path(DATA) / "val_t.npy").exists():
        print(f"benchmarks: no data in {DATA}: run make repro first", file=sys.stderr)
        sys.exit(2)

    workers = start_workers(QUICK if arguments.quick else list(NAMES))
    if arguments.quick:
        cells = one_thread(workers, [MAIN])
        print(ratio_table(cells), seconds_table(cells), accuracy_table(cells), sep="\n")
        return
    settings = [
        Setting(*network, size) for network, size in itertools.product(NETWORKS, BATCH_SIZES)
    ]
    ours = workers["Ours"]
    measured = {
        "kernels": {name: workers[name].call(tasks.blas) for name in FLOORS},
        "cells": one_thread(workers, settings),
        "epochs": late_epochs(ours),
        "images": by_images(ours),
        "hidden": by_hidden(ours),
    }
    for worker in workers.values():
        worker.close()
    calls = {name: partial(search, name) for name in searches.SEARCHES if name in workers}
    results = Results(
        **measured,
        main=MAIN,
        rounds=ROUNDS,
        search_rounds=arguments.searches,
        searches=medians(
            calls | {"one job": partial(search, "Ours", 1)}, "search, seconds", arguments.searches
        ),
        memory=medians({n: partial(memory, n) for n in (1, 2, 4)}, "search, MB", ROUNDS),
        interrupt=median(map(searches.interrupted, (0.5, 1, 2, 3, 5))),
    )
    RESULTS.write_text(render(results), encoding="utf-8")
    say(f"written: {RESULTS}")


if __name__ == "__main__":
    main()
