"""The pipeline's stages: `python -m stages.NAME`, from the project's root.

Imported before any of them, and before NumPy: pins the kernels that do the arithmetic, so that
every x86-64 processor with AVX2 rounds alike and `dvc.lock` can be reproduced to the bit.
"""

import io
import os
import platform
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

if platform.machine() in ("x86_64", "AMD64") and os.environ.get("MLP_KERNELS") != "native":
    os.environ["OPENBLAS_CORETYPE"] = "Haswell"
    # of NumPy's dispatch targets AVX2 and no more: "SIMD Extensions" of numpy.show_config()
    os.environ["NPY_ENABLE_CPU_FEATURES"] = "X86_V3"
    os.environ.pop("NPY_DISABLE_CPU_FEATURES", None)  # NumPy takes one of the two
    try:
        import numpy  # noqa: F401
    except RuntimeError:  # what NumPy raises for a feature that the processor lacks
        print(
            "stages: this processor lacks AVX2, on which the committed results rest; "
            "MLP_KERNELS=native runs without it (results may differ in the last bits)",
            file=sys.stderr,
        )
        sys.exit(2)


def run(main: Callable[..., None], *arguments: str) -> None:
    """Run a stage, which takes no arguments but --help, and those whose names are given.

    Bad input ends it with one line on standard error and exit status 2.
    """
    from mlp.files import InputError

    name = sys.modules["__main__"].__spec__.name  # type: ignore[union-attr]
    warnings.formatwarning = lambda message, *_, **__: f"{name}: {message}\n"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # an arrow that a locale lacks stops no training
            stream.reconfigure(errors="replace")
    try:
        if {"-h", "--help"} & set(sys.argv[1:]):
            print(usage(name, *arguments))
        elif len(sys.argv) - 1 > len(arguments):
            raise InputError(
                f"unknown arguments: {' '.join(sys.argv[1 + len(arguments) :])}; a stage takes "
                f"{' '.join(arguments) or 'none'}, its values are in params.yaml"
            )
        elif len(sys.argv) - 1 < len(arguments):
            raise InputError(f"{' '.join(arguments[len(sys.argv) - 1 :])}: is missing")
        else:
            main(*sys.argv[1:])
    except FileNotFoundError as error:
        repro = f"dvc repro {_pipeline(name)}".removesuffix(" dvc.yaml")
        fail(f"{name}: {error}; run {repro}, which runs the stages in order")
    except (InputError, OSError) as error:
        fail(f"{name}: {error}")
    except MemoryError as error:
        fail(f"{name}: not enough memory{': ' if error.args else ''}{error}")
    except RecursionError:
        fail(f"{name}: a file that it reads is nested too deeply")
    except UnicodeError as error:
        fail(f"{name}: a text that it reads or writes has another encoding: {error}")
    except KeyboardInterrupt as interrupt:
        fail(f"{name}: interrupted{': ' if interrupt.args else ''}{interrupt}", 130)


def fail(message: str, status: int = 2) -> None:
    print(message, file=sys.stderr)
    sys.exit(status)


def _pipeline(name: str) -> str:
    """The file that has a stage: its folder's dvc.yaml, or the root's."""
    own = Path(*name.split(".")[:-1], "dvc.yaml")
    return own.as_posix() if own.exists() else "dvc.yaml"


def usage(name: str, *arguments: str) -> str:
    """What `--help` prints: the stage's docstring, and its section of its dvc.yaml, in words."""
    from ruamel.yaml import YAML

    text = Path(_pipeline(name)).read_text(encoding="utf-8")
    stages = YAML(typ="safe").load(text)["stages"].values()
    words = re.compile(rf"-m {re.escape(name)}(?![\w.])")  # others' commands may be lists
    ours = (s for s in (s.get("do", s) for s in stages) if words.search(str(s.get("cmd"))))
    stage: dict[str, Any] = next(ours, {})

    def names(key: str) -> str:
        found = [next(iter(item)) if isinstance(item, dict) else item for item in stage[key]]
        return ", ".join(item for item in found if not item.endswith(".py"))

    kinds = [key for key in ("params", "deps", "outs", "metrics", "plots") if key in stage]
    call, doc = " ".join((name, *arguments)), (sys.modules["__main__"].__doc__ or "").strip()
    return (
        f"python -m {call}: `dvc repro` runs it if what it depends on changed.\n\n{doc}\n\n"
        + "".join(f"{key:<8} {names(key)}\n" for key in kinds if names(key))
        + "MLP_KERNELS=native lifts the pins of the processor's kernels."
    )
