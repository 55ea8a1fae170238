"""python -m benchmarks [PART …]: measure these parts, or all, contestants taking turns, and write
benchmarks/RESULTS.md, which keeps what was measured of the others before."""

import argparse
import contextlib
import itertools
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from tqdm import tqdm

from benchmarks import peers, recipes, searches, tasks
from benchmarks.peers import DATA, Setting
from benchmarks.processes import Worker, peak_memory
from benchmarks.report import (
    FLOORS,
    NAMES,
    PARTS,
    ROUNDS,
    Cell,
    Growth,
    OneThread,
    Part,
    WholeRecipe,
    WholeSearch,
    accuracy_table,
    keep,
    kept,
    ratio_table,
    render,
    seconds_table,
)
from mlp.files import InputError, write_text

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


@contextlib.contextmanager
def workers_of(names: list[str]) -> Iterator[dict[str, Worker]]:
    """A process on one core for each peer whose library is installed."""
    workers = {}
    for name in names:
        worker = worker_of(name, one_core=True)
        try:
            worker.call(tasks.start, "warm-up", getattr(peers, name), Setting(8, 8))
            workers[name] = worker
        except (ModuleNotFoundError, InputError) as error:
            say(f"{NAMES[name]} is skipped: {error}")
            worker.close()
    yield workers
    for worker in workers.values():
        worker.close()


def cells_of(workers: dict[str, Worker], settings: list[Setting]) -> list[Cell]:
    """Seconds per epoch of every peer and of the floors, and the accuracies of the peers."""
    cells = []
    for setting in settings:
        compiled = {
            name: worker.call(tasks.start, "training", getattr(peers, name), setting)
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
        cells.append(Cell(setting, seconds, accuracy, compiled.get("Jax")))
    return cells


def one_thread() -> OneThread:
    settings = [
        Setting(*network, size) for network, size in itertools.product(NETWORKS, BATCH_SIZES)
    ]
    with workers_of(list(NAMES)) as workers:
        return OneThread(
            main=MAIN,
            kernels={name: workers[name].call(tasks.blas) for name in FLOORS},
            cells=cells_of(workers, settings),
        )


def whole_recipe() -> WholeRecipe:
    with workers_of(list(recipes.PEERS)) as workers:
        compiled, calls = {}, {}
        for name, worker in workers.items():
            contestant = recipes.PEERS[name]
            compiled[name] = worker.call(tasks.start, "recipe", contestant, recipes.RECIPE)
            worker.call(tasks.start, "plain", getattr(peers, name), recipes.PLAIN)
            for training in ("recipe", "plain"):
                calls[name, training] = partial(worker.call, tasks.epoch, training)
        seconds = medians(calls, "the whole recipe, seconds per epoch", ROUNDS)
        others = [name for name in workers if recipes.PEERS[name] is not recipes.Ours]
        return WholeRecipe(
            recipe=recipes.TEXT,
            seconds={name: seconds[name, "recipe"] for name in workers},
            plain={name: seconds[name, "plain"] for name in workers},
            accuracy={
                name: worker.call(tasks.accuracy, "recipe") for name, worker in workers.items()
            },
            drift={name: workers[name].call(recipes.drift, name) for name in others},
            compilation=compiled.get("Jax"),
        )


def late_epochs(worker: Worker) -> list[tuple[float, int, float]]:
    """Seconds of the first, second and sixtieth epoch of a run, each repeated from its start,
    with ordinary L2 and with L2 so strong that most weights die."""
    calls = {}
    for l2_reg, setting in LATE_SETTINGS.items():
        worker.call(tasks.start, f"L2 {l2_reg}", peers.Ours, setting)
        for number in LATE:
            worker.call(tasks.train_to, f"L2 {l2_reg}", number)
            calls[l2_reg, number] = partial(worker.call, tasks.epoch_again, f"L2 {l2_reg}", number)
    seconds = medians(calls, "(L2, number of the epoch), seconds", LATE_ROUNDS)
    return [(l2_reg, number, value) for (l2_reg, number), value in seconds.items()]


def by_images(worker: Worker) -> dict[int, float]:
    for n in IMAGES:
        worker.call(tasks.start, f"{n} images", peers.Ours, MAIN, n)
    calls = {n: partial(worker.call, tasks.epoch, f"{n} images") for n in IMAGES}
    return medians(calls, "images, seconds per epoch", ROUNDS)


def by_hidden(worker: Worker) -> dict[int, tuple[float, float]]:
    """Seconds per epoch and of its floor."""
    for h in HIDDEN:
        worker.call(tasks.start, f"{h} hidden", peers.Ours, Setting(h, h), IMAGES[0])
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


def whole_search(rounds: int) -> WholeSearch:
    with workers_of(list(searches.SEARCHES)) as workers:
        names = list(workers)
    calls = {name: partial(search, name) for name in names}
    calls["one job"] = partial(search, "Ours", 1)
    return WholeSearch(
        cores=len(os.sched_getaffinity(0)),
        rounds=rounds,
        seconds=medians(calls, "search, seconds", rounds),
        memory=medians({n: partial(memory, n) for n in (1, 2, 4)}, "search, MB", ROUNDS),
        interrupt=median(map(searches.interrupted, (0.5, 1, 2, 3, 5))),
    )


def growth() -> Growth:
    with workers_of(["Ours"]) as workers:
        ours = workers["Ours"]
        return Growth(
            main=MAIN, epochs=late_epochs(ours), images=by_images(ours), hidden=by_hidden(ours)
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help=f"only {MAIN}, and write nothing")
    parser.add_argument(
        "--searches", type=int, default=1, metavar="N", help="how often each peer searches"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if not (Path(DATA) / "val_t.npy").exists():
        print(f"benchmarks: no data in {DATA}: run make repro first", file=sys.stderr)
        sys.exit(2)

    if arguments.quick:
        with workers_of(QUICK) as workers:
            cells = cells_of(workers, [MAIN])
        print(ratio_table(cells), seconds_table(cells), accuracy_table(cells), sep="\n")
        return
    measure: dict[str, Callable[[], Part]] = {
        "one-thread": one_thread,
        "recipe": whole_recipe,
        "search": partial(whole_search, arguments.searches),
        "growth": growth,
    }
    for name, part in measure.items():
        if name in arguments.parts or not arguments.parts:
            keep(name, part())  # at once, so that what follows can be interrupted
            write_text(RESULTS, render(kept()))
            say(f"written: {RESULTS}")


if __name__ == "__main__":
    main()
