"""The second pipeline: on a small data set, each stage as a real process."""

import ast
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from project import ROOT, Project

from mlp.idx import read_pair
from mlp.module import MLP

LADDER = yaml.safe_load((ROOT / "studies/ladder/dvc.yaml").read_text(encoding="utf-8"))["stages"]
PARAMS = yaml.safe_load((ROOT / "studies/ladder/params.yaml").read_text(encoding="utf-8"))
KEPT = ("published", "batch-norm", "1024-1024")


@pytest.fixture(scope="module")
def ladder(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a ladder of three rungs and a student, climbed."""
    project = finished.copy(tmp_path_factory.mktemp("ladder"))
    params = {
        **PARAMS,
        "seeds": 2,
        "teachers": 3,
        "rungs": {name: {**PARAMS["rungs"][name], "epochs": 2} for name in KEPT},
        "distilled": {**PARAMS["distilled"], "epochs": 2},
    }
    for recipe in (*params["rungs"].values(), params["distilled"]):
        recipe["hidden_sizes"] = [8, 4]
    project.call("cp", "-r", str(ROOT / "studies"), ".")
    path = project.folder / "studies/ladder/params.yaml"
    path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    for stage in (*(f"rung {name}" for name in KEPT), "teach", "rung distilled", "measure"):
        run(project, stage)
    for stage in ("seconds", "draw"):
        run(project, stage)
    return project


def run(project: Project, stage: str, **options):
    return project.call("python", "-m", *f"studies.ladder.{stage}".split(), MLP_JOBS="1", **options)


def models(project: Project, rung: str) -> list[MLP]:
    folder = project.folder / "data/ladder" / rung
    return [MLP.from_file(path) for path in sorted(folder.iterdir())]


def test_table_is_what_the_models_say(ladder: Project):
    raw = ladder.folder / "data/raw"
    images, t = read_pair(raw / "t10k-images-idx3-ubyte", raw / "t10k-labels-idx1-ubyte", 3)
    x = images.reshape(len(images), -1)
    table = pd.read_csv(ladder.folder / "reports/ladder/ladder.csv", index_col="rung")
    assert list(table.index) == ["published", "batch-norm", "1024-1024", "ensemble", "distilled"]
    for rung, count in {"published": 2, "1024-1024": 3, "distilled": 2}.items():
        scores = [model.compute_accuracy(x, t) for model in models(ladder, rung)]
        assert len(scores) == table.networks[rung] == count
        assert table.test_accuracy[rung] == pytest.approx(np.mean(scores), abs=1e-5)
        assert table.test_std[rung] == pytest.approx(np.std(scores, ddof=1), abs=1e-5)
    together = np.mean([model.predict_proba(x) for model in models(ladder, "1024-1024")], axis=0)
    assert table.test_accuracy["ensemble"] == pytest.approx(np.mean(together.argmax(axis=1) == t))
    step = table.val_accuracy["distilled"] - table.val_accuracy["batch-norm"]
    assert table.val_step["distilled"] == pytest.approx(step, abs=1e-5)
    page = (ladder.folder / "reports/ladder/README.md").read_text(encoding="utf-8")
    assert f"{100 * table.test_accuracy['distilled']:.2f}" in page
    assert (ladder.folder / "reports/ladder/ladder.png").stat().st_size > 3000


def test_student_learns_what_the_ensemble_says(ladder: Project):
    soft_labels = np.load(ladder.folder / "data/ladder/soft_labels.npy")
    x = np.load(ladder.folder / "data/processed/train_x.npy")
    assert soft_labels.shape == (len(x), 18, 3)
    teachers = models(ladder, "1024-1024")
    flipped = x.reshape(-1, 6, 5)[:, :, ::-1].reshape(len(x), -1)
    for images, variant in ((x, 4), (flipped, 9 + 4)):  # in the middle of three shifts by three
        expected = np.mean([teacher.predict_proba(images) for teacher in teachers], axis=0)
        np.testing.assert_allclose(soft_labels[:, variant], expected, atol=1e-6)


def test_what_was_trained_is_remembered(ladder: Project):
    before = (ladder.folder / "data/ladder/published/42.npz").read_bytes()
    (ladder.folder / "data/ladder/published/42.npz").unlink()
    assert "2 of 2 remembered" in run(ladder, "rung published").stdout
    assert (ladder.folder / "data/ladder/published/42.npz").read_bytes() == before


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ("rung shifts", "shifts: unknown; the rungs are published, batch-norm"),
        ("rung", "RUNG: is missing"),
        ("rung published twice", "unknown arguments: twice"),
    ],
)
def test_bad_arguments(ladder: Project, stage: str, said: str):
    done = run(ladder, stage, status=2)
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("count", ["x", "0", "1.9", "true", "[5", "null"])
def test_a_number_of_networks_that_is_none(count: str, ladder: Project, tmp_path):
    project = ladder.copy(tmp_path)
    path = project.folder / "studies/ladder/params.yaml"
    path.write_text(path.read_text().replace("seeds: 2", f"seeds: {count}"))
    done = run(project, "rung published", status=2)
    assert "studies/ladder/params.yaml: " in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_teachers_nothing_is_taught(ladder: Project, tmp_path):
    project = ladder.copy(tmp_path)
    project.call("rm", "-r", "data/ladder/1024-1024", "data/ladder/soft_labels.npy")
    for stage in ("teach", "measure"):
        said = run(project, stage, status=2).stderr
        assert "1024-1024: no networks" in said
        assert "; run dvc repro studies/ladder/dvc.yaml, which" in said
    assert not (project.folder / "data/ladder/soft_labels.npy").exists()


def test_help(ladder: Project):
    said = run(ladder, "rung --help").stdout
    assert "python -m studies.ladder.rung RUNG: " in said
    assert "studies/ladder/params.yaml" in said
    assert "data/raw/t10k-images-idx3-ubyte" in run(ladder, "measure --help").stdout


def imported(module: str, found: set[str]) -> set[str]:
    """The files of the project that a module imports, and those that these import."""
    parts = module.split(".")
    for n in range(1, len(parts) + 1):
        base = ROOT.joinpath(*parts[:n])
        for path in (base / "__init__.py", base.with_suffix(".py")):
            name = path.relative_to(ROOT).as_posix()
            if not path.exists() or name in found:
                continue
            found.add(name)
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ImportFrom) and node.module:
                    imported(node.module, found)
                    for alias in node.names:
                        imported(f"{node.module}.{alias.name}", found)
                elif isinstance(node, ast.Import):
                    for alias in node.names:
                        imported(alias.name, found)
    return found


@pytest.mark.parametrize("name", LADDER)
def test_declared_deps_are_what_a_stage_imports(name: str):
    stage = LADDER[name].get("do", LADDER[name])
    module = stage["cmd"].split()[2]
    found = imported(module, set())
    if "stages/executor.py" in found:
        imported("mlp.search.processes", found)
    assert {dep for dep in stage["deps"] if dep.endswith(".py")} == found


def test_only_the_stage_that_measures_depends_on_test_images():
    for name, stage in LADDER.items():
        deps = stage.get("do", stage)["deps"]
        assert any("t10k" in dep for dep in deps) == (name == "measure")
        assert "data/raw" not in deps
    for path in Path(ROOT / "studies").rglob("*.py"):
        assert ("TEST_IMAGES" in path.read_text(encoding="utf-8")) == (path.stem == "measure")


def test_a_plain_repro_leaves_it_alone(ladder: Project):
    assert "rung" not in ladder.call("dvc", "repro", "--dry").stdout
    out = ladder.call("dvc", "stage", "list", "studies/ladder/dvc.yaml").stdout
    assert "rung@published" in out


def test_each_rung_adds_to_the_one_before_it():
    names = list(PARAMS["rungs"])
    rungs = [PARAMS["rungs"][name] for name in names[: names.index("input-dropout") + 1]]
    for before, after in itertools.pairwise(rungs):
        changed = {k for k in before.keys() | after.keys() if before.get(k) != after.get(k)}
        assert len(changed) == 1 or changed == {"l2_reg", "weight_decay"}
