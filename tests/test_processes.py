"""The executor of this machine, with real processes: what it does with trials that die, fail or
stop, and from where it can be called."""

import contextlib
import gc
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import textwrap
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
from searching import wait_until
from tasks import Task

from mlp.data import Dataset, load_problem, save_problem
from mlp.files import InputError
from mlp.progress import SearchBar
from mlp.recipe import Recipe
from mlp.search import grid, processes, run_search
from mlp.search.trial import Trial, context

ROOT = Path(__file__).parent.parent
RECIPE = Recipe(hidden_sizes=(4,), epochs=1)


def task(seed=0, act="answer", file=None):
    return Task(RECIPE, seed, act=act, file=file)


def rows(acts, problem, jobs=2, file=None):
    """The rows of tasks, by their numbers."""
    trials = ((number, task(number, act, file)) for number, act in enumerate(acts))
    return dict(processes.train(trials, problem, jobs=jobs))


def children():
    found = psutil.Process().children()
    return [child for child in found if "mlp.search.processes" in " ".join(child.cmdline())]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_death_is_its_trials_own(problem, jobs):
    found = rows(["answer", "die", "answer", "exit", "answer"], problem, jobs)
    assert found[1]["status"] == "failed: its process died (SIGKILL)"
    assert found[3]["status"] == "failed: its process died (exit status 3)"
    assert [found[number]["status"] for number in (0, 2, 4)] == ["ok"] * 3
    assert children() == []


def test_a_death_is_tried_again_once(problem, tmp_path):
    file = tmp_path / "begun"
    found = rows(["die once", "die"], problem, 1, file)
    assert found[0]["status"] == "ok"
    assert sorted(file.read_text().split()) == ["0", "0", "1", "1"]


def test_too_little_memory_is_a_trials_own_failure(problem, tmp_path):
    file = tmp_path / "begun"
    found = rows(["ask for much", "answer"], problem, 1, file)
    assert found[0]["status"] == "failed: there is not enough memory for it"
    assert found[1]["status"] == "ok"
    assert file.read_text().split().count("0") == 2


def test_a_mistake_of_ours_is_raised_and_says_where(problem):
    with pytest.raises(KeyError, match="a mistake of ours") as error:
        rows(["answer", "fail"], problem)
    assert "tasks.py" in error.value.__notes__[0]
    assert children() == []


@pytest.mark.parametrize("act", ["fail oddly", "fail unsendably"])
def test_a_mistake_that_cannot_be_sent_is_told_all_the_same(problem, act):
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        rows(["answer", act], problem)


def test_a_signal_without_a_name(problem):
    status = rows(["die of a nameless signal"], problem)[0]["status"]
    assert status == f"failed: its process died (signal {signal.SIGRTMIN + 1})"


def test_what_a_trial_prints_is_no_answer(problem):
    assert rows(["print", "answer"], problem, 1)[0]["status"] == "ok"


def test_never_more_processes_than_trials_or_jobs(problem):
    assert len({row["pid"] for row in rows(["answer"], problem, 4).values()}) == 1
    assert len({row["pid"] for row in rows(["answer"] * 6, problem, 1).values()}) == 1
    assert all(row["pid"] != os.getpid() for row in rows(["answer"], problem, 1).values())


def test_a_process_starts_no_threads_of_blas_that_it_does_not_use(problem, monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    results = processes.train(iter([(0, task())]), problem, jobs=1)
    next(results)
    assert children()[0].environ()["OPENBLAS_NUM_THREADS"] == "1"
    results.close()


def test_no_jobs(problem):
    with pytest.raises(InputError, match="0 jobs"):
        rows(["answer"], problem, 0)


def test_trials_are_taken_as_there_is_room_for_them(problem):
    taken = []

    def trials():
        for number in range(8):
            taken.append(number)
            yield number, task(number)

    for ended, _ in enumerate(processes.train(trials(), problem, jobs=2), start=1):
        assert len(taken) <= ended + 1


def test_a_strategy_may_wait_for_rows(problem):
    """None: there is no other trial before another row has ended."""
    ended = []

    def trials():
        yield 0, task(0)
        while not ended:
            yield None
        yield 1, task(1)

    for number, _ in processes.train(trials(), problem, jobs=2):
        ended.append(number)
    assert ended == [0, 1]


def test_closing_ends_what_is_under_way(problem):
    results = processes.train(iter(enumerate([task(), task(1, "sleep")])), problem, jobs=2)
    assert next(results)[0] == 0
    at_work = children()
    results.close()
    assert at_work
    assert psutil.wait_procs(at_work, timeout=30)[1] == []


def test_a_stopped_process_is_named_and_ended(problem, monkeypatch):
    monkeypatch.setattr(processes, "BEAT", 0.05)
    monkeypatch.setattr(processes, "SILENCE", 0.3)
    results = processes.train(iter([(7, task(0, "stop"))]), problem, jobs=1)
    assert next(results) == (7, None)
    [stopped] = children()
    wait_until(lambda: stopped.status() == psutil.STATUS_STOPPED)
    stopped.send_signal(signal.SIGCONT)
    assert next(results)[1]["status"] == "ok"
    results.close()


def test_a_stopped_process_does_not_hold_up_the_end(problem, monkeypatch):
    monkeypatch.setattr(processes, "BEAT", 0.05)
    monkeypatch.setattr(processes, "SILENCE", 0.3)
    results = processes.train(iter([(7, task(0, "stop"))]), problem, jobs=1)
    next(results)
    results.close()
    assert children() == []


def test_data_are_those_of_the_caller(problem, tmp_path):
    """From memory, from whole files, and from parts of them."""
    save_problem(tmp_path, problem)
    mapped = load_problem(tmp_path)
    part = Dataset(mapped.train.x[10:50], mapped.train.t[10:50])
    across = Dataset(np.asfortranarray(mapped.train.x), mapped.train.t)
    save_problem(tmp_path / "across", problem._replace(train=across))
    for some in (
        problem,
        mapped,
        mapped._replace(train=part),
        load_problem(tmp_path / "across"),
    ):
        total = rows(["answer"], some)[0]["sum"]  # in the order that the data lie in
        assert total == pytest.approx(float(some.train.x.sum()), rel=1e-14)


def test_data_that_change_meanwhile_are_refused(problem, tmp_path):
    save_problem(tmp_path, problem)
    mapped = load_problem(tmp_path)
    save_problem(tmp_path, problem._replace(val=problem.train))
    with pytest.raises(InputError, match="data changed while the search ran"):
        rows(["answer"], mapped)


def test_rows_do_not_depend_on_the_number_of_jobs(problem):
    recipes = [Recipe(hidden_sizes=(h,), lr=lr, epochs=2) for h in (4, 9) for lr in (0.01, 0.05)]
    one, two = (
        run_search(grid(recipes), problem, partial(processes.train, jobs=jobs), seeds=[0])
        for jobs in (1, 2)
    )
    assert one == two


SEARCH = """
import numpy as np
from mlp.data import Dataset, Problem
from mlp.recipe import Recipe
from mlp.search import grid, run_search
from mlp.search.processes import train

def search(jobs=2):
    rng = np.random.default_rng(0)
    data = Dataset(rng.normal(size=(60, 5)), rng.integers(0, 3, 60))
    recipes = [Recipe(hidden_sizes=(h,), epochs=1) for h in (3, 4, 5)]
    results, _ = run_search(grid(recipes), Problem(data, data, ("a", "b", "c")), train, seeds=[0])
    return [result.summary()["status"] for result in results]

"""
CALLERS = {
    "a script without a main guard": "print(search())",
    "a thread": "import threading; threading.Thread(target=lambda: print(search())).start()",
    "another pool": """
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context
        if __name__ == "__main__":
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                print(pool.submit(search).result())
    """,
    "without what only POSIX has": """
        import os, signal
        for module, names in {
            signal: ("pthread_sigmask", "SIGSTOP", "sigwait", "pthread_kill", "setitimer"),
            os: ("fork", "sched_getaffinity", "killpg", "getpgid", "setsid", "getppid"),
        }.items():
            for name in names:
                delattr(module, name)
        print(search())
    """,
}


@pytest.mark.parametrize("how", ["file", "standard input", "-c"])
@pytest.mark.parametrize("caller", CALLERS)
def test_callers(caller, how, tmp_path):
    """… however their program was started; a notebook's is not a file either."""
    code = SEARCH + textwrap.dedent(CALLERS[caller])
    if caller == "another pool" and how != "file":
        pytest.skip("such a pool needs a file itself")
    if caller == "without what only POSIX has" and how != "file":
        pytest.skip("once is enough")
    (tmp_path / "script.py").write_text(code)
    command = {"file": ["script.py"], "standard input": ["-"], "-c": ["-c", code]}[how]
    done = subprocess.run(
        [sys.executable, *command],
        input=code if how == "standard input" else None,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "MLP_COMPILED": "0"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "['ok', 'ok', 'ok']\n", done.stderr
    assert done.stderr == ""


def test_arrays_in_files_that_do_not_hold_them(problem, tmp_path):
    """Changed in memory alone, deleted, or without a name."""
    x = np.ascontiguousarray(problem.train.x)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "deleted.npy", x)
    changed = np.load(tmp_path / "x.npy", mmap_mode="c")
    changed *= 2
    deleted = np.load(tmp_path / "deleted.npy", mmap_mode="r")
    (tmp_path / "deleted.npy").unlink()
    with tempfile.TemporaryFile() as file:
        file.write(x)
        file.flush()
        nameless = np.memmap(file, x.dtype, "r", shape=x.shape)
        for given, twin in ((changed, 2 * x), (deleted, x), (nameless, x)):
            there, here = (
                problem._replace(train=Dataset(array, problem.train.t)) for array in (given, twin)
            )
            executor = partial(processes.train, jobs=1)
            [result], _ = run_search(grid([RECIPE]), there, executor, seeds=[0])
            assert result.rows == [Trial(RECIPE, 0).run(here)]


def test_a_search_leaves_no_file_open(problem):
    """… for a notebook that goes on, whether its workers end or die."""
    rows(["answer"], problem)
    gc.collect()
    before = pipes()
    gc.disable()
    try:
        rows(["answer", "die", "answer"], problem)
        wait_until(lambda: pipes() <= before, timeout=10)
    finally:
        gc.enable()
    assert pipes() <= before


def pipes():
    """The descriptors of this process that are pipes."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith("pipe:"):
                found.add(int(name))
    return found


def test_a_worker_by_hand(problem, tmp_path):
    """What it says to each of its tasks; and it ends when its standard input does."""
    acts = ["answer", "print", "ask for much", "fail", "fail oddly"]
    start = processes.START.format([*map(str, sys.path)])
    worker = subprocess.Popen(
        [sys.executable, "-c", start], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    files = processes._in_files(problem, tmp_path)
    pickle.dump((files, context(problem)), worker.stdin)
    for seed, act in enumerate(acts):
        pickle.dump(task(seed, act), worker.stdin)
    worker.stdin.flush()
    answers = [pickle.load(worker.stdout) for _ in acts]
    assert [answer["pid"] for answer in answers[:2]] == [worker.pid] * 2
    assert "not enough memory" in answers[2].cause
    assert [type(answer) for answer in answers[3:]] == [KeyError, RuntimeError]
    worker.stdin.close()
    assert worker.wait(30) == 1
    assert worker.stdout.read() == b""


def test_bars_without_a_standard_error(monkeypatch):
    """As in a program without a terminal on Windows, or after a shell's 2>&-."""
    monkeypatch.setattr(sys, "stderr", None)
    with SearchBar(2) as bar:
        bar.advance(0, 0.5, remembered=False)
        bar.silent(1, "one")
