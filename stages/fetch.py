"""Get the four IDX files of the data set from the first source that has them.

Whatever the source, a file is taken only if its decompressed content has the SHA-256 that
params.yaml names, and data/raw is left as it was until all four files are there.
FASHION_MNIST_DIR names a folder that is asked before those of params.yaml.
"""

import os
import sys
from pathlib import Path

import pooch

from mlp.files import InputError, temporary
from mlp.idx import IMAGES_MAGIC, LABELS_MAGIC, check_pair, copy_idx
from stages import run
from stages.params import SourceFile, load
from stages.paths import RAW, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS
from stages.sources import LARGEST, VARIABLE, reason, sources


def take(path: Path, wanted: SourceFile, target: Path) -> None:
    """Decompress `path` to `target`. Raises InputError if that is not what is wanted."""
    magic = IMAGES_MAGIC if target.name in (TRAIN_IMAGES.name, TEST_IMAGES.name) else LABELS_MAGIC
    with target.open("wb") as file:
        copy_idx(path, magic, file, limit=LARGEST)
    found = pooch.file_hash(str(target), alg="sha256")
    if found != wanted.sha256:
        raise InputError(
            f"{path}: the SHA-256 of its decompressed content is {found}, "
            f"but params.yaml (fetch.files) expects {wanted.sha256}"
        )


def check(folder: Path) -> None:
    """Raise InputError if the files do not fit each other, as their headers tell: better now than
    after a search. Nothing else but evaluate opens those of the test set."""
    (_, *train), (_, *test) = (
        check_pair(folder / images.name, folder / labels.name)
        for images, labels in ((TRAIN_IMAGES, TRAIN_LABELS), (TEST_IMAGES, TEST_LABELS))
    )
    if train != test:
        sizes = ["×".join(map(str, size)) for size in (test, train)]
        raise InputError(
            f"{TEST_IMAGES.name} holds images of {sizes[0]} pixels, "
            f"but {TRAIN_IMAGES.name} of {sizes[1]}"
        )


def main() -> None:
    fetch = load().fetch
    missing = {
        TRAIN_IMAGES: fetch.files.train_images,
        TRAIN_LABELS: fetch.files.train_labels,
        TEST_IMAGES: fetch.files.test_images,
        TEST_LABELS: fetch.files.test_labels,
    }
    targets, failures = list(missing), []
    with temporary(RAW.absolute()) as folder:
        folder.mkdir(exist_ok=True)
        for name, find in sources(fetch):
            found = []
            try:
                for target, wanted in list(missing.items()):
                    take(find(wanted.name, folder), wanted, folder / target.name)
                    found.append(missing.pop(target).name)
            except (OSError, InputError) as error:
                if isinstance(error, InputError) and Path(name).is_dir():
                    raise  # a folder of the user's, or a checksum, is wrong: say so, and no more
                failures.append(f"{name}: {reason(error)}".replace(f"{folder}/", ""))
                print(f"fetch: {failures[-1]}", file=sys.stderr, flush=True)
            for file_name in found:  # here, where it is no fault of the source if nobody reads it
                print(f"fetch: {file_name} from {name}", flush=True)
            if not missing:
                break
        if missing:
            raise InputError(
                f"no source has {', '.join(file.name for file in missing.values())}; tried:\n"
                + "".join(f"  {failure}\n" for failure in failures)
                + f"Set {VARIABLE} to a folder that holds the files (NAME.gz or NAME), or on "
                "Debian and Ubuntu:\n  apt-get update && apt-get install dataset-fashion-mnist"
            )
        try:
            check(folder)
        except InputError as error:
            raise InputError(str(error).replace(f"{folder}/", "")) from error
        RAW.mkdir(exist_ok=True)
        for target in targets:
            os.replace(folder / target.name, target)


if __name__ == "__main__":
    run(main)
