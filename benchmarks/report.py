"""RESULTS.md: the ratios first, then what they are made of."""

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path

from benchmarks.peers import Setting

NAMES = {  # of the classes in peers.py
    "Ours": "this package",
    "OursPlain": "without numba",
    "OursPinned": "pinned kernels",
    "TorchFused": "PyTorch, fused Adam",
    "Torch": "PyTorch, default Adam",
    "Jax": "JAX",
    "Sklearn": "scikit-learn",
    "Textbook": "textbook NumPy",
}
OURS = ("Ours", "OursPlain", "OursPinned")
FLOORS = {"Ours": "floor", "OursPinned": "pinned floor"}  # by whose kernels it is measured
LIBRARIES = ("numpy", "numba", "torch", "jax", "jaxlib", "scikit-learn", "joblib")
TOLERANCE = 0.01  # by which validation accuracies may differ
SKIPPED = "skipped"
SMALL = (64, 64, 32)  # what Python does between the products weighs most here


@dataclass
class Cell:
    """One network and batch size: seconds per epoch of each peer and of the floors, validation
    accuracies, and seconds of JAX's compilation."""

    seconds: Mapping[str, float]
    accuracy: Mapping[str, float]
    compilation: float | None

    def times(self, ours: str, other: str) -> float | None:
        """The time of one of this package's variants as a multiple of another's, or of "floor"."""
        if other == "floor":
            other = FLOORS.get(ours, other)
        if ours not in self.seconds or other not in self.seconds:
            return None
        return self.seconds[ours] / self.seconds[other]

    def differs(self, peer: str) -> bool:
        return abs(self.accuracy[peer] - self.accuracy["Ours"]) > TOLERANCE


@dataclass
class Results:
    """All that was measured; times in seconds, an epoch's or a search's, and memory in MB."""

    kernels: Mapping[str, str]  # by the variant of this package that runs on them
    rounds: int
    search_rounds: int
    cells: Mapping[Setting, Cell]
    main: Setting  # the one that the targets speak of
    epochs: Mapping[tuple[float, int], float]  # by L2 and number of the epoch
    images: Mapping[int, float]
    hidden: Mapping[int, tuple[float, float]]  # hidden units: epoch, floor
    searches: Mapping[str, float]  # by peer, and "one job"
    memory: Mapping[int, float]  # by jobs
    interrupt: float  # seconds from Ctrl-C to the end of all processes


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def shown(value: float | None, form: str = ".2f") -> str:
    return SKIPPED if value is None else format(value, form)


def ratio_table(cells: Mapping[Setting, Cell]) -> str:
    others = {"floor": "the floor"} | {k: v for k, v in NAMES.items() if k not in OURS}
    return table(
        ["network, batch size", "this package", *others.values()],
        (
            [str(s), NAMES[ours].replace("this package", ""), *map(shown, ratios)]
            for s, cell in cells.items()
            for ours in OURS
            if any(ratios := [cell.times(ours, name) for name in others])
        ),
    )


def seconds_table(cells: Mapping[Setting, Cell]) -> str:
    names = {"floor": "the floor", "pinned floor": "its pinned kernels"} | NAMES
    return table(
        ["network, batch size", *names.values(), "(JAX compiles)"],
        (
            [
                str(s),
                *(shown(cell.seconds.get(name), ".3f") for name in names),
                shown(cell.compilation, ".1f"),
            ]
            for s, cell in cells.items()
        ),
    )


def accuracy_table(cells: Mapping[Setting, Cell]) -> str:
    def text(cell: Cell, name: str) -> str:
        mark = "**" if name in cell.accuracy and cell.differs(name) else ""
        return mark + shown(cell.accuracy.get(name), ".4f") + mark

    return table(
        ["network, batch size", *NAMES.values()],
        ([str(s), *(text(cell, name) for name in NAMES)] for s, cell in cells.items()),
    )


def target_table(results: Results) -> str:
    main, searches, memory = results.cells[results.main], results.searches, results.memory
    late = max(results.epochs[l2, 60] / results.epochs[l2, 2] for l2, _ in results.epochs)
    peers = ("TorchFused", "Jax", "Sklearn")
    rivals = {k: searches[k] for k in peers if k in searches}
    jobs = searches["one job"] / searches["Ours"]
    added = max((memory[b] - memory[a]) / (b - a) for a, b in pairwise(sorted(memory)))
    cores, interrupt = len(os.sched_getaffinity(0)), results.interrupt

    def at_most(limit: float, ours: str, other: str) -> tuple[str, bool | None]:
        ratio = main.times(ours, other)
        return shown(ratio), ratio and ratio <= limit

    def beside_jax(limit: float, settings: list[Setting]) -> tuple[str, bool | None]:
        """The largest ratio, and where it is."""
        ratios = {s: r for s in settings if (r := results.cells[s].times("Ours", "Jax"))}
        if not ratios:
            return SKIPPED, None
        worst = max(ratios, key=ratios.__getitem__)
        return f"{ratios[worst]:.2f} ({worst})", ratios[worst] <= limit

    def searching(ours: str, limit: float) -> tuple[str, bool | None]:
        if ours not in searches or "Jax" not in searches:
            return SKIPPED, None
        ratio = searches[ours] / searches["Jax"]
        return f"{ratio:.2f}", ratio <= limit

    def fastest(ours: str) -> tuple[str, bool | None]:
        if ours not in searches or not rivals:
            return SKIPPED, None
        best = min(rivals, key=rivals.__getitem__)
        met = searches[ours] < rivals[best] if len(rivals) == len(peers) else None
        return f"{searches[ours] / rivals[best]:.2f} × {NAMES[best]}", met

    small = [s for s in results.cells if s[:3] == SMALL]
    others = [s for s in results.cells if s[:3] != SMALL]
    rows: list[tuple[str, tuple[str, bool | None]]] = [
        ("one thread: ≤ 1.22 × the floor", at_most(1.22, "Ours", "floor")),
        ("… without numba, ≤ 1.40 × the floor", at_most(1.40, "OursPlain", "floor")),
        ("… on the pinned kernels, ≤ 1.22 × theirs", at_most(1.22, "OursPinned", "floor")),
        ("one thread: ≤ 0.75 × PyTorch with fused Adam", at_most(0.75, "Ours", "TorchFused")),
        ("≤ 1 × JAX's jitted scan, whatever network and batch", beside_jax(1.0, others)),
        ("… ≤ 1.05 where a step is smallest", beside_jax(1.05, small)),
        ("epoch 60: ≤ 1.05 × epoch 2", (shown(late), late <= 1.05)),
        (f"the whole search, {cores} cores: ≤ 0.92 × JAX's", searching("Ours", 0.92)),
        ("… faster than every peer", fastest("Ours")),
        ("… on the pinned kernels", fastest("OursPinned")),
        (f"the search with {cores} jobs: ≥ 1.85 × as fast as with 1", (shown(jobs), jobs >= 1.85)),
        ("memory: < 150 MB for each added job", (f"{added:.0f} MB", added < 150)),
        ("Ctrl-C of a search: over in ≤ 2 s", (f"{interrupt:.2f} s", interrupt <= 2)),
    ]
    verdicts = {True: "yes", False: "**no**", None: "–"}
    return table(
        ["target", "measured", "met"], ([text, value, verdicts[met]] for text, (value, met) in rows)
    )


def processor() -> str:
    """Its model, as far as a virtual machine tells, and its vector instructions."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    info = {key.strip(): value for key, _, value in (line.partition(":") for line in lines)}
    flags = info.get("flags", "").split()
    widest = next((flag for flag in ("avx512f", "avx2", "sse2") if flag in flags), "")
    cores = len(os.sched_getaffinity(0))
    return f"{info.get('model name', platform.machine()).strip()}, {widest}, {cores} cores"


def versions() -> str:
    found = [f"Python {platform.python_version()}"]
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed (skipped)")
    return ", ".join(found)


def render(results: Results) -> str:
    searches = {name: results.searches.get(name) for name in NAMES if name not in NOT_SEARCHED}
    differing = sum(cell.differs(k) for cell in results.cells.values() for k in cell.accuracy)
    compared = sum(len(cell.accuracy) - 1 for cell in results.cells.values())
    return f"""\
# Benchmarks

Written by `make bench` (benchmarks/ says exactly what each contestant runs). Times are medians of
{results.rounds} runs or more, all contestants taking turns; ratios are this package's time over
the other's, so below 1 this package is faster.

- Processor: {processor()}
- {versions()}
- This package runs as a library does, on the kernels that NumPy and its BLAS choose
  ({results.kernels["Ours"]}), its arithmetic compiled by numba; *without numba* is the same
  without (`MLP_COMPILED=0`); *pinned kernels* are the pipeline's, compiled too, for the same bits
  everywhere ({results.kernels["OursPinned"]}).

## Targets

One thread is {results.main}.

{target_table(results)}
## One thread: this package's time for an epoch, over that of …

{ratio_table(results.cells)}
All train the same network on the same 55,000 images with Adam (lr 0.001) and L2 (0.0001, weights
alone), each on one core. An epoch is shuffling, gathering, normalising, loss, gradient and update;
scikit-learn and the textbook have the images normalised before. The floor is the epoch's matrix
products alone, by the same NumPy on the same buffers and kernels.

Seconds per epoch:

{seconds_table(results.cells)}
Validation accuracy after 3 epochs; {compared - differing} of {compared} are within 1 point of this
package's{", the others in bold" if differing else ""}:

{accuracy_table(results.cells)}
## The whole search

81 configurations at 2 epochs, on all cores, seconds from the call to the last result, with the
start of processes and JAX's compilation; {_runs(results.search_rounds)}.

{
        table(
            ["", "seconds", "this package's time over it"],
            (
                [
                    NAMES[name],
                    shown(value, ".1f"),
                    shown(value and results.searches["Ours"] / value),
                ]
                for name, value in searches.items()
            ),
        )
    }
numba's start in each process counts, its compilation does not: that is kept on disk. PyTorch and
JAX: a pool of processes with one thread each, longest trial first; JAX compiles once a shape.
scikit-learn: GridSearchCV with n_jobs=-1. This package with one job:
{results.searches["one job"]:.1f} seconds.

Peak memory of this package's search (one trial of each of its nine networks): the sum of the
proportional set sizes of all its processes, so that a page shared between them counts once, the
memory-mapped data included; sampled ten times a second.

{table(["jobs", "MB"], ([str(n), f"{mb:.0f}"] for n, mb in results.memory.items()))}
Ctrl-C of a search, at moments from its start to its fifth second: {
        results.interrupt:.2f} s until it
and all its processes have ended.

## How cost grows

{results.main}, an epoch early and late in one run, with ordinary L2 and with L2 so strong that most
weights die (late, denormal numbers would show):

{
        table(
            ["L2", "epoch", "seconds"],
            ([f"{l2:g}", str(n), f"{s:.3f}"] for (l2, n), s in results.epochs.items()),
        )
    }
{results.main}, by the number of training images:

{
        table(
            ["images", "seconds per epoch", "µs per image"],
            ([f"{n:,}", f"{s:.3f}", f"{s / n * 1e6:.1f}"] for n, s in results.images.items()),
        )
    }
By the number of hidden units in both layers, 5,000 images, batch size 100:

{
        table(
            ["hidden units", "seconds per epoch", "over the floor"],
            (
                [f"{h:,}", f"{epoch:.3f}", f"{epoch / floor:.2f}"]
                for h, (epoch, floor) in results.hidden.items()
            ),
        )
    }"""


NOT_SEARCHED = ("Torch", "Textbook")


def _runs(n: int) -> str:
    return "one run each" if n == 1 else f"medians of {n} runs, taking turns"
