"""What the tests share: small data sets, a small network, and the numerical gradient."""

import functools
import gc
import os
import sys
import tempfile
from dataclasses import replace

import numpy as np
import pytest
import warm
from browser import Browser
from filelock import FileLock
from project import Project
from xdist.scheduler import LoadScopeScheduling

from mlp import compiled
from mlp.data import Dataset, Problem
from mlp.module import MLP
from mlp.recipe import Recipe, make_trainer

# hundreds of processes import the same files, which are to be compiled once
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# … and each would have OpenBLAS's other threads wait busily for what nobody gives them
os.environ["OPENBLAS_NUM_THREADS"] = "1"

with pytest.MonkeyPatch.context() as patch:  # its pins are for processes without NumPy
    patch.setenv("MLP_KERNELS", "native")
    import stages  # noqa: F401

COSTLY = tuple(f"test_{name}.py" for name in ("check_lock", "cluster", "ladder", "page", "report"))


class Scheduling(LoadScopeScheduling):
    """Tests one by one to whichever process is free, but those of a file with a costly fixture all
    to the same."""

    def _split_scope(self, nodeid):
        file = nodeid.partition("::")[0]
        return file if file.endswith(COSTLY) else nodeid


def pytest_configure(config):
    if warm.MEMORY not in os.environ:  # not in one of the processes of `pytest -n`
        folder = tempfile.TemporaryDirectory()
        os.environ[warm.MEMORY] = folder.name
        config.add_cleanup(folder.cleanup)


def pytest_collection_finish():
    gc.freeze()  # tests and libraries, so that they are not gone through again and again
    gc.set_threshold(20_000)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return Scheduling(config, log)


@pytest.fixture(scope="session")
def common(tmp_path_factory):
    """A folder of all processes that run the tests."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def finished(common):
    """A small project whose stages have all run, with Git and DVC. Copy it to change it."""
    return Project.finished(common)


@pytest.fixture(scope="session")
def _browser():
    if not Browser.exists():
        pytest.skip("chromium and chromedriver are not here (Debian: chromium-driver)")
    with Browser() as browser:
        yield browser


@pytest.fixture
def shared(_browser):
    """The browser of all tests of this process, as it was at its start."""
    _browser.become()
    return _browser


@pytest.fixture
def rng():
    return np.random.default_rng(0)


# made once a process, because taking them from the cache on disk takes longer than most tests
compiled_loops = functools.cache(compiled.loops.__wrapped__)


@pytest.fixture
def set_arithmetic(monkeypatch, common):
    """A function that sets arithmetic to "plain" or "compiled" for what follows in the test."""

    def set_to(arithmetic):
        monkeypatch.setenv("MLP_COMPILED", "0" if arithmetic == "plain" else "1")
        loops = compiled_loops if arithmetic == "compiled" else compiled.loops.__wrapped__
        monkeypatch.setattr(compiled, "loops", loops)
        if arithmetic == "compiled":
            # one process compiles, the others find it on disk
            with FileLock(common / "compiled.lock"):
                known = [loops(np.dtype(kind)) for kind in (np.float32, np.float64)]
            if None in known:
                pytest.skip("needs numba")

    return set_to


@pytest.fixture
def arithmetic(request, set_arithmetic):
    """Plain or compiled, as the test's parameter says."""
    set_arithmetic(request.param)
    return request.param


@pytest.fixture(scope="module")
def arithmetic_to_fuzz():
    """Plain arithmetic, which is loaded sooner; compiled in `make fuzz`."""
    with pytest.MonkeyPatch.context() as patch:
        if os.environ.get("MLP_FUZZ") != "1":
            patch.setenv("MLP_COMPILED", "0")
            patch.setattr(compiled, "loops", compiled.loops.__wrapped__)
        yield


@pytest.fixture
def data():
    """Training set and validation set: three well separated clouds in five dimensions."""
    rng = np.random.default_rng(1)
    centres = 2 * rng.standard_normal((3, 5))

    def draw(n):
        t = rng.integers(0, 3, n)
        return Dataset(centres[t] + 0.5 * rng.standard_normal((n, 5)), t)

    return draw(90), draw(30)


@pytest.fixture
def noise():
    """Training set and validation set without anything to learn: the best epoch is an early one."""
    rng = np.random.default_rng(2)
    return tuple(Dataset(rng.standard_normal((n, 5)), rng.integers(0, 3, n)) for n in (90, 30))


@pytest.fixture
def network():
    """5 → 6 → 4 → 3 in float64, with biases that are not zero."""
    rng = np.random.default_rng(3)
    model = MLP(5, [6, 4], 3, rng=rng, dtype=np.float64)
    model.params += 0.1 * rng.standard_normal(model.params.size)
    return model


@pytest.fixture
def recipe():
    """How a small network is trained; 90 samples make four batches and a half."""
    return Recipe(
        hidden_sizes=(8, 6),
        optimizer="momentum",
        lr=0.02,
        lr_decay=0.1,
        l2_reg=0.001,
        batch_size=20,
        epochs=3,
    )


@pytest.fixture
def problem(data):
    return Problem(*data, classes=("a", "b", "c"))


@pytest.fixture
def build(problem, recipe):
    """A function that makes the same trainer anew at every call; its arguments change details."""

    def make(*, seed=0, train_metrics="full", **changes):
        fields = {name: changes.pop(name) for name in problem._fields if name in changes}
        sizes = zip(("hidden_size1", "hidden_size2"), recipe.hidden_sizes, strict=True)
        changes["hidden_sizes"] = tuple(changes.pop(name, size) for name, size in sizes)
        return make_trainer(
            replace(recipe, **changes),
            problem._replace(**fields),
            seed=seed,
            train_metrics=train_metrics,
        )

    return make


@pytest.fixture
def numerical_gradient():
    """A function: the gradient of f() with respect to the array x, by central differences."""

    def gradient(f, x, step=1e-5):
        result = np.empty_like(x)
        for index in np.ndindex(x.shape):
            value = x[index]
            x[index] = value + step
            above = f()
            x[index] = value - step
            below = f()
            x[index] = value
            result[index] = (above - below) / (2 * step)
        return result

    return gradient


@pytest.fixture
def relative_error():
    """A function: ‖a - b‖ / (‖a‖ + ‖b‖)."""

    def error(a, b):
        return np.linalg.norm(a - b) / (np.linalg.norm(a) + np.linalg.norm(b))

    return error
