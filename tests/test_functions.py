"""The functions: values worked out by hand, extreme arguments, dtypes and `out`."""

import math

import numpy as np
import pytest

from mlp.arrays import aligned_zeros
from mlp.functions import cross_entropy, relu, sigmoid, softmax

ELEMENTWISE = pytest.mark.parametrize("function", [relu, sigmoid, softmax])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@pytest.fixture
def logits(rng):
    return 3 * rng.standard_normal((6, 4))


@pytest.fixture
def no_overflow():
    """Overflows, divisions by zero and NaN are errors. Underflow to zero is what we want."""
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        yield


def test_relu_by_hand():
    np.testing.assert_array_equal(relu(np.array([-2.0, -0.0, 0.0, 0.5])), [0, 0, 0, 0.5])


def test_sigmoid_by_hand():
    # e^ln 3 = 3, so 1 / (1 + 1/3) and 1 / (1 + 3)
    x = np.array([0, math.log(3), -math.log(3)])
    np.testing.assert_allclose(sigmoid(x), [1 / 2, 3 / 4, 1 / 4], rtol=1e-15)


def test_sigmoid_keeps_the_digits_of_small_results():
    x = np.array([-80, -40, -20], np.float32)
    np.testing.assert_allclose(sigmoid(x), np.exp(x.astype(np.float64)), rtol=1e-6)


def test_softmax_by_hand():
    # e^x = 1, 2, 3, and their sum is 6
    x = np.log([[1.0, 2.0, 3.0]])
    np.testing.assert_allclose(softmax(x), [[1 / 6, 2 / 6, 3 / 6]], rtol=1e-15)


@pytest.mark.parametrize("shift", [-1000, 1, 1000])
def test_softmax_is_invariant_to_a_shift(logits, shift):
    np.testing.assert_allclose(softmax(logits + shift), softmax(logits), rtol=1e-11)


def test_softmax_works_on_the_last_axis(logits):
    stacked = np.stack([logits, -logits])
    np.testing.assert_array_equal(softmax(stacked)[1], softmax(-logits))
    np.testing.assert_allclose(softmax(stacked).sum(axis=-1), 1, rtol=1e-15)


@pytest.mark.filterwarnings("error")
@pytest.mark.usefixtures("no_overflow")
@DTYPES
def test_logits_of_any_size(dtype):
    x = np.array([[1e4, -1e4, 0], [1e4, 1e4, -1e4], [-1e4, -1e4, -1e4]], dtype)
    np.testing.assert_array_equal(relu(x), np.where(x > 0, x, 0))
    np.testing.assert_allclose(sigmoid(x), [[1, 0, 0.5], [1, 1, 0], [0, 0, 0]], atol=1.2e-38)
    np.testing.assert_allclose(
        softmax(x), [[1, 0, 0], [0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3]], rtol=1e-6
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.usefixtures("no_overflow")
@DTYPES
@pytest.mark.parametrize(("label", "expected"), [(0, 0.0), (1, 2e4), (2, 1e4)])
def test_cross_entropy_of_logits_of_any_size(dtype, label, expected):
    assert cross_entropy(np.array([[1e4, -1e4, 0]], dtype), np.array([label])) == expected


def test_cross_entropy_is_the_mean_of_minus_log_softmax(logits):
    t = np.array([0, 1, 2, 3, 0, 1])
    expected = np.mean([-math.log(p[k]) for p, k in zip(softmax(logits), t, strict=True)])
    assert cross_entropy(logits, t) == pytest.approx(expected, rel=1e-14)


def test_cross_entropy_of_equal_logits_is_ln_k():
    assert cross_entropy(np.zeros((5, 10)), np.arange(5)) == pytest.approx(math.log(10), rel=1e-15)


@ELEMENTWISE
@DTYPES
def test_dtype_is_kept(function, dtype, logits):
    assert function(logits.astype(dtype)).dtype == dtype


@ELEMENTWISE
@DTYPES
def test_argument_is_kept(function, dtype, logits):
    x = logits.astype(dtype)
    function(x)
    np.testing.assert_array_equal(x, logits.astype(dtype))


@ELEMENTWISE
@DTYPES
def test_out_may_be_another_array_or_the_argument(function, dtype, logits):
    x = logits.astype(dtype)
    expected = function(x)
    other = np.empty_like(x)
    assert function(x, out=other) is other
    assert function(x, out=x) is x
    np.testing.assert_array_equal(other, expected)
    np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.bool_])
@pytest.mark.parametrize("shape", [(1,), (7, 5), (100, 784), (218_058,)])
def test_aligned_zeros(shape, dtype):
    array = aligned_zeros(shape, dtype)
    assert (array.shape, array.dtype) == (shape, dtype)
    assert array.ctypes.data % 64 == 0
    assert array.flags.c_contiguous
    assert not array.any()
