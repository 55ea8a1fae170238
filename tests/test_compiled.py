"""Compiled arithmetic: the bits of the plain text, and no folder or file that stops it."""

import os
import re
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import mlp
from mlp import compiled
from mlp.arrays import Rows
from mlp.layers import (
    Affine,
    AffineReLU,
    BatchNorm,
    Dropout,
    Normalise,
    ReLU,
    SoftmaxWithLoss,
)
from mlp.optimizer import BLOCK, Adam

pytest.importorskip("numba")
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of infinities and NaN
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
SEEDS = pytest.mark.parametrize("seed", range(8))


def numbers(rng, shape, dtype):
    """Numbers of all sizes, a third of them special: zeros of both signs, denormal numbers,
    infinities, NaN."""
    info = np.finfo(dtype)
    values = rng.standard_normal(shape) * 10.0 ** rng.integers(-6, 6, shape)
    special = [0.0, -0.0, info.smallest_subnormal, -info.tiny / 3, info.tiny, info.max, -info.max]
    special = np.array([*special, np.inf, -np.inf, np.nan], dtype)
    drawn = special[rng.integers(0, len(special), shape)]
    return np.where(rng.random(shape) < 1 / 3, drawn, values).astype(dtype)


def same_bits(a, b):
    """Signs of zeros included; of NaN, that it is one, because IEEE 754 leaves its bits open."""
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a, b)
    there = ~np.isnan(a)
    np.testing.assert_array_equal(np.signbit(a[there]), np.signbit(b[there]))


@pytest.fixture
def both(set_arithmetic):
    """A function that calls another once with plain and once with compiled arithmetic."""

    def call(function):
        results = []
        for arithmetic in ("plain", "compiled"):
            set_arithmetic(arithmetic)
            results.append(function())
        for plain, other in zip(*results, strict=True):
            same_bits(np.asarray(plain), np.asarray(other))

    return call


@DTYPES
@SEEDS
def test_normalise(dtype, seed, both):
    rng = np.random.default_rng(seed)
    n, m, features = rng.integers(1, 40, 3)
    data = rng.integers(0, 256, (m, features), np.uint8)
    data.flags.writeable = False
    index = rng.integers(0, m, n)

    def run():
        layer = Normalise(0.1 + seed / 9, 0.3 + seed / 7, dtype=dtype)
        rows = Rows(data, index, np.empty((n, features), np.uint8))
        return [layer.forward(rows, training=True)]

    both(run)


@DTYPES
@SEEDS
def test_affine_and_relu(dtype, seed, both):
    rng = np.random.default_rng(seed)
    n, outputs = rng.integers(1, 70, 2)
    # products of infinities would be NaN: what comes in is put in their place
    y, b, dout = (numbers(rng, shape, dtype) for shape in ((n, outputs), outputs, (n, outputs)))

    def run():
        affine = Affine(3, outputs, rng=np.random.default_rng(0), dtype=dtype)
        affine.b[:] = b
        affine.product = lambda x, training: y.copy()
        affine.backward = lambda dout: dout
        layer = AffineReLU(affine, ReLU())
        return [layer.forward(y, training=True).copy(), layer.backward(dout)]

    both(run)


@DTYPES
@SEEDS
@pytest.mark.parametrize("kind", ["ordinary", "special"])
@pytest.mark.parametrize("labels", [np.uint8, np.int64])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_softmax_with_loss(smoothing, labels, kind, dtype, seed, both):
    rng = np.random.default_rng(seed)
    n, classes = rng.integers(1, 40, 2)
    x = numbers(rng, (n, classes), dtype)
    if kind == "ordinary":
        x = (10 * rng.standard_normal((n, classes))).astype(dtype).round(1)  # with equal maxima
    t = rng.integers(0, classes, n).astype(labels)

    def run():
        last = SoftmaxWithLoss(smoothing)
        loss = last.forward(x, t)
        return [loss, last.hits, last.backward(), *last.evaluate(x, t)]

    both(run)


@DTYPES
@SEEDS
@pytest.mark.parametrize("l2_reg", [0.0, 0.1])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_adam(weight_decay, l2_reg, dtype, seed, both):
    rng = np.random.default_rng(seed)
    size = BLOCK + 501 if seed < 2 else int(rng.integers(1, 300))  # two blocks with a rest, or one
    start, grads = numbers(rng, size, dtype), [numbers(rng, size, dtype) for _ in range(7)]
    calm = rng.standard_normal((120, size)).astype(dtype) if size < BLOCK else []  # and a flush
    n_weights = int(rng.integers(0, size + 1))

    def run():
        adam = Adam(0.001, lr_decay=0.1, l2_reg=l2_reg, weight_decay=weight_decay)
        params = start.copy()
        for g in [*calm, *grads]:
            g = g.copy()
            adam.update(params, g, n_weights)
        return [params, g, adam.m, adam.v]

    both(run)


@DTYPES
@SEEDS
def test_dropout(dtype, seed, both):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 60, 2))
    x, dout = numbers(rng, shape, dtype), numbers(rng, shape, dtype)

    def run():
        layer = Dropout(0.05 + seed / 9, rng=np.random.default_rng(seed))
        return [layer.forward(x, training=True), layer.backward(dout)]

    both(run)


@DTYPES
@SEEDS
def test_batch_norm(dtype, seed, both):
    rng = np.random.default_rng(seed)
    n, features = rng.integers(1, 60, 2)
    x, dout = (rng.standard_normal((n, features)).astype(dtype) for _ in range(2))
    if seed % 2:
        x, dout = numbers(rng, (n, features), dtype), numbers(rng, (n, features), dtype)

    def run():
        layer = BatchNorm(features, dtype=dtype)
        layer.gamma[:] = np.linspace(0.5, 2, features)
        y = layer.forward(x, training=True).copy()
        dx = layer.backward(dout)
        return [y, dx, layer.dgamma, layer.dbeta, layer.mean, layer.variance]

    both(run)


def test_labels_that_are_no_class_raise_either_way(set_arithmetic):
    for arithmetic in ("plain", "compiled"):
        set_arithmetic(arithmetic)
        with pytest.raises(IndexError):
            SoftmaxWithLoss().forward(np.zeros((2, 3)), np.array([0, 3]))


# --- which arithmetic is used ---------------------------------------------------------------------

USED = {  # a function of layers, and the functions of this module that it takes
    "normalise": "normalise",
    "affine": "add_bias_relu relu_backward",
    "loss": "subtract_maximum softmax_gradient",
    "dropout": "dropout",
    "batch_norm": "centre scale scale_backward",
    "adam": "adam",
}


def steps(part, dtype):
    """A step of training, and what comes of it."""
    rng = np.random.default_rng(0)
    x, dout = rng.standard_normal((2, 9, 5)).astype(dtype)
    if part == "normalise":
        data = rng.integers(0, 256, (9, 5), np.uint8)
        rows = Rows(data, rng.integers(0, 9, 7), np.empty((7, 5), np.uint8))
        return [Normalise(0.1, 0.3, dtype=dtype).forward(rows, training=True)]
    if part == "loss":
        last, t = SoftmaxWithLoss(0.1), rng.integers(0, 5, 9)
        return [last.forward(x, t), last.hits, last.backward()]
    if part == "adam":
        adam, params, grads = Adam(l2_reg=0.1, weight_decay=0.1), x.ravel(), dout.ravel()
        for _ in range(3):
            adam.update(params, grads, 20)
        return [params, grads, adam.m, adam.v]
    layer = {
        "affine": lambda: AffineReLU(Affine(5, 5, rng=rng, dtype=dtype), ReLU()),
        "dropout": lambda: Dropout(0.3, rng=rng),
        "batch_norm": lambda: BatchNorm(5, dtype=dtype),
    }[part]()
    y = layer.forward(x, training=True).copy()
    return [y, layer.backward(dout)]


@DTYPES
@pytest.mark.parametrize("part", USED)
def test_what_is_compiled_is_used_and_is_the_text(part, dtype, set_arithmetic, monkeypatch):
    """With the functions as Python runs them: the same bits again, and none is left out."""
    set_arithmetic("plain")
    expected = steps(part, dtype)
    used = []

    def function(name):
        def call(*arguments):
            used.append(name)
            return getattr(compiled, name)(*arguments)

        return call

    monkeypatch.setattr(
        compiled,
        "loops",
        {np.dtype(dtype): compiled.Loops(*map(function, compiled.Loops._fields))}.get,
    )
    with np.errstate(all="ignore"):
        found = steps(part, dtype)
    assert set(used) == set(USED[part].split())
    for plain, other in zip(expected, found, strict=True):
        same_bits(np.asarray(plain), np.asarray(other))


def test_the_compiled_loss_allocates_nothing_of_a_batchs_length(set_arithmetic):
    set_arithmetic("compiled")
    x = np.random.default_rng(0).standard_normal((20_000, 4))
    last, t = SoftmaxWithLoss(), x.argmax(axis=1)
    last.forward(x, t)
    tracemalloc.start()
    try:
        last.forward(x, t)
        assert tracemalloc.get_traced_memory()[1] < x[:, 0].nbytes / 2
    finally:
        tracemalloc.stop()


def test_logits_that_are_not_contiguous(both):
    x, t = np.random.default_rng(0).standard_normal((6, 8))[:, ::2], np.arange(6) % 4

    def run():
        last = SoftmaxWithLoss()
        return [last.forward(x, t), last.backward()]

    both(run)


def test_gradients_of_another_dtype(both):
    rng = np.random.default_rng(0)
    start, grads = rng.standard_normal(6), rng.standard_normal(6).astype(np.float32)

    def run():
        adam, params = Adam(), start.copy()
        adam.update(params, grads.copy())
        return [params]

    both(run)


def test_other_dtypes_are_computed_as_text():
    assert compiled.loops(np.dtype(np.float16)) is None
    assert compiled.loops(np.dtype(np.longdouble)) is None


# --- processes, and what they keep on disk --------------------------------------------------------

CALL = """
import numpy as np
from mlp import compiled
loops = compiled.loops(np.dtype(np.float32))
y = np.array([[1, -3], [0, 5]], np.float32)
loops.add_bias_relu(y, np.array([1, 2], np.float32))
print(y.tolist())
"""
SAID = "[[2.0, 0.0], [1.0, 7.0]]"
FEW = ("add_bias_relu", "normalise", "adam")


@pytest.fixture
def package(tmp_path):
    """A copy of the parts of the package that `CALL` needs, without anything cached."""
    folder = tmp_path / "copy" / "mlp"
    folder.mkdir(parents=True)
    for name in ("__init__", "arrays", "compiled"):
        shutil.copy(Path(mlp.__file__).with_name(f"{name}.py"), folder)
    # of its functions these few, to save time
    others = "|".join(set(compiled.Loops._fields) - {*FEW})
    text = (folder / "compiled.py").read_text(encoding="utf-8")
    text = re.sub(rf"(?m)^ +(?:{others})(?:: Callable|=compiled\().*\n", "", text)
    (folder / "compiled.py").write_text(text, encoding="utf-8")
    return folder


def call(package, code=CALL, **environ):
    variables = os.environ | {"PYTHONPATH": str(package.parent)} | environ
    for name in ("NUMBA_CACHE_DIR", "MLP_COMPILED"):
        if name not in environ:
            variables.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        cwd=package.parent,
        env=variables,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


def cached(folder):
    return sorted(path for path in folder.rglob("*.nb[ic]"))


def test_the_cache_is_used_and_its_damage_is_not(package):
    assert call(package) == SAID
    files = cached(package / "__pycache__")
    assert len(files) == 2 * len(FEW)
    before = [path.stat().st_mtime_ns for path in files]
    assert call(package) == SAID
    assert [path.stat().st_mtime_ns for path in cached(package)] == before
    # every kind of damage, to each kind of file
    damages = [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"\0" * 99]
    for number, path in enumerate(files):
        path.write_bytes(damages[number % 3](path.read_bytes()))
    assert call(package) == SAID


@pytest.mark.parametrize("home", ["writable", "none"])
def test_a_package_that_cannot_be_written(home, package, tmp_path):
    """Root may write anywhere, but not below a file."""
    (package / "__pycache__").write_text("in the way")
    place = tmp_path / "home"
    if home == "writable":
        place.mkdir()
    else:
        place.write_text("in the way")
    places = {"HOME": str(place), "XDG_CACHE_HOME": str(place / "cache")}
    assert call(package, PYTHONDONTWRITEBYTECODE="1", **places) == SAID
    assert bool(cached(place)) == (home == "writable")


@pytest.mark.parametrize(
    "environ", [{"MLP_COMPILED": "0"}, {"NUMBA_DISABLE_JIT": "1"}, {"hidden": "numba"}]
)
def test_compilation_can_be_forbidden(environ, package):
    hide = "import sys; sys.modules['numba'] = None\n" if "hidden" in environ else ""
    look = "import numpy as np; from mlp import compiled\n"
    look += "print(compiled.loops(np.dtype(np.float32)))"
    assert call(package, hide + look, **environ) == "None"


def test_prediction_does_not_wait_for_numba(tmp_path):
    code = """
import sys
import numpy as np
import mlp
model = mlp.MLP(4, [3], 2, rng=np.random.default_rng(0))
model.save_parameters("model.npz")
model = mlp.MLP.from_file("model.npz")
model.predict(np.ones((5, 4), np.uint8)), model.evaluate(np.ones((5, 4)), np.zeros(5, int))
print("numba" in sys.modules, end=" ")
model.loss(np.ones((5, 4)), np.zeros(5, int))
print("numba" in sys.modules)
"""
    folder = tmp_path / "here" / "mlp"
    folder.parent.mkdir()
    folder.symlink_to(Path(mlp.__file__).parent)
    assert call(folder, code) == "False True"
