"""Real processes without the second that each would take to import what all of them import.

They are forked from one that has imported DVC and the libraries of the stages, on the pinned
kernels, and nothing of the project. For commands whose start is not what is tested.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from multiprocessing import forkserver
from pathlib import Path
from unittest.mock import patch

LIBRARIES = [
    *("dvc.cli.parser", "dvc.repo", "jinja2", "matplotlib.backends.backend_agg"),
    *("matplotlib.figure", "pandas", "PIL.PngImagePlugin", "pooch", "pydantic", "ruamel.yaml"),
    *("threadpoolctl", "tqdm.auto"),
]

HERE = Path(__file__).parent
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["stages", *LIBRARIES, "warm"])


def serves(command: tuple[str, ...], environ: dict[str, str]) -> bool:
    """Whether it is DVC's or a stage's, with no variable that counts as a process starts."""
    stage = command[:2] == ("python", "-m") and command[2].startswith(("stages.", "studies."))
    cold = [name for name in environ if name.startswith(("PYTHON", "LC_", "MLP_KERNELS"))]
    return (stage or command[0] == "dvc") and not cold


def run(
    command: tuple[str, ...], folder: Path, environ: dict[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run `dvc …` or `python -m …` in a folder, as subprocess.run does."""
    with patch.dict(os.environ, PYTHONPATH=os.pathsep.join((str(HERE.parent), str(HERE)))):
        forkserver.ensure_running()  # before Python 3.13 it does not get sys.path from here
    with tempfile.TemporaryDirectory() as printed:
        process = _context.Process(target=_become, args=(command, folder, environ, printed))
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            raise subprocess.TimeoutExpired(command, timeout)
        out, err = ((Path(printed) / stream).read_text() for stream in ("out", "err"))
    return subprocess.CompletedProcess(command, process.exitcode, out, err)


def _become(command: tuple[str, ...], folder: Path, environ: dict[str, str], printed: str) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, stream in enumerate(("out", "err"), start=1):
        file = os.open(Path(printed) / stream, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    if command[0] == "dvc":
        from dvc.cli import main

        sys.argv = list(command)
        sys.exit(main(list(command[1:])))
    for name in list(sys.modules):
        if name.partition(".")[0] in ("mlp", "stages", "studies"):
            del sys.modules[name]  # the folder has its own
    sys.path.insert(0, str(folder))
    sys.argv = ["", *command[3:]]
    runpy.run_module(command[2], run_name="__main__", alter_sys=True)
