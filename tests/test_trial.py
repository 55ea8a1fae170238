"""A trial by itself: its row, its checkpoint, and what else decides its result."""

import hashlib
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from mlp.recipe import make_trainer
from mlp.search.trial import Trial, context, meaning, software

WITHOUT_RESULT = {
    "best_epoch": 0,
    "train_loss": -1.0,
    "val_loss": -1.0,
    "train_accuracy": 0.0,
    "val_accuracy": 0.0,
}


@pytest.fixture
def hard(problem, noise):
    """Without anything to learn, so that the best epoch is an early one."""
    return problem._replace(train=noise[0], val=noise[1])


def train(recipe, problem, seed=0):
    trainer = make_trainer(recipe, problem, seed=seed, train_metrics="running")
    trainer.fit(recipe.epochs, patience=recipe.patience)
    return trainer


@pytest.mark.parametrize("seed", [0, 5])
@pytest.mark.parametrize("patience", [None, 1])
def test_a_row_by_hand(patience, seed, recipe, hard):
    recipe = replace(recipe, epochs=8, patience=patience)
    trainer = train(recipe, hard, seed)
    best = trainer.best_metrics
    assert Trial(recipe, seed).run(hard) == {
        "seed": seed,
        "parameters": 5 * 8 + 8 + 8 * 6 + 6 + 6 * 3 + 3,
        "epochs": 8,
        "best_epoch": best["epoch"],
        "train_loss": best["train_loss"],
        "val_loss": best["val_loss"],
        "train_accuracy": best["train_accuracy"],
        "val_accuracy": best["val_accuracy"],
        "status": "ok",
    }


def test_the_network_is_kept_if_it_is_wanted(recipe, problem):
    row = Trial(recipe, 0, keep=True).run(problem)
    np.testing.assert_array_equal(row.pop("params"), train(recipe, problem).model.params)
    assert row == Trial(recipe, 0).run(problem)


def test_a_trial_that_diverges_leaves_no_checkpoint(recipe, problem, tmp_path):
    row = Trial(replace(recipe, lr=1e200), 0, tmp_path / "checkpoint.npz").run(problem)
    size = {"seed": 0, "parameters": 123, "epochs": 3}
    assert row == {**size, **WITHOUT_RESULT, "status": "diverged"}
    assert not list(tmp_path.iterdir())


def test_the_row_of_a_trial_that_failed(recipe):
    size = {"seed": 7, "parameters": 0, "epochs": 0}
    assert Trial(recipe, 7).failed("why") == {**size, **WITHOUT_RESULT, "status": "failed: why"}


def test_a_checkpoint_is_of_the_last_epoch(recipe, hard, tmp_path):
    path = tmp_path / "checkpoint.npz"
    recipe = replace(recipe, epochs=30, patience=1)
    row = Trial(recipe, 0, path).run(hard)
    trainer = make_trainer(recipe, hard, seed=0, train_metrics="running")
    trainer.load_checkpoint(path)
    assert len(trainer.history) == row["best_epoch"] + 1 < 30
    assert row["epochs"] == 30


def test_a_trial_goes_on_from_its_checkpoint(recipe, problem, tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.npz"
    Trial(replace(recipe, epochs=3), 0, path).run(problem)
    recipe = replace(recipe, epochs=5)
    expected = Trial(recipe, 0).run(problem)
    epochs = []
    run_epoch = type(make_trainer(recipe, problem, seed=0))._run_epoch
    monkeypatch.setattr(
        "mlp.trainer.Trainer._run_epoch", lambda trainer: epochs.append(1) or run_epoch(trainer)
    )
    assert Trial(recipe, 0, path).run(problem) == expected
    assert len(epochs) == 2


def test_a_checkpoint_of_no_use_is_passed_over(recipe, problem, tmp_path):
    path = tmp_path / "checkpoint.npz"
    expected = Trial(recipe, 0).run(problem)
    Trial(replace(recipe, epochs=4), 0, path).run(problem)  # has gone further than is asked
    assert Trial(recipe, 0, path).run(problem) == expected
    path.write_bytes(path.read_bytes()[:100])
    assert Trial(recipe, 0, path).run(problem) == expected
    path.unlink()
    assert Trial(recipe, 0, path).run(problem) == expected


def test_context_by_hand(problem):
    def digest(array, kind):
        return hashlib.sha256(kind.encode() + array.tobytes()).hexdigest()

    (x, t), (val_x, val_t) = problem.train, problem.val
    expected = {
        "data": [
            digest(x, "<f8 (90, 5) "),
            digest(t, "<i8 (90,) "),
            digest(val_x, "<f8 (30, 5) "),
            digest(val_t, "<i8 (30,) "),
        ],
        "soft_labels": None,
        "image_shape": [],
        "classes": 3,
        "normalisation": {},
        **software(),
    }
    assert context(problem) == expected
    soft_labels = np.random.default_rng(0).random((90, 3, 1)).swapaxes(1, 2)  # not contiguous
    normalisation = {"mean": 0.5, "std": 0.25}
    found = context(
        problem._replace(soft_labels=soft_labels, image_shape=(5, 1), normalisation=normalisation)
    )
    assert found == expected | {
        "soft_labels": digest(soft_labels, "<f8 (90, 1, 3) "),
        "image_shape": [5, 1],
        "normalisation": normalisation,
    }


@pytest.mark.parametrize("docstring", ['" "', '"New."', '"""Old.\n\n More.\n """'])
@pytest.mark.parametrize("of", ["{}\nx = 1", "class C:\n {}\n x = 1", "def f():\n {}\n x = 1"])
def test_a_docstring_means_nothing(of, docstring):
    assert meaning(of.format(docstring)) == meaning(of.format("").replace("\n \n", "\n"))


def test_what_a_module_does_is_its_meaning():
    assert meaning("x = 1\n'''Two.'''\n") != meaning("x = 1\n")
    assert meaning("x = 1\ny = 2\n") != meaning("y = 2\n")
    assert meaning("'''Old.'''\nx = 1\ny = 2\n") == meaning("x = 1\ny = 2\n")


ANOTHER_BLAS = """
import ctypes, sys
from mlp.search.trial import software

before = software()
ctypes.CDLL(sys.argv[1])
again = software.__wrapped__()
from threadpoolctl import threadpool_info
print(len(threadpool_info()), again == before)
"""


def test_only_numpys_blas_counts(tmp_path):
    """SciPy's wheel, say, brings one of its own."""
    libraries = [Path(library["filepath"]) for library in threadpool_info()]
    blas = next((path for path in libraries if path.parent.name == "numpy.libs"), None)
    if blas is None:
        pytest.skip("NumPy is not from a wheel that brings OpenBLAS")
    shutil.copytree(blas.parent, tmp_path / "scipy.libs")
    done = subprocess.run(
        [sys.executable, "-c", ANOTHER_BLAS, tmp_path / "scipy.libs" / blas.name],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "2 True\n", done.stderr
