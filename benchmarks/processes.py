"""Each contestant runs in a process of its own, so that none sees another's threads or memory."""

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

CORES = sorted(os.sched_getaffinity(0))


class Worker:
    """A process that answers calls, and keeps its modules and globals from one to the next.

    one_core: confine it, and so all threads of its libraries, to one core.
    pinned: run on the pipeline's kernels (`stages/__init__.py`).
    plain: without compiled arithmetic.
    """

    def __init__(self, *, one_core: bool, pinned: bool = False, plain: bool = False) -> None:
        cores = CORES[-1:] if one_core else CORES
        self._pool = ProcessPoolExecutor(
            1, get_context("spawn"), initializer=_prepare, initargs=(cores, pinned, plain)
        )
        self.pid: int = self._pool.submit(os.getpid).result()

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self.submit(function, *arguments).result()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        return self._pool.submit(function, *arguments)

    def close(self) -> None:
        self.call(_end_descendants)
        self._pool.shutdown()


def _prepare(cores: list[int], pinned: bool, plain: bool) -> None:
    """Before NumPy is imported, which this module therefore does not do."""
    assert "numpy" not in sys.modules
    os.sched_setaffinity(0, cores)
    if pinned:
        import stages  # noqa: F401
    if plain:
        os.environ["MLP_COMPILED"] = "0"


def _end_descendants() -> None:
    """joblib would keep its processes for five minutes, and this one would wait for them."""
    if "joblib" in sys.modules:
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(wait=True)


def peak_memory(worker: Worker, function: Callable[..., Any], *arguments: Any) -> float:
    """The most memory, in MB, that a worker and its descendants held while it ran `function`.

    Sampled ten times a second: the sum of their proportional set sizes, in which a page that n
    processes share, of a mapped file say, counts 1/n in each.
    """
    running, peak = worker.submit(function, *arguments), 0
    while not running.done():
        peak = max(peak, _tree_pss(worker.pid))
        time.sleep(0.1)
    running.result()
    return peak / 1000


def _tree_pss(pid: int) -> int:
    """PSS in kB of a process and its descendants; 0 for those that have just ended."""
    process = Path(f"/proc/{pid}")
    try:
        lines = (process / "smaps_rollup").read_text().splitlines()
        total = sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        tasks = [(task / "children").read_text() for task in (process / "task").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return total + sum(_tree_pss(int(child)) for task in tasks for child in task.split())
