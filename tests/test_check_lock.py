"""`make check-lock`: on a clone without the data, each kind of disagreement is found."""

import importlib.util
import re
import shutil
from contextlib import chdir
from pathlib import Path

import pytest
import warm
from dvc.repo import Repo
from project import ROOT, STAGES, Project

SCRIPT = ROOT / ".ci" / "check_lock.py"
spec = importlib.util.spec_from_file_location("check_lock", SCRIPT)
check_lock = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check_lock)
warm.remember_yaml()

# A second pipeline, which reads what the first has written
LADDER = """\
stages:
  count:
    cmd: python -c "open('counts.csv', 'w').write('3')"
    deps:
    - ../../data/raw/t10k-labels-idx1-ubyte
    - ../../mlp/layers.py
    - ../../reports/best_params.json
    params:
    - ../../params.yaml:
      - train.lr
    plots:
    - counts.csv:
        cache: false
"""


@pytest.fixture(scope="module")
def committed(finished: Project, tmp_path_factory) -> Project:
    """The finished project with a second pipeline, all of it committed."""
    project = finished.copy(tmp_path_factory.mktemp("committed"))
    ladder = project.folder / "studies" / "ladder"
    ladder.mkdir(parents=True)
    (ladder / "dvc.yaml").write_text(LADDER)
    project.call("dvc", "repro", "-q", "studies/ladder/dvc.yaml")
    for command in ("add -A", "commit -qm ladder"):
        project.call("git", *command.split())
    return project


@pytest.fixture
def clone(committed: Project, tmp_path: Path) -> Project:
    project = object.__new__(Project)
    project.folder = tmp_path / "clone"
    committed.call("git", "clone", "-q", str(committed.folder), str(project.folder))
    return project


def found(project: Project) -> set[str]:
    with chdir(project.folder), Repo() as repo:
        return {*check_lock.disagreements(repo)}


def edit(project: Project, path: str, old: str, new: str, count: int = 1) -> None:
    """Replace a text in a file, in which it must be, as often as `count` says (-1: everywhere)."""
    file = project.folder / path
    text = file.read_text()
    assert re.search(old, text)
    file.write_text(re.sub(old, new, text, count=max(count, 0)))


def test_a_clone_agrees(clone: Project):
    done = clone.call("python", str(SCRIPT))
    assert done.stdout == "dvc.lock agrees with what 7 stages name\n"
    assert not (clone.folder / "data" / "raw").exists()


def test_the_exit_status_is_1(clone: Project):
    edit(clone, "mlp/metrics.py", "^", "# ")
    done = clone.call("python", str(SCRIPT), status=1)
    assert "evaluate: mlp/metrics.py: is not what dvc.lock says\n" in done.stderr
    assert done.stdout == ""
    (clone.folder / "dvc.lock").write_text("stages: [")
    done = clone.call("python", str(SCRIPT), status=1)
    assert "dvc.lock" in done.stderr
    assert "Traceback" not in done.stderr


# What is edited, and all that is to be said of it
FIRST = "of dvc.lock, but not of dvc.yaml"
LADDERS = "studies/ladder/dvc.yaml:count"
CASES = {
    "a source": (
        ("mlp/layers.py", "^", "# "),
        {
            f"{stage}: mlp/layers.py: is not what dvc.lock says"
            for stage in ("grid-search", "train-best", "evaluate", "visualise")
        }
        | {f"{LADDERS}: ../../mlp/layers.py: is not what dvc.lock says"},
    ),
    "a param": (
        ("params.yaml", "patience: null", "patience: 11"),
        {
            f"{stage}: params.yaml: train: is not what dvc.lock says"
            for stage in ("train-best", "visualise")
        },
    ),
    "a param that is missing": (
        ("params.yaml", "seed: 42", "sed: 42"),
        {
            f"{stage}: params.yaml: base.seed: is missing"
            for stage in ("preprocess", "grid-search", "train-best", "visualise")
        },
    ),
    "a report": (
        ("reports/per_class.csv", "square", "round"),
        {"evaluate: reports/per_class.csv: is not what dvc.lock says"},
    ),
    "a report that is read": (
        ("reports/best_params.json", "{", "{ "),
        {
            f"{stage}: reports/best_params.json: is not what dvc.lock says"
            for stage in ("grid-search", "train-best", "visualise")
        }
        | {f"{LADDERS}: ../../reports/best_params.json: is not what dvc.lock says"},
    ),
    "a report of the second pipeline": (
        ("studies/ladder/counts.csv", "3", "4"),
        {f"{LADDERS}: counts.csv: is not what dvc.lock says"},
    ),
    "a command": (
        ("dvc.yaml", "python -m stages.evaluate", "python -B -m stages.evaluate"),
        {"evaluate: its command is not that of dvc.lock"},
    ),
    "a dep more": (
        ("dvc.yaml", "- mlp/metrics.py", "- mlp/metrics.py\n    - mlp/export.py"),
        {"evaluate: mlp/export.py: is not in dvc.lock"},
    ),
    "a dep less": (
        ("dvc.yaml", "    - mlp/metrics.py\n", ""),
        {f"evaluate: mlp/metrics.py: is among the deps {FIRST}"},
    ),
    "a param more": (
        ("dvc.yaml", "- base.seed\n    - search", "- base\n    - search"),
        {"grid-search: params.yaml: base: is not in dvc.lock"},
    ),
    "an out less": (
        ("dvc.yaml", r"    - reports/per_class.csv:\n(?:        .*\n)+", ""),
        {f"evaluate: reports/per_class.csv: is among the outs {FIRST}"},
    ),
    "a stage more": (
        ("dvc.lock", "^  visualise:", "  painted:"),
        {"visualise: is not in dvc.lock", "painted: is in dvc.lock, but not in dvc.yaml"},
    ),
    "data of another making": (
        ("dvc.lock", r"(?s)(  train-best:.*?path: data/processed.*?md5: )\w+", r"\g<1>" + "f" * 32),
        {
            "train-best: data/processed: is not what preprocess has written",
            "train-best: data/processed: is not what grid-search has read",
        },
    ),
    "a model of another making": (
        ("dvc.lock", r"(?s)(  train-best:.*?outs:\n    - path: data/model.*?md5: )\w", r"\g<1>x"),
        {
            f"{stage}: data/model: is not what train-best has written"
            for stage in ("evaluate", "visualise")
        },
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_disagreement_is_found(clone: Project, case: str):
    (path, old, new), expected = CASES[case]
    edit(clone, path, f"(?m){old}", new)
    assert found(clone) == expected


def test_what_is_missing_is_found(clone: Project):
    (clone.folder / "reports" / "metrics.json").unlink()
    next((clone.folder / "reports" / "figures").iterdir()).unlink()
    assert found(clone) == {
        "evaluate: reports/metrics.json: is missing",
        "visualise: reports/metrics.json: is missing",
        "visualise: reports/figures: is not what dvc.lock says",
    }
    (clone.folder / "dvc.lock").unlink()
    assert {f"{stage}: is not in dvc.lock" for stage in STAGES} <= found(clone)


def test_a_file_of_a_folder_is_compared_where_the_folder_is(clone: Project, committed: Project):
    """… and without the data, with what the other pipeline has read."""
    edit(
        clone,
        "studies/ladder/dvc.lock",
        r"(path: ../../data/raw/t10k-labels-idx1-ubyte\n      hash: md5\n      md5: )\w+",
        r"\g<1>" + "f" * 32,
    )
    path = "data/raw/t10k-labels-idx1-ubyte"
    assert found(clone) in (  # whichever DVC names first
        {f"{LADDERS}: ../../{path}: is not what evaluate has read"},
        {f"evaluate: {path}: is not what {LADDERS} has read"},
    )
    shutil.copytree(
        committed.folder / ".dvc" / "cache", clone.folder / ".dvc" / "cache", dirs_exist_ok=True
    )
    assert f"{LADDERS}: ../../{path}: is not what fetch has written" in found(clone)
