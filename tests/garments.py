"""Real images of garments, and a network that was trained on them quickly."""

import functools
import gzip
from pathlib import Path

import numpy as np
import pytest

from mlp.data import Dataset, fit_normalisation
from mlp.module import MLP
from mlp.optimizer import Adam
from mlp.trainer import Trainer

ROOT = Path(__file__).parent.parent
FOLDERS = (ROOT / "data/raw", Path("/usr/share/datasets/fashion-mnist"))
CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"]
CLASSES += ["Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
SHAPE = (28, 28)


def idx_file(name: str) -> Path:
    """One of Zalando's four files, compressed or not; the test is skipped if it is not here."""
    for folder in FOLDERS:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    pytest.skip(f"{name} is neither in data/raw nor in a Debian package")


@functools.cache
def garments(part: str) -> Dataset:
    """Images (N, 28, 28) and labels (N,) of `train` or `t10k`."""

    def content(name: str) -> bytes:
        path = idx_file(f"{part}-{name}")
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()

    images = np.frombuffer(content("images-idx3-ubyte"), np.uint8, offset=16)
    labels = np.frombuffer(content("labels-idx1-ubyte"), np.uint8, offset=8)
    return Dataset(images.reshape(-1, *SHAPE), labels.astype(np.int64))


def describe(model: MLP) -> MLP:
    model.metadata = {"classes": CLASSES, "image_shape": SHAPE}
    return model


@functools.cache
def trained_model() -> MLP:
    """784 → 128 → 10, after a few epochs on a third of the images: 86 % right on those to test."""
    images, t = (a[:21_000] for a in garments("train"))
    x, rng = images.reshape(len(images), -1), np.random.default_rng(0)
    model = MLP(784, [128], 10, normalisation=fit_normalisation(images), rng=rng)
    train, val = Dataset(x[1000:], t[1000:]), Dataset(x[:1000], t[:1000])
    optimizer = Adam(lr=0.003, lr_decay=1, l2_reg=0.0001)
    kind = "running"  # which the training images need not be gone through again for
    Trainer(model, optimizer, train, val, batch_size=200, rng=rng, train_metrics=kind).fit(6)
    return describe(model)


def untrained_model(*hidden: int) -> MLP:
    """784 → 24 → 16 → 10 with random weights, whose probabilities are far from 0 and from 1."""
    rng = np.random.default_rng(4)
    model = MLP(784, hidden or (24, 16), 10, normalisation={"mean": 0.3, "std": 0.35}, rng=rng)
    model.params += 0.02 * rng.standard_normal(model.params.size, np.float32)
    return describe(model)
