"""RESULTS.md: the targets first, then a section for each part of the benchmarks.

What a part measured is kept in results/NAME.json, and RESULTS.md is written from these, so that a
part can be measured again without the others.
"""

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

from pydantic import TypeAdapter

from benchmarks.peers import Setting
from benchmarks.tasks import CHECKED
from mlp.files import write_json

RAW = Path("benchmarks/results")
ROUNDS = 5
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

Target = tuple[str, str, bool | None]  # what it is, what was measured, whether that meets it


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def shown(value: float | None, form: str = ".2f") -> str:
    return SKIPPED if value is None else format(value, form)


def ratio(values: Mapping[str, float], ours: str, other: str) -> float | None:
    """None if either was skipped."""
    return values[ours] / values[other] if ours in values and other in values else None


def at_most(limit: float, text: str, measured: float | None) -> Target:
    return text, shown(measured), None if measured is None else measured <= limit


def processor() -> str:
    """Its model, as far as a virtual machine tells, and its vector instructions."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    info = {key.strip(): value for key, _, value in (line.partition(":") for line in lines)}
    flags = info.get("flags", "").split()
    widest = next((flag for flag in ("avx512f", "avx2", "sse2") if flag in flags), "")
    return f"{info.get('model name', platform.machine()).strip()}, {widest}"


def versions() -> str:
    found = [f"Python {platform.python_version()}"]
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed (skipped)")
    return ", ".join(found)


def machine() -> str:
    cores = len(os.sched_getaffinity(0))
    return f"{processor()}, {cores} cores; {versions()}"


@dataclass(kw_only=True)
class Part:
    """What was measured together, and where. Times are in seconds, memory in MB."""

    title: ClassVar[str]
    machine: str = field(default_factory=machine)

    def targets(self) -> list[Target]:
        raise NotImplementedError

    def text(self) -> str:
        raise NotImplementedError


@dataclass
class Cell:
    """One network and batch size: seconds per epoch of each peer and of the floors, validation
    accuracies, and seconds of JAX's compilation."""

    setting: Setting
    seconds: dict[str, float]
    accuracy: dict[str, float]
    compilation: float | None

    def times(self, ours: str, other: str) -> float | None:
        """The time of one of this package's variants as a multiple of another's, or of "floor"."""
        return ratio(self.seconds, ours, FLOORS.get(ours, other) if other == "floor" else other)

    def differs(self, peer: str) -> bool:
        return abs(self.accuracy[peer] - self.accuracy["Ours"]) > TOLERANCE


@dataclass(kw_only=True)
class OneThread(Part):
    """main: the setting that the targets speak of.
    kernels: NumPy's BLAS, by the variant of this package that runs on it."""

    title = "One thread"
    main: Setting
    kernels: dict[str, str]
    cells: list[Cell]

    def targets(self) -> list[Target]:
        main = next(cell for cell in self.cells if cell.setting == self.main)

        def beside_jax(limit: float, text: str, *, small: bool) -> Target:
            """The largest ratio, and where it is."""
            cells = [cell for cell in self.cells if (cell.setting[:3] == SMALL) == small]
            ratios = [(r, str(c.setting)) for c in cells if (r := c.times("Ours", "Jax"))]
            if not ratios:
                return text, SKIPPED, None
            worst, where = max(ratios)
            return text, f"{worst:.2f} ({where})", worst <= limit

        return [
            at_most(1.22, f"{self.main}: ≤ 1.22 × the floor", main.times("Ours", "floor")),
            at_most(1.40, "… without numba, ≤ 1.40 × the floor", main.times("OursPlain", "floor")),
            at_most(
                1.22, "… on the pinned kernels, ≤ 1.22 × theirs", main.times("OursPinned", "floor")
            ),
            at_most(0.75, "… ≤ 0.75 × PyTorch with fused Adam", main.times("Ours", "TorchFused")),
            beside_jax(1.0, "≤ 1 × JAX's jitted scan, whatever network and batch", small=False),
            beside_jax(1.05, "… ≤ 1.05 where a step is smallest", small=True),
        ]

    def text(self) -> str:
        compared = [cell.differs(k) for cell in self.cells for k in cell.accuracy if k != "Ours"]
        same = compared.count(False)
        return f"""\
All train the same network on the same 55,000 images with Adam (lr 0.001) and L2 (0.0001, weights
alone), each on one core. An epoch is shuffling, gathering, normalising, loss, gradient and update;
scikit-learn and the textbook have the images normalised before. The floor is the epoch's matrix
products alone, by the same NumPy on the same buffers and kernels
({self.kernels["Ours"]}; pinned: {self.kernels["OursPinned"]}).

This package's time for an epoch, over that of …

{ratio_table(self.cells)}
Seconds per epoch:

{seconds_table(self.cells)}
Validation accuracy after {CHECKED} epochs; {same} of {len(compared)} are within 1 point of this
package's{", the others in bold" if same < len(compared) else ""}:

{accuracy_table(self.cells)}"""


def ratio_table(cells: Iterable[Cell]) -> str:
    others = {"floor": "the floor"} | {k: v for k, v in NAMES.items() if k not in OURS}
    return table(
        ["network, batch size", "this package", *others.values()],
        (
            [str(cell.setting), NAMES[ours].replace("this package", ""), *map(shown, ratios)]
            for cell in cells
            for ours in OURS
            if any(ratios := [cell.times(ours, name) for name in others])
        ),
    )


def seconds_table(cells: Iterable[Cell]) -> str:
    names = {"floor": "the floor", "pinned floor": "its pinned kernels"} | NAMES
    return table(
        ["network, batch size", *names.values(), "(JAX compiles)"],
        (
            [
                str(cell.setting),
                *(shown(cell.seconds.get(name), ".3f") for name in names),
                shown(cell.compilation, ".1f"),
            ]
            for cell in cells
        ),
    )


def accuracy_table(cells: Iterable[Cell]) -> str:
    def text(cell: Cell, name: str) -> str:
        mark = "**" if name in cell.accuracy and cell.differs(name) else ""
        return mark + shown(cell.accuracy.get(name), ".4f") + mark

    return table(
        ["network, batch size", *NAMES.values()],
        ([str(cell.setting), *(text(cell, name) for name in NAMES)] for cell in cells),
    )


@dataclass(kw_only=True)
class WholeRecipe(Part):
    """Of each contestant: an epoch of the recipe and of plain training, validation accuracy after
    CHECKED epochs of the recipe, and how far its weights come from this package's (`drift`)."""

    title = "The whole recipe"
    recipe: str
    seconds: dict[str, float]
    plain: dict[str, float]
    accuracy: dict[str, float]
    drift: dict[str, float]
    compilation: float | None

    def targets(self) -> list[Target]:
        return [
            at_most(
                0.80,
                "the whole recipe: ≤ 0.80 × PyTorch with fused AdamW",
                ratio(self.seconds, "Ours", "TorchFused"),
            ),
            at_most(1.35, "… ≤ 1.35 × a plain epoch", self.seconds["Ours"] / self.plain["Ours"]),
        ]

    def text(self) -> str:
        rows = (
            [
                NAMES[name].replace("Adam", "AdamW"),
                shown(seconds, ".3f"),
                shown(self.plain[name], ".3f"),
                shown(seconds / self.plain[name]),
                shown(self.seconds["Ours"] / seconds),
                shown(self.accuracy[name], ".4f"),
                format(self.drift[name], ".0e") if name in self.drift else "",
            ]
            for name, seconds in self.seconds.items()
        )
        head = [
            *("", "seconds per epoch", "of plain training", "the one over the other"),
            *("this package's time over it", "validation accuracy", "weights differ by"),
        ]
        return f"""\
{self.recipe}:
what `train` in params.yaml asks for. All draw order and variants of the images from the same
generator, and bytes of their own for the dropped inputs, on one core each. JAX compiles for
{shown(self.compilation, ".1f")} seconds, off the clock. Plain training is the same network and
batches without any of this, with Adam and L2.

{table(head, rows)}
Validation accuracy is after {CHECKED} epochs. Weights are compared after 21 steps without dropout,
the difference as a share of the way that this package's went from the same first weights.
"""


@dataclass(kw_only=True)
class WholeSearch(Part):
    """rounds: how often each peer searched.
    seconds: by peer, and "one job".
    memory: at the peak, by jobs.
    interrupt: from Ctrl-C to the end of all processes."""

    title = "The whole search"
    cores: int
    rounds: int
    seconds: dict[str, float]
    memory: dict[int, float]
    interrupt: float

    def targets(self) -> list[Target]:
        seconds, memory, peers = self.seconds, self.memory, ("TorchFused", "Jax", "Sklearn")
        rivals = {name: seconds[name] for name in peers if name in seconds}
        jobs = seconds["one job"] / seconds["Ours"]
        added = max((memory[b] - memory[a]) / (b - a) for a, b in pairwise(sorted(memory)))

        def fastest(text: str, ours: str) -> Target:
            if ours not in seconds or not rivals:
                return text, SKIPPED, None
            best = min(rivals, key=rivals.__getitem__)
            met = seconds[ours] < rivals[best] if len(rivals) == len(peers) else None
            return text, f"{seconds[ours] / rivals[best]:.2f} × {NAMES[best]}", met

        cores = f"{self.cores} cores"
        return [
            at_most(
                0.92, f"the whole search, {cores}: ≤ 0.92 × JAX's", ratio(seconds, "Ours", "Jax")
            ),
            fastest("… faster than every peer", "Ours"),
            fastest("… on the pinned kernels", "OursPinned"),
            (f"… with {self.cores} jobs: ≥ 1.85 × as fast as with 1", shown(jobs), jobs >= 1.85),
            ("memory: < 150 MB for each added job", f"{added:.0f} MB", added < 150),
            ("Ctrl-C of a search: over in ≤ 2 s", f"{self.interrupt:.2f} s", self.interrupt <= 2),
        ]

    def text(self) -> str:
        runs = "one run each" if self.rounds == 1 else f"medians of {self.rounds} runs"
        searched = [name for name in NAMES if name not in ("Torch", "Textbook")]
        rows = (
            [
                NAMES[name],
                shown(self.seconds.get(name), ".1f"),
                shown(ratio(self.seconds, "Ours", name)),
            ]
            for name in searched
        )
        return f"""\
81 configurations at 2 epochs, on all cores, seconds from the call to the last result, with the
start of processes and JAX's compilation; {runs}.

{table(["", "seconds", "this package's time over it"], rows)}
numba's start in each process counts, its compilation does not: that is kept on disk. PyTorch and
JAX: a pool of processes with one thread each, longest trial first; JAX compiles once a shape.
scikit-learn: GridSearchCV with n_jobs=-1. This package with one job:
{self.seconds["one job"]:.1f} seconds.

Peak memory of this package's search (one trial of each of its nine networks): the sum of the
proportional set sizes of all its processes, so that a page shared between them counts once, the
memory-mapped data included; sampled ten times a second.

{table(["jobs", "MB"], ([str(n), f"{mb:.0f}"] for n, mb in self.memory.items()))}
Ctrl-C of a search, at moments from its start to its fifth second: {self.interrupt:.2f} s until it
and all its processes have ended.
"""


@dataclass(kw_only=True)
class Growth(Part):
    """main: the setting of the first two tables.
    epochs: L2, number of the epoch, seconds.
    images: their number, seconds per epoch.
    hidden: units in both layers, seconds per epoch and of its floor."""

    title = "How cost grows"
    main: Setting
    epochs: list[tuple[float, int, float]]
    images: dict[int, float]
    hidden: dict[int, tuple[float, float]]

    def targets(self) -> list[Target]:
        seconds = {(l2_reg, epoch): value for l2_reg, epoch, value in self.epochs}
        late = max(seconds[l2_reg, 60] / seconds[l2_reg, 2] for l2_reg, _ in seconds)
        return [at_most(1.05, "epoch 60: ≤ 1.05 × epoch 2", late)]

    def text(self) -> str:
        epochs = ([f"{l2_reg:g}", str(n), f"{s:.3f}"] for l2_reg, n, s in self.epochs)
        images = ([f"{n:,}", f"{s:.3f}", f"{s / n * 1e6:.1f}"] for n, s in self.images.items())
        hidden = (
            [f"{h:,}", f"{epoch:.3f}", f"{epoch / floor:.2f}"]
            for h, (epoch, floor) in self.hidden.items()
        )
        return f"""\
{self.main}, an epoch early and late in one run, with ordinary L2 and with L2 so strong that most
weights die (late, denormal numbers would show):

{table(["L2", "epoch", "seconds"], epochs)}
{self.main}, by the number of training images:

{table(["images", "seconds per epoch", "µs per image"], images)}
By the number of hidden units in both layers, 5,000 images, batch size 100:

{table(["hidden units", "seconds per epoch", "over the floor"], hidden)}"""


PARTS: dict[str, type[Part]] = {
    "one-thread": OneThread,
    "recipe": WholeRecipe,
    "search": WholeSearch,
    "growth": Growth,
}


def keep(name: str, part: Part) -> None:
    """Write results/NAME.json."""
    RAW.mkdir(exist_ok=True)
    write_json(RAW / f"{name}.json", TypeAdapter(PARTS[name]).dump_python(part, mode="json"))


def kept() -> list[Part]:
    """The parts that have been measured, now or before."""
    paths = {RAW / f"{name}.json": kind for name, kind in PARTS.items()}
    return [
        TypeAdapter(kind).validate_json(path.read_bytes())
        for path, kind in paths.items()
        if path.exists()
    ]


def render(parts: Sequence[Part]) -> str:
    machines: dict[str, list[str]] = {}
    for part in parts:
        machines.setdefault(part.machine, []).append(part.title)
    where = "\n".join(f"- {', '.join(titles)}: {text}" for text, titles in machines.items())
    verdicts = {True: "yes", False: "**no**", None: "–"}
    targets = (
        [text, value, verdicts[met]] for part in parts for text, value, met in part.targets()
    )
    sections = "\n".join(f"## {part.title}\n\n{part.text()}" for part in parts)
    return f"""\
# Benchmarks

Written by `make bench` (benchmarks/ says exactly what each contestant runs). Times are medians of
{ROUNDS} runs or more, all contestants taking turns; ratios are this package's time over
the other's, so below 1 this package is faster.

{where}
- This package runs as a library does, on the kernels that NumPy and its BLAS choose, its arithmetic
  compiled by numba; *without numba* is the same without (`MLP_COMPILED=0`); *pinned kernels* are
  the pipeline's, compiled too, for the same bits everywhere.

## Targets

{table(["target", "measured", "met"], targets)}
{sections}"""
