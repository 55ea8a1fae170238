"""The whole search, 81 configurations at 2 epochs on all cores, by this package and its peers.

Each function takes configurations and returns the seconds from its call to the last result, with
the start of its processes and JAX's compilation, and the best validation accuracy it found.
"""

import functools
import os
import signal
import subprocess
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.queues import Queue
from time import perf_counter, sleep
from typing import Any

import numpy as np
import psutil

from benchmarks import peers
from mlp.data import Problem
from mlp.recipe import Recipe
from mlp.search import expand_grid, grid, run_search
from mlp.search.processes import train

Config = dict[str, Any]

EPOCHS = 2
GRID = {
    "hidden_size1": [64, 128, 256],
    "hidden_size2": [64, 128, 256],
    "lr": [0.01, 0.001, 0.0001],
    "l2_reg": [0.0001, 0.001, 0.01],
}
CONFIGS = expand_grid(GRID)
SHAPES = expand_grid(GRID | {"lr": [0.001], "l2_reg": [0.0001]})  # a small search, for memory
Result = tuple[float, float]


def ours(configs: list[Config], jobs: int = -1) -> Result:
    recipes = [
        Recipe(
            hidden_sizes=(config["hidden_size1"], config["hidden_size2"]),
            lr=config["lr"],
            l2_reg=config["l2_reg"],
            epochs=EPOCHS,
        )
        for config in configs
    ]
    start = perf_counter()
    problem = Problem(
        peers.load("train"),
        peers.load("val"),
        tuple(map(str, range(peers.CLASSES))),
        normalisation=peers.normalisation(),
    )
    results, _ = run_search(
        grid(recipes), problem, functools.partial(train, jobs=jobs), seeds=[peers.SEED]
    )
    best = max(result.summary()["val_accuracy"] for result in results)
    return perf_counter() - start, best


def interrupted(after: float) -> float:
    """Seconds from Ctrl-C, so many after the start of a search, to the end of all its processes."""
    code = "from benchmarks import searches; searches.ours(searches.CONFIGS)"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.DEVNULL, start_new_session=True
    )
    sleep(after)
    tree = psutil.Process(process.pid).children(recursive=True)
    start = perf_counter()
    os.killpg(process.pid, signal.SIGINT)
    process.wait()
    psutil.wait_procs(tree)
    return perf_counter() - start


def torch(configs: list[Config]) -> Result:
    """Trials one by one to a pool of processes, longest first, with fused Adam."""
    return _pool(peers.TorchFused, configs, chunksize=1)


def jax(configs: list[Config]) -> Result:
    """Trials to a pool of processes, longest first; the nine of a shape stay together, so that
    each shape is compiled once."""
    return _pool(peers.Jax, configs, chunksize=len(GRID["lr"]) * len(GRID["l2_reg"]))


def _pool(peer: type, configs: list[Config], chunksize: int) -> Result:
    start = perf_counter()
    settings = [peers.Setting(batch_size=100, **config) for config in configs]
    settings.sort(key=lambda s: -s.hidden_size1 * (1000 + s.hidden_size2))
    context = get_context("spawn")
    cores = context.Queue()
    for core in os.sched_getaffinity(0):
        cores.put(core)
    with ProcessPoolExecutor(cores.qsize(), context, _to_one_core, (cores,)) as pool:
        best = max(pool.map(_trial, [peer] * len(settings), settings, chunksize=chunksize))
    return perf_counter() - start, best


def _to_one_core(cores: "Queue[int]") -> None:
    """One thread a process: the only way that all of JAX's obey."""
    os.sched_setaffinity(0, {cores.get()})


def _trial(peer: type, setting: peers.Setting) -> float:
    net = peer(setting)
    best = 0.0
    for _ in range(EPOCHS):
        net.epoch()
        best = max(best, net.accuracy())
    return best


def sklearn(configs: list[Config]) -> Result:
    """GridSearchCV over the same configurations and the same one split."""
    from sklearn.model_selection import GridSearchCV, PredefinedSplit
    from sklearn.neural_network import MLPClassifier

    os.environ["PYTHONWARNINGS"] = "ignore"  # in the workers: that 2 epochs do not converge
    train, val = peers.normalised("float32")
    start = perf_counter()
    grid = [
        {
            "hidden_layer_sizes": [(config["hidden_size1"], config["hidden_size2"])],
            "learning_rate_init": [config["lr"]],
            "alpha": [config["l2_reg"] * 100],
        }
        for config in configs
    ]
    search = GridSearchCV(
        MLPClassifier(batch_size=100, max_iter=EPOCHS, random_state=peers.SEED),
        grid,
        cv=PredefinedSplit(np.repeat([-1, 0], [len(train.t), len(val.t)])),
        n_jobs=-1,
        refit=False,
    )
    with warnings.catch_warnings(action="ignore"):
        search.fit(*peers.join(train, val))
    return perf_counter() - start, float(search.cv_results_["mean_test_score"].max())


SEARCHES: dict[str, Any] = {
    "Ours": ours,
    "OursPlain": ours,
    "OursPinned": ours,
    "TorchFused": torch,
    "Jax": jax,
    "Sklearn": sklearn,
}
