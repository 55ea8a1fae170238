"""The pipeline through the real `dvc`, on a small data set."""

import csv
import json
import re
import shutil
import time
from pathlib import Path

import pytest
import warm
import yaml
from dvc.repo import Repo
from project import ROOT, STAGES, Project, changed

warm.remember_yaml()

ALL = list(STAGES)
# A changed value for each parameter, and the stages that must run then. "*": the stages after
# grid-search too if, and only if, another configuration wins.
AFTER_FETCH = ALL[1:]
TRAINED = ["train-best", "evaluate", "visualise"]
CASES = {
    "base.seed": (7, AFTER_FETCH),
    "fetch.folders": ("twice", ["fetch"]),
    "fetch.urls": (["http://localhost:9"], ["fetch"]),
    "fetch.debian_package": ("no-such-package", ["fetch"]),
    "fetch.files.train_images.name": ("renamed", ["fetch", "visualise"]),
    "fetch.files.train_labels.name": ("renamed", ["fetch", "visualise"]),
    "fetch.files.test_images.name": ("renamed", ["fetch", "visualise"]),
    "fetch.files.test_labels.name": ("renamed", ["fetch", "visualise"]),
    "preprocess.classes": (["square", "circle", "cross"], AFTER_FETCH),
    "preprocess.val_size": (60, AFTER_FETCH),
    "search.hidden_size1": ([4], "search"),
    "search.hidden_size2": ([4, 5], "search"),
    "search.lr": ([0.002], "search"),
    "search.l2_reg": ([0.01], "search"),
    "search.activation": ("sigmoid", "search"),
    "search.optimizer": ("momentum", "search"),
    "search.epochs": (1, "search"),
    "search.batch_size": (50, "search"),
    "search.lr_decay": (0.5, "search"),
    "search.seeds": (2, "search"),
    "search.strategy": ("halving", "search"),
    "search.halving.rungs": (2, ["grid-search", "visualise"]),
    "search.halving.factor": (2, ["grid-search", "visualise"]),
    "train.hidden_size1": (7, TRAINED),
    "train.hidden_size2": (7, TRAINED),
    "train.lr": (0.00001, TRAINED),
    "train.l2_reg": (0.5, TRAINED),
    "train.activation": ("sigmoid", TRAINED),
    "train.optimizer": ("sgd", TRAINED),
    "train.epochs": (2, TRAINED),
    "train.batch_size": (20, TRAINED),
    "train.lr_decay": (0.1, TRAINED),
    "train.schedule": ("cosine", TRAINED),
    "train.warmup": (0.1, TRAINED),
    "train.weight_decay": (0.5, TRAINED),
    "train.label_smoothing": (0.2, TRAINED),
    "train.flip": (False, TRAINED),
    "train.shift": (2, TRAINED),
    "train.input_dropout": (0.2, TRAINED),
    "train.dropout": (0.1, TRAINED),
    "train.batch_norm": (True, TRAINED),
    "train.patience": (1, TRAINED),
}


@pytest.fixture(scope="module")
def project(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return finished.copy(tmp_path_factory.mktemp("pipeline"))


@pytest.fixture(autouse=True)
def _restored(project: Project):
    """Each test starts from the committed state, to which the run cache has all outputs."""
    lock = project.folder / "dvc.lock"
    before = lock.read_text()
    yield
    ran = lock.read_text() != before
    if ran:  # removed first, because Git may miss what changed within a second
        shutil.rmtree(project.folder / "reports")
        lock.unlink()
    project.call("git", "reset", "-q", "--hard")
    project.params = yaml.safe_load((project.folder / "params.yaml").read_text())
    if ran:
        with Repo(str(project.folder)) as repo:
            repo.checkout(force=True)


def test_every_parameter_has_a_case(project: Project):
    def leaves(values: dict, prefix: str = "") -> set[str]:
        nested = {k: v for k, v in values.items() if isinstance(v, dict)}
        here = {prefix + k for k in values.keys() - nested.keys()}
        return here.union(*(leaves(v, f"{prefix}{k}.") for k, v in nested.items()))

    checksums = {key for key in leaves(project.params) if key.endswith(".sha256")}
    assert leaves(project.params) - checksums == CASES.keys()  # checksums: see test_fetch.py


def test_nothing_runs_twice(project: Project):
    assert project.repro() == []
    assert "up to date" in project.call("dvc", "status").stdout


# The stages whose params a section or a part of it is; visualise shows them. And a few keys of each
# kind for whole runs
READ_BY = {
    "base": {"preprocess", "grid-search", "train-best", "visualise"},
    "fetch": {"fetch"},
    "fetch.files": {"fetch", "visualise"},
    "preprocess": {"preprocess", "visualise"},
    "search": {"grid-search", "visualise"},
    "train": {"train-best", "visualise"},
}
RUN = [
    *("base.seed", "fetch.folders", "fetch.files.test_labels.name", "preprocess.classes"),
    *("search.lr", "search.seeds", "search.strategy", "search.halving.rungs", "train.lr"),
]


def change(project: Project, key: str) -> None:
    value = CASES[key][0]
    if value == "twice":
        value = [str(project.source), str(project.source)]
    if value == "renamed":
        section, _, role, _ = key.split(".")
        name = project.params[section]["files"][role]["name"]
        value = f"renamed-{name}"
        target = project.source / f"{value}.gz"
        target.write_bytes((project.source / f"{name}.gz").read_bytes())
    project.set({key: value})


def stale(project: Project) -> set[str]:
    """The stages that `dvc status` says have changed."""
    with Repo(str(project.folder)) as repo:
        return {name.rpartition(":")[2] for name in repo.status()}


def rerun(project: Project) -> tuple[list[str], str]:
    """The stages that `dvc repro` runs, and what it prints. The figures, which take longest, are
    not drawn: that they would be is what `dvc status` says."""
    output = project.call("dvc", "repro", "evaluate").stdout
    left = stale(project)
    assert left <= {"visualise"}
    return [*changed(output), *left], output


@pytest.mark.parametrize("key", CASES)
def test_a_parameter_is_that_of_its_stages(project: Project, key: str):
    change(project, key)
    section = next(name for name in reversed(READ_BY) if key.startswith(f"{name}."))
    assert stale(project) == READ_BY[section]


@pytest.mark.parametrize("key", RUN)
def test_a_parameter_reruns_what_depends_on_it(project: Project, key: str):
    expected = CASES[key][1]
    best = project.folder / "reports" / "best_params.json"
    before = best.read_text()
    change(project, key)

    done, _ = rerun(project)

    if expected == "search":
        elected_anew = best.read_text() != before
        expected = ["grid-search", *(TRAINED if elected_anew else ["visualise"])]
    assert done == expected


# What is edited, the stages that run, how many of the four trials are trained
MEANT = "CHANGED = True\n"
EDITS = {
    "comments": (["mlp/*.py", "mlp/search/*.py", "stages/*.py"], "# changed\n", ALL, 0),
    "a figure": (["mlp/plots/*.py", "mlp/weights.py"], MEANT, ["visualise"], None),
    "the page": (["stages/report/*.*"], MEANT, ["visualise"], None),
    "metrics": (["mlp/metrics.py"], MEANT, ["evaluate", "visualise"], None),
    "the bar": (["mlp/progress.py"], MEANT, ["grid-search", "train-best"], 0),
    "journal, executor, strategies and the winner's rule": (
        [f"mlp/search/{name}.py" for name in ("__init__", "journal", "processes", "result")],
        MEANT,
        ["grid-search"],
        0,
    ),
    "a cluster": (["mlp/search/cluster.py"], MEANT, [], None),
    "layers": (["mlp/layers.py"], MEANT, ["grid-search", *TRAINED], 4),
    "a trial": (["mlp/search/trial.py"], MEANT, ["grid-search"], 4),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_reruns_what_it_can_change(project: Project, edit: str):
    patterns, text, expected, trained = EDITS[edit]
    for path in (path for pattern in patterns for path in project.folder.glob(pattern)):
        with path.open("a") as file:
            file.write(text)
    done, output = rerun(project)
    assert done == expected
    counts = re.findall(r"of 4 trials remembered, (\d) trained", output)
    assert counts == ([] if trained is None else [str(trained)])


def test_a_change_back_is_answered_from_the_run_cache(project: Project):
    lock = (project.folder / "dvc.lock").read_text()
    project.set({"train.lr": 0.02, "search.epochs": 1})
    assert "train-best" in project.repro()
    assert (project.folder / "dvc.lock").read_text() != lock
    project.call("git", "checkout", "-q", "HEAD", "params.yaml")
    done = project.call("dvc", "repro").stdout
    # its page is a plain out, which DVC keeps in no cache
    assert re.findall("Running stage '(.+)'", done) == ["visualise"]
    assert "Stage 'train-best' is cached - skipping run" in done
    assert (project.folder / "dvc.lock").read_text() == lock


def test_experiment(project: Project):
    done = project.call("dvc", "exp", "run", "-n", "tiny", "-S", "train.lr=0.00001").stdout
    assert changed(done) == TRAINED
    metrics = json.loads((project.folder / "reports" / "metrics.json").read_text())
    assert metrics["hyper_parameters"][0]["lr"] == 1e-05
    assert "train.lr" in project.call("dvc", "params", "diff").stdout
    shown = project.call("dvc", "exp", "show", "--csv").stdout
    assert "tiny" in shown


def test_a_queued_sweep(project: Project):
    """Two at a time, in copies of the project; the workspace stays as it is."""
    project.call("dvc", "exp", "run", "--queue", "-S", "train.lr=0.1,0.001", "evaluate")
    project.call("dvc", "queue", "start", "-j", "2")
    deadline = time.monotonic() + 240
    while (status := project.call("dvc", "queue", "status").stdout).count("Success") < 2:
        assert "Failed" not in status
        assert time.monotonic() < deadline, status
        time.sleep(2)
    project.call("dvc", "queue", "stop", "--kill")
    table = project.call("dvc", "exp", "show", "--csv").stdout
    sweep = [row for row in csv.DictReader(table.splitlines()) if row["State"] == "Success"]
    assert {row["train.lr"] for row in sweep} == {"0.1", "0.001"}
    assert len({row["test_loss"] for row in sweep}) == 2
    assert project.call("git", "status", "--porcelain").stdout == ""


def test_commands_on_a_fresh_clone(project: Project, tmp_path: Path):
    clone = tmp_path / "clone"
    project.call("git", "clone", "-q", str(project.folder), str(clone))
    for command in ("metrics show", "params diff HEAD~1", "plots show", "plots diff HEAD"):
        done = project.call("dvc", "--cd", str(clone), *command.split())
        assert "failed" not in done.stderr.lower(), done.stderr
    metrics = project.call("dvc", "--cd", str(clone), "metrics", "show", "--json").stdout
    assert "test_accuracy" in metrics
    page = (clone / "dvc_plots" / "index.html").read_text()
    for title in ("Cross-entropy on training", "Accuracy on training", "Confusion matrix"):
        assert title in page
    assert (clone / "dvc_plots" / "static").is_dir()


# What a stage loads of the project, and which parameters it reads, observed while it runs
SPY = """
import json, pathlib, runpy, sys
import stages
from stages import params as config

read, names, opened = set(), {}, set()
sys.addaudithook(lambda event, args: opened.add(str(args[0])) if event == "open" else None)

def remember(section, prefix):
    names[id(section)] = prefix
    for name in type(section).model_fields:
        value = object.__getattribute__(section, name)
        if isinstance(value, config.Section):
            remember(value, f"{prefix}{name}.")

def spy(section, name):
    value = object.__getattribute__(section, name)
    if id(section) in names and not name.startswith("_") and name in type(section).model_fields:
        if not isinstance(value, config.Section):
            read.add(names[id(section)] + name)
    return value

def load(load=config.load):
    params = load()
    remember(params, "")
    config.Section.__getattribute__ = spy
    return params

config.load = load
name = sys.argv.pop()  # a stage takes no arguments
runpy.run_module(name, run_name="__main__", alter_sys=True)
root = pathlib.Path.cwd()
files = {pathlib.Path(m.__file__) for m in [*sys.modules.values()] if getattr(m, "__file__", None)}
files.add(root / (name.replace(".", "/") + ".py"))
if not read:  # then it is this text that has loaded it
    files.discard(pathlib.Path(config.__file__))
loaded = sorted(f.relative_to(root).as_posix() for f in files if f.is_relative_to(root))
print("SPY", json.dumps([loaded, sorted(read), sorted(opened)]))
"""


@pytest.mark.parametrize("stage", STAGES)
def test_declared_deps_and_params_are_what_a_stage_uses(project: Project, stage: str):
    declared = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][stage]
    module = f"stages.{stage.replace('-', '_')}"
    assert declared["cmd"] == f"python -m {module}"
    output = project.call("python", "-c", SPY, module, MLP_JOBS="1").stdout
    loaded, read, opened = json.loads(output.rpartition("SPY ")[2])

    assert [dep for dep in sorted(declared["deps"]) if dep.endswith(".py")] == loaded

    def leaves(key: str) -> set[str]:
        value = project.params
        for name in key.split("."):
            value = value[name]
        if not isinstance(value, dict):
            return {key}
        return set().union(*(leaves(f"{key}.{name}") for name in value))

    assert set().union(*(leaves(key) for key in declared.get("params", []))) == set(read)

    # no choice can have been made by what only fetch and evaluate have seen
    if stage not in ("fetch", "evaluate"):
        assert not [path for path in opened if "t10k" in path]
        assert not [dep for dep in declared["deps"] if dep == "data/raw" or "t10k" in dep]
    assert stage in ("fetch", "visualise") or any("data/" in path for path in opened)
