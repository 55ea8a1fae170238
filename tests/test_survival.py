"""Searches that are killed, interrupted and damaged, with real processes and real signals: no
finished trial is lost, and no byte of the result differs."""

import json
import os
import random
import signal
import time
from pathlib import Path

import psutil
import pytest
from project import Project
from searching import SEARCH, TRIALS, Search, alive, wait_until, workers

# In the stage: Ctrl-C at the row of a trial
INTERRUPT = """
import itertools
import mlp.progress

class Bar(mlp.progress.tqdm):
    count = itertools.count(1)

    def update(self):
        if next(self.count) == {}:
            raise KeyboardInterrupt

mlp.progress.tqdm = Bar

if __name__"""


@pytest.fixture(scope="module")
def undisturbed(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    search = Search.of(finished, tmp_path_factory.mktemp("undisturbed"))
    out = search.stage("grid-search").stdout
    assert f"0 of {TRIALS} trials remembered, {TRIALS} trained" in out
    return search.reports()


@pytest.fixture
def search(finished: Project, tmp_path: Path) -> Search:
    return Search.of(finished, tmp_path)


def moments(count: int) -> list[int]:
    """How many trials to wait for before each disturbance."""
    return sorted(random.Random(0).choices(range(TRIALS - 3), k=count))


def test_kills_of_the_stage(search: Search, undisturbed: list[bytes]):
    """Ten kills spread over the search; each next run keeps what was finished."""
    wait = random.Random(1)
    for trials in moments(10):
        process = search.start()
        search.wait_for(trials)
        time.sleep(wait.random() * 0.2)
        orphans = workers(process)
        process.kill()
        process.communicate()
        kept = search.trials()
        wait_until(lambda orphans=orphans: not alive(orphans))  # none goes on working
    kept = search.trials()
    out = search.stage("grid-search").stdout
    assert f"{len(kept)} of {TRIALS} trials remembered" in out
    assert kept.items() <= search.trials().items()  # not one was trained again
    assert len(search.trials()) == TRIALS
    assert search.reports() == undisturbed


@pytest.mark.parametrize("trials", moments(5))
def test_kill_of_a_worker(search: Search, undisturbed: list[bytes], trials: int):
    process = search.start()
    search.wait_for(trials)
    victims = workers(process)
    while not victims:
        time.sleep(0.01)
        victims = workers(process)
    victims[trials % len(victims)].kill()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert f"{TRIALS} trained" in out
    assert len(search.trials()) == TRIALS
    assert search.reports() == undisturbed


def test_a_trial_whose_process_always_dies(search: Search):
    """Its processes are killed as they take it up, so it is recorded as failed, and only it."""
    search.set({"search.hidden_size2": [16]})
    search.run_with_a_deadly_trial(MLP_JOBS="2")
    table = search.reports()[0].decode().splitlines()
    failed = [line for line in table if "failed: its process died (SIGKILL)" in line]
    assert len(failed) == 1
    assert failed[0].startswith("24,16,0.0001")
    assert sum(line.endswith(",ok") for line in table) == 5
    assert len(search.trials()) == 5  # a failure is not remembered


@pytest.mark.parametrize("trials", moments(5))
def test_ctrl_c(search: Search, undisturbed: list[bytes], trials: int):
    process = search.start()
    search.wait_for(1)
    children = psutil.Process(process.pid).children(recursive=True)
    search.wait_for(trials)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    kept = len(search.trials())
    assert err.endswith(f"stages.grid_search: interrupted: {kept} of {TRIALS} trials are kept\n")
    assert "Traceback" not in err
    assert not alive(children)
    search.stage("grid-search")
    assert search.reports() == undisturbed


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6])
def test_ctrl_c_while_workers_start(search: Search, seconds: float):
    """They import NumPy and more before they take up a trial."""
    search.set({"search.epochs": 10_000})  # so that no trial ends
    process = search.start(cold=True)
    while not workers(process):
        assert process.poll() is None
    time.sleep(seconds)
    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    wait_until(lambda: not alive(children))
    assert err == f"stages.grid_search: interrupted: 0 of {TRIALS} trials are kept\n"


@pytest.mark.parametrize(("earlier", "remembered"), [(0, 0), (4, 4), (4, 0)])
def test_ctrl_c_between_two_trials(
    search: Search, undisturbed: list[bytes], earlier: int, remembered: int
):
    """… while the stage is at a finished trial's row; some trials are from an earlier search, and
    remembered or damaged."""
    if earlier:
        search.set({"search.lr": [0.01]})
        search.stage("grid-search")
        search.set(SEARCH)
    journal = search.folder / "data" / "trials"
    if not remembered:
        for entry in journal.glob("*.json"):
            entry.write_text("")
    stage = search.folder / "stages" / "grid_search.py"
    text = stage.read_text()
    stage.write_text(text.replace("\nif __name__", INTERRUPT.format(remembered + 3)))
    process = search.start()
    children = []
    while process.poll() is None:
        children = workers(process) or children
        time.sleep(0.005)
    kept = sum(path.stat().st_size > 0 for path in journal.glob("*.json"))
    assert kept >= remembered + 3
    error = f"stages.grid_search: interrupted: {kept} of {TRIALS} trials are kept\n"
    *warnings, last = process.communicate()[1].splitlines(keepends=True)
    assert (process.returncode, last) == (130, error)
    assert len(warnings) == earlier - remembered
    assert children
    assert not alive(children)
    stage.write_text(text)
    search.stage("grid-search")
    assert search.reports() == undisturbed


def test_a_daemon_has_no_streams(search: Search, undisturbed: list[bytes]):
    search.call("sh", "-c", "exec python -m stages.grid_search <&- >&- 2>&-", MLP_JOBS="2")
    assert search.reports() == undisturbed


def test_dvc_goes_on_after_a_kill(search: Search, undisturbed: list[bytes]):
    """`dvc repro` and all its children are killed; the next one trains what is missing."""
    process = search.start("dvc", "repro", "grid-search", cold=True)
    search.wait_for(4)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    kept = search.trials()
    out = search.call("dvc", "repro", "grid-search").stdout
    assert f"{len(kept)} of {TRIALS} trials remembered" in out
    assert kept.items() <= search.trials().items()
    assert search.reports() == undisturbed
    assert "up to date" in search.call("dvc", "status", "grid-search").stdout


def test_damaged_entries_are_trained_again(search: Search, undisturbed: list[bytes]):
    search.stage("grid-search")
    entries = sorted((search.folder / "data" / "trials").glob("*.json"))
    text = entries[0].read_text()
    entries[0].write_text(text[: len(text) // 2])
    entries[1].write_text("")
    entry = json.loads(entries[2].read_text())
    entry["row"]["val_accuracy"] = 0.5
    entries[2].write_text(json.dumps(entry))
    entries[3].write_bytes(b"\xff\x00")
    done = search.stage("grid-search")
    assert f"{TRIALS - 4} of {TRIALS} trials remembered, 4 trained" in done.stdout
    assert all(f"{entry.name}: " in done.stderr for entry in entries[:4])
    assert done.stderr.count("training this trial again") >= 4
    assert search.reports() == undisturbed


def test_growth(search: Search):
    def trained() -> str:
        return search.stage("grid-search").stdout.splitlines()[0]

    search.set({"search.epochs": 3})
    trained()
    search.set({"search.lr": [0.01, 0.001, 0.0001, 0.003]})
    assert trained() == "12 of 16 trials remembered, 4 trained"
    search.set({"search.lr": [0.003, 0.001]})
    assert trained() == "8 of 8 trials remembered, 0 trained"
    search.set({"search.epochs": 4})
    assert trained() == "0 of 8 trials remembered, 8 trained"


def test_code_and_data_are_part_of_the_name(search: Search):
    search.set({"search.lr": [0.01], "search.hidden_size1": [24], "search.epochs": 3})
    search.stage("grid-search")
    with (search.folder / "mlp" / "layers.py").open("a") as file:
        file.write("# a comment\n")
    assert "2 of 2 trials remembered" in search.stage("grid-search").stdout
    with (search.folder / "mlp" / "layers.py").open("a") as file:
        file.write("CHANGED = True\n")
    assert "0 of 2 trials remembered" in search.stage("grid-search").stdout
    search.set({"base.seed": 1})
    search.stage("preprocess")
    search.set({"base.seed": 42})
    assert "0 of 2 trials remembered" in search.stage("grid-search").stdout
    assert "0 of 2 trials remembered" in search.stage("grid-search", MLP_KERNELS="native").stdout


def test_all_diverge(search: Search):
    search.set({"search.lr": [1e30], "search.optimizer": "sgd"})
    done = search.stage("grid-search", status=2)
    assert done.stderr.endswith(
        "none of 4 trials has a result: all diverged: try lower values of search.lr\n"
    )
    assert done.stderr.count("\n") == 1
    assert not (search.folder / "reports" / "grid_search.csv").exists()


def test_some_diverge(search: Search):
    search.set({"search.lr": [1e30, 0.01], "search.optimizer": "sgd", "search.epochs": 2})
    search.stage("grid-search")
    table, best = (content.decode() for content in search.reports())
    diverged = [line for line in table.splitlines() if line.endswith(",diverged")]
    assert len(diverged) == 4
    assert all(",0,-1,-1,0,0," in line for line in diverged)
    assert json.loads(best)[0]["lr"] == 0.01


def test_list_and_clear(search: Search):
    search.set({"search.hidden_size1": [24], "search.lr": [0.01, 0.001], "search.epochs": 1})
    search.stage("grid-search")
    heads, *listed, last = search.call("python", "-m", "mlp", "trials").stdout.splitlines()
    assert heads.split()[:3] == ["accuracy", "age", "sizes"]
    assert len(listed) == 4
    assert sum(line.split()[3:5] == ["24-16", "0.01"] for line in listed) == 1
    assert all("0 min" in line for line in listed)
    assert max(map(len, listed)) < 80
    assert last == "4 trials in data/trials"
    cleared = search.call("python", "-m", "mlp", "trials", "--clear").stdout
    assert cleared == "4 trials removed from data/trials\n"
    assert search.trials() == {}
