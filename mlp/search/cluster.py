"""Trials on a Dask cluster. Needs the extra `cluster`, and is loaded only if one is asked for.

Not by joblib's Dask backend: that yields nothing before all trials have ended, waits for ever for
one whose workers died, and leaves on the cluster what was interrupted. Nor are the data scattered:
workers would train on arrays that are not aligned, which is many times slower.
"""

import asyncio
import signal
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any
from uuid import uuid4

import numpy as np

from mlp.data import Dataset
from mlp.files import InputError
from mlp.search import Config, Results, Row, failed, software, train_trial
from mlp.search.journal import Journal

try:
    import distributed
    from distributed.comm.core import connect
except ImportError as error:
    raise InputError(f"a cluster needs requirements-cluster.txt ({error})") from error

# In a worker: the data of the search that it was last prepared for
_data: dict[str, tuple[Dataset, Dataset]] = {}


class Cluster:
    """The workers of a Dask cluster, to train in place of this machine's processes.

    address: of its scheduler, tcp://host:8786 or tls://host:8786. Dask's own configuration says
        where the certificates are.

    Raises InputError if no scheduler answers within seconds, or if it has no workers.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._sent: tuple[str, Dataset, Dataset] | None = None
        with self._reached():
            asyncio.run(_greet(address))
            self.client = distributed.Client(address, timeout=4, set_as_default=False)
            self.client.wait_for_workers(1, timeout=2)

    def train(
        self,
        trials: Sequence[tuple[int, Config]],
        train: Dataset,
        val: Dataset,
        settings: Mapping[str, Any],
        *,
        journal: Journal | None = None,
    ) -> Results:
        """Train numbered configurations, one per thread of the workers, and yield the number and
        the row of each as it ends, and is put into the journal. The data go to each worker once,
        however many calls there are.

        A trial whose worker dies is tried again, as often as the scheduler's `allowed-failures`
        says, and then gets a row with status "failed".

        Raises InputError if a worker runs other software than this process, because results could
        differ, or if the scheduler goes.
        """
        if self._sent is None or self._sent[1] is not train or self._sent[2] is not val:
            self._sent = uuid4().hex, train, val
            self._prepare(None)
        waiting = deque(trials)
        running: dict[distributed.Future[Row | str], tuple[int, Config]] = {}
        ended = distributed.as_completed(loop=self.client.loop)
        try:
            while waiting or running:
                with self._reached():
                    # one per thread: a death counts against all that the worker was given
                    while waiting and len(running) < max(1, sum(self.client.nthreads().values())):
                        task = self._sent[0], waiting[0][1], settings
                        future = self.client.submit(_train, *task, pure=False)
                        running[future] = waiting.popleft()
                        ended.add(future)
                future = next(ended)
                with _ctrl_c_waits():
                    number, config = running.pop(future)
                    row = self._row(future, config, journal)
                    del future  # here, because that calls Dask
                if row is None:
                    waiting.appendleft((number, config))
                else:
                    yield number, row
        finally:
            self.client.cancel(list(running))

    def _row(
        self, future: "distributed.Future[Row | str]", config: Config, journal: Journal | None
    ) -> Row | None:
        """The row of a trial that has ended, or None if its worker had yet to receive the data."""
        try:
            answer = future.result()
        except distributed.KilledWorker as error:
            return failed(config, f"{error.allowed_failures + 1} workers died of it")
        except ModuleNotFoundError as error:
            raise self._foreign("that joined", error) from error
        except distributed.CancelledError:
            raise InputError(f"lost the scheduler at {self.address}") from None
        if isinstance(answer, str):  # the address of a worker that joined, or came back
            self._prepare([answer])
            return None
        if journal:
            journal.put(config, answer)
        return answer

    def _prepare(self, workers: list[str] | None) -> None:
        """Compare the software of workers (None: of all) with that here, and give them the data."""
        assert self._sent is not None
        key, *parts = self._sent
        plain = [Dataset(np.asarray(x), np.asarray(t)) for x, t in parts]  # not memory-mapped
        with self._reached():
            expected = software() | {"threads": 1}
            answers = self.client.run(
                _receive, expected, key, plain, workers=workers, on_error="return"
            )
        for worker, answer in answers.items():
            if answer is not None and not isinstance(answer, OSError):  # it died meanwhile
                raise self._foreign(worker, answer)

    def _foreign(self, worker: str, why: object) -> InputError:
        options = "--nthreads 1 --nworkers -1 --preload-nanny stages"
        command = f"python -m dask worker {self.address} {options}"
        return InputError(f"worker {worker}: {why}; start it in a copy of this project: {command}")

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Names the cluster in what Dask raises when it finds none at an address."""
        try:
            with _ctrl_c_waits():
                yield
        except Exception as error:  # of many kinds, if something else than Dask answers
            why = " ".join(str(error).split()) or "no answer"
            raise InputError(f"no cluster with workers at {self.address}: {why}") from error


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


def _receive(
    expected: Mapping[str, Any],
    key: str,
    data: tuple[Dataset, Dataset],
    dask_worker: distributed.Worker,
) -> str | None:
    """In a worker: keep the data, or answer in what it differs from the process that sends them."""
    here = _software() | {"threads": dask_worker.state.nthreads}
    if names := [name for name, value in expected.items() if here[name] != value]:
        return f"differs in {', '.join(names)}"
    _data.clear()
    _data[key] = data
    return None


def _train(key: str, config: Config, settings: Mapping[str, Any]) -> Row | str:
    """In a worker: a trial's row, or the worker's address if it has not received the data."""
    if key not in _data:
        return str(distributed.get_worker().address)
    return train_trial(config, *_data[key], **settings)


@cache  # of the sources as they were loaded: a worker outlives changes to its files
def _software() -> dict[str, Any]:
    return software()
