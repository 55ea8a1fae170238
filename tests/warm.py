"""Real processes without the second that each would take to import what all of them import.

They are forked from one that has imported DVC and the libraries of the stages, on the pinned
kernels; so are the stages and workers that they start. Each imports the project from its folder.
For commands whose start is not what is tested.
"""

import functools
import gc
import hashlib
import multiprocessing
import os
import pickle
import runpy
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from multiprocessing import forkserver
from pathlib import Path
from typing import Any
from unittest.mock import patch

LIBRARIES = [
    # of DVC, which imports most of its own only when it comes to need it
    *("dvc.cli.parser", "dvc.data_cloud", "dvc.dirs", "dvc.render.match", "dvc.repo.collect"),
    *("dvc.repo.experiments.queue.celery", "dvc.repo.experiments.queue.tasks", "dvc.repo.graph"),
    *("dvc.repo.experiments.show", "dvc.repo.open_repo", "dvc.rwlock", "dvc.scm", "dvc_data.fs"),
    *("dvc.stage.run", "dvc.utils.strictyaml", "dvc_data.hashfile.db.local", "flufl.lock"),
    *("fsspec.implementations.memory", "networkx", "psutil", "pygit2", "zc.lockfile"),
    # of the stages, and of a search on a cluster
    "distributed",
    *("jinja2", "matplotlib.backends.backend_agg", "matplotlib.figure", "matplotlib.style"),
    *("pandas.io.formats.csvs", "PIL.PngImagePlugin", "pooch", "pydantic.main", "requests"),
    *("ruamel.yaml", "statistics", "threadpoolctl", "tqdm.auto"),
]

HERE = Path(__file__).parent
MEMORY = "MLP_TEST_MEMORY"  # names a folder for what the processes of a run of tests share
COLD = ("PYTHON", "LC_", "MLP_KERNELS")  # variables that count as a process starts
OURS = {str(HERE), str(HERE.parent)}
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["stages", *LIBRARIES, "warm", "remembered"])


def serves(command: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Whether it is DVC's or the project's, and may be forked; from DVC, which is not ours to test,
    the variables are passed on to its stages."""
    if command[0] != "python" or _cold(environ):
        return command[0] == "dvc"
    how, *rest = command[1:]
    if how == "-m":
        return rest[0].partition(".")[0] in ("mlp", "stages", "studies", "dask")
    return how == "-c" or Path(how).parent.name == ".ci"


def _cold(environ: Mapping[str, str]) -> bool:
    """Whether a process is to begin with variables that are not this one's."""
    return any(
        name.startswith(COLD) and value != os.environ.get(name) for name, value in environ.items()
    )


def run(
    command: tuple[str, ...], folder: Path, environ: dict[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run `dvc …` or `python …` in a folder, as subprocess.run does."""
    process = Started(command, folder, environ)
    try:
        out, err = process.communicate(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


class Started:
    """A command under way, as subprocess.Popen has it, in a session of its own; a cold one does not
    fork what it starts."""

    def __init__(
        self,
        command: tuple[str, ...],
        folder: Path,
        environ: dict[str, str],
        *,
        cold: bool = False,
        log: Path | None = None,
    ) -> None:
        self.command, self._folder = command, tempfile.TemporaryDirectory()
        own = [Path(self._folder.name) / stream for stream in ("out", "err")]
        self._printed = [log, log] if log else own
        for file in self._printed:
            file.touch()
        with patch.dict(os.environ, PYTHONPATH=os.pathsep.join(OURS)):
            forkserver.ensure_running()  # before Python 3.13 it does not get sys.path from here
        arguments = command, folder, environ, self._printed, not (cold or _cold(environ))
        self._process = _context.Process(target=_begin, args=arguments)
        self._process.start()
        self.pid, self.kill = self._process.pid, self._process.kill

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self) -> None:
        self._process.join()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.command, timeout)
        out, err = (file.read_text() for file in self._printed)
        self._folder.cleanup()
        return out, err


@functools.cache
def remember_yaml() -> None:
    """Have DVC parse each text once in all processes, which else is most of what it does: of
    dvc.lock, several times a command."""
    from dvc.utils import strictyaml
    from dvc.utils.serialize import _yaml

    parse = _yaml.parse_yaml

    @functools.cache
    def parsed(text: str, path: str, typ: str) -> bytes:
        name = hashlib.sha256(f"{typ} {text}".encode()).hexdigest()
        file = Path(os.environ[MEMORY]) / name
        if not file.exists():
            own = file.with_suffix(f".{os.getpid()}")
            own.write_bytes(pickle.dumps(parse(text, path, typ)))
            own.replace(file)
        return file.read_bytes()

    def parse_yaml(text: str, path: str, typ: str = "safe") -> Any:
        return pickle.loads(parsed(text, path, typ))

    _yaml.parse_yaml = strictyaml.parse_yaml = parse_yaml


def _begin(
    command: tuple[str, ...],
    folder: Path,
    environ: dict[str, str],
    printed: list[Path],
    forks: bool,
) -> None:
    for number, path in enumerate(printed, start=1):
        file = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    os.setsid()
    os.chdir(folder)
    if forks:
        subprocess.Popen = Popen
    _become(command, environ)


class Popen(subprocess.Popen):
    """What DVC and stages start: forked as well, if it is DVC, a stage or a worker."""

    def __init__(self, command: Any, **options: Any) -> None:
        if python := _python(command):
            for stream in (sys.stdout, sys.stderr):
                stream.flush()  # it is the child's too
            environ = dict(os.environ if options.get("env") is None else options["env"])
            # which does not return, so that the command itself is not begun
            options |= {"preexec_fn": partial(_fork, python, environ), "restore_signals": False}
        super().__init__(command, **options)


def _python(command: Any) -> tuple[str, ...] | None:
    """`dvc …`, `python -m …` or `python -c …`, if that is what a command comes to."""
    if isinstance(command, str):
        return None
    words = tuple(map(str, command))
    if words[-1].startswith("python -m ") and words[-2] == "-c":  # a stage's, through a shell
        words = tuple(shlex.split(words[-1]))
    if words[0] == sys.executable:
        words = ("python", *words[1:])
    forked = words[0] == "dvc" or words[:2] in {("python", "-m"), ("python", "-c")}
    return words if forked else None


def _fork(command: tuple[str, ...], environ: dict[str, str]) -> None:
    os.closerange(3, 1024)  # of those that are the parent's
    sys.stdin = None  # which is the worker's, and would be closed
    os._exit(multiprocessing.Process(target=_become, args=(command, environ))._bootstrap())


def _become(command: tuple[str, ...], environ: dict[str, str]) -> None:
    gc.freeze()  # what is there already, to leave its pages alone
    gc.set_threshold(100_000)  # it will not live long
    sys.dont_write_bytecode = False
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environ)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    if command[0] == "dvc":
        from dvc.cli import main

        remember_yaml()
        sys.argv = list(command)
        sys.exit(main(list(command[1:])))
    for name in list(sys.modules):
        if name.partition(".")[0] in ("mlp", "stages", "studies"):
            del sys.modules[name]  # the folder has its own
    sys.path[:] = [os.getcwd(), *(path for path in sys.path if path not in OURS)]
    sys.argv = ["", *command[3:]]
    if any(name.startswith("DASK_") for name in environ):
        import dask

        dask.config.refresh()
    if command[1] == "-c":
        exec(command[2], {"__name__": "__main__"})
    elif command[1] != "-m":
        sys.argv = list(command[1:])
        runpy.run_path(command[1], run_name="__main__")
    else:
        runpy.run_module(command[2], run_name="__main__", alter_sys=True)
