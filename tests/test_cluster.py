"""Searches on a real Dask cluster of one scheduler and two workers, on the loopback interface, with
real kills: the bytes of the local search, and no finished trial lost."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
import warm
from project import ENVIRON, Project
from searching import TRIALS, Search, alive, wait_until

pytestmark = pytest.mark.skipif(not find_spec("distributed"), reason="needs distributed")

# In a worker: counts the bytes that it receives
COUNTER = """
from distributed.comm import tcp
from distributed.utils import nbytes

received, original = [0], tcp.from_frames

def from_frames(frames, *args, **kwargs):
    received[0] += sum(map(nbytes, frames))
    return original(frames, *args, **kwargs)

tcp.from_frames = from_frames
"""

# Two searches on one cluster, from a thread, with data of 2.5 MB; prints what each
# worker received
CALLS = """
import stages, json, sys
from concurrent.futures import ThreadPoolExecutor
import distributed
import numpy as np
from mlp.search import cluster
from mlp.data import Dataset, Problem
from mlp.recipe import Recipe
from mlp.search.trial import Trial

def received():
    import counter
    return counter.received[0]

rng = np.random.default_rng(0)
problem = Problem(*(
    Dataset(rng.standard_normal((n, 600)).astype("f4"), rng.integers(0, 3, n)) for n in (1000, 50)
), classes=("a", "b", "c"))
recipe = Recipe(hidden_sizes=(4, 4), epochs=1)
client = distributed.Client(sys.argv[1], set_as_default=False)
thread = ThreadPoolExecutor(1)
counts = [client.run(received)]
for seeds in range(4), range(4, 24):
    trials = ((seed, Trial(recipe, seed)) for seed in seeds)
    rows = thread.submit(list, cluster.train(trials, problem, address=sys.argv[1])).result()
    assert sorted(number for number, _ in rows) == list(seeds)
    counts.append(client.run(received))
print(json.dumps([[after[worker] - before[worker] for worker in before]
                  for before, after in zip(counts, counts[1:])]))
"""

# In the stage: Ctrl-C in the middle of Dask's own code, the first time that it comes to a method
INTERRUPT = """
import distributed, signal, threading, time

original = distributed.{method}

def interrupted(self, *args, **kwargs):
    distributed.{method} = original
    {how}
    return original(self, *args, **kwargs)

distributed.{method} = interrupted

if __name__"""
AT_ONCE = "signal.raise_signal(signal.SIGINT)"
# and while Dask has not begun on the call, because its thread is busy
BEFORE = (
    "self.loop.add_callback(time.sleep, 1);"
    "main = threading.main_thread().ident;"
    "threading.Timer(0.5, signal.pthread_kill, (main, signal.SIGINT)).start()"
)


class Processes:
    """A scheduler and its workers, which run the code in a folder; end them with `stop`. Cold ones
    import what they need themselves."""

    def __init__(
        self, code: Path, log: Path, *, cold: bool = False, protocol: str = "tcp", **environ: str
    ) -> None:
        self.code, self.log, self.environ, self.cold = code, log, environ, cold
        self.started: list[subprocess.Popen[bytes] | warm.Started] = []
        file = log.with_suffix(".json")
        options = f"--protocol {protocol} --host 127.0.0.1 --port 0 --no-dashboard"
        self.scheduler = self._start(f"scheduler {options} --scheduler-file {file}")
        wait_until(lambda: file.exists() and file.read_text().endswith("}"))
        self.address: str = json.loads(file.read_text())["address"]

    def _start(
        self, command: str, code: Path | None = None
    ) -> "subprocess.Popen[bytes] | warm.Started":
        words = ("python", "-m", "dask", *command.split())
        folder, environ = code or self.code, os.environ | ENVIRON | self.environ
        process: subprocess.Popen[bytes] | warm.Started
        if self.cold:
            with self.log.open("ab") as log:
                process = subprocess.Popen(
                    words, cwd=folder, env=environ, stdout=log, stderr=log, start_new_session=True
                )
        else:
            environ["DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD"] = "fork"
            process = warm.Started(words, folder, environ, log=self.log)
        self.started.append(process)
        return process

    def add(self, workers: int, *options: str, code: Path | None = None) -> None:
        """Start workers as the README says, and wait until they have joined."""
        joined = self.log.read_text().count("Registered to:")
        command = f"worker {self.address} --nthreads 1 --nworkers {workers} --no-dashboard"
        self._start(f"{command} --preload-nanny stages {' '.join(options)}", code)
        wait_until(lambda: self.log.read_text().count("Registered to:") == joined + workers)

    def workers(self) -> list[psutil.Process]:
        """The processes that train: children of the nannies."""
        found = [
            child
            for process in self.started[1:]
            for child in psutil.Process(process.pid).children()
            if child.is_running() and "resource_tracker" not in " ".join(child.cmdline())
        ]
        return alive(found)

    def stop(self) -> None:
        for process in self.started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def project(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Search:
    project = Search.of(finished, tmp_path_factory.mktemp("project"))
    project.set({"search.epochs": 120})
    return project


@pytest.fixture(scope="module")
def local(project: Search) -> list[bytes]:
    project.stage("grid-search", MLP_JOBS="2")
    return project.reports()


@pytest.fixture
def search(project: Search, local: list[bytes]) -> Search:
    """The project, with nothing in its journal."""
    project.forget()
    return project


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, project: Search, local: list[bytes]
) -> Iterator[Processes]:
    (project.folder / "counter.py").write_text(COUNTER)
    processes = Processes(project.folder, tmp_path_factory.mktemp("cluster") / "log")
    try:
        processes.add(2, "--preload", "counter")
        yield processes
    finally:
        processes.stop()


def test_same_bytes(search: Search, local: list[bytes], cluster: Processes):
    out = search.stage("grid-search", MLP_CLUSTER=cluster.address).stdout
    assert f"0 of {TRIALS} trials remembered, {TRIALS} trained" in out
    assert search.reports() == local
    entries = search.trials()
    assert len(entries) == TRIALS
    victim = next((search.folder / "data" / "trials").glob("*.json"))
    victim.unlink()
    out = search.stage("grid-search", MLP_CLUSTER=cluster.address).stdout
    assert f"{TRIALS - 1} of {TRIALS} trials remembered, 1 trained" in out
    again = search.trials()
    assert {name for name in entries if again[name] != entries[name]} == {victim.name}
    assert search.reports() == local


def test_data_are_sent_once(search: Search, cluster: Processes):
    """… per worker: not once per trial, nor again for the next call."""
    out = search.call("python", "-c", CALLS, cluster.address).stdout
    first, second = json.loads(out)
    data = 1050 * 600 * 4 + 1050 * 8
    assert len(first) == 2
    assert all(data < count < 1.1 * data for count in first)
    assert all(count < 0.1 * data for count in second)


@pytest.mark.parametrize("victims", [1, 2])
def test_kill_of_workers(search: Search, local: list[bytes], cluster: Processes, victims: int):
    """Of one of two, and of both at once: their nannies start others."""
    wait_until(lambda: len(cluster.workers()) == 2)
    process = search.start(MLP_CLUSTER=cluster.address)
    search.wait_for(TRIALS // 3)
    for victim in cluster.workers()[:victims]:
        victim.kill()
    kept = search.trials()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert f"{TRIALS} trained" in out
    assert kept.items() <= search.trials().items()
    assert len(search.trials()) == TRIALS
    assert search.reports() == local
    wait_until(lambda: len(cluster.workers()) == 2)


def test_ctrl_c(search: Search, local: list[bytes], cluster: Processes):
    process = search.start(MLP_CLUSTER=cluster.address)
    search.wait_for(3)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    kept = len(search.trials())
    assert err == f"stages.grid_search: interrupted: {kept} of {TRIALS} trials are kept\n"
    out = search.stage("grid-search", MLP_CLUSTER=cluster.address).stdout
    assert f"{kept} of {TRIALS} trials remembered" in out
    assert search.reports() == local


@pytest.mark.parametrize(
    ("method", "how"),
    [
        ("Client.run", BEFORE),
        ("Client.nthreads", BEFORE),
        ("Future.__init__", AT_ONCE),
        ("Future.release", AT_ONCE),
    ],
)
def test_ctrl_c_in_dask(search: Search, local: list[bytes], cluster: Processes, method, how):
    """… which would print a traceback of its own, or lose it."""
    stage = search.folder / "stages" / "grid_search.py"
    text = stage.read_text()
    stage.write_text(text.replace("\nif __name__", INTERRUPT.format(method=method, how=how)))
    try:
        err = search.stage("grid-search", status=130, MLP_CLUSTER=cluster.address).stderr
    finally:
        stage.write_text(text)
    kept = len(search.trials())
    assert kept < TRIALS
    assert err == f"stages.grid_search: interrupted: {kept} of {TRIALS} trials are kept\n"
    search.stage("grid-search", MLP_CLUSTER=cluster.address)
    assert search.reports() == local


def test_ctrl_c_while_the_scheduler_hangs(search: Search, cluster: Processes):
    """The first one may wait for its answer, the second does not."""
    process = search.start(MLP_CLUSTER=cluster.address)
    search.wait_for(1)
    os.kill(cluster.scheduler.pid, signal.SIGSTOP)
    try:
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(1)
        with contextlib.suppress(ProcessLookupError):  # had it nothing to wait for
            os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=10)
    finally:
        os.kill(cluster.scheduler.pid, signal.SIGCONT)
    assert process.returncode == 130
    kept = len(search.trials())
    assert err == f"stages.grid_search: interrupted: {kept} of {TRIALS} trials are kept\n"


def test_halving(search: Search, cluster: Processes):
    before = search.params["search"]["strategy"]
    search.set({"search.strategy": "halving", "search.seeds": 2})
    try:
        search.stage("grid-search", MLP_CLUSTER=cluster.address)
        there = search.reports()
        shutil.rmtree(search.folder / "data" / "trials")
        search.stage("grid-search")
        assert search.reports() == there
    finally:
        search.set({"search.strategy": before, "search.seeds": 1})


def test_unreachable(search: Search):
    """Nobody listens, somebody who is not Dask, and no address at all."""
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        processes = {
            address: search.start(MLP_CLUSTER=address)
            for address in (
                f"tcp://127.0.0.1:{closed.getsockname()[1]}",
                f"tcp://127.0.0.1:{silent.getsockname()[1]}",
                "tls://127.0.0.1:8786",  # without certificates
                "scheduler",
            )
        }
        for address, process in processes.items():
            _, err = process.communicate(timeout=60)
            assert process.returncode == 2
            assert err.startswith(f"stages.grid_search: no cluster with workers at {address}: ")
            assert err.count("\n") == 1
    assert search.trials() == {}


def test_without_dask(search: Search, local: list[bytes], tmp_path: Path):
    """A local search does not load it."""
    (tmp_path / "distributed.py").write_text("raise ImportError('not here')\n")
    path = str(tmp_path)
    err = search.stage("grid-search", status=2, MLP_CLUSTER="tcp://a:1", PYTHONPATH=path).stderr
    expected = "a cluster needs requirements-cluster.txt (not here)"
    assert err == f"stages.grid_search: {expected}\n"
    search.stage("grid-search", PYTHONPATH=path)
    assert search.reports() == local


def test_other_software(search: Search, cluster: Processes, tmp_path: Path):
    """A worker that differs is refused, at the start and when it joins in the middle."""
    other = tmp_path / "other"
    for name in ("mlp", "stages"):
        shutil.copytree(search.folder / name, other / name)
    with (other / "mlp" / "layers.py").open("a") as file:
        file.write("CHANGED = True\n")
    advice = "differs in sources; start it in a copy of this project: python -m dask worker {} "

    processes = Processes(search.folder, tmp_path / "log")
    try:
        processes.add(1)
        process = search.start(MLP_CLUSTER=processes.address)
        search.wait_for(1)
        os.kill(processes.workers()[0].pid, signal.SIGSTOP)  # so that it does not end before
        processes.add(1, code=other)
        os.kill(processes.workers()[0].pid, signal.SIGCONT)
        _, err = process.communicate(timeout=60)
        for late in (True, False):
            if not late:
                err = search.stage("grid-search", status=2, MLP_CLUSTER=processes.address).stderr
            assert err.startswith("stages.grid_search: worker tcp://127.0.0.1:")
            assert advice.format(processes.address) in err
            assert err.count("\n") == 1
        assert process.returncode == 2
        assert 0 < len(search.trials()) < TRIALS
    finally:
        processes.stop()


def test_kill_of_the_scheduler(search: Search, tmp_path: Path):
    processes = Processes(search.folder, tmp_path / "log")
    try:
        processes.add(1)
        process = search.start(MLP_CLUSTER=processes.address)
        search.wait_for(2)
        processes.scheduler.kill()
        _, err = process.communicate(timeout=60)
    finally:
        processes.stop()
    assert process.returncode == 2
    # one line is ours; Dask may log something before it and after
    [line] = [line for line in err.splitlines() if line.startswith("stages.grid_search: ")]
    assert f" at {processes.address}" in line
    kept = len(search.trials())
    assert f"{kept} of {TRIALS} trials remembered" in search.stage("grid-search").stdout


def test_a_trial_whose_workers_always_die(finished: Project, tmp_path: Path):
    """It is recorded as failed, and only it."""
    search = Search.of(finished, tmp_path)
    search.set({"search.hidden_size2": [16], "search.epochs": 20})
    environ = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
    processes = Processes(search.folder, tmp_path / "log", **environ)
    try:
        processes.add(2)
        search.run_with_a_deadly_trial(MLP_CLUSTER=processes.address)
    finally:
        processes.stop()
    table = search.reports()[0].decode().splitlines()
    failed = [line for line in table if "failed: 2 workers died of it" in line]
    assert len(failed) == 1
    assert failed[0].startswith("24,16,0.0001")
    assert sum(line.endswith(",ok") for line in table) == 5
    assert len(search.trials()) == 5  # a failure is not remembered


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs the command openssl")
def test_tls(search: Search, local: list[bytes], tmp_path: Path):
    """Certificates come from Dask's own configuration."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    files = f"-subj /CN=test -keyout {tmp_path}/key.pem -out {tmp_path}/cert.pem"
    subprocess.run(f"{command} {files}".split(), check=True, capture_output=True)
    tls = "DASK_DISTRIBUTED__COMM__TLS"
    environ = {f"{tls}__CA_FILE": f"{tmp_path}/cert.pem"}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        environ[f"{tls}__{role}__CERT"] = f"{tmp_path}/cert.pem"
        environ[f"{tls}__{role}__KEY"] = f"{tmp_path}/key.pem"
    processes = Processes(search.folder, tmp_path / "log", cold=True, protocol="tls", **environ)
    try:
        assert processes.address.startswith("tls://")
        processes.add(2)
        search.stage("grid-search", MLP_CLUSTER=processes.address, **environ)
        assert search.reports() == local
    finally:
        processes.stop()
