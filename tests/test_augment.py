"""Augmentation: flips and shifts of images, drawn evenly, and the same bytes compiled or not."""

import numpy as np
import pytest

from mlp.augment import Augmentation, background
from mlp.data import Batches, Dataset
from mlp.files import InputError

ARITHMETIC = pytest.mark.parametrize("arithmetic", ["plain", "compiled"], indirect=True)
IMAGE = np.arange(1, 7, dtype=np.uint8)[None]  # 1 2 3 / 4 5 6


def variants_of(augmentation, image=IMAGE):
    n = augmentation.variants
    out = np.empty((n, image.shape[1]), image.dtype)
    index = np.zeros(n, np.int64)
    augmentation.gather(image, index, np.arange(n), out)
    return out.reshape(n, *augmentation.image_shape).tolist()


@ARITHMETIC
def test_flips_by_hand(arithmetic):
    expected = [[[1, 2, 3], [4, 5, 6]], [[3, 2, 1], [6, 5, 4]]]
    assert variants_of(Augmentation((2, 3), flip=True)) == expected


@ARITHMETIC
def test_shifts_by_hand(arithmetic):
    found = variants_of(Augmentation((2, 3), shift=1, background=9))
    assert len(found) == 9
    assert found[0] == [[9, 9, 9], [9, 1, 2]] or found[0] == [[5, 6, 9], [9, 9, 9]]
    for expected in (
        [[1, 2, 3], [4, 5, 6]],  # where it was
        [[9, 1, 2], [9, 4, 5]],  # right
        [[2, 3, 9], [5, 6, 9]],  # left
        [[9, 9, 9], [1, 2, 3]],  # down
        [[4, 5, 6], [9, 9, 9]],  # up
        [[9, 9, 9], [9, 1, 2]],
        [[9, 9, 9], [2, 3, 9]],
        [[9, 4, 5], [9, 9, 9]],
        [[5, 6, 9], [9, 9, 9]],
    ):
        assert expected in found


@ARITHMETIC
def test_flips_and_shifts_are_each_others_product(arithmetic):
    found = variants_of(Augmentation((2, 3), flip=True, shift=1))
    assert len(found) == 18
    assert len({str(image) for image in found}) == 18
    mirrored = IMAGE.reshape(2, 3)[:, ::-1].reshape(1, 6)
    shifted = variants_of(Augmentation((2, 3), shift=1), mirrored)
    assert all(image in found for image in shifted)


@pytest.mark.parametrize("seed", range(5))
def test_compiled_and_plain_give_the_same_bytes(seed, set_arithmetic):
    rng = np.random.default_rng(seed)
    shape, n, m = tuple(int(k) for k in rng.integers(3, 12, 2)), 20, 9
    augmentation = Augmentation(shape, bool(seed % 2), seed % 3, background=seed)
    x = rng.integers(0, 256, (m, shape[0] * shape[1]), np.uint8)
    x.flags.writeable = False
    index, variants, found = rng.integers(0, m, n), augmentation.draw(n, rng), []
    for arithmetic in ("plain", "compiled"):
        set_arithmetic(arithmetic)
        out = np.empty((n, x.shape[1]), np.uint8)
        found.append(augmentation.gather(x, index, variants, out).tobytes())
    assert found[0] == found[1]


def test_each_variant_is_as_frequent(rng):
    augmentation = Augmentation((5, 5), flip=True, shift=1)
    counts = np.bincount(augmentation.draw(18_000, rng), minlength=18)
    # chi-squared with 17 degrees of freedom: below 40.8 in 999 of 1,000
    assert ((counts - 1000) ** 2 / 1000).sum() < 40.8


def test_numbers_of_other_kinds(rng):
    x = rng.standard_normal((4, 6))
    out = np.empty((1, 6))
    Augmentation((2, 3), flip=True).gather(x, np.array([2]), np.array([1]), out)
    np.testing.assert_array_equal(out.reshape(2, 3), x[2].reshape(2, 3)[:, ::-1])


@pytest.mark.parametrize("shift", [3, 4, -1])
def test_a_shift_out_of_the_image_is_refused(shift):
    with pytest.raises(InputError, match=r"0 or more that leave some of 3×5"):
        Augmentation((3, 5), shift=shift)


def test_background_is_what_borders_show_most():
    images = np.full((3, 4, 5), 7, np.uint8)
    images[:, 1:-1, 1:-1] = 0  # most pixels, none at the border
    images[0, 0, 0] = 3
    assert background(images.reshape(3, 20), (4, 5)) == 7


def test_batches_hand_over_variants_and_their_soft_labels(rng):
    """Each sample in its variant, beside what the teacher says of that one."""
    augmentation = Augmentation((1, 3), flip=True)
    x = np.arange(30, dtype=np.uint8).reshape(10, 3)
    soft_labels = np.arange(20, dtype=np.float32).reshape(10, 2, 1)
    batches = Batches(
        Dataset(x, np.arange(10)), 4, augmentation=augmentation, soft_labels=soft_labels
    )
    seen = []
    for images, t in batches.shuffled(rng):
        for image, label in zip(images, t, strict=True):
            sample, variant = divmod(int(label[0]), 2)
            assert image.tolist() == x[sample][:: -1 if variant else 1].tolist()
            seen.append(sample)
    assert sorted(seen) == list(range(10))
