"""An executor: trials in processes of this machine, each trial in one, `jobs` at a time.

A worker is a plain child process that talks through its standard input and output. Its standard
input ends when its parent does, however that came, and then it ends too. It does not import the
program that searches (as multiprocessing's do), so that this may be a script of any kind or a
notebook. A worker has a session of its own, so that Ctrl-C in a terminal reaches the search alone.
"""

import contextlib
import itertools
import mmap
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from mlp.data import Problem
from mlp.files import InputError
from mlp.search.trial import NumberedRows, Trial, Trials, context

START = "import sys; sys.path[:] = {}; from mlp.search.processes import work; work()"
ALIVE = "alive"  # what a worker says every few seconds while a trial goes on
BEAT, SILENCE = 15.0, 60.0  # seconds


class Death(NamedTuple):
    """What ended a trial without a row."""

    cause: str
    of_process: bool = False  # which has died with it


class Mapped(NamedTuple):
    """An array in a file, to be mapped into memory, so that processes share its pages."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int

    def open(self) -> NDArray[Any]:
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)


def train(trials: Trials, problem: Problem, *, jobs: int = -1) -> NumberedRows:
    """Train trials, `jobs` at a time (-1: one per core), and yield their rows as they end.

    A trial whose process dies, or has not enough memory, is tried again once, and then gets a row
    with status "failed"; other trials are not touched by it. One that has given no sign of life for
    a minute, because its process was stopped, say, is yielded with None for a row. Closing the
    generator ends what is under way.

    Raises InputError if `jobs` is 0, or if data or code changed while the search ran.
    """
    if jobs == 0:
        raise InputError("0 jobs: allowed is a whole number from 1 up, or -1 for all cores")
    room = jobs if jobs > 0 else max(1, _cores() + 1 + jobs)
    again: deque[tuple[int, Trial]] = deque()
    deaths: set[int] = set()
    workers: list[_Worker] = []
    messages: SimpleQueue[tuple[_Worker, Any]] = SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="mlp-") as folder:
        start = (_in_files(problem, Path(folder)), context(problem))
        try:
            while True:
                idle = [worker for worker in workers if worker.task is None]
                while idle or len(workers) < room:
                    task = again.popleft() if again else next(trials, None)
                    if task is None:
                        break
                    if not idle:
                        workers.append(_Worker(messages))
                        workers[-1].send(start)
                        idle.append(workers[-1])
                    idle.pop().begin(task)
                busy = [worker for worker in workers if worker.task is not None]
                if not busy:
                    return
                for worker in busy:
                    if worker.task and worker.is_silent():
                        yield worker.task[0], None
                try:
                    worker, message = messages.get(timeout=BEAT)
                except Empty:
                    continue
                worker.heard, worker.named_silent = time.monotonic(), False
                if message == ALIVE:
                    continue
                task, worker.task = worker.task, None
                if isinstance(message, Death) and message.of_process:
                    workers.remove(worker)
                if task is None:  # it died while it had nothing to do
                    continue
                number, trial = task
                if isinstance(message, Exception):
                    raise message
                if isinstance(message, Death) and number not in deaths:
                    deaths.add(number)
                    again.append(task)
                elif isinstance(message, Death):
                    yield number, trial.failed(message.cause)
                else:
                    yield number, message
        finally:
            for worker in workers:
                worker.end()


class _Worker:
    """A child process, as its parent sees it."""

    def __init__(self, messages: "SimpleQueue[tuple[_Worker, Any]]") -> None:
        self.task: tuple[int, Trial] | None = None
        self.process = subprocess.Popen(
            [sys.executable, "-c", START.format([*map(str, sys.path)])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if sys.stderr else subprocess.DEVNULL,  # which a daemon has not
            start_new_session=True,  # which Windows ignores, and has the next line instead
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # no more than a training uses
        )
        self._stdin = cast(IO[bytes], self.process.stdin)
        self._stdout = cast(IO[bytes], self.process.stdout)
        self.heard, self.named_silent = time.monotonic(), False
        threading.Thread(target=self._listen, args=(messages,), daemon=True).start()

    def begin(self, task: tuple[int, Trial]) -> None:
        self.task, self.heard = task, time.monotonic()
        self.send(task[1])

    def is_silent(self) -> bool:
        """Whether it has been silent for long; True once for each silence."""
        silent = not self.named_silent and time.monotonic() - self.heard >= SILENCE
        self.named_silent |= silent
        return silent

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(OSError):  # of what it has not read
            self._stdin.close()

    def send(self, value: Any) -> None:
        with contextlib.suppress(OSError):  # one that has died is heard of by `_listen`
            pickle.dump(value, self._stdin)
            self._stdin.flush()

    def _listen(self, messages: "SimpleQueue[tuple[_Worker, Any]]") -> None:
        with contextlib.suppress(Exception):  # a pickle that was cut has a dozen kinds
            while True:
                messages.put((self, pickle.load(self._stdout)))
        self._stdout.close()
        self.process.kill()
        code = self.process.wait()
        known = {-number: number.name for number in signal.Signals}
        cause = known.get(code, f"signal {-code}" if code < 0 else f"exit status {code}")
        messages.put((self, Death(f"its process died ({cause})", of_process=True)))


def _cores() -> int:
    """The cores that this process may use."""
    known = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1


def _in_files(problem: Problem, folder: Path) -> Problem:
    """The problem with arrays that are in files, new ones in `folder` if need be."""
    numbers = itertools.count()

    def in_file(array: NDArray[Any]) -> Any:
        # a whole file's: a part of one has an array for its base
        whole = isinstance(array.base, mmap.mmap) and array.flags.c_contiguous
        if isinstance(array, np.memmap) and whole and array.mode != "c":  # changed in memory alone
            file = array.filename  # which a temporary one has not, and may be deleted by now
            if file is not None and Path(file).is_file():
                return Mapped(Path(file), array.dtype.str, array.shape, array.offset)
        path = folder / str(next(numbers))
        np.ascontiguousarray(array).tofile(path)
        return Mapped(path, array.dtype.str, array.shape, 0)

    return problem.map_arrays(in_file)


def work() -> None:
    """A worker: trains what it is sent, and answers with rows, until its standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anybody prints is no answer
    tasks: SimpleQueue[Any] = SimpleQueue()
    lock, training = threading.Lock(), threading.Event()

    def receive() -> None:
        try:
            while True:
                tasks.put(pickle.load(sys.stdin.buffer))
        except EOFError:
            pass
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(1)

    def say(message: Any) -> None:
        with lock:
            pickle.dump(message, out)
            out.flush()

    def beat() -> None:
        while training.wait():
            time.sleep(BEAT)
            say(ALIVE)

    for service in (receive, beat):
        threading.Thread(target=service, daemon=True).start()
    start = tasks.get()
    problem = None
    while True:
        trial = tasks.get()
        training.set()
        try:
            problem = problem or _opened(*start)
            answer: Any = trial.run(problem)
        except MemoryError:
            answer = Death("there is not enough memory for it")
        except Exception as error:
            error.add_note(f"In the process that trained {trial}:\n{traceback.format_exc()}")
            answer = _portable(error)
        training.clear()
        say(answer)


def _portable(error: Exception) -> Exception:
    """An exception, or another with its text if it does not survive being sent."""
    try:
        return cast(Exception, pickle.loads(pickle.dumps(error)))
    except Exception:
        return RuntimeError("".join(traceback.format_exception(error)))


def _opened(files: Problem, expected: Mapping[str, Any]) -> Problem:
    """The problem, with what decides a trial's result compared with that of the search."""
    problem = files.map_arrays(Mapped.open)
    here = context(problem)
    if names := [name for name, value in expected.items() if here[name] != value]:
        raise InputError(f"{' and '.join(names)} changed while the search ran: start it again")
    return problem
