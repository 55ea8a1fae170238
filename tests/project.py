"""A copy of the project with a small data set, for tests that run the real commands."""

import copy
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import numpy as np
import warm
import yaml
from filelock import FileLock

from mlp.files import write_text

ROOT = Path(__file__).parent.parent
COPIED = (
    "mlp",
    "stages",
    "dvc.yaml",
    "params.yaml",
    "requirements.txt",
    ".dvcignore",
    ".gitignore",
    ".gitattributes",
)
SMALLER = (  # figures, which are soon drawn
    ("mlp/plots/style.py", "DPI = 200", "DPI = 50"),
    ("stages/evaluate.py", "SHOWN_MISTAKES = 24", "SHOWN_MISTAKES = 6"),
)
STAGES = ("fetch", "preprocess", "grid-search", "train-best", "evaluate", "visualise")
SHAPE, CLASSES = (6, 5), ("square", "circle", "NA")  # a name that pandas would take for nothing
SIZES = {"train": 300, "test": 60}
IDENTITY = {  # of the commits that Git and DVC make, where the machine has none
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in {"NAME": "test", "EMAIL": "test@localhost"}.items()
}

# Without compiled arithmetic, whose bits are the same and whose import takes a second a process;
# with one job, whose rows are those of several
ENVIRON = {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "MLP_COMPILED": "0",
    "MLP_JOBS": "1",
    **IDENTITY,
}


def write_idx(path: Path, array: np.ndarray) -> None:
    """An IDX file of unsigned bytes, compressed if the name ends in .gz."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    content = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_source(folder: Path, seed: int = 0) -> dict[str, dict[str, str]]:
    """Four IDX files of classes that a network can tell apart, and what params.yaml is to say of
    them under fetch.files."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    prototypes = rng.integers(0, 256, (len(CLASSES), *SHAPE))
    files = {}
    for part, size in SIZES.items():
        t = np.arange(size) % len(CLASSES)
        images = np.clip(prototypes[t] + rng.normal(0, 90, (size, *SHAPE)), 0, 255)
        for kind, array in {"images": images, "labels": t}.items():
            name = f"{part}-{kind}"
            write_idx(folder / f"{name}.gz", array)
            content = gzip.decompress((folder / f"{name}.gz").read_bytes())
            files[f"{part}_{kind}"] = {
                "name": name,
                "sha256": hashlib.sha256(content).hexdigest(),
            }
    return files


class Project:
    """A folder with the project's code, its own params.yaml, Git and DVC."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.source = folder / "source"
        self.folder.mkdir(parents=True)
        for name in COPIED:
            if (ROOT / name).is_dir():
                compiled = shutil.ignore_patterns("*.nb[ci]")  # by numba, which the tests forbid
                shutil.copytree(ROOT / name, self.folder / name, ignore=compiled)
            else:
                shutil.copy(ROOT / name, self.folder / name)
        for name, line, small in SMALLER:
            source = self.folder / name
            source.write_text(source.read_text().replace(line, small))
        (self.folder / ".dvc").mkdir()
        for name in ("config", ".gitignore"):
            shutil.copy(ROOT / ".dvc" / name, self.folder / ".dvc" / name)
        shutil.copytree(ROOT / ".dvc" / "plots", self.folder / ".dvc" / "plots")
        self.params = yaml.safe_load((self.folder / "params.yaml").read_text())
        small = {
            "fetch.folders": [str(self.source)],
            "fetch.urls": [],
            "fetch.debian_package": None,
            "fetch.files": write_source(self.source),
            "preprocess.classes": list(CLASSES),
            "preprocess.val_size": 30,
            "search.hidden_size1": [4, 6],
            "search.hidden_size2": [4],
            "search.lr": [0.01, 0.001],
            "search.l2_reg": [0.001],
            "search.epochs": 2,
            "train.epochs": 15,
            "train.lr": "best",  # so that the model is another if the search finds another
            "train.schedule": "inverse_time",  # with which each of the params may be changed alone
        }
        self.set(small)
        for command in ("init -q --template=", "add -A", "commit -qm project"):
            self.call("git", *command.split())

    @classmethod
    def finished(cls, root: Path) -> "Project":
        """A project whose stages have all run and whose results are committed; made once for all
        processes that test. Copy it."""
        with FileLock(root / "finished.lock"):
            if (root / "finished.ok").exists():
                project = object.__new__(cls)
                project.folder, project.source = (
                    root / "finished" / name for name in ("project", "source")
                )
                project.params = yaml.safe_load((project.folder / "params.yaml").read_text())
                return project
            project = cls(root / "finished")
            assert project.repro() == list(STAGES)
            for command in ("add -A", "commit -qm results", "gc -q"):  # a file, quickly copied
                project.call("git", *command.split())
            (root / "finished.ok").touch()
            return project

    def copy(self, folder: Path) -> Self:
        """The same project at another place."""
        other = object.__new__(type(self))
        other.folder, other.source = folder / "project", self.source
        shutil.copytree(self.folder, other.folder, symlinks=True)
        other.params = copy.deepcopy(self.params)
        return other

    def set(self, changes: dict[str, Any]) -> None:
        """Write params.yaml with some values changed, by their dotted names.

        As a new file, because Git takes one of the same size, changed within the second, for the
        one that it checked out: its index keeps times in seconds.
        """
        for key, value in changes.items():
            section, *path = key.split(".")
            values = self.params[section]
            for name in path[:-1]:
                values = values[name]
            values[path[-1]] = value
        write_text(self.folder / "params.yaml", yaml.safe_dump(self.params, sort_keys=False))

    def call(
        self, *command: str, status: int | None = 0, timeout: float = 600, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the project; `status` is the exit status that it must have."""
        env = os.environ | ENVIRON | environ
        if warm.serves(command, environ):
            done = warm.run(command, self.folder, env, timeout)
        else:
            done = subprocess.run(
                command,
                cwd=self.folder,
                env=env,
                capture_output=True,
                text=True,
                errors="replace",  # of another locale
                timeout=timeout,
            )
        if status is not None:
            assert done.returncode == status, done.stdout + done.stderr
        return done

    def stage(self, name: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.call("python", "-m", f"stages.{name.replace('-', '_')}", **options)

    def repro(self, *arguments: str, **options: Any) -> list[str]:
        """`dvc repro`; returns the stages that were not skipped as unchanged."""
        return changed(self.call("dvc", "repro", *arguments, **options).stdout)


def changed(output: str) -> list[str]:
    """The stages that DVC ran, or answered from its run cache."""
    return re.findall(
        r"^(?:Running stage '(?=.*:$)|Stage '(?=.* is cached))([\w-]+)'", output, re.M
    )
