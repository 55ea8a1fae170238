"""python -m mlp predict MODEL IMAGE…: what a trained model sees in images.
python -m mlp trials: what a search remembers.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlp.files import InputError
from mlp.idx import IMAGES_MAGIC, read_idx
from mlp.module import MLP
from mlp.search.journal import entries, entry_files


def read_images(path: Path, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Images (N, rows, columns) of an IDX file, or the one (1, rows, columns) of a picture.

    Raises InputError if they are not of `shape`, or the file is neither.
    """
    with path.open("rb") as file:
        is_idx = file.read(4) == IMAGES_MAGIC.to_bytes(4, "big")
    if is_idx:
        images = read_idx(path, IMAGES_MAGIC)
    else:
        from PIL import Image, UnidentifiedImageError  # the library itself does without Pillow

        try:
            with Image.open(path) as picture:
                images = np.array(picture.convert("L"))[None]
        except UnidentifiedImageError as error:
            raise InputError(f"{path}: neither a picture nor an IDX file of images") from error
    if images.shape[1:] != shape:
        rows, columns = images.shape[1:]
        raise InputError(f"{path}: {columns}×{rows} pixels; this model takes {shape[1]}×{shape[0]}")
    return images


def predict(model_file: Path, paths: list[Path]) -> None:
    """Print each image's most probable class and its probability, a line an image."""
    model = MLP.from_file(model_file)
    try:
        classes, shape = model.metadata["classes"], tuple(model.metadata["image_shape"])
    except KeyError as error:
        raise InputError(f"{model_file}: its metadata lacks {error}") from error
    for path in paths:
        images = read_images(path, shape)
        x = images.reshape(len(images), -1)
        for number, probabilities in enumerate(model.predict_proba(x)):
            name = str(path) if len(images) == 1 else f"{path}[{number}]"
            y = probabilities.argmax()
            print(f"{name}: {classes[y]} {probabilities[y]:.4f}")


def list_trials(folder: Path) -> None:
    """Print what the journal of a search remembers, a line a trial, oldest first."""
    line = "{:>8} {:>7}  {:<12}{:<8}{:<8}{:<6}{:>6}{:>6}  {:<8}{:>5}"
    heads = "accuracy age sizes lr l2_reg decay epochs batch method seed"
    print(line.format(*heads.split()))
    found = list(entries(folder))
    for path, recipe, row in found:
        minutes = int((time.time() - path.stat().st_mtime) / 60)
        age = f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
        result = f"{row['val_accuracy']:.4f}" if row["status"] == "ok" else row["status"]
        sizes = "-".join(map(str, recipe["hidden_sizes"]))
        rates = (f"{recipe[name]:g}" for name in ("lr", "l2_reg", "lr_decay"))
        counts = recipe["epochs"], recipe["batch_size"], recipe["optimizer"], row["seed"]
        print(line.format(result, age, sizes, *rates, *counts))
    print(f"{len(found)} trials in {folder}")


def clear_trials(folder: Path) -> None:
    """Forget all trials: the next search trains each of them again."""
    files = entry_files(folder)
    for file in (*files, *folder.glob("*.npz")):  # the latter are checkpoints of trials
        file.unlink()
    print(f"{len(files)} trials removed from {folder}")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m mlp", description="A trained network at work, and a search's memory."
    )
    commands = parser.add_subparsers(required=True, dest="command", metavar="COMMAND")
    command = commands.add_parser(
        "predict",
        help="classify images with a trained model",
        description="Print the most probable class of each image, and its probability.",
    )
    command.add_argument("model", type=Path, help="a model file, e.g. data/model/best.npz")
    command.add_argument(
        "images",
        type=Path,
        nargs="+",
        metavar="IMAGE",
        help="a picture (garment bright on dark, of the model's size), or an IDX file of images",
    )
    command = commands.add_parser(
        "trials",
        help="list the finished trials that a search remembers",
        description="List the finished trials that a search remembers: validation accuracy, age, "
        "size and configuration.",
    )
    command.add_argument("--folder", type=Path, default=Path("data/trials"), help="%(default)s")
    command.add_argument("--clear", action="store_true", help="forget them all")
    arguments = parser.parse_args()
    try:
        if arguments.command == "predict":
            predict(arguments.model, arguments.images)
        elif arguments.clear:
            clear_trials(arguments.folder)
        else:
            list_trials(arguments.folder)
    except (InputError, OSError) as error:
        print(f"mlp {arguments.command}: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
