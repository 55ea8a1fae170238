"""Check the images, split validation images off, and measure what the network normalises by."""

import numpy as np

from mlp.data import Dataset, Problem, fit_normalisation, save_problem, stratified_split
from mlp.idx import read_pair
from stages import run
from stages.params import load
from stages.paths import PROCESSED, TRAIN_IMAGES, TRAIN_LABELS


def main() -> None:
    params = load()
    classes = params.preprocess.classes
    images, t = read_pair(TRAIN_IMAGES, TRAIN_LABELS, len(classes))
    rng = np.random.default_rng(params.base.seed)
    split = stratified_split(t, params.preprocess.val_size, rng)
    x = images.reshape(len(images), -1)
    train, val = (Dataset(x[part], t[part]) for part in split)
    normalisation = fit_normalisation(train.x)
    save_problem(PROCESSED, Problem(train, val, tuple(classes), images.shape[1:], normalisation))
    print(f"{len(train.t):,} training and {len(val.t):,} validation images")


if __name__ == "__main__":
    run(main)
