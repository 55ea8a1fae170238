"""What a caller may hand over, and what is refused in one line, wherever it is handed over."""

import numpy as np
import pytest

from mlp.data import Dataset
from mlp.files import InputError
from mlp.metrics import confusion_matrix
from mlp.optimizer import SGD
from mlp.trainer import Trainer

# of 30 samples in three classes
BAD_LABELS = {
    "a column": (lambda t: t[:, None], r"shape \(30, 1\)"),
    "one-hot": (lambda t: np.eye(3)[t], "one-hot"),
    "too few": (lambda t: t[:8], "8 labels"),
    "one": (lambda t: t[:1], "1 labels"),
    "too many": (lambda t: np.r_[t, t], "60 labels"),
    "none": (lambda t: t[:0], "0 labels"),
    "negative": (lambda t: np.r_[t[:-1], -1], "label -1 at position 29"),
    "too high": (lambda t: np.r_[3, t[1:]], "label 3 at position 0"),
    "far too high": (lambda t: np.r_[2**40, t[1:]], "label 1099511627776 at"),
    "real": (lambda t: t.astype(float), "float64"),
    "texts": (lambda t: t.astype(str), "<U"),
    "objects": (lambda t: t.astype(object), "object"),
    "a number": (lambda t: t[0], r"shape \(\)"),
    "ragged": (lambda t: [[0], [0, 1]], "no array"),
}
BAD_SAMPLES = {
    "too few features": (lambda x: x[:, :4], r"takes \(N, 5\)"),
    "a vector": (lambda x: x[0], r"takes \(N, 5\)"),
    "NaN": (lambda x: np.where(x == x[3, 2], np.nan, x), "finite"),
    "infinite": (lambda x: np.where(x == x[3, 2], -np.inf, x), "finite"),
    "beyond float32": (lambda x: 1e39 * x.astype(np.float64), "finite numbers below 1e"),
    "texts": (lambda x: x.astype(str), "numbers are needed"),
    "complex": (lambda x: x.astype(complex), "numbers are needed"),
}
GOOD_LABELS = {
    "a list": list,
    "bytes": lambda t: t.astype(np.uint8),
    "booleans": lambda t: t > 0,
    "read-only": lambda t: np.frombuffer(t.tobytes(), t.dtype),
}


@pytest.fixture
def x(data):
    return data[1].x


@pytest.fixture
def t(data):
    return data[1].t


def trainer(network, train, val, **options):
    return Trainer(network, SGD(0.1), train, val, rng=np.random.default_rng(0), **options)


def refuses(reason, function, *arguments, **options):
    with pytest.raises(InputError, match=reason) as error:
        function(*arguments, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("case", BAD_LABELS)
def test_bad_labels(case, network, data, x, t):
    spoil, reason = BAD_LABELS[case]
    bad = spoil(t)
    refuses(reason, network.evaluate, x, bad)
    refuses(reason, network.compute_accuracy, x, bad)
    refuses(reason, network.compute_macro_micro_avg, x, bad)
    refuses(reason, trainer, network, Dataset(x, bad), data[1])
    refuses(reason, trainer, network, data[0], Dataset(x, bad))


@pytest.mark.parametrize("case", BAD_SAMPLES)
def test_bad_samples(case, network, data, x, t):
    spoil, reason = BAD_SAMPLES[case]
    bad = spoil(x)
    refuses(reason, network.evaluate, bad, t)
    refuses(reason, trainer, network, Dataset(bad, t), data[1])
    refuses(reason, trainer, network, data[0], Dataset(bad, t))


@pytest.mark.parametrize("case", GOOD_LABELS)
def test_good_labels(case, network, data, x, t):
    good = GOOD_LABELS[case](t)
    expected = np.asarray(good, np.int64)
    assert network.evaluate(x, good) == network.evaluate(x, expected)
    found, wanted = (trainer(network, Dataset(x, labels), data[1]) for labels in (good, expected))
    start = network.params.copy()
    rows = found.fit(2).rows
    network.params[:] = start
    assert wanted.fit(2).rows == rows


@pytest.mark.parametrize("size", [0, -1])
def test_batches_without_samples(size, network, data):
    refuses("1 or more", trainer, network, *data, batch_size=size)


def test_numbers_of_numpy_are_numbers(network, data):
    trainer(network, *data, batch_size=np.int64(7)).fit(1)


@pytest.mark.parametrize(
    ("t", "y"), [([0, 1], [0, 5]), ([0, 5], [0, 1]), ([0, 1], [0]), ([0], [0, 1]), ([0], [-1])]
)
def test_guesses_are_labels_too(t, y):
    refuses("label", confusion_matrix, t, y, 3)
