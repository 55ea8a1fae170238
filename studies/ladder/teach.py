"""What the ensemble says of the training images: its mean probabilities, for each variant."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import threadpool_limits

from mlp.arrays import Array
from mlp.data import load_problem
from mlp.files import InputError, atomic
from mlp.module import MLP
from mlp.recipe import augmentation_of
from stages import run
from stages.paths import PROCESSED
from studies.ladder import SOFT_LABELS, STUDENT, TEACHER, model_files, rungs

BLOCK = 5000  # images that a thread takes at a time


def main() -> None:
    problem = load_problem(PROCESSED)
    augmentation = augmentation_of(rungs()[STUDENT], problem)
    if augmentation is None:
        raise InputError(f"{STUDENT}: flip or shift is needed, or its teacher has nothing to add")
    teachers = [MLP.from_file(path) for path in model_files(TEACHER)]
    x, n, variants = np.asarray(problem.train.x), len(problem.train.t), augmentation.variants
    soft_labels = np.empty((n, variants, len(problem.classes)), np.float32)

    def teach(block: slice, variant: int) -> None:
        index = np.arange(n)[block]
        images = np.empty((len(index), x.shape[1]), x.dtype)
        augmentation.gather(x, index, np.full(len(index), variant), images)
        answers: list[Array] = [teacher.predict_proba(images) for teacher in teachers]
        soft_labels[block, variant] = np.mean(answers, axis=0)

    blocks = [slice(start, start + BLOCK) for start in range(0, n, BLOCK)]
    # prediction is safe from threads, and a block's bits do not depend on who computes it
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(os.cpu_count()) as threads:
        tasks = [threads.submit(teach, block, v) for v in range(variants) for block in blocks]
        for task in tasks:
            task.result()
    with atomic(SOFT_LABELS) as path, path.open("wb") as file:
        np.save(file, soft_labels, allow_pickle=False)
    print(f"{len(teachers)} teachers, {n:,} images in {variants} variants")


if __name__ == "__main__":
    run(main)
