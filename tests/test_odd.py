"""Odd input to what every stage depends on: right or refused."""

import io
import os
import warnings
import zipfile

import numpy as np
import pytest

from mlp.files import InputError, atomic, parse_json, read_npz


@pytest.mark.parametrize("name", ["", ".", "/"])
def test_no_name(name):
    with pytest.raises(InputError, match="not the name of a file"), atomic(name):
        pass


def test_nothing_but_a_regular_file_is_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="not a regular file"), atomic(tmp_path / "pipe"):
        pass
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("second", ["x.npy", "x"])
def test_an_array_twice(second, tmp_path):
    content = io.BytesIO()
    np.save(content, np.zeros(3))
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        warnings.simplefilter("ignore")
        for name in ("x.npy", second):
            archive.writestr(name, content.getvalue())
    with pytest.raises(InputError, match="has an array twice"):
        read_npz(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": 2}', '[{"b": {"a": 1, "a": 1}}]', "[1e999]", "-1e400"]
)
def test_json_that_says_two_things_or_no_number(text):
    with pytest.raises(ValueError, match=r"twice|is no number"):
        parse_json(text)


def test_samples_of_half_precision(network):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert network.predict(np.ones((2, 5), np.float16)).shape == (2,)
