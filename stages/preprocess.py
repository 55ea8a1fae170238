"""Check the images, split validation images off, and measure what the network normalises by.

Of the test files only the headers are read here, so that a mismatch is found before the search
rather than after it; their content is left to the evaluate stage.
"""

import numpy as np

from mlp.data import Dataset, Problem, fit_normalisation, save_problem, stratified_split
from mlp.files import InputError
from mlp.idx import check_pair, read_pair
from stages import run
from stages.params import load
from stages.paths import PROCESSED, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS


def main() -> None:
    params = load()
    classes = params.preprocess.classes
    images, t = read_pair(TRAIN_IMAGES, TRAIN_LABELS, len(classes))
    test_shape = check_pair(TEST_IMAGES, TEST_LABELS)
    if test_shape[1:] != images.shape[1:]:
        raise InputError(
            f"{TEST_IMAGES} holds images of {test_shape[1]}×{test_shape[2]} pixels, "
            f"but {TRAIN_IMAGES} of {images.shape[1]}×{images.shape[2]}"
        )

    rng = np.random.default_rng(params.base.seed)
    split = stratified_split(t, params.preprocess.val_size, rng)
    x = images.reshape(len(images), -1)
    train, val = (Dataset(x[part], t[part]) for part in split)
    normalisation = fit_normalisation(train.x)
    save_problem(PROCESSED, Problem(train, val, tuple(classes), images.shape[1:], normalisation))
    print(f"{len(train.t):,} training and {len(val.t):,} validation images")


if __name__ == "__main__":
    run(main)
