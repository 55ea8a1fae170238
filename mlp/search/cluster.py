"""An executor: trials on a Dask cluster. Needs the extra `cluster`; loaded only if it is asked for.

Not by joblib's Dask backend: that yields nothing before all trials have ended, waits for ever for
one whose workers died, and leaves on the cluster what was interrupted. Nor are the data scattered:
workers would train on arrays that are not aligned, which is many times slower.
"""

import asyncio
import signal
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from mlp.data import Problem
from mlp.files import InputError
from mlp.search.trial import NumberedRows, Row, Trial, Trials, context, software

try:
    import distributed
    from distributed.comm.core import connect
except ImportError as error:
    raise InputError(f"a cluster needs requirements-cluster.txt ({error})") from error

# In a worker: the data of the search that it was last prepared for, by their digests
_data: dict[str, Problem] = {}


def train(trials: Trials, problem: Problem, *, address: str) -> NumberedRows:
    """Train trials, one per thread of a cluster's workers, without checkpoints (the bits are the
    same), and yield their rows as they end. The data go to each worker once.

    address: of the scheduler, tcp://host:8786 or tls://host:8786. Dask's own configuration says
        where the certificates are.

    A trial whose worker dies is tried again, as often as the scheduler's `allowed-failures` says,
    and then gets a row with status "failed"; so does one for which a worker has not enough memory.

    Raises InputError if no scheduler answers within seconds, if it has no workers, if one of them
    runs other software than this process, because results could differ, or if the scheduler goes.
    """
    with _reached(address):
        # in a thread, because a notebook has a loop running in this one
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, _greet(address)).result()
        client = distributed.Client(address, timeout=4, set_as_default=False)
    try:
        with _reached(address):
            client.wait_for_workers(1, timeout=2)
        yield from _Cluster(client, address, problem).train(trials)
    finally:
        with _ctrl_c_waits():
            client.close()


class _Cluster:
    """A cluster at work on a problem."""

    def __init__(self, client: "distributed.Client", address: str, problem: Problem) -> None:
        self.client, self.address = client, address
        # not memory-mapped, because the workers have no such files
        self.problem = problem.map_arrays(np.asarray)
        self.key = str(context(problem))
        self._prepare(None)

    def train(self, trials: Trials) -> NumberedRows:
        waiting: list[tuple[int, Trial]] = []
        running: dict[distributed.Future[Row | str], tuple[int, Trial]] = {}
        ended = distributed.as_completed(loop=self.client.loop)
        try:
            while True:
                # one per thread: a death counts against all that the worker was given
                while len(running) < self._threads():
                    task = waiting.pop() if waiting else next(trials, None)
                    if task is None:
                        break
                    trial = replace(task[1], checkpoint=None)
                    with _reached(self.address):
                        future = self.client.submit(_train, self.key, trial, pure=False)
                        running[future] = task
                        ended.add(future)
                if not running:
                    return
                future = next(ended)
                with _ctrl_c_waits():
                    number, trial = running.pop(future)
                    row = self._row(future, trial)
                    del future  # here, because that calls Dask
                if row is None:
                    waiting.append((number, trial))
                else:
                    yield number, row
        finally:
            self.client.cancel(list(running))

    def _threads(self) -> int:
        with _reached(self.address):
            return max(1, sum(self.client.nthreads().values()))

    def _row(self, future: "distributed.Future[Row | str]", trial: Trial) -> Row | None:
        """The row of a trial that has ended, or None if its worker had yet to receive the data."""
        try:
            answer = future.result()
        except distributed.KilledWorker as error:
            return trial.failed(f"{error.allowed_failures + 1} workers died of it")
        except MemoryError:
            return trial.failed("there is not enough memory for it")
        except ModuleNotFoundError as error:
            raise self._foreign("that joined", error) from error
        except distributed.CancelledError:
            raise InputError(f"lost the scheduler at {self.address}") from None
        if isinstance(answer, str):  # the address of a worker that joined, or came back
            self._prepare([answer])
            return None
        return answer

    def _prepare(self, workers: list[str] | None) -> None:
        """Compare the software of workers (None: of all) with that here, and give the data to those
        that have not got them."""
        if lack := self._ask(workers, _lacks, software() | {"threads": 1}, self.key):
            self._ask(lack, _receive, self.key, self.problem)

    def _ask(self, workers: list[str] | None, function: Any, *arguments: Any) -> list[str]:
        """Call a function in workers. Return the addresses of those that answered True."""
        with _reached(self.address):
            answers = self.client.run(function, *arguments, workers=workers, on_error="return")
        for worker, answer in answers.items():
            if not isinstance(answer, bool | OSError):  # the latter: it died meanwhile
                raise self._foreign(worker, answer)
        return [worker for worker, answer in answers.items() if answer is True]

    def _foreign(self, worker: str, why: object) -> InputError:
        options = "--nthreads 1 --nworkers -1 --preload-nanny stages"
        command = f"python -m dask worker {self.address} {options}"
        return InputError(f"worker {worker}: {why}; start it in a copy of this project: {command}")


@contextmanager
def _reached(address: str) -> Iterator[None]:
    """Names the cluster in what Dask raises when it finds none at an address."""
    try:
        with _ctrl_c_waits():
            yield
    except Exception as error:  # of many kinds, if something else than Dask answers
        why = " ".join(str(error).split()) or "no answer"
        raise InputError(f"no cluster with workers at {address}: {why}") from error


@contextmanager
def _ctrl_c_waits() -> Iterator[None]:
    """Ctrl-C takes effect at the end of this, a second one at once: in the middle of a call, Dask
    prints tracebacks of its own. Masking the signal would not do: Dask's thread would take it."""
    if threading.current_thread() is not threading.main_thread():  # where it never takes effect
        yield
        return
    came = []
    handler = signal.getsignal(signal.SIGINT)

    def note(number: int, _: object) -> None:
        came.append(number)
        signal.signal(number, handler)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if came:
            signal.raise_signal(signal.SIGINT)


async def _greet(address: str) -> None:
    """Raise whatever speaks against an address: a Client that fails is slow and noisy to end."""
    async with asyncio.timeout(4):
        comm = await connect(address, **distributed.Security().get_connection_args("client"))
        await comm.close()


def _lacks(expected: Mapping[str, Any], key: str, dask_worker: distributed.Worker) -> bool | str:
    """In a worker: whether it has yet to receive the data, or in what it differs from the process
    that sends them."""
    here = software() | {"threads": dask_worker.state.nthreads}
    if names := [name for name, value in expected.items() if here[name] != value]:
        return f"differs in {', '.join(names)}"
    return key not in _data


def _receive(key: str, problem: Problem) -> bool:
    """In a worker: keep the data."""
    _data.clear()
    _data[key] = problem
    return True


def _train(key: str, trial: Trial) -> Row | str:
    """In a worker: a trial's row, or the worker's address if it has not received the data."""
    if key not in _data:
        return str(distributed.get_worker().address)
    return trial.run(_data[key])
