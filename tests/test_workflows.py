"""GitHub's workflows: what they run is there, and a pull request's report says what differs."""

import re
import shutil
import subprocess

import pytest
import yaml
from project import ROOT, Project

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_actionlint_has_nothing_to_say():
    if not shutil.which("actionlint"):
        pytest.skip("needs actionlint")
    done = subprocess.run(
        ["actionlint", *WORKFLOWS], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_a_workflow_names_is_there(path):
    text = path.read_text(encoding="utf-8")
    jobs = yaml.safe_load(text)["jobs"].values()
    commands = " ".join(step.get("run", "") for job in jobs for step in job["steps"])
    named = re.findall(r"(?:tests|\.ci)/[\w./]+|requirements-\w+\.txt", text)
    assert named or "make" in commands
    assert [name for name in named if not (ROOT / name).exists()] == []
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert [t for t in re.findall(r"make ([\w-]+)", commands) if f"\n{t}:" not in makefile] == []


def test_a_dry_run_tells_whether_stages_are_left(finished: Project, tmp_path):
    """… on a clone without the data, as the workflow expects it to be told."""
    project = object.__new__(Project)
    project.folder = tmp_path / "clone"
    finished.call("git", "clone", "-q", str(finished.folder), str(project.folder))
    command = ("dvc", "repro", "--dry", "--allow-missing")
    assert "Running stage" not in project.call(*command).stdout
    (project.folder / "mlp" / "metrics.py").write_text("")
    done = project.call(*command, status=None)  # which needs the data of a stage that is left
    assert done.returncode != 0
    assert "failed to reproduce 'evaluate'" in done.stderr
    project.call("git", "checkout", "-q", ".")
    (project.folder / "stages" / "fetch.py").write_text("")  # and fetch needs none
    assert "Running stage 'fetch':" in project.call(*command, status=None).stdout


def test_the_report_of_a_pull_request(finished: Project, tmp_path):
    pytest.importorskip("vl_convert")
    project = object.__new__(Project)
    project.folder = tmp_path / "clone"
    finished.call("git", "clone", "-q", str(finished.folder), str(project.folder))
    script = ["python", str(ROOT / ".ci" / "report.py")]

    project.call(*script, "HEAD", str(tmp_path / "same"))
    assert (tmp_path / "same" / "report.md").read_text() == (
        "# From `HEAD` to here\n\n## Metrics\n\nNo metrics differ.\n\n"
        "## Params\n\nNo params differ.\n\n## Plots\n\nNo plots differ.\n"
    )
    assert len([*(tmp_path / "same").iterdir()]) == 1

    def edit(name, pattern, new):
        path = project.folder / name
        text = path.read_text()
        path.write_text(re.sub(pattern, new, text, count=1))
        assert path.read_text() != text

    edit("params.yaml", "patience: null", "patience: 11")
    edit("reports/metrics.json", r'"test_accuracy": [\d.]+', '"test_accuracy": 0.5')
    edit("reports/history.csv", r"(?m)^1,[\d.]+,", "1,9.5,")  # train_loss
    figures = project.folder / "reports" / "figures"
    shutil.copy(figures / "weights.png", figures / "network.png")
    project.call("git", "commit", "-qam", "changed")
    project.call(*script, "HEAD~1", str(tmp_path / "changed"))

    text = (tmp_path / "changed" / "report.md").read_text()
    assert re.findall(r"^\| *\S+ *\| (\S+)", text, re.M) == [
        *("Metric", "test_accuracy", "Param", "train.patience")
    ]
    network = "reports/figures/network.png"
    assert re.findall(r"^### (.*)", text, re.M) == ["Loss", f"{network}, before and after"]
    links = re.findall(r"^!\[.*\]\(\./(\S+) ", text, re.M)
    assert links == ["1.png", "2.png", "3.png"]
    pictures = [(tmp_path / "changed" / link).read_bytes() for link in links]
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)
    assert pictures[2] == (figures / "weights.png").read_bytes()
