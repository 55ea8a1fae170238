"""The data: IDX files as they should be and as they should not, normalisation, split, batches."""

import gzip
import io
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from mlp.arrays import Rows
from mlp.data import (
    Batches,
    Dataset,
    fit_normalisation,
    load_dataset,
    save_dataset,
    stratified_split,
)
from mlp.files import InputError
from mlp.idx import (
    IMAGES_MAGIC,
    LABELS_MAGIC,
    check_pair,
    copy_idx,
    idx_shape,
    read_idx,
    read_pair,
)
from mlp.layers import Normalise

IMAGES = np.arange(4 * 3 * 2, dtype=np.uint8).reshape(4, 3, 2)
LABELS = np.array([0, 2, 1, 2], np.uint8)


def write_idx(path, array):
    magic = 0x0800 + array.ndim
    path.write_bytes(struct.pack(f">{1 + array.ndim}I", magic, *array.shape) + array.tobytes())


@pytest.fixture
def images(tmp_path):
    path = tmp_path / "images.idx"
    write_idx(path, IMAGES)
    return path


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / "labels.idx"
    write_idx(path, LABELS)
    return path


def complaint(function, *arguments):
    """The message of the InputError, which has to be one line."""
    with pytest.raises(InputError) as error:
        function(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_read_idx(images, labels):
    np.testing.assert_array_equal(read_idx(images, IMAGES_MAGIC), IMAGES)
    np.testing.assert_array_equal(read_idx(labels, LABELS_MAGIC), LABELS)
    assert idx_shape(images, IMAGES_MAGIC) == (4, 3, 2)


def test_read_idx_of_a_size_that_needs_all_four_bytes(labels):
    write_idx(labels, np.zeros(70_000, np.uint8))
    assert read_idx(labels, LABELS_MAGIC).shape == (70_000,)


def test_read_pair(images, labels):
    x, t = read_pair(images, labels, 3)
    np.testing.assert_array_equal(x, IMAGES)
    np.testing.assert_array_equal(t, LABELS)
    assert t.dtype == np.int64
    assert check_pair(images, labels) == (4, 3, 2)


@pytest.mark.parametrize("length", [17, 39])
def test_truncated_file(images, length):
    images.write_bytes(images.read_bytes()[:length])
    message = complaint(read_idx, images, IMAGES_MAGIC)
    assert message.startswith(f"{images}: truncated")
    assert message.endswith(f"40 bytes ((4, 3, 2)), it has {length}")


@pytest.mark.parametrize("length", [4, 10, 15])
def test_truncated_header(images, length):
    images.write_bytes(images.read_bytes()[:length])
    assert complaint(read_idx, images, IMAGES_MAGIC).startswith(f"{images}: truncated")


def test_file_that_is_too_long(images):
    images.write_bytes(images.read_bytes() + b"\0")
    assert ": too long" in complaint(read_idx, images, IMAGES_MAGIC)


@pytest.mark.parametrize(
    "content", [b"", gzip.compress(b"other"), b"<html></html>" * 5], ids=["", "gzip", "html"]
)
def test_file_of_another_kind(images, content):
    images.write_bytes(content)
    assert complaint(read_idx, images, IMAGES_MAGIC).startswith(f"{images}: not an IDX file")


@pytest.mark.parametrize("name", ["images.idx", "images.idx.gz"])
@pytest.mark.parametrize("tail", [b"", bytes(100)], ids=["", "zeros"])
def test_read_idx_of_gzip_whatever_its_name(images, name, tail):
    content = images.read_bytes()
    path = images.with_name(name)
    path.write_bytes(gzip.compress(content) + tail)
    array = read_idx(path, IMAGES_MAGIC)
    np.testing.assert_array_equal(array, IMAGES)
    array[0] = 1  # as that of a plain file
    assert idx_shape(path, IMAGES_MAGIC) == (4, 3, 2)
    target = io.BytesIO()
    copy_idx(path, IMAGES_MAGIC, target)
    assert target.getvalue() == content


def test_read_idx_of_a_plain_file_whose_name_ends_in_gz(images):
    path = images.rename(images.with_name("images.gz"))
    np.testing.assert_array_equal(read_idx(path, IMAGES_MAGIC), IMAGES)


HEADER = struct.pack(">4I", IMAGES_MAGIC, 4, 3, 2)
DAMAGE = {
    "short": (gzip.compress(HEADER + bytes(23)), "truncated: its header announces 40 bytes"),
    "long": (gzip.compress(HEADER + bytes(25)), "too long: its header announces 40 bytes"),
    "cut off": (gzip.compress(HEADER + bytes(24))[:-5], "damaged"),
    "cut off early": (gzip.compress(HEADER + bytes(24))[:12], "damaged"),
    "of another checksum": (gzip.compress(HEADER + bytes(24))[:-8] + bytes(8), "damaged"),
    "followed by something": (gzip.compress(HEADER + bytes(24)) + b"more", "damaged"),
    "not deflate": (b"\x1f\x8b\x08\0" + bytes(40), "damaged"),
    "a promise": (gzip.compress(struct.pack(">4I", IMAGES_MAGIC, *3 * [2**32 - 1])), "truncated"),
    "a plain promise": (struct.pack(">4I", IMAGES_MAGIC, *3 * [2**32 - 1]), "truncated"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_gzip(images, case):
    content, message = DAMAGE[case]
    images.write_bytes(content)
    assert complaint(read_idx, images, IMAGES_MAGIC).startswith(f"{images}: {message}")


def test_a_bomb_takes_no_more_memory_than_its_header_announces(images):
    images.write_bytes(gzip.compress(HEADER + bytes(1 << 25)))
    tracemalloc.start()
    try:
        assert "too long" in complaint(read_idx, images, IMAGES_MAGIC)
        assert tracemalloc.get_traced_memory()[1] < 1 << 22
    finally:
        tracemalloc.stop()


def test_a_limit_on_what_is_copied(images):
    images.write_bytes(gzip.compress(images.read_bytes()))
    target = io.BytesIO()
    assert "at most 39" in complaint(copy_idx, images, IMAGES_MAGIC, target, 39)
    assert target.getvalue() == b""


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, Path("/dev/zero")):
        assert complaint(read_idx, path, IMAGES_MAGIC) == f"{path}: not a regular file"
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "none", IMAGES_MAGIC)


def test_images_and_labels_swapped(images, labels):
    assert complaint(read_pair, labels, images, 3).endswith("(are images and labels swapped?)")


def test_counts_that_differ(images, labels):
    write_idx(labels, LABELS[:3])
    message = complaint(read_pair, images, labels, 3)
    assert message == f"{images} holds 4 images, but {labels} 3 labels"


def test_no_images(images, labels):
    write_idx(images, IMAGES[:0])
    write_idx(labels, LABELS[:0])
    assert "no pixels" in complaint(read_pair, images, labels, 3)


def test_label_out_of_range(images, labels):
    message = complaint(read_pair, images, labels, 2)
    assert "label 2 at position 1" in message
    assert "0 to 1" in message


def test_normalisation_is_numpys_mean_and_std(rng):
    images = rng.integers(0, 256, (20, 7, 5), dtype=np.uint8)
    normalisation = fit_normalisation(images)
    assert normalisation["mean"] == pytest.approx((images / 255).mean(), rel=1e-14)
    assert normalisation["std"] == pytest.approx((images / 255).std(), rel=1e-12)


def test_normalisation_maps_to_zero_mean_and_unit_variance(rng):
    images = rng.integers(0, 200, (20, 35), dtype=np.uint8)
    x = Normalise(**fit_normalisation(images)).forward(images)
    assert abs(x.mean(dtype=np.float64)) < 1e-6
    assert x.std(dtype=np.float64) == pytest.approx(1, abs=1e-6)


def test_normalisation_by_hand():
    # half of the pixels 0 and half 255
    images = np.array([[[0, 255]], [[255, 0]]], np.uint8)
    assert fit_normalisation(images) == {"mean": 0.5, "std": 0.5}


def test_normalisation_of_pixels_that_are_all_equal():
    assert "same value" in complaint(fit_normalisation, np.full((3, 2, 2), 7, np.uint8))


@pytest.fixture
def uneven(rng):
    """Labels of three classes with 700, 280 and 20 samples."""
    return rng.permutation(np.repeat([0, 1, 2], [700, 280, 20]))


def test_split_is_disjoint_complete_and_ascending(uneven, rng):
    first, second = stratified_split(uneven, 100, rng)
    assert len(second) == 100
    np.testing.assert_array_equal(np.sort(np.concatenate([first, second])), np.arange(1000))
    assert np.all(np.diff(first) > 0)
    assert np.all(np.diff(second) > 0)


def test_split_gives_each_class_its_share(uneven, rng):
    first, second = stratified_split(uneven, 100, rng)
    np.testing.assert_array_equal(np.bincount(uneven[second]), [70, 28, 2])
    np.testing.assert_array_equal(np.bincount(uneven[first]), [630, 252, 18])


def test_split_rounds_the_largest_remainders_up(rng):
    # 9 of 20: shares of 2.25, 4.05 and 2.7
    t = rng.permutation(np.repeat([0, 1, 2], [5, 9, 6]))
    np.testing.assert_array_equal(np.bincount(t[stratified_split(t, 9, rng)[1]]), [2, 4, 3])


@pytest.mark.parametrize("size", [1, 7, 33, 500, 999])
def test_split_of_shares_that_are_not_whole(size, uneven, rng):
    second = stratified_split(uneven, size, rng)[1]
    assert len(second) == size
    shares = np.array([700, 280, 20]) * size / 1000
    assert np.all(np.abs(np.bincount(uneven[second], minlength=3) - shares) < 1)


def test_split_with_a_class_that_does_not_occur(rng):
    t = np.array([0, 2] * 5)
    second = stratified_split(t, 4, rng)[1]
    np.testing.assert_array_equal(np.bincount(t[second]), [2, 0, 2])


def test_split_depends_on_the_seed_alone(uneven):
    splits = [stratified_split(uneven, 100, np.random.default_rng(seed))[1] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(splits[0], splits[1])
    assert not np.array_equal(splits[0], splits[2])


def test_split_does_not_favour_a_place(uneven):
    chosen = np.zeros(1000)
    for seed in range(200):
        chosen[stratified_split(uneven, 100, np.random.default_rng(seed))[1]] += 1
    # each half of the positions gets half of 200 · 100, give or take five standard deviations
    assert chosen[:500].sum() == pytest.approx(10_000, abs=500)


@pytest.mark.parametrize("size", [0, -1, 1000, 1001])
def test_split_that_leaves_nothing(size, uneven, rng):
    complaint(stratified_split, uneven, size, rng)


@pytest.fixture
def numbered():
    """Ten samples of bytes, (i, 10 i) with label i."""
    numbers = np.arange(10)
    return Dataset(np.stack([numbers, 10 * numbers], axis=1).astype(np.uint8), numbers)


def test_save_and_load(numbered, tmp_path):
    save_dataset(tmp_path, "train", numbered)
    loaded = load_dataset(tmp_path, "train")
    for mine, found in zip(numbered, loaded, strict=True):
        assert isinstance(found, np.memmap)
        assert found.dtype == mine.dtype
        np.testing.assert_array_equal(found, mine)
    assert {path.name for path in tmp_path.iterdir()} == {"train_x.npy", "train_t.npy"}
    with pytest.raises(ValueError, match="read-only"):
        loaded.x[0, 0] = 1


def gather(x):
    """A batch's samples: bytes are handed over as rows to gather."""
    return x.gather() if isinstance(x, Rows) else x


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(
    ("size", "sizes"), [(5, [5, 5]), (4, [4, 4, 2]), (1, [1] * 10), (99, [10])]
)
def test_batches_take_each_sample_once_with_its_label(size, sizes, dtype, numbered, rng):
    numbered = numbered._replace(x=numbered.x.astype(dtype))
    batches = [(gather(x).copy(), t.copy()) for x, t in Batches(numbered, size).shuffled(rng)]
    assert [len(t) for _, t in batches] == sizes
    x, t = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    np.testing.assert_array_equal(np.sort(t), np.arange(10))
    np.testing.assert_array_equal(x, np.stack([t, 10 * t], axis=1))
    assert x.dtype == dtype


def test_batches_come_in_another_order_each_epoch(numbered, rng):
    batches = Batches(numbered, 10)
    first, second = (next(iter(batches.shuffled(rng)))[1].copy() for _ in range(2))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, np.arange(10))


def test_batches_use_the_same_memory_and_leave_the_data_alone(numbered, rng):
    before = numbered.x.copy()
    batches = Batches(numbered, 4)
    places = {
        (gather(x).ctypes.data, t.ctypes.data) for _ in range(2) for x, t in batches.shuffled(rng)
    }
    assert len(places) == 1
    np.testing.assert_array_equal(numbered.x, before)
