"""The layers: analytic against numerical gradients, arguments left alone, buffers reused."""

import numpy as np
import pytest

from mlp.arrays import Buffers
from mlp.functions import cross_entropy, softmax
from mlp.layers import Affine, Normalise, ReLU, Sigmoid, Softmax, SoftmaxWithLoss


def affine(dtype=np.float64):
    rng = np.random.default_rng(4)
    layer = Affine(4, 3, rng=rng, dtype=dtype)
    layer.b[:] = rng.standard_normal(3)
    return layer


def normalise(dtype=np.float64):
    return Normalise(0.3, 0.4, dtype=dtype)


LAYERS = pytest.mark.parametrize("make", [normalise, affine, ReLU, Sigmoid, Softmax])


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


@pytest.mark.parametrize("name", ["W", "b"])
def test_gradient_of_affines_parameters(name, x, numerical_gradient, relative_error):
    layer = affine()
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


def test_normalise_takes_numbers_of_any_kind(rng):
    x = rng.integers(0, 256, (5, 6))
    expected = normalise().forward(x.astype(np.float64), training=True)
    for dtype in (np.uint8, np.int64, np.float32):
        np.testing.assert_array_equal(normalise().forward(x.astype(dtype), training=True), expected)


def test_relu_passes_no_gradient_at_zero():
    layer = ReLU()
    layer.forward(np.array([[-1.0, 0, 1]]), training=True)
    np.testing.assert_array_equal(layer.backward(np.ones((1, 3))), [[0, 0, 1]])


def test_softmax_with_loss_by_hand():
    last = SoftmaxWithLoss()
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
    "make", [lambda: normalise(np.float32), lambda: affine(np.float32), ReLU, Sigmoid, Softmax]
)
def test_float32_stays_float32(make, x):
    layer = make()
    y = layer.forward(x.astype(np.float32), training=True)
    assert y.dtype == np.float32
    assert layer.backward(dout_for(y)).dtype == np.float32


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
    assert layer.W.var() == pytest.approx(variance, rel=0.02)
    assert abs(layer.W.mean()) < 0.01 * layer.W.std()
    assert not layer.b.any()
