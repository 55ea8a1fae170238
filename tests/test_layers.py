"""The layers: analytic against numerical gradients, arguments left alone, buffers reused."""

import math
import tracemalloc

import numpy as np
import pytest

from mlp.arrays import Buffers, Rows
from mlp.files import InputError
from mlp.functions import cross_entropy, softmax
from mlp.layers import (
    Affine,
    AffineReLU,
    BatchNorm,
    Dropout,
    Normalise,
    ReLU,
    Sigmoid,
    Softmax,
    SoftmaxWithLoss,
)
from mlp.module import Module


def affine(dtype=np.float64):
    rng = np.random.default_rng(4)
    layer = Affine(4, 3, rng=rng, dtype=dtype)
    layer.b[:] = rng.standard_normal(3)
    return layer


def normalise(dtype=np.float64):
    return Normalise(0.3, 0.4, dtype=dtype)


class SameDraws:
    """A generator that draws the same bytes for each batch, for numerical gradients."""

    def __init__(self):
        self.bit_generator = self

    def random_raw(self, n):
        return np.random.default_rng(6).bit_generator.random_raw(n)


def dropout(dtype=np.float64):
    return Dropout(0.3, rng=SameDraws())


def batch_norm(dtype=np.float64):
    rng, layer = np.random.default_rng(7), BatchNorm(4, dtype=dtype)
    layer.gamma[:], layer.beta[:] = rng.uniform(0.5, 2, 4), rng.standard_normal(4)
    return layer


def affine_relu(dtype=np.float64):
    return AffineReLU(affine(dtype), ReLU())


LAYERS = pytest.mark.parametrize(
    "make", [normalise, affine, affine_relu, ReLU, Sigmoid, Softmax, dropout, batch_norm]
)


@pytest.fixture
def x(rng):
    """A batch (7, 4) that keeps a distance of 0.1 from ReLU's kink."""
    noise = rng.standard_normal((7, 4))
    return noise + 0.1 * np.sign(noise)


@pytest.fixture
def t(rng):
    return rng.integers(0, 4, 7)


def dout_for(y):
    return np.random.default_rng(5).standard_normal(y.shape).astype(y.dtype)


@LAYERS
def test_gradient_of_the_input(make, x, numerical_gradient, relative_error):
    layer = make()
    dout = dout_for(layer.forward(x, training=True))
    dx = layer.backward(dout).copy()
    numerical = numerical_gradient(lambda: np.sum(layer.forward(x, training=True) * dout), x)
    assert relative_error(dx, numerical) < 1e-6


@pytest.mark.parametrize(
    ("make", "name"),
    [(affine, "W"), (affine, "b"), (batch_norm, "gamma"), (batch_norm, "beta")],
)
def test_gradient_of_the_parameters(make, name, x, numerical_gradient, relative_error):
    layer = make()
    dout = dout_for(layer.forward(x, training=True))
    layer.backward(dout)
    numerical = numerical_gradient(
        lambda: np.sum(layer.forward(x, training=True) * dout), getattr(layer, name)
    )
    assert relative_error(getattr(layer, "d" + name), numerical) < 1e-6


def test_gradient_of_softmax_with_loss(x, t, numerical_gradient, relative_error):
    last = SoftmaxWithLoss()
    last.forward(x, t)
    dx = last.backward().copy()
    assert relative_error(dx, numerical_gradient(lambda: last.forward(x, t), x)) < 1e-6


def test_affine_by_hand():
    layer = affine()
    layer.W, layer.b = np.array([[1.0, 2, 3], [4, 5, 6]]), np.array([0.1, 0.2, 0.3])
    layer.dW, layer.db = np.empty((2, 3)), np.empty(3)
    # 1·1 + 2·4 + 0.1, 1·2 + 2·5 + 0.2, 1·3 + 2·6 + 0.3
    np.testing.assert_allclose(
        layer.forward(np.array([[1.0, 2]]), training=True), [[9.1, 12.2, 15.3]]
    )
    # 1·1 - 1·3, 1·4 - 1·6
    np.testing.assert_array_equal(layer.backward(np.array([[1.0, 0, -1]])), [[-2, -2]])
    np.testing.assert_array_equal(layer.dW, [[1, 0, -1], [2, 0, -2]])
    np.testing.assert_array_equal(layer.db, [1, 0, -1])


def test_normalise_by_hand():
    x = np.array([[0, 51, 255]], np.uint8)
    # (0 - 0.2) / 0.4, (0.2 - 0.2) / 0.4, (1 - 0.2) / 0.4
    y = Normalise(0.2, 0.4).forward(x)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, [[-0.5, 0, 2]], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Normalise(0.25, 0.5), "Normalise(0.2500, 0.5000)"),
        (affine, "Affine(4 → 3)"),
        (ReLU, "ReLU()"),
        (lambda: Dropout(0.5, rng=np.random.default_rng(0)), "Dropout(0.5)"),
        (batch_norm, "BatchNorm(4)"),
    ],
)
def test_layers_say_what_they_are(make, said):
    assert repr(make()) == said


def test_normalise_takes_numbers_of_any_kind(rng):
    x = rng.integers(0, 256, (5, 6))
    expected = normalise().forward(x.astype(np.float64), training=True)
    for dtype in (np.uint8, np.int64, np.float32):
        np.testing.assert_array_equal(normalise().forward(x.astype(dtype), training=True), expected)


@pytest.mark.parametrize("training", [False, True])
def test_normalise_gathers_rows(training, rng):
    x, index = rng.integers(0, 256, (9, 6), np.uint8), np.array([5, 0, 5])
    rows = Rows(x, index, np.empty((3, 6), np.uint8))
    expected = normalise().forward(x[index])
    np.testing.assert_array_equal(normalise().forward(rows, training=training), expected)


def test_affine_relu_is_affine_then_relu(x):
    both, layer, relu = affine_relu(), affine(), ReLU()
    y = both.forward(x, training=True)
    np.testing.assert_array_equal(y, relu.forward(layer.forward(x, training=True), training=True))
    dx = both.backward(dout_for(y))
    np.testing.assert_array_equal(dx, layer.backward(relu.backward(dout_for(y))))
    np.testing.assert_array_equal(both.affine.dW, layer.dW)
    np.testing.assert_array_equal(both.affine.db, layer.db)


def test_relu_passes_no_gradient_at_zero():
    layer = ReLU()
    layer.forward(np.array([[-1.0, 0, 1]]), training=True)
    np.testing.assert_array_equal(layer.backward(np.ones((1, 3))), [[0, 0, 1]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_affine_from_given_arrays(dtype):
    W, b = np.array([[1, 2, 3], [4, 5, 6]], dtype), np.array([0.5, 0, -1], dtype)
    layer = Affine(W, b)
    # 1·1 + 2·4 + 0.5, 1·2 + 2·5, 1·3 + 2·6 - 1
    np.testing.assert_array_equal(layer.forward(np.array([[1, 2]], dtype)), [[9.5, 12, 14]])
    assert layer.W.dtype == layer.dW.dtype == layer.db.dtype == dtype
    layer.W += 1
    assert W[0, 0] == 1  # copies
    network = Module([Affine(W, b), ReLU(), Affine(W.T.copy(), np.zeros(2, dtype))])
    assert network.predict(np.array([[1, 2]], dtype)).tolist() == [1]


@pytest.mark.parametrize("shapes", [((2, 3), (2,)), ((3,), (3,)), ((2, 3), (1, 3))])
def test_affine_from_arrays_that_do_not_fit(shapes):
    with pytest.raises(ValueError, match="of shape"):
        Affine(*map(np.zeros, shapes))


def test_softmax_with_loss_by_hand():
    last = SoftmaxWithLoss()
    assert last.hits == 0
    # probabilities (1/4, 3/4) and (1/2, 1/2), labels 1 and 0: -(ln 3/4 + ln 1/2) / 2
    x, t = np.log([[1.0, 3.0], [1.0, 1.0]]), np.array([1, 0])
    assert last.forward(x, t) == pytest.approx(-np.log(3 / 8) / 2, rel=1e-15)
    # (y - one-hot) / 2
    np.testing.assert_allclose(last.backward(), [[1 / 8, -1 / 8], [-1 / 4, 1 / 4]], rtol=1e-14)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1, 1e4])
def test_softmax_with_loss_agrees_with_the_functions(scale, x, t):
    last = SoftmaxWithLoss()
    logits = scale * x
    assert last.forward(logits, t) == pytest.approx(cross_entropy(logits, t), rel=1e-14)
    assert last.hits == np.sum(logits.argmax(axis=1) == t)
    expected = (softmax(logits) - np.eye(4)[t]) / len(t)
    np.testing.assert_allclose(last.backward(), expected, rtol=1e-12, atol=1e-16)


@LAYERS
def test_arguments_are_left_alone(make, x):
    layer = make()
    before = x.copy()
    dout = dout_for(layer.forward(x, training=True))
    dout_before = dout.copy()
    layer.backward(dout)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(dout, dout_before)


@LAYERS
def test_prediction_leaves_training_alone(make, x):
    layer = make()
    y = layer.forward(x, training=True)
    expected = y.copy()
    dx = layer.backward(dout_for(y))
    dx_expected = dx.copy()
    predicted = layer.forward(2 * x[:5])
    assert not np.shares_memory(predicted, y)
    first = predicted.copy()
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(dx, dx_expected)
    np.testing.assert_array_equal(layer.backward(dout_for(y)), dx_expected)
    np.testing.assert_array_equal(layer.forward(2 * x[:5]), first)


def test_product_leaves_training_alone(x):
    layer = affine()
    y = layer.forward(x, training=True)
    expected, dout = y.copy(), dout_for(y)
    layer.backward(dout)
    dW = layer.dW.copy()
    np.testing.assert_array_equal(layer.product(x[::-1]), x[::-1] @ layer.W)
    layer.backward(dout)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(layer.dW, dW)


def test_evaluation_leaves_training_alone(x, t):
    last = SoftmaxWithLoss()
    last.forward(x, t)
    hits, dx = last.hits, last.backward().copy()
    loss, _ = last.evaluate(-x[:5], t[:5])
    assert loss == SoftmaxWithLoss().forward(-x[:5], t[:5])
    assert last.hits == hits
    np.testing.assert_array_equal(last.backward(), dx)


@LAYERS
def test_training_allocates_no_batch(make):
    """After the first of its size. Dropout's draws and NumPy's conversions are less than half."""
    layer, x = make(), np.random.default_rng(0).standard_normal((20_000, 4))
    dout = dout_for(layer.forward(x, training=True))
    layer.backward(dout)
    tracemalloc.start()
    try:
        layer.forward(x, training=True)
        layer.backward(dout)
        assert tracemalloc.get_traced_memory()[1] < dout.nbytes / 2
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("soft", [False, True])
def test_the_loss_allocates_no_batch(soft):
    x = np.random.default_rng(0).standard_normal((1000, 50))
    last, t = SoftmaxWithLoss(), softmax(x) if soft else x.argmax(axis=1)
    last.forward(x, t)
    last.backward()
    tracemalloc.start()
    try:
        last.forward(x, t)
        last.backward()
        assert tracemalloc.get_traced_memory()[1] < x.nbytes / 2
    finally:
        tracemalloc.stop()


def test_softmax_with_loss_leaves_its_arguments_alone(x, t):
    x_before, t_before = x.copy(), t.copy()
    last = SoftmaxWithLoss()
    last.forward(x, t)
    last.backward()
    np.testing.assert_array_equal(x, x_before)
    np.testing.assert_array_equal(t, t_before)


def test_backward_may_be_called_twice(x, t):
    last = SoftmaxWithLoss()
    last.forward(x, t)
    first = last.backward().copy()
    np.testing.assert_array_equal(last.backward(), first)


@LAYERS
def test_batches_of_varying_size(make, x):
    layer = make()
    for n in (5, 2, 7, 1, 7):
        fresh = make()
        y = layer.forward(x[:n], training=True)
        np.testing.assert_array_equal(y, fresh.forward(x[:n], training=True))
        dout = dout_for(y)
        np.testing.assert_array_equal(layer.backward(dout), fresh.backward(dout))


def test_softmax_with_loss_on_batches_of_varying_size(x, t):
    last = SoftmaxWithLoss()
    for n in (5, 2, 7, 1, 7):
        fresh = SoftmaxWithLoss()
        assert last.forward(x[:n], t[:n]) == fresh.forward(x[:n], t[:n])
        assert last.hits == fresh.hits
        np.testing.assert_array_equal(last.backward(), fresh.backward())


@LAYERS
def test_buffers_are_reused(make, x):
    layer = make()
    y = layer.forward(x, training=True)
    dx = layer.backward(dout_for(y))
    smaller = layer.forward(x[:3], training=True)
    assert np.shares_memory(smaller, y)
    assert np.shares_memory(layer.backward(dout_for(smaller)), dx)


def test_buffers_keep_one_memory_for_batches_of_all_sizes():
    buffers = Buffers()
    for n in (5, 7, 5, 2):
        buffer = buffers.get("a", (n, 3), np.float64, 1)
        assert buffer.shape == (n, 3)
        assert np.all(buffer == 1)
    largest = buffers.get("a", (7, 3), np.float64)
    largest[:] = 2
    for n in (5, 2):
        assert np.all(buffers.get("a", (n, 3), np.float64, 1) == 2)  # filled only once
    assert not np.shares_memory(largest, buffers.get("b", (7, 3), np.float64))
    assert buffers.get("a", (7, 3), np.float32).dtype == np.float32


@pytest.mark.parametrize(
    "make",
    [
        *(lambda: normalise(np.float32), lambda: affine(np.float32), ReLU, Sigmoid, Softmax),
        *(dropout, lambda: batch_norm(np.float32), lambda: affine_relu(np.float32)),
    ],
)
def test_float32_stays_float32(make, x):
    layer = make()
    y = layer.forward(x.astype(np.float32), training=True)
    assert y.dtype == np.float32
    assert layer.backward(dout_for(y)).dtype == np.float32
    assert layer.forward(x.astype(np.float32)).dtype == np.float32
    assert dtypes_of(layer) <= {np.dtype(np.float32), np.dtype(np.bool_)}


def dtypes_of(layer):
    """Of what it holds: buffers of another dtype would be converted at every use."""
    parts = [layer, *(v for v in vars(layer).values() if hasattr(v, "_buffers"))]
    arrays = [a for part in parts for a in vars(part).values() if isinstance(a, np.ndarray)]
    for part in parts:
        arrays += part._buffers._arrays.values()
        arrays += part._thread_buffers._arrays.values()
    return {a.dtype for a in arrays if a is not getattr(layer, "_noise", None)}


@pytest.mark.parametrize("soft", [False, True])
def test_the_loss_of_float32_is_computed_in_float32(soft, x, t):
    last = SoftmaxWithLoss(0 if soft else 0.1)
    x = x.astype(np.float32)
    last.forward(x, softmax(x) if soft else t)
    last.evaluate(x, t)
    assert last.backward().dtype == np.float32
    assert dtypes_of(last) - {t.dtype} == {np.dtype(np.float32)}


@pytest.mark.parametrize("make", [ReLU, Sigmoid, Softmax])
def test_dtype_follows_that_of_the_batch(make, x):
    layer = make()
    for dtype in (np.float64, np.float32, np.float64):
        y = layer.forward(x.astype(dtype), training=True)
        assert y.dtype == layer.backward(dout_for(y)).dtype == dtype


def test_first_layer_computes_no_input_gradient(x):
    layer, first = affine(), affine()
    first.input_gradient = False
    dout = dout_for(layer.forward(x, training=True))
    first.forward(x, training=True)
    layer.backward(dout)
    assert first.backward(dout) is None
    np.testing.assert_array_equal(first.dW, layer.dW)
    np.testing.assert_array_equal(first.db, layer.db)


@pytest.mark.parametrize(("init", "variance"), [("he", 2 / 400), ("glorot", 2 / (400 + 300))])
def test_affine_starts_with_the_variance_of_its_paper(init, variance, rng):
    layer = Affine(400, 300, rng=rng, init=init)
    if init == "he":  # as it does if nobody says
        again = Affine(400, 300, rng=np.random.default_rng(0))
        np.testing.assert_array_equal(again.W, layer.W)
    assert layer.W.var() == pytest.approx(variance, rel=0.02)
    assert abs(layer.W.mean()) < 0.01 * layer.W.std()
    assert not layer.b.any()


# --- dropout --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(rate, rng):
    layer, x = Dropout(rate, rng=rng), np.ones((1000, 200))
    y = layer.forward(x, training=True)
    dropped = np.mean(y == 0)
    assert layer.rate == pytest.approx(rate, abs=1 / 512)
    # the standard deviation of a share of 200,000 draws is below 0.0012
    assert dropped == pytest.approx(layer.rate, abs=0.006)
    np.testing.assert_allclose(y[y != 0], 1 / (1 - layer.rate))
    assert y.mean() == pytest.approx(1, abs=0.05)
    np.testing.assert_array_equal(layer.backward(x), y)  # where it was dropped, no gradient


def test_dropout_draws_anew_for_each_batch_and_number(rng):
    layer, x = Dropout(0.5, rng=rng), np.ones((50, 40))
    first = layer.forward(x, training=True).copy()
    second = layer.forward(x, training=True)
    assert 0.4 < np.mean(first == second) < 0.6
    assert np.all(np.abs((first == 0).mean(axis=0) - 0.5) < 0.4)
    assert np.all(np.abs((first == 0).mean(axis=1) - 0.5) < 0.4)


def test_dropout_does_nothing_in_prediction(x, rng):
    state = rng.bit_generator.state
    assert Dropout(0.5, rng=rng).forward(x) is x
    assert rng.bit_generator.state == state


def test_dropout_of_integers_is_of_numbers(rng):
    y = Dropout(0.5, rng=rng).forward(np.ones((20, 30), np.int64), training=True)
    assert y.dtype == np.float32
    assert set(y.flat) == {0.0, 2.0}


def test_rates_and_shares(rng):
    assert Dropout(0, rng=rng).rate == 0
    assert Dropout(0.9999, rng=rng).rate == 255 / 256
    for rate in (-0.01, 1, 1.5, math.nan):
        with pytest.raises(ValueError, match=f"dropout of {rate}: a rate from 0 to below 1"):
            Dropout(rate, rng=rng)
    assert SoftmaxWithLoss(1).smoothing == 1
    for share in (-0.01, 1.01, math.nan):
        with pytest.raises(ValueError, match=f"smoothing of {share}: a share from 0 to 1"):
            SoftmaxWithLoss(share)


# --- batch norm -----------------------------------------------------------------------------------


def test_batch_norm_by_hand():
    layer = BatchNorm(1, eps=0, momentum=0.5, dtype=np.float64)
    layer.gamma[:], layer.beta[:] = 3, 1
    # mean 4, variance (9 + 1 + 16) / 3 = 26/3
    y = layer.forward(np.array([[1.0], [3], [8]]), training=True)
    deviation = np.sqrt(26 / 3)
    np.testing.assert_allclose(y[:, 0], [1 - 9 / deviation, 1 - 3 / deviation, 1 + 12 / deviation])
    # half of 0 and 4; half of 1 and 26/3 · 3/2, the estimate of the population's variance
    assert (layer.mean[0], layer.variance[0]) == pytest.approx((2, 7))
    np.testing.assert_allclose(layer.forward(np.array([[2.0], [5]]))[:, 0], [1, 1 + 9 / 7**0.5])


def test_batch_norm_of_two_samples_by_hand():
    layer = BatchNorm(1, eps=0, dtype=np.float64)
    layer.forward(np.array([[1.0], [5]]), training=True)
    # a tenth of 3; 9 tenths of 1, and a tenth of 4 · 2 / 1
    assert (layer.mean[0], layer.variance[0]) == pytest.approx((0.3, 1.7), rel=1e-15)


def test_batch_norm_predicts_with_eps_by_hand():
    layer = BatchNorm(1, eps=3, dtype=np.float64)
    layer.mean[:], layer.variance[:], layer.gamma[:], layer.beta[:] = 2, 6, 9, 1
    # 9 · (4 - 2) / √(6 + 3) + 1
    np.testing.assert_allclose(layer.forward(np.array([[4.0]])), [[7]], rtol=1e-15)


def test_batch_norm_standardises_each_feature(rng):
    layer = BatchNorm(4, dtype=np.float64)
    y = layer.forward(5 + 3 * rng.standard_normal((500, 4)), training=True)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(y.std(axis=0), 1, rtol=1e-5)


def test_batch_norm_averages_over_many_batches(rng):
    layer = BatchNorm(2, dtype=np.float64)
    for _ in range(300):
        layer.forward(5 + 3 * rng.standard_normal((500, 2)), training=True)
    np.testing.assert_allclose(layer.mean, 5, atol=0.2)
    np.testing.assert_allclose(layer.variance, 9, rtol=0.1)
    before = layer.mean.copy()
    layer.forward(rng.standard_normal((5, 2)))  # prediction leaves no trace
    np.testing.assert_array_equal(layer.mean, before)


def test_batch_norm_of_one_sample_is_finite():
    layer = BatchNorm(2, dtype=np.float64)
    assert np.isfinite(layer.forward(np.array([[1.0, 2]]), training=True)).all()
    assert np.isfinite(layer.backward(np.array([[1.0, 2]]))).all()
    assert np.isfinite(layer.variance).all()


def test_affine_without_a_bias_learns_none(x):
    layer = Affine(4, 3, rng=np.random.default_rng(0), bias=False, dtype=np.float64)
    np.testing.assert_array_equal(layer.forward(x, training=True), x @ layer.W)
    layer.backward(np.ones((7, 3)))
    assert not layer.db.any()


# --- label smoothing and soft labels --------------------------------------------------------------


@pytest.mark.parametrize("arithmetic", ["plain", "compiled"], indirect=True)
def test_label_smoothing_by_hand(arithmetic):
    last = SoftmaxWithLoss(smoothing=0.2)
    # probabilities 1/4 and 3/4, label 1: 0.9 of it at the label, 0.1 at the other
    x, t = np.log([[1.0, 3.0]]), np.array([1])
    loss = -(0.9 * np.log(3 / 4) + 0.1 * np.log(1 / 4))
    assert last.forward(x, t) == pytest.approx(loss, rel=1e-14)
    np.testing.assert_allclose(last.backward(), [[1 / 4 - 0.1, 3 / 4 - 0.9]], rtol=1e-13)
    # none of it when a network is evaluated
    assert last.evaluate(x, t) == (pytest.approx(-np.log(3 / 4), rel=1e-14), 1)


@pytest.mark.parametrize("arithmetic", ["plain", "compiled"], indirect=True)
@pytest.mark.parametrize("smoothing", [0.05, 0.3])
def test_gradient_with_label_smoothing(
    smoothing, arithmetic, x, t, numerical_gradient, relative_error
):
    last = SoftmaxWithLoss(smoothing)
    last.forward(x, t)
    dx = last.backward().copy()
    assert relative_error(dx, numerical_gradient(lambda: last.forward(x, t), x)) < 1e-6


@pytest.mark.parametrize("arithmetic", ["plain", "compiled"], indirect=True)
def test_smoothed_labels_are_soft_labels(arithmetic, x, t):
    hard, soft = SoftmaxWithLoss(0.1), SoftmaxWithLoss()
    probabilities = 0.9 * np.eye(4)[t] + 0.1 / 4
    assert hard.forward(x, t) == pytest.approx(soft.forward(x, probabilities), rel=1e-13)
    assert hard.hits == soft.hits
    np.testing.assert_allclose(hard.backward(), soft.backward(), rtol=1e-12, atol=1e-16)


def test_gradient_with_soft_labels(x, numerical_gradient, relative_error, rng):
    last, t = SoftmaxWithLoss(), softmax(rng.standard_normal((7, 4)))
    last.forward(x, t)
    dx = last.backward().copy()
    assert relative_error(dx, numerical_gradient(lambda: last.forward(x, t), x)) < 1e-6


def test_a_student_that_agrees_with_its_teacher_has_no_gradient(x):
    last = SoftmaxWithLoss()
    last.forward(x, softmax(x))
    np.testing.assert_allclose(last.backward(), 0, atol=1e-15)


def test_numbers_of_numpy_are_as_pythons(x, rng):
    pixels = rng.integers(0, 256, (7, 5), dtype=np.uint8)
    for make, batch in (
        (lambda number: Normalise(number(0.3), number(0.7)), pixels),
        (lambda number: BatchNorm(4, momentum=number(0.3), eps=number(0.1)), x.astype(np.float32)),
        (lambda number: Dropout(number(0.3), rng=np.random.default_rng(0)), x.astype(np.float32)),
    ):
        ours, theirs = (
            make(number).forward(batch, training=True) for number in (float, np.float64)
        )
        np.testing.assert_array_equal(ours, theirs)
    logits, t = x.astype(np.float32), x.argmin(axis=1)
    losses = [SoftmaxWithLoss(number(0.1)).forward(logits, t) for number in (float, np.float64)]
    assert losses[0] == losses[1]


def test_dropout_needs_words_of_64_bits():
    """Of which it takes every byte."""
    for kind in (np.random.PCG64, np.random.PCG64DXSM, np.random.Philox, np.random.SFC64):
        y = Dropout(0.1, rng=np.random.Generator(kind(0))).forward(np.ones((500, 64)), True)
        assert np.mean(y == 0) == pytest.approx(0.1, abs=0.01)
    with pytest.raises(
        ValueError, match=r"^MT19937 draws words of 32 bits: take np\.random\.default_rng$"
    ):
        Dropout(0.1, rng=np.random.Generator(np.random.MT19937(0)))


@pytest.mark.parametrize("arithmetic", ["plain", "compiled"], indirect=True)
def test_a_loss_of_labels_that_are_not_the_batchs(arithmetic, x):
    last, t = SoftmaxWithLoss(), x.argmax(axis=1)
    for wrong in (t[:3], np.r_[t, t], np.eye(4)[t[:3]]):
        with pytest.raises(InputError, match="samples, but"):
            last.forward(x, wrong)
    with pytest.raises((TypeError, IndexError)):
        last.forward(x, t.astype(float))
    assert last.forward(x, np.repeat(t, 2)[::2]) == last.forward(x, t)
