"""What holds for any input: properties, and fuzzing of all that others may hand over.

`make test` tries the same few examples each time; `make fuzz` (MLP_FUZZ=1) tries others for an
hour. A refusal is an InputError of one short line; any other exception is a bug.
"""

import contextlib
import copy
import importlib
import io
import itertools
import json
import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from project import write_idx
from test_trainer import same_run

from mlp import metrics
from mlp.augment import Augmentation
from mlp.data import META, Dataset, Problem, load_problem, save_problem, stratified_split
from mlp.files import InputError, map_npy, read_json, read_npz, write_npz
from mlp.functions import softmax
from mlp.history import History
from mlp.idx import IMAGES_MAGIC, LABELS_MAGIC, read_idx, read_pair
from mlp.module import MLP
from mlp.optimizer import SGD
from mlp.recipe import Recipe, make_trainer
from mlp.schedule import Cosine, inverse_time
from mlp.search.journal import Journal, read_entry
from mlp.search.trial import NO_RESULT, Trial
from mlp.trainer import DivergenceError, Trainer

with pytest.MonkeyPatch.context() as patch:  # `import stages` pins NumPy's kernels
    patch.setenv("MLP_KERNELS", "native")
    results = importlib.import_module("stages.results")
    params = importlib.import_module("stages.params")

ROOT = Path(__file__).parent.parent
FUZZ = os.environ.get("MLP_FUZZ") == "1"
# Fixtures give each example a folder that earlier ones have written to, which is meant
COMMON = {
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
    "print_blob": True,
}
settings.register_profile("ci", max_examples=8, derandomize=True, **COMMON)
settings.register_profile("fuzz", max_examples=1000, derandomize=False, **COMMON)
settings.load_profile("fuzz" if FUZZ else "ci")
MANY = settings(max_examples=4 * settings().max_examples)  # of what takes a millisecond
PATIENCE = 60  # seconds, after which an example hangs


def right_or_refused(function, *arguments, **options):
    """What a function returns, or None if it refuses its arguments as it should."""
    previous = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it hangs"))
    signal.alarm(PATIENCE)
    try:
        return function(*arguments, **options)
    except InputError as error:
        assert str(error).isprintable()
        assert 0 < len(str(error)) < 1500
        return None
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


# --- properties -----------------------------------------------------------------------------------

NAMES = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=9)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=9,
)  # fmt: skip
SCALES = st.none() | st.fixed_dictionaries(
    {"mean": st.floats(-2, 2), "std": st.floats(0.01, 9)}  # as `Normalise` takes them
)


@given(
    sizes=st.lists(st.integers(1, 6), min_size=2, max_size=5),
    activation=st.sampled_from(["relu", "sigmoid"]),
    normalisation=SCALES,
    batch_norm=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
    metadata=st.dictionaries(NAMES, JSON, max_size=4),
    seed=st.integers(0, 2**32),
)
def test_save_then_load(sizes, metadata, seed, tmp_path, dtype, **options):
    rng = np.random.default_rng(seed)
    model = MLP(sizes[0], sizes[1:-1], sizes[-1], rng=rng, dtype=dtype, **options)
    model.params[...] = rng.standard_normal(model.params.size)
    model.params[model.learnt.size :] **= 2  # variances
    model.metadata = metadata
    path = tmp_path / "model.npz"
    model.save_parameters(path)
    found = MLP.from_file(path)
    assert found.params.tobytes() == model.params.tobytes()
    assert found.params.dtype == dtype
    assert found.metadata == metadata
    assert repr(found) == repr(model)
    x = rng.integers(0, 256, (3, sizes[0]), np.uint8)
    assert found.predict_logits(x).tobytes() == model.predict_logits(x).tobytes()
    content = path.read_bytes()
    found.save_parameters(path)
    assert path.read_bytes() == content


EPOCHS = 5
RECIPES = st.builds(
    Recipe,
    hidden_sizes=st.lists(st.integers(1, 5), max_size=2).map(tuple),
    activation=st.sampled_from(["relu", "sigmoid"]),
    optimizer=st.sampled_from(["sgd", "momentum", "adam"]),
    lr=st.sampled_from([0.001, 0.05]),
    schedule=st.sampled_from(["cosine", "inverse_time"]),
    lr_decay=st.sampled_from([0, 0.3]),
    warmup=st.sampled_from([0, 0.3]),
    l2_reg=st.sampled_from([0, 0.01]),
    weight_decay=st.sampled_from([0, 0.01]),
    label_smoothing=st.sampled_from([0, 0.1]),
    batch_norm=st.booleans(),
    input_dropout=st.sampled_from([0, 0.2]),
    dropout=st.sampled_from([0, 0.3]),
    flip=st.booleans(),
    shift=st.integers(0, 1),
    batch_size=st.integers(1, 30),
    epochs=st.just(EPOCHS),
)
STEPS = st.lists(
    st.tuples(st.sampled_from(["fit", "fit and save", "kill in"]), st.integers(0, EPOCHS))
    | st.tuples(st.sampled_from(["save", "load", "start again"]), st.just(0)),
    max_size=8,
)


def image_problem(recipe: Recipe, *, taught: bool = False) -> Problem:
    rng = np.random.default_rng(5)
    train, val = (
        Dataset(rng.integers(0, 256, (n, 6), np.uint8), rng.integers(0, 3, n)) for n in (23, 9)
    )
    problem = Problem(train, val, ("a", "b", "c"), (2, 3), {"mean": 0.4, "std": 0.3})
    variants = (1 + recipe.flip) * (2 * recipe.shift + 1) ** 2
    soft = rng.dirichlet([1, 1, 1], (23, variants)).astype(np.float32)
    return problem._replace(soft_labels=soft if taught else None)


class Killed(BaseException):
    pass


def killed_in_an_epoch(trainer: Trainer, epoch: int, checkpoint: Path) -> None:
    """Fit until the process would end in the middle of an epoch (from 0)."""
    steps = -(-len(trainer.train.t) // trainer._batches.size)
    update = trainer.optimizer.update

    def last(*arguments):
        update(*arguments)
        if len(trainer.history) == epoch and trainer.optimizer.steps % steps == steps // 2:
            raise Killed

    trainer.optimizer.update = last
    with contextlib.suppress(Killed):
        trainer.fit(EPOCHS, checkpoint=checkpoint)
    del trainer.optimizer.update


@given(recipe=RECIPES, taught=st.booleans(), steps=STEPS, seed=st.integers(0, 9))
@settings(MANY)
def test_any_sequence_of_save_kill_load_and_fit_is_one_fit(recipe, taught, steps, seed, tmp_path):
    problem = image_problem(recipe, taught=taught)

    def make():
        return make_trainer(recipe, problem, seed=seed)

    whole, trainer, path = make(), make(), tmp_path / "checkpoint.npz"
    path.unlink(missing_ok=True)
    whole.fit(EPOCHS)
    for step, epochs in [*steps, ("end", 0)]:
        if step == "fit":
            trainer.fit(epochs)
        elif step == "fit and save":
            trainer.fit(epochs, checkpoint=path)
        elif step == "kill in":
            killed_in_an_epoch(trainer, epochs, path)
            if not path.exists() or epochs % 2:  # another process, or one that goes on
                trainer = make()
            if path.exists():
                trainer.load_checkpoint(path)
        elif step == "save":
            trainer.save_checkpoint(path)
        elif step == "load" and path.exists():
            trainer.load_checkpoint(path)
        elif step == "start again":
            trainer = make()
    trainer.fit(EPOCHS)
    assert same_run(trainer, whole)


@given(t=hnp.arrays(np.int64, st.integers(0, 60), elements=st.integers(0, 5)), data=st.data())
@settings(MANY)
def test_stratified_split(t, data):
    size = data.draw(st.integers(-1, len(t) + 1))
    split = right_or_refused(stratified_split, t, size, np.random.default_rng(0))
    assert (split is not None) == (0 < size < len(t))
    if split is None:
        return
    first, second = split
    assert len(second) == size
    assert sorted([*first, *second]) == list(range(len(t)))
    for part in split:
        assert (np.diff(part) > 0).all()
    shares = np.bincount(t) * size / len(t)
    assert (np.abs(np.bincount(t[second], minlength=len(shares)) - shares) < 1).all()


BYTES = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=5))


@given(images=BYTES, name=st.sampled_from(["x", "x.gz"]))
@settings(MANY)
def test_idx_write_then_read(images, name, tmp_path):
    write_idx(tmp_path / name, images)
    np.testing.assert_array_equal(read_idx(tmp_path / name, IMAGES_MAGIC), images)
    write_idx(tmp_path / name, images[0, 0])
    np.testing.assert_array_equal(read_idx(tmp_path / name, LABELS_MAGIC), images[0, 0])


EIGHTHS = st.integers(-8000, 8000).map(lambda n: n / 8)  # which a shift by one leaves exact


@given(x=hnp.arrays(np.float64, (3, 4), elements=EIGHTHS), shift=st.integers(-(10**9), 10**9))
@settings(MANY)
def test_softmax_takes_any_shift(x, shift):
    y = softmax(x)
    np.testing.assert_array_equal(softmax(x + shift), y)
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-14)
    assert ((y >= 0) & (y <= 1)).all()


@given(
    pairs=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=50),
    classes=st.integers(5, 8),
)
@settings(MANY)
def test_micro_average_is_the_accuracy(pairs, classes):
    t, y = np.array(pairs).T
    confusion = metrics.confusion_matrix(t, y, classes)
    macro, micro = metrics.macro_micro_average(confusion)
    assert micro == (np.mean(t == y),) * 3
    assert all(0 <= value <= 1 for value in macro)
    found = metrics.per_class(confusion)
    assert found.support.sum() == len(pairs)
    for k in range(classes):
        hits, guessed, true = (((t == k) & (y == k)).sum(), (y == k).sum(), (t == k).sum())
        assert found.precision[k] == (hits / guessed if guessed else 0)
        assert found.recall[k] == (hits / true if true else 0)


@given(
    epochs=st.integers(1, 400),
    warmup=st.floats(0, 1, exclude_max=True),
    when=st.lists(st.floats(0, 1), min_size=2, max_size=9),
)
@settings(MANY)
def test_cosine_rises_then_falls_to_zero(epochs, warmup, when):
    schedule = Cosine(epochs, warmup)
    shares = {progress: schedule(progress * epochs) for progress in sorted(when)}
    assert all(0 <= share <= 1 for share in shares.values())
    for (a, before), (b, after) in itertools.pairwise(shares.items()):
        if b * epochs / epochs < warmup:
            assert before <= after
        elif a * epochs / epochs >= warmup:
            assert before >= after
    assert schedule(epochs) == 0


@given(lr=st.floats(1e-9, 9), decay=st.floats(0, 9), epoch=st.integers(0, 10**6))
@settings(MANY)
def test_inverse_time_falls(lr, decay, epoch):
    assert inverse_time(lr, 0, decay) == lr
    assert 0 < inverse_time(lr, epoch + 1, decay) <= inverse_time(lr, epoch, decay) <= lr
    assert inverse_time(lr, epoch, 0) == lr


@given(images=BYTES, flip=st.booleans(), shift=st.integers(0, 3), data=st.data())
@settings(MANY)
def test_augmentation_is_a_flip_and_a_shift(images, flip, shift, data):
    n, rows, columns = images.shape
    augmentation = right_or_refused(Augmentation, (rows, columns), flip, shift, 7)
    assert (augmentation is not None) == (shift < min(rows, columns))
    if augmentation is None:
        return
    pad = np.pad(images, ((0, 0), (shift, shift), (shift, shift)), constant_values=7)
    wide = range(2 * shift + 1)
    views = [pad[:, i : i + rows, j : j + columns] for i in wide for j in wide]
    views += [view[:, :, ::-1] for view in views] if flip else []
    assert augmentation.variants == len(views)
    drawn = st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, len(views) - 1)), max_size=9)
    index, variants = np.array(data.draw(drawn), np.int64).reshape(-1, 2).T
    expected = np.array([views[v][i] for i, v in zip(index, variants, strict=True)])
    for dtype in (np.uint8, np.float32):
        x = images.reshape(n, -1).astype(dtype)
        out = np.empty((len(index), rows * columns), dtype)
        augmentation.gather(x, index, variants, out)
        np.testing.assert_array_equal(out, expected.reshape(out.shape))


FINITE = st.floats(allow_nan=False, allow_infinity=False)
HISTORY_ROWS = st.lists(st.lists(FINITE, min_size=7, max_size=7), max_size=4)


@given(values=HISTORY_ROWS)
def test_history_to_csv_and_back(values, tmp_path):
    rows = [dict(zip(History.COLUMNS, [i, *row], strict=True)) for i, row in enumerate(values, 1)]
    History(rows).to_csv(tmp_path / "history.csv")
    found = right_or_refused(History.from_csv, tmp_path / "history.csv")
    if found is None:  # rounded to six digits, the largest numbers overflow
        assert max(abs(number) for row in values for number in row) > 1.79769e308
        return
    assert found["epoch"] == list(range(1, len(rows) + 1))
    for row, twin in zip(found.rows, rows, strict=True):
        assert [*row.values()] == pytest.approx([*twin.values()], rel=5e-6, abs=5e-324)


# --- labels and samples -----------------------------------------------------------------------------

DTYPES = st.sampled_from(
    "? i1 u1 i2 i4 u4 i8 u8 >i4 >u8 f2 f4 >f4 f8 g c8 c16 U3 S3 M8[s] m8[s] O".split()
).map(np.dtype)
ANY_ARRAY = DTYPES.flatmap(
    lambda dtype: hnp.arrays(
        dtype,
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6),
        elements=st.none() | st.integers() | st.text(max_size=3) if dtype.hasobject else None,
    )
)
LISTS = st.recursive(
    st.integers(-1, 3) | st.integers() | st.floats() | st.booleans() | st.none() | st.text(),
    lambda inner: st.lists(inner, max_size=6),
    max_leaves=9,
)
SMALL = st.integers(0, 2)
SIX = st.lists(SMALL, min_size=6, max_size=6)


def odd(array):
    """An array as other kinds of it."""
    return st.sampled_from(
        [
            array,
            array.tolist(),
            np.ma.masked_array(array),
            np.ma.masked_array(array, mask=np.arange(array.size).reshape(array.shape) == 1),
            np.asfortranarray(array),
            array[::-1],
            np.broadcast_to(array[:1], array.shape),
            array.view(np.recarray) if array.dtype.names else array,
            np.asmatrix(array) if array.ndim == 2 else array,
        ]
    )


ALMOST_LABELS = (
    st.tuples(SIX, st.sampled_from("? i1 u1 i4 u8 >i2 f4 U1 O".split()))
    .map(lambda pair: np.array(pair[0]).astype(pair[1]))
    .flatmap(odd)
)
LABELS = ALMOST_LABELS | ANY_ARRAY | LISTS
ALMOST_SAMPLES = (
    hnp.arrays(
        st.sampled_from("? u1 i8 f2 f4 >f4 f8 g".split()).map(np.dtype),
        (6, 4),
        elements=st.sampled_from([0, 1]),
    )
    .flatmap(lambda x: st.sampled_from([1, 1, 1, 3, 1e4, 1e39, np.inf]).map(lambda k: times(x, k)))
    .flatmap(odd)
)
SAMPLES = ALMOST_SAMPLES | ANY_ARRAY | LISTS


def times(x, factor):
    with np.errstate(all="ignore"):
        return (x * x.dtype.type(factor)).astype(x.dtype) if x.dtype.kind == "f" else x


def network() -> MLP:
    return MLP(4, [5], 3, rng=np.random.default_rng(3))


X = np.random.default_rng(0).standard_normal((6, 4))


@given(x=st.just(X) | SAMPLES, t=LABELS)
@settings(MANY)
def test_evaluate(x, t):
    model = network()
    before, twin = model.params.copy(), copy.deepcopy((x, t))
    found = right_or_refused(model.evaluate, x, t)
    assert model.params.tobytes() == before.tobytes()
    assert repr((x, t)) == repr(twin)
    if found is None:
        return
    assert not np.ma.is_masked(x)
    assert not np.ma.is_masked(t)
    plain, labels = np.asarray(x, np.float64), np.asarray(t)
    assert plain.shape == (len(labels), 4)
    assert set(labels.tolist()) <= {0, 1, 2}
    hidden = np.maximum(plain @ model.layers[0].W.astype(float) + model.layers[0].b, 0)
    logits = hidden @ model.layers[2].W.astype(float) + model.layers[2].b
    likely = logits - logits.max(axis=1, keepdims=True)
    likely -= np.log(np.exp(likely).sum(axis=1, keepdims=True))
    loss = -np.mean(likely[np.arange(len(labels)), labels.astype(int)])
    assert found[0] == pytest.approx(loss, rel=1e-4, abs=1e-4)
    assert 0 <= found[1] <= 1


@given(x=st.just(X) | SAMPLES, t=LABELS, batch_size=st.integers(-1, 9), soft=st.none() | ANY_ARRAY)
@settings(MANY)
def test_trainer(x, t, batch_size, soft):
    model = network()
    before, twin = model.params.copy(), repr((x, t))
    good = Dataset(X, np.arange(6) % 3)
    for parts in ((Dataset(x, t), good), (good, Dataset(x, t))):
        options = {"batch_size": batch_size, "soft_labels": soft}
        trainer = right_or_refused(
            Trainer, model, SGD(0.01), *parts, rng=np.random.default_rng(0), **options
        )
        assert model.params.tobytes() == before.tobytes()
        if trainer is None:
            continue
        assert not np.ma.is_masked(x)
        assert not np.ma.is_masked(t)
        with contextlib.suppress(DivergenceError):
            trainer.fit(1)
            assert np.isfinite(model.params).all()
        model.params[...] = before
        assert repr((x, t)) == twin


PROBABILITIES = st.lists(
    st.lists(st.integers(1, 9), min_size=3, max_size=3), min_size=6, max_size=6
).map(lambda rows: np.array(rows) / np.sum(rows, axis=1, keepdims=True))


@given(
    probabilities=PROBABILITIES | ALMOST_SAMPLES | ANY_ARRAY | LISTS,
    t=LABELS,
    y=LABELS,
    k=st.integers(1, 4),
)
@settings(MANY)
def test_metrics(probabilities, t, y, k):
    confusion = right_or_refused(metrics.confusion_matrix, t, y, 3)
    if confusion is not None:
        assert not np.ma.is_masked(t)
        assert not np.ma.is_masked(y)
        pairs = list(zip(np.asarray(t).tolist(), np.asarray(y).tolist(), strict=True))
        assert confusion.tolist() == [[pairs.count((i, j)) for j in range(3)] for i in range(3)]
    found = right_or_refused(metrics.calibration, probabilities, t)
    share = right_or_refused(metrics.top_k_accuracy, probabilities, t, k)
    assert (found is None) == (share is None)
    if found is not None:
        assert not np.ma.is_masked(probabilities)
        assert found.support.sum() == len(t)
        assert 0 <= found.error <= 1 + 1e-9
        assert 0 <= share <= 1


# --- files ------------------------------------------------------------------------------------------

ODD_JSON = (
    JSON
    | st.sampled_from([10**400, 1e300, -1, 0, 2**63, "", "\n", "\ud800", "x" * 5000, [[]], {}])
    | st.sampled_from([float("nan"), float("inf"), "\x1b[31m", "a\u2028b"])
)


@st.composite
def edited(draw, value):
    """A JSON-like value with some of its parts replaced, removed or added to."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        places = [(None, None)]
        stack = [value]
        while stack:
            part = stack.pop()
            keys = part if isinstance(part, dict) else range(len(part))
            if isinstance(part, dict | list):
                places += [(part, key) for key in keys]
                stack += [part[key] for key in keys if isinstance(part[key], dict | list)]
        part, key = draw(st.sampled_from(places))
        if part is None:
            if draw(st.integers(0, 9)) == 0:
                return draw(ODD_JSON)
            continue
        change = draw(st.sampled_from(["replace", "remove", "add"]))
        if change == "replace":
            part[key] = copy.deepcopy(draw(ODD_JSON))
        elif change == "remove":
            del part[key]
        elif isinstance(part, dict):
            part[draw(NAMES | st.sampled_from(["a\nb", "\x1b[0m", "x" * 3000]))] = copy.deepcopy(draw(ODD_JSON))
        else:
            part.insert(key, copy.deepcopy(draw(ODD_JSON)))
    return value


@st.composite
def spoilt(draw, content):
    """Bytes of which some were changed, lost or doubled."""
    content = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        i = draw(st.integers(0, len(content)))
        j = min(len(content), i + draw(st.integers(0, 30)))
        change = draw(st.sampled_from(["cut", "remove", "double", "write", "flip", "append"]))
        if change == "cut":
            del content[i:]
        elif change == "remove":
            del content[i:j]
        elif change == "double":
            content[i:i] = content[i:j]
        elif change == "flip" and i < len(content):
            content[i] ^= 1 << draw(st.integers(0, 7))
        elif change == "write":
            content[i:j] = draw(st.binary(min_size=j - i, max_size=j - i))
        elif change == "append":
            content += draw(st.binary(max_size=9))
    return bytes(content)


@st.composite
def header(draw):
    """An .npy header that may announce anything, and a few bytes after it."""
    dimension = st.sampled_from([0, 1, 2, 3, -1, 10**6, 2**31, 2**63, 10**30, True, 2.0, None])
    shape = draw(st.lists(dimension, max_size=5).map(tuple) | st.just(3) | st.just("x"))
    descr = draw(
        st.sampled_from(["<f4", "|u1", "<i8", "|O", "|S0", "<U0", "|V0", "<f16", "<M8[s]", "x", ""])
        | st.sampled_from([[("a", "<f4")], [("a", "<f4", (2,))], [("n\n" * 50, "<i4")], None, 3])
        | st.sampled_from([[(f"field{i}", "<f8") for i in range(200)]])
    )
    text = f"{{'descr': {descr!r}, 'fortran_order': {draw(st.booleans())}, 'shape': {shape!r}, }}"
    version = draw(st.sampled_from([1, 2, 3, 9]))
    size = len(text.encode()).to_bytes(2 if version == 1 else 4, "little")
    rest = bytes(draw(st.sampled_from([0, 1, 4, 12, 24, 48])))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text.encode() + rest


def npy(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


ENTRIES = header() | ANY_ARRAY.map(npy) | st.binary(max_size=20)


@st.composite
def archives(draw, path, jsons=()):
    """An .npz file: that at `path` with changed bytes, entries or JSON texts."""
    import zipfile

    content = path.read_bytes()
    if draw(st.integers(0, 3)) == 0:
        return draw(spoilt(content))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist()}
    if jsons and draw(st.booleans()):
        value = json.loads(str(np.load(io.BytesIO(entries["json.npy"]))))
        entries["json.npy"] = npy(json.dumps(draw(edited(value))))
    else:
        for _ in range(draw(st.integers(1, 2))):
            name = draw(st.sampled_from([*entries]) | st.sampled_from(["y.npy", "json", "../x"]))
            change = draw(st.sampled_from(["replace", "remove", "spoil", "values"]))
            if change == "replace":
                entries[name] = draw(ENTRIES)
            elif change == "remove":
                entries.pop(name, None)
            elif name in entries and name.endswith(".npy"):
                if change == "spoil":
                    entries[name] = draw(spoilt(entries[name]))
                    continue
                with contextlib.suppress(ValueError):
                    array = np.load(io.BytesIO(entries[name]))
                    value = draw(st.sampled_from([0, -1, 1e30, 1e300, np.nan, np.inf]))
                    kind = draw(st.sampled_from([array.dtype, "f8", "f4", ">f8"]))
                    with np.errstate(all="ignore"), contextlib.suppress(TypeError):
                        entries[name] = npy(np.full(array.shape, value).astype(kind))
    file = io.BytesIO()
    method = draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA]))
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, entry in entries.items():
            archive.writestr(name, entry)
    return file.getvalue()


@given(data=st.data())
@settings(MANY)
def test_arrays(data, tmp_path):
    path = tmp_path / "x.npy"
    path.write_bytes(data.draw(ENTRIES | spoilt(npy(np.zeros((3, 2), np.float32)))))
    right_or_refused(map_npy, path)
    path = tmp_path / "x.npz"
    np.savez(path, x=np.zeros((3, 2)), t=np.array(["a", "b"]))
    path.write_bytes(data.draw(archives(path)))
    right_or_refused(read_npz, path)
    kinds = {"x": ("f", (None, 2), 1)}
    right_or_refused(results.read_arrays, path, **kinds)


@pytest.fixture
def model_file(tmp_path):
    model = MLP(6, [4], 2, normalisation={"mean": 0.3, "std": 0.4}, rng=np.random.default_rng(0))
    best = dict.fromkeys(History.COLUMNS, 0.5) | {"epoch": 1}
    model.metadata = {"classes": ["a", "b"], "image_shape": [2, 3], "best_metrics": best}
    model.metadata |= {"hyper_parameters": {"lr": 0.1}}
    path = tmp_path / "model.npz"
    model.save_parameters(path)
    return model, path


@given(data=st.data())
@settings(MANY)
def test_model_file(data, model_file, tmp_path, monkeypatch):
    model, good = model_file
    path = tmp_path / "other.npz"
    path.write_bytes(data.draw(archives(good, ["json"])))
    found = right_or_refused(MLP.from_file, path)
    if found is not None:
        assert np.isfinite(found.params).all()
        assert found.predict_proba(np.zeros((2, found.input_size))).shape == (2, found.output_size)
    twin = copy.deepcopy(model)
    if right_or_refused(lambda: (twin.load_parameters(path), True)) is None:
        assert twin.params.tobytes() == model.params.tobytes()
        assert twin.metadata == model.metadata
    else:
        assert np.isfinite(twin.params).all()
    monkeypatch.setattr(results, "MODEL", path)
    found = right_or_refused(results.read_model)
    if found is not None:
        monkeypatch.setattr(results, "HISTORY", tmp_path / "history.csv")
        History([dict.fromkeys(History.COLUMNS, 0.5) | {"epoch": 1}]).to_csv(results.HISTORY)
        right_or_refused(results.read_history, found[3].best_metrics)


@pytest.fixture
def checkpoint(tmp_path):
    recipe = Recipe(hidden_sizes=(3,), dropout=0.1, batch_norm=True, lr=0.01, batch_size=9)

    def make():
        return make_trainer(recipe, image_problem(recipe), seed=0)

    path = tmp_path / "checkpoint.npz"
    make().fit(2, checkpoint=path)
    return make, path


@given(data=st.data())
@settings(MANY)
def test_checkpoint(data, checkpoint, tmp_path):
    make, good = checkpoint
    path = tmp_path / "other.npz"
    path.write_bytes(data.draw(archives(good, ["json"])))
    trainer, twin = make(), make()
    if right_or_refused(lambda: (trainer.load_checkpoint(path), True)) is None:
        trainer.fit(1)
        twin.fit(1)
        assert same_run(trainer, twin)
    else:
        with contextlib.suppress(DivergenceError):
            trainer.fit(3)


@given(data=st.data())
def test_problem(data, tmp_path):
    parts = [Dataset(np.zeros((n, 6), np.uint8), np.arange(n) % 3) for n in (9, 5)]
    save_problem(tmp_path, Problem(*parts, ("a", "b", "c"), (2, 3), {"mean": 0.3, "std": 0.4}))
    name = data.draw(st.sampled_from(["train_x", "train_t", "val_x", "val_t", "meta"]))
    if name == "meta":
        meta = read_json(tmp_path / META)
        change = edited(meta).map(json.dumps).map(str.encode) | spoilt(json.dumps(meta).encode())
        (tmp_path / META).write_bytes(data.draw(change))
    else:
        path = tmp_path / f"{name}.npy"
        path.write_bytes(data.draw(ENTRIES | spoilt(path.read_bytes())))
    problem = right_or_refused(load_problem, tmp_path)
    if problem is not None:
        for x, t in (problem.train, problem.val):
            assert x.shape == (len(t), 6)
            assert set(t.tolist()) <= {*range(len(problem.classes))}


WINNER = {"hidden_size1": 4, "hidden_size2": 3, "lr": 0.1, "l2_reg": 0.0}
WINNER |= {"activation": "relu", "optimizer": "adam"}
ROW = {name: WINNER[name] for name in itertools.islice(WINNER, 4)} | {"epochs": 2, "rung": 1}
ROW |= {"seeds": 1, "val_accuracy": 0.5, "val_accuracy_std": 0.0, "status": "ok"}


def json_bytes(value):
    text = json.dumps(value).encode()
    return edited(value).map(lambda other: json.dumps(other).encode()) | spoilt(text)


@given(data=st.data())
@settings(MANY)
def test_what_stages_read(data, tmp_path, monkeypatch):
    for name in ("BEST_PARAMS", "GRID_SEARCH", "HISTORY"):
        monkeypatch.setattr(results, name, tmp_path / name)
    results.BEST_PARAMS.write_bytes(data.draw(json_bytes([WINNER])))
    right_or_refused(results.read_winner)
    rows = data.draw(edited([ROW, ROW, ROW]).filter(lambda rows: isinstance(rows, list)))
    table = io.StringIO()
    with contextlib.suppress(ValueError, TypeError, AttributeError, UnicodeError):
        pd.DataFrame(rows).to_csv(table, index=False)
    content = table.getvalue().encode(errors="replace")
    results.GRID_SEARCH.write_bytes(data.draw(st.just(content) | spoilt(content)))
    right_or_refused(results.read_search)
    best = dict.fromkeys(History.COLUMNS, 0.5) | {"epoch": 1}
    History([best, best | {"epoch": 2}]).to_csv(results.HISTORY)
    results.HISTORY.write_bytes(data.draw(spoilt(results.HISTORY.read_bytes())))
    right_or_refused(results.read_history, best)


@given(data=st.data())
@settings(MANY)
def test_best_metrics(data, checkpoint, tmp_path):
    trainer = checkpoint[0]()
    best = dict.fromkeys(History.COLUMNS, 0.5) | {"epoch": 1}
    trainer.best_metrics = dict(best)
    path = tmp_path / "best.json"
    path.write_bytes(data.draw(json_bytes(best)))
    if right_or_refused(trainer.load_best_metrics, path) is None:
        assert trainer.best_metrics == best


@given(data=st.data(), keep=st.booleans())
@settings(MANY)
@pytest.mark.filterwarnings("ignore:.*training this trial again")
def test_journal_entry(data, keep, tmp_path):
    recipe = Recipe(hidden_sizes=(3,))
    journal = Journal(tmp_path, image_problem(recipe))
    trial = Trial(recipe, 0, keep=keep)
    row = NO_RESULT | {"seed": 0, "parameters": 3, "epochs": 2, "status": "ok", "best_epoch": 1}
    journal.put(trial, row | ({"params": np.zeros(3)} if keep else {}))
    (path,) = tmp_path.glob("*.json")
    change = data.draw(st.sampled_from(["bytes", "signed", "params"]))
    if change == "bytes":
        path.write_bytes(data.draw(json_bytes(read_json(path))))
    elif change == "signed":  # with a right digest, as one who knows it can write
        from mlp.search.journal import _digest

        value = data.draw(edited(read_json(path)))
        with contextlib.suppress(LookupError, TypeError, ValueError):
            value["digest"] = _digest([path.stem, dict(value["recipe"]), dict(value["row"])])
        path.write_text(json.dumps(value))
    elif keep:
        path.with_suffix(".npz").write_bytes(data.draw(archives(path.with_suffix(".npz"))))
    right_or_refused(read_entry, path)
    found = right_or_refused(journal.get, trial)
    assert (trial in journal) or found is None


@given(images=BYTES, data=st.data())
@settings(MANY)
def test_idx(images, data, tmp_path):
    x, t = tmp_path / f"x{data.draw(st.sampled_from(['', '.gz']))}", tmp_path / "t"
    write_idx(x, images)
    write_idx(t, np.arange(len(images)))
    spoil = data.draw(st.sampled_from([x, t]))
    spoil.write_bytes(data.draw(spoilt(spoil.read_bytes())))
    pair = right_or_refused(read_pair, x, t, 9)
    if pair is not None:
        assert len(pair[0]) == len(pair[1])
        assert pair[0].ndim == 3


# --- params.yaml ------------------------------------------------------------------------------------

PARAMS = (ROOT / "params.yaml").read_text(encoding="utf-8")
VALUES = params.YAML(typ="safe").load(PARAMS)
PIECES = st.sampled_from(
    "& * ! % @ ` | > - : ? , [ ] { } # ' \" \\ ~ << !!binary !!set !!python/name:os !!timestamp "
    "0x1F 0o17 1_000 .inf .nan 1e400 2001-99-99 1:30 yes null --- ... &a *a \t \x1b \x00 \ufeff "
    "\u2028 \x85 \ud800".split(" ")
) | st.sampled_from(["\n", "\n  ", ": ", "- ", "\n? ", "[" * 300, "9" * 5000])


@st.composite
def yaml_texts(draw):
    if draw(st.booleans()):
        value = draw(edited(VALUES))
        return json.dumps(value, ensure_ascii=draw(st.booleans()))
    text = PARAMS
    for _ in range(draw(st.integers(1, 4))):
        i = draw(st.integers(0, len(text)))
        j = min(len(text), i + draw(st.sampled_from([0, 0, 1, 5, 60])))
        text = text[:i] + draw(PIECES | st.text(max_size=4)) + text[j:]
    return text


@given(text=yaml_texts())
@settings(MANY)
def test_params(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assume(len(text) < 100_000)
    params.PARAMS.write_bytes(text.encode(errors="surrogatepass"))
    found = right_or_refused(params.load)
    if found is not None:
        again = params.Params.model_validate(found.model_dump())
        assert again == found
