"""What holds for any input: properties, with inputs drawn by Hypothesis."""

import contextlib
import itertools
from pathlib import Path

import numpy as np
import pytest
from fuzzing import IMAGES, JSON, MANY, NAMES, image_problem, right_or_refused
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from project import write_idx
from test_trainer import same_run

from mlp import metrics
from mlp.augment import Augmentation
from mlp.data import stratified_split
from mlp.functions import softmax
from mlp.history import History
from mlp.idx import IMAGES_MAGIC, LABELS_MAGIC, read_idx
from mlp.module import MLP
from mlp.recipe import Recipe, make_trainer
from mlp.schedule import Cosine, inverse_time
from mlp.trainer import Trainer

pytestmark = pytest.mark.usefixtures("arithmetic_to_fuzz")

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
@MANY
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
@MANY
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


@given(images=IMAGES, name=st.sampled_from(["x", "x.gz"]))
@MANY
def test_idx_write_then_read(images, name, tmp_path):
    write_idx(tmp_path / name, images)
    np.testing.assert_array_equal(read_idx(tmp_path / name, IMAGES_MAGIC), images)
    write_idx(tmp_path / name, images[0, 0])
    np.testing.assert_array_equal(read_idx(tmp_path / name, LABELS_MAGIC), images[0, 0])


EIGHTHS = st.integers(-8000, 8000).map(lambda n: n / 8)  # which a shift by one leaves exact


@given(x=hnp.arrays(np.float64, (3, 4), elements=EIGHTHS), shift=st.integers(-(10**9), 10**9))
@MANY
def test_softmax_takes_any_shift(x, shift):
    y = softmax(x)
    np.testing.assert_array_equal(softmax(x + shift), y)
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-14)
    assert ((y >= 0) & (y <= 1)).all()


@given(
    pairs=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=50),
    classes=st.integers(5, 8),
)
@MANY
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
@MANY
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
@MANY
def test_inverse_time_falls(lr, decay, epoch):
    assert inverse_time(lr, 0, decay) == lr
    assert 0 < inverse_time(lr, epoch + 1, decay) <= inverse_time(lr, epoch, decay) <= lr
    assert inverse_time(lr, epoch, 0) == lr


@given(images=IMAGES, flip=st.booleans(), shift=st.integers(0, 3), data=st.data())
@MANY
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
    index, variants = np.array(data.draw(drawn), np.int64).reshape(-1, 2).T.copy()
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
