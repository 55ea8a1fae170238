"""A small search in a copy of the project, for tests that disturb it with real signals."""

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import warm
from project import ENVIRON, Project

REPORTS = ("grid_search.csv", "best_params.json")
SEARCH = {
    "search.hidden_size1": [24, 32],
    "search.hidden_size2": [16, 24],
    "search.lr": [0.01, 0.001, 0.0001],
    "search.epochs": 60,
}
TRIALS = 12

# Besides the stage: a trial that kills the process that takes it up
DEADLY = """
import os, runpy, stages, mlp.search
from mlp.search.trial import Trial

class Deadly(Trial):
    def run(self, problem):
        os.kill(os.getpid(), 9)

def trial(recipe, *arguments, **options):
    deadly = recipe.lr == 0.0001 and recipe.hidden_sizes[0] == 24
    return (Deadly if deadly else Trial)(recipe, *arguments, **options)

def main():
    mlp.search.Trial = trial
    runpy.run_module("stages.grid_search", run_name="__main__", alter_sys=True)
"""


class Search(Project):
    """A project that has been preprocessed, and its search, with nothing in its journal."""

    @classmethod
    def of(cls, finished: Project, folder: Path) -> "Search":
        project = finished.copy(folder)
        search = object.__new__(cls)
        search.folder, search.source = project.folder, project.source
        search.params = project.params
        search.forget()
        search.set(SEARCH)
        return search

    def forget(self) -> None:
        for name in ("data/trials", "reports"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def start(
        self, *command: str, cold: bool = False, **environ: str
    ) -> "subprocess.Popen[str] | warm.Started":
        """The search in a process group of its own; what a cold one starts imports what it needs
        itself."""
        command = command or ("python", "-m", "stages.grid_search")
        env = os.environ | ENVIRON | {"MLP_JOBS": "2"} | environ
        if warm.serves(command, environ):
            return warm.Started(command, self.folder, env, cold=cold)
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def trials(self) -> dict[str, int]:
        """The journal's entries and when each was written."""
        return {
            path.name: path.stat().st_mtime_ns
            for path in (self.folder / "data" / "trials").glob("*.json")
        }

    def wait_for(self, trials: int, timeout: float = 60) -> None:
        deadline = time.monotonic() + timeout
        while len(self.trials()) < trials:
            assert time.monotonic() < deadline, "no more trials were finished"
            time.sleep(0.005)

    def reports(self) -> list[bytes]:
        return [(self.folder / "reports" / name).read_bytes() for name in REPORTS]

    def run_with_a_deadly_trial(self, **environ: str) -> None:
        """The search, with a trial of 24 neurons at 0.0001 that no process survives."""
        (self.folder / "deadly.py").write_text(DEADLY)
        self.call("python", "-c", "import deadly; deadly.main()", **environ)


def workers(process: "subprocess.Popen[str] | warm.Started") -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(process.pid).children(recursive=True)
        # of one that is started, and of one that is forked
        ours = re.compile("mlp.search.processes|multiprocessing.forkserver")
        return [child for child in children if ours.search(" ".join(child.cmdline()))]
    return []


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def wait_until(condition: Callable[[], object], timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
