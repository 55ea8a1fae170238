"""The metrics, by hand."""

import numpy as np
import pytest

from mlp.files import InputError
from mlp.metrics import (
    calibration,
    confusion_matrix,
    examples,
    macro_micro_average,
    per_class,
    top_k_accuracy,
    wilson_interval,
)

# truth 0: two of three right, one taken for 1; truth 1: right; truth 2: one right, one taken for 0
T = np.array([0, 0, 0, 1, 2, 2])
Y = np.array([0, 1, 0, 1, 0, 2])
CONFUSION = np.array([[2, 1, 0], [0, 1, 0], [1, 0, 1]])


def test_confusion_matrix_has_truth_in_rows():
    np.testing.assert_array_equal(confusion_matrix(T, Y, 3), CONFUSION)


def test_confusion_matrix_of_classes_that_do_not_occur():
    np.testing.assert_array_equal(
        confusion_matrix(np.array([0]), np.array([1]), 3), [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    )


def test_confusion_matrix_of_narrow_labels():
    t = np.full(3, 19, np.uint8)  # 19 · 20 + 19 is no uint8
    assert confusion_matrix(t, t, 20)[19, 19] == 3


def test_per_class_by_hand():
    metrics = per_class(CONFUSION)
    np.testing.assert_allclose(metrics.precision, [2 / 3, 1 / 2, 1])
    np.testing.assert_allclose(metrics.recall, [2 / 3, 1, 1 / 2])
    # 2 p r / (p + r)
    np.testing.assert_allclose(metrics.f1, [2 / 3, 2 / 3, 2 / 3])
    np.testing.assert_array_equal(metrics.support, [3, 1, 2])


@pytest.mark.filterwarnings("error")
def test_undefined_quotients_are_zero():
    # nobody guessed 1, and no sample is a 2
    metrics = per_class(np.array([[1, 0, 0], [1, 0, 1], [0, 0, 0]]))
    np.testing.assert_allclose(metrics.precision, [1 / 2, 0, 0])
    np.testing.assert_allclose(metrics.recall, [1, 0, 0])
    np.testing.assert_allclose(metrics.f1, [2 / 3, 0, 0])


def test_macro_average_by_hand():
    macro, _ = macro_micro_average(CONFUSION)
    assert macro.precision == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert macro.recall == pytest.approx((2 / 3 + 1 + 1 / 2) / 3)
    assert macro.f1 == pytest.approx(2 / 3)


def test_micro_average_is_the_accuracy():
    _, micro = macro_micro_average(CONFUSION)
    assert micro == pytest.approx((4 / 6, 4 / 6, 4 / 6))


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        (8, 10, 0.4902, 0.9433),
        (0, 10, 0.0, 0.2775),  # z² / (n + z²) = 3.8415 / 13.8415
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),  # from here on Newcombe (1998), table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_against_published_values(hits, n, low, high):
    assert wilson_interval(hits, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("n", [1, 3, 10, 21, 999, 10_000])
def test_wilson_interval_stays_between_0_and_1(n):
    for hits in (0, 1, n - 1, n):
        low, high = wilson_interval(hits, n)
        assert 0 <= low < high <= 1


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.int64, float])
def test_an_interval_of_every_kind_of_number(kind):
    assert wilson_interval(kind(45_000), kind(50_000)) == wilson_interval(45_000, 50_000)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int64])
def test_a_number_of_classes_of_every_kind(kind):
    assert confusion_matrix([0, 1], [0, 25], kind(26)).shape == (26, 26)


def test_more_hits_than_samples_are_named():
    with pytest.raises(InputError, match="3 hits in 2: "):
        wilson_interval(3, 2)


def test_wilson_interval_narrows_with_n_and_widens_with_z():
    low, high = wilson_interval(9000, 10000)
    assert 0.89 < low < 0.9 < high < 0.91
    assert wilson_interval(9000, 10000, z=3)[0] < low


def test_interval_of_a_single_sample():
    # z² = 3.8415: 0 to z² / (1 + z²), and what is left of 1
    assert wilson_interval(0, 1) == pytest.approx((0, 0.79345), abs=5e-6)
    assert wilson_interval(1, 1) == pytest.approx((0.20655, 1), abs=5e-6)


def test_averages_of_a_single_sample_and_of_none():
    assert macro_micro_average(np.array([[1]])) == ((1, 1, 1), (1, 1, 1))
    assert macro_micro_average(np.zeros((2, 2), int)) == ((0, 0, 0), (0, 0, 0))


@pytest.mark.parametrize(("t", "y"), [([0], [0, 1, 2]), ([0, 1, 2], [0])])
def test_labels_are_as_many_as_guesses(t, y):
    with pytest.raises(InputError, match="samples, but"):
        confusion_matrix(np.array(t), np.array(y), 3)


# --- examples -------------------------------------------------------------------------------------


def test_examples_by_hand():
    # six hits of class 0, then two errors, then a hit of class 1
    t = np.array([0, 0, 0, 0, 0, 0, 0, 0, 1])
    y = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1])
    confidence = np.array([0.6, 0.9, 0.7, 0.5, 0.8, 0.4, 0.55, 0.65, 0.99])

    def shown(most, total=9):
        return examples(t, y, confidence, most, total).tolist()

    assert shown(9) == [1, 4, 2, 0, 3, 5, 7, 6, 8]
    assert shown(5) == [1, 4, 2, 3, 5, 7, 6, 8]  # three surest hits and the two least sure
    assert shown(4) == [1, 4, 3, 5, 7, 6, 8]
    assert shown(3) == [1, 4, 5, 7, 6, 8]
    assert shown(1) == [1, 7, 8]
    assert shown(0) == []
    assert shown(9, total=8) == [
        1,
        4,
        2,
        3,
        5,
        7,
        6,
        8,
    ]  # as many of each cell as there is room for
    assert shown(9, total=7) == [1, 4, 3, 5, 7, 6, 8]
    assert shown(9, total=3) == [1, 7, 8]
    assert shown(9, total=2) == [1, 7]  # less than one of each: the first cells
    assert examples(t[:0], y[:0], confidence[:0], 5, 3).tolist() == []


# --- calibration ----------------------------------------------------------------------------------


def test_calibration_by_hand():
    # sure by 0.6 and 0.8 in the second of two bins, 0.5 in the first, which includes its upper end
    probabilities = np.array([[0.6, 0.4], [0.2, 0.8], [0.5, 0.5]])
    found = calibration(probabilities, np.array([0, 0, 0]), bins=2)
    np.testing.assert_allclose(found.confidence, [0.5, 0.7])
    np.testing.assert_allclose(found.accuracy, [1, 0.5])  # of equals, the first is the guess
    np.testing.assert_array_equal(found.support, [1, 2])
    # (1 · |0.5 - 1| + 2 · |0.7 - 0.5|) / 3
    assert found.error == pytest.approx(0.9 / 3)


def test_calibration_of_what_is_never_sure():
    found = calibration(np.array([[0.5, 0.5]]), np.array([0]))
    assert found.support.tolist() == [0] * 7 + [1] + [0] * 7
    assert found.confidence.tolist() == [0] * 7 + [0.5] + [0] * 7


def test_calibration_of_what_is_always_sure():
    found = calibration(np.eye(3), np.array([0, 1, 1]))
    assert found.support.tolist() == [0] * 14 + [3]
    assert found.error == pytest.approx(1 / 3)


def test_bins_of_what_is_not_between_0_and_1():
    """Rounding may make a probability of 1 a little more, and a row may be nothing but zeros."""
    found = calibration(np.array([[1 + 1e-6, 0], [0, 0], [0, 0]]), np.array([0, 1, 0]), bins=3)
    np.testing.assert_array_equal(found.support, [2, 0, 1])
    np.testing.assert_allclose(found.accuracy, [0.5, 0, 1])


def test_perfect_calibration(rng):
    """Labels drawn by the probabilities themselves."""
    probabilities = rng.dirichlet([0.3, 0.3, 0.3], 40_000)
    t = (probabilities.cumsum(axis=1) < rng.random((40_000, 1))).sum(axis=1)
    assert calibration(probabilities, t).error < 0.01
    assert calibration(probabilities**2 / (probabilities**2).sum(1)[:, None], t).error > 0.05


def test_top_k_accuracy_by_hand():
    probabilities = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.4, 0.4, 0.2]])
    t = np.array([1, 0, 1])
    # a label as probable as another is behind it
    found = [top_k_accuracy(probabilities, t, k) for k in (1, 2, 3)]
    assert found == pytest.approx([0, 2 / 3, 1])


@pytest.mark.parametrize("measure", [calibration, lambda p, t: top_k_accuracy(p, t, 2)])
@pytest.mark.parametrize("t", [[0, 3], [0], [-1, 0], [0.0, 1.0]])
def test_labels_that_do_not_fit_probabilities(measure, t):
    with pytest.raises(InputError):
        measure(np.full((2, 3), 1 / 3), np.array(t))


MASKED = np.ma.masked_array([0, 1], [False, True])
NO_PROBABILITIES = [[], None, [0.5, 0.5], [["a"]], [[1, 0]], [[-0.1, 1.1]], [[np.nan, 1.0]]]


@pytest.mark.parametrize("p", NO_PROBABILITIES)
@pytest.mark.parametrize("measure", [calibration, lambda p, t: top_k_accuracy(p, t, 1)])
def test_what_are_no_probabilities(measure, p):
    with pytest.raises(InputError, match="probabilities"):
        measure(p, [0])


@pytest.mark.parametrize("wrong", [MASKED, [[], 0], [], None, [0.5, 1.0]])
def test_what_are_no_labels_or_guesses(wrong):
    with pytest.raises(InputError):
        confusion_matrix(np.array([0, 1]), wrong, 2)
    with pytest.raises(InputError):
        confusion_matrix(wrong, np.array([0, 1]), 2)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint64, np.int64])
def test_labels_of_every_kind_of_integer(dtype):
    found = confusion_matrix(T.astype(dtype), Y.astype(np.uint64), 3)
    np.testing.assert_array_equal(found, CONFUSION)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_matrices_are_taken_as_arrays(rng):
    p, t = rng.dirichlet(np.ones(4), 50), rng.integers(0, 4, 50)
    matrix = np.asmatrix(p)
    assert top_k_accuracy(matrix, t, 2) == top_k_accuracy(p, t, 2)
    assert calibration(matrix, t).error == calibration(p, t).error


@pytest.mark.parametrize(
    "confusion",
    [
        CONFUSION[:1],  # these two broadcast to numbers above 1
        CONFUSION[:, :1],
        CONFUSION[:2],
        CONFUSION[0],
        CONFUSION[None],
        CONFUSION - 1,
        CONFUSION / 2,
        CONFUSION * np.nan,
        np.zeros((0, 0), int),
    ],
)
def test_what_is_no_confusion_matrix(confusion):
    for average in (per_class, macro_micro_average):
        with pytest.raises(InputError, match="a confusion matrix of"):
            average(confusion)


def test_a_confusion_matrix_as_lists_and_as_bytes():
    for confusion in (CONFUSION.tolist(), CONFUSION.astype(np.uint8)):
        assert macro_micro_average(confusion) == macro_micro_average(CONFUSION)


@pytest.mark.parametrize(("hits", "n"), [(5, 3), (0, 0), (-1, 3), (float("nan"), 3)])
def test_what_is_no_proportion(hits, n):
    with pytest.raises(InputError, match="hits in"):
        wilson_interval(hits, n)


def test_what_is_no_probability_no_bin_and_no_rank():
    p, t = np.full((4, 3), 1 / 3), [0, 1, 2, 0]
    for share in (9.0, 1.5):
        with pytest.raises(
            InputError, match=r"^probabilities above 1: softmax makes them of logits$"
        ):
            calibration(p + share, t)
    assert calibration(p * 3 * 1.001, t).support[-1] == 4  # rounding of half precision
    assert calibration(p, t, 1).support == [4]
    for bins in (0, -3):
        with pytest.raises(InputError, match="one or more are needed"):
            calibration(p, t, bins)
    for k in (0, -1):
        with pytest.raises(InputError, match="1 or more are needed"):
            top_k_accuracy(p, t, k)
