"""python -m mlp COMMAND: a trained network at work, and a search's memory."""

import argparse
import io
import json
import os
import sys
import textwrap
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mlp.export import write_onnx
from mlp.files import InputError, reason
from mlp.model_file import described
from mlp.module import MLP
from mlp.page import write_page
from mlp.pictures import read_labels, read_pictures
from mlp.search.journal import entries, own_files

WIDTH = 80  # columns of a terminal
SAMPLES = 20  # how many a page offers


def complain(command: str, error: Exception) -> None:
    """One line on standard error."""
    print(f"mlp {command}: {' '.join(str(error).split())}", file=sys.stderr)


def check_output(path: Path, *read: str | Path | None) -> None:
    """Raise InputError unless a file can take its place at `path`: that of nothing, or of a regular
    file that is none of those that are `read`."""
    if not path.name or (path.exists() and not path.is_file()):
        raise InputError(f"{path}: not the name of a regular file")
    for other in read:
        if other is not None and path.exists() and os.path.exists(other) and path.samefile(other):
            raise InputError(f"{path}: is read, so that it cannot be written")


def predict(arguments: argparse.Namespace) -> int:
    """Print what is seen in each image, a line an image; the exit status: 2 if any failed."""
    model = MLP.from_file(arguments.model)
    classes, shape = described(model, arguments.model)
    t = None if arguments.labels is None else read_labels(arguments.labels, len(classes))
    if t is not None and not len(t):
        raise InputError(f"{arguments.labels}: no labels")
    width = max(map(len, arguments.images))
    widest = max(map(len, classes))
    status, guesses = 0, []
    for source in arguments.images:
        try:
            images, inverted = read_pictures(source, shape, arguments.invert)
        except (InputError, OSError) as error:
            complain("predict", error)
            status = 2
            continue
        if inverted and arguments.invert == "auto":
            print(f"{source}: darker than its ground: inverted", file=sys.stderr)
        single = len(images) == 1
        names = [source if single else f"{source}[{i}]" for i in range(len(images))]
        width = max(width, len(names[-1]))
        with np.errstate(all="ignore"):
            probabilities = model.predict_proba(images.reshape(len(images), -1))
        if not np.isfinite(probabilities).all():
            raise InputError(f"{arguments.model}: what it makes of {source} is not finite")
        for name, y in zip(names, probabilities, strict=True):
            order = np.argsort(-y, kind="stable")[: arguments.top]
            guesses.append(int(order[0]))
            if arguments.json:
                top = [{"class": classes[k], "probability": float(y[k])} for k in order]
                print(json.dumps({"image": name, "inverted": inverted, "top": top}))
            else:
                columns = (f"{classes[k]:{widest}} {y[k]:.4f}" for k in order)
                print(f"{name + ':':{width + 1}} {'  '.join(columns)}")
    if t is not None:
        if len(t) != len(guesses):
            raise InputError(f"{arguments.labels}: {len(t):,} labels, but {len(guesses):,} images")
        hits = int(np.count_nonzero(t == guesses))
        if arguments.json:
            print(json.dumps({"accuracy": hits / len(t), "hits": hits, "images": len(t)}))
        else:
            print(f"accuracy {hits / len(t):.4f} ({hits:,} of {len(t):,})")
    return status


def info(arguments: argparse.Namespace) -> int:
    """Print what a model file says of itself."""
    model = MLP.from_file(arguments.model)
    print(f"{arguments.model}: {arguments.model.stat().st_size:,} bytes")
    print(model)
    for line in described_lines(model.metadata):
        print(line)
    return 0


def described_lines(values: dict[str, Any], indent: str = "") -> Iterator[str]:
    """A JSON-like dictionary as lines of at most 80 columns: names, and values beside or below."""
    for name, value in values.items():
        label = f"{indent}{name}"
        if isinstance(value, dict):
            yield label
            yield from described_lines(value, indent + "  ")
            continue
        several = value if isinstance(value, list | tuple) else [value]
        text = ", ".join(f"{v:.6g}" if isinstance(v, float) else str(v) for v in several)
        yield from textwrap.wrap(
            text, WIDTH, initial_indent=f"{label:<22} ", subsequent_indent=" " * 23
        ) or [label]


def export(arguments: argparse.Namespace) -> int:
    """Write a model as an ONNX file."""
    check_output(arguments.onnx, arguments.model)
    write_onnx(MLP.from_file(arguments.model), arguments.onnx, arguments.model)
    print(f"{arguments.onnx}: {arguments.onnx.stat().st_size:,} bytes")
    return 0


def page(arguments: argparse.Namespace) -> int:
    """Write the page that runs a model in the browser."""
    check_output(arguments.output, arguments.model, arguments.samples)
    model = MLP.from_file(arguments.model)
    _, shape = described(model, arguments.model)
    samples = np.zeros((0, *shape), np.uint8)
    if arguments.samples is not None:
        samples = read_pictures(arguments.samples, shape).images[:SAMPLES]
    write_page(model, arguments.output, samples, arguments.model)
    print(f"{arguments.output}: {arguments.output.stat().st_size:,} bytes")
    return 0


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
        sizes = "-".join(map(str, recipe.hidden_sizes))
        rates = (f"{rate:g}" for rate in (recipe.lr, recipe.l2_reg, recipe.lr_decay))
        counts = recipe.epochs, recipe.batch_size, recipe.optimizer, row["seed"]
        print(line.format(result, age, sizes, *rates, *counts))
    print(f"{len(found)} trials in {folder}")


def clear_trials(folder: Path) -> None:
    """Forget all trials: the next search trains each of them again."""
    files = own_files(folder, ".json")
    for file in (*files, *own_files(folder, ".npz")):
        file.unlink()
    print(f"{len(files)} trials removed from {folder}")


def trials(arguments: argparse.Namespace) -> int:
    """List what a search remembers, or forget it."""
    (clear_trials if arguments.clear else list_trials)(arguments.folder)
    return 0


def positive(text: str) -> int:
    """A whole number above 0; argparse makes a line of the ValueError."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def parser() -> argparse.ArgumentParser:
    """The commands and their arguments; `run` is the function of each."""
    parser = argparse.ArgumentParser(prog="python -m mlp", description=__doc__)
    commands = parser.add_subparsers(required=True, dest="command", metavar="COMMAND")

    def add(run: Any, help: str) -> argparse.ArgumentParser:
        command = commands.add_parser(run.__name__, help=help, description=f"{help}.")
        command.set_defaults(run=run)
        if run is not trials:
            command.add_argument("model", type=Path, help="a model file, e.g. data/model/best.npz")
        return command

    command = add(predict, "Say what a trained model sees in pictures")
    command.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="a picture of one garment, of any size, or an IDX file of images, which may be "
        "compressed by gzip; - is standard input",
    )
    command.add_argument(
        "--invert",
        choices=("auto", "yes", "no"),
        default="auto",
        help="negate pictures, because their garments are darker than the ground; auto finds out, "
        "and takes an IDX file of images of the model's size as it is",
    )
    command.add_argument(
        "--top", type=positive, default=3, metavar="K", help="how many classes (%(default)s)"
    )
    command.add_argument("--json", action="store_true", help="a JSON object a line")
    command.add_argument("--labels", metavar="IDX", help="what is right: print the accuracy too")

    add(info, "Say what a model file says of itself")

    command = add(export, "Write a model in another format")
    command.add_argument("--onnx", type=Path, required=True, metavar="OUT", help="an ONNX file")

    command = add(page, "Write a page that runs a model in the browser")
    command.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="its file")
    command.add_argument(
        "--samples",
        metavar="IMAGES",
        help=f"an IDX file, whose first {SAMPLES} images the page offers",
    )

    command = add(trials, "List the finished trials that a search remembers")
    command.add_argument("--folder", type=Path, default=Path("data/trials"), help="%(default)s")
    command.add_argument("--clear", action="store_true", help="forget them all")
    return parser


def main() -> None:
    for name, mode in {"stdin": "r", "stdout": "w", "stderr": "w"}.items():
        if getattr(sys, name) is None:  # closed, as by a shell's >&-
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for a locale without × and →
    arguments = parser().parse_args()
    warnings.formatwarning = lambda message, *_, **__: f"mlp {arguments.command}: {message}\n"
    try:
        status = arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141  # as of a program that the signal ended
    except KeyboardInterrupt:
        status = 130
    except (InputError, OSError) as error:
        complain(arguments.command, error)
        status = 2
    except (MemoryError, RecursionError, UnicodeError) as error:  # a last resort for odd files
        name = arguments.folder if arguments.command == "trials" else arguments.model
        complain(arguments.command, InputError(f"{name}: {reason(error)}"))
        status = 2
    sys.exit(status)


if __name__ == "__main__":
    main()
