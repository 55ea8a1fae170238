"""What people see of the pipeline: DVC's tables and pages, the bars, and the diffs."""

import csv
import fcntl
import importlib.util
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from browser import Browser
from dvc.utils.hydra import apply_overrides
from project import ENVIRON, ROOT, Project

TEMPLATES = ROOT / ".dvc" / "plots"
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
CHARTS = {  # of the stages, by the path of what they show
    path: how
    for stage in PIPELINE["stages"].values()
    for plot in stage.get("plots", [])
    for path, how in plot.items()
    if path != "reports/figures"
}
MAKE = ("make", "--silent", "--old-file=.venv/pipeline.done")  # without installing anything

needs_vega = pytest.mark.skipif(
    importlib.util.find_spec("vl_convert") is None, reason="needs vl-convert-python"
)

with pytest.MonkeyPatch.context() as patch:  # the pins are for the stages' processes, not this one
    patch.setenv("MLP_KERNELS", "native")
    from stages.results import Winner


@pytest.fixture(scope="module")
def project(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """With an uncommitted change: another winner, and another history."""
    project = finished.copy(tmp_path_factory.mktemp("views"))
    shutil.copy(ROOT / "Makefile", project.folder)
    winner = project.folder / "reports" / "best_params.json"
    winner.write_text(json.dumps([json.loads(winner.read_text())[0] | {"lr": 0.5}]))
    history = project.folder / "reports" / "history.csv"
    history.write_text("".join(history.read_text().splitlines(keepends=True)[:-2]))
    return project


# Tables


def test_metrics_are_one_row_in_80_columns(project: Project):
    head, *rows = project.call("dvc", "metrics", "show", COLUMNS="80").stdout.splitlines()
    assert [row.split()[0] for row in rows] == ["reports/metrics.json"]
    assert " - " not in rows[0]
    assert max(map(len, [head, *rows])) <= 80


def test_the_experiments_that_readme_shows_fit_80_columns(finished: Project, tmp_path: Path):
    project = finished.copy(tmp_path)
    project.call("dvc", "exp", "run", "--queue", "-n", "quick-fox", "-S", "train.lr=0.00001")
    table = project.call(
        *("dvc", "exp", "show", "--no-pager", "--only-changed", "--hide-workspace"),
        *("--drop", ".*/|Created|State|Executor|test_|macro"),
        COLUMNS="80",
    ).stdout
    assert "train.lr" in table
    assert "quick-fox" in table
    assert "…" not in table
    assert max(map(len, table.splitlines())) <= 80


# Charts and their templates


def template(name: str) -> dict:
    return json.loads((TEMPLATES / f"{name}.json").read_text(encoding="utf-8"))


def found(content: object, key: str) -> list:
    """The values of a key, wherever it stands."""
    if isinstance(content, dict):
        here = [content[key]] if key in content else []
        return here + [value for item in content.values() for value in found(item, key)]
    return (
        [value for item in content for value in found(item, key)]
        if isinstance(content, list)
        else []
    )


def test_templates_are_those_that_are_used():
    used = {how["template"] for how in CHARTS.values() if "template" in how}
    assert {path.stem for path in TEMPLATES.glob("*.json")} == used


def test_the_winner_is_shown_whole():
    (names,) = found(template("winner"), "fold")
    assert names == list(Winner.model_fields)


def test_classes_are_in_their_order():
    classes = yaml.safe_load((ROOT / "params.yaml").read_text())["preprocess"]["classes"]
    orders = [order for order in found(template("confusion_matrix"), "sort") if order]
    assert orders == [classes, classes]


@pytest.mark.parametrize("path", [path for path in CHARTS if path.endswith(".csv")])
def test_a_chart_names_columns_that_its_table_has(path: str):
    with (ROOT / path).open(encoding="utf-8") as file:
        columns = set(next(csv.reader(file)))
    how = CHARTS[path]
    named = {how[axis] for axis in "xy" if axis in how}
    if "template" in how:
        content = template(how["template"])
        named |= {name for names in found(content, "fold") for name in names}
        given = {
            name
            for names in found(content, "as")
            for name in ([names] if isinstance(names, str) else names)
        }
        fields = {field for field in found(content, "field") if isinstance(field, str)}
        named |= fields - given - {"rev"}  # which DVC adds
    assert named
    assert named <= columns


# The page

DRAWN = """
const drawn = () => charts.every(([id]) => document.querySelector(id + " :is(svg, canvas)"));
const help = () => document.getElementById("missing").checkVisibility();
for (let i = 0; i < 100 && !drawn() && !help(); i++)
  await new Promise(next => setTimeout(next, 50));
await Promise.all([...document.images].map(image => image.decode()));
return {
  charts: charts.map(([id]) => id),
  drawn: drawn(),
  text: document.body.innerText,
  width: document.documentElement.scrollWidth,
  figures: [...document.images].filter(image => image.checkVisibility()).map(
    image => [image.closest("body > div").id, image.getBoundingClientRect().width]),
  help: help(),
  loaded: performance.getEntriesByType("resource").map(entry => entry.name),
}
"""


@pytest.fixture
def look(shared: Browser) -> Callable[[Path], tuple[dict, list[str]]]:
    """A function: what a browser of 1280 pixels without a network shows, and its errors."""

    def shown(page: Path) -> tuple[dict, list[str]]:
        shared.open(page)
        return shared.run(DRAWN), shared.errors()

    shared.become(1280, offline=True)
    return shown


@needs_vega
@pytest.mark.parametrize("command", ["show", "diff HEAD"])
def test_plots_without_a_network(look, project: Project, command: str):
    project.call(*MAKE, ".dvc/vega.js")
    project.call("dvc", "plots", *command.split(), "-o", "page")
    seen, errors = look(project.folder / "page" / "index.html")
    assert errors == []
    assert len(seen["charts"]) == len(CHARTS) + len(PIPELINE["plots"])
    assert seen["drawn"]
    assert not seen["help"]
    assert not re.search(r"undefined|NaN|\[object", seen["text"].replace("\nNA\n", ""))
    assert [url for url in seen["loaded"] if not url.startswith("file:")] == []
    # one picture a figure and revision, none that a chart shows already, all within the page
    assert seen["width"] <= 1280
    shown = [figure for figure, _ in seen["figures"]]
    assert len(shown) == len(set(shown)) * (2 if "diff" in command else 1)
    assert set(shown) >= {"reports_figures_network_png", "reports_figures_mistakes_png"}
    assert not {figure for figure in shown if re.search("confusion|curves|grid", figure)}
    assert all(100 < width <= 1280 for _, width in seen["figures"])
    if "diff" in command:
        assert {"0.5", "HEAD", "workspace"} <= set(seen["text"].split())


def test_the_page_says_what_to_do_without_vega(look, project: Project):
    (project.folder / ".dvc" / "vega.js").unlink(missing_ok=True)
    project.call("dvc", "plots", "show")
    seen, _ = look(project.folder / "dvc_plots" / "index.html")
    assert seen["help"]
    assert "make .dvc/vega.js" in seen["text"]
    assert seen["figures"]


def test_without_a_file_vega_comes_from_where_dvc_has_it(look, project: Project, tmp_path: Path):
    (project.folder / ".dvc" / "vega.js").unlink(missing_ok=True)
    project.call("dvc", "plots", "show")
    page = project.folder / "dvc_plots" / "index.html"
    scripts = [
        "window.vega = 1",
        "window.vegaLite = vega + 1",
        "let n = vegaLite; window.vegaEmbed",
    ]
    scripts[2] += " = id => document.querySelector(id).innerHTML = `<svg></svg>drawn ${n}`"
    paths = iter(tmp_path / f"{number}.js" for number in range(3))
    for script in scripts:
        next(paths).write_text(script)
    paths = iter(tmp_path / f"{number}.js" for number in range(3))
    text, replaced = re.subn(
        r"https://[^\"]*/npm/[^\"]*", lambda _: next(paths).as_uri(), page.read_text()
    )
    assert replaced == 3
    page.write_text(text)
    seen, _ = look(page)
    assert seen["text"].count("drawn 2") == len(seen["charts"])
    assert not seen["help"]


# Bars

BARS = """
import sys
from mlp.progress import SearchBar, training_bar

with training_bar(160, 0, show=True) as advance:
    for best in (0.8, 0.9021, 0.9021):
        advance(best)
with training_bar(160, 0, show=True) as advance:
    for best in range(160):
        advance(0.91)
with SearchBar(81) as bar:
    for number in range(12):
        bar.advance(number, 0.89, remembered=True)
    for _ in range(2):
        bar.silent(12, "1024-1024, lr 0.0001, l2_reg 0.0001")
    for number in range(12, 81):
        bar.advance(number, 0.88, remembered=False)
"""


def terminal(columns: int, *command: str) -> str:
    """What a command writes to a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environ = os.environ | ENVIRON
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        written = b""
        try:
            while part := os.read(ours, 4096):
                written += part
        except OSError:  # what Linux says when the last writer has gone
            pass
        os.close(ours)
    assert process.returncode == 0, written
    return written.decode()


@pytest.mark.parametrize("columns", [80, 100])
def test_bars(columns: int):
    written = terminal(columns, sys.executable, "-c", BARS)
    shown = re.split(r"[\r\n]+", written)
    assert max(map(len, shown)) < columns  # in the last one some terminals go to the next line
    stopped = "training: stopped early after 3 of 160 epochs, best val_accuracy 0.9021"
    assert shown.count(stopped) == 1
    assert shown.count("search: no sign of life from 1024-1024, lr 0.0001, l2_reg 0.0001") == 1
    assert any("12 remembered, 1 silent" in line for line in shown)

    # what stays: the last text of each line, without the bar that stopped early
    left = [line.split("\r")[-1].strip() for line in written.replace("\r\n", "\n").split("\n")]
    bars = [line for line in left if "|" in line]
    assert len(bars) == 2
    assert all("100% |" in bar for bar in bars)
    assert len({bar.index("|") for bar in bars}) == 1
    assert "best val_accuracy 0.9100" in bars[0]
    assert "best 0.8900, 12 remembered]" in bars[1]


def test_no_bars_where_there_is_no_terminal():
    done = subprocess.run(
        [sys.executable, "-c", BARS], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout + done.stderr == ""


# Diffs and merges


def test_freeze_and_unfreeze_leave_dvc_yaml_as_it_is(finished: Project, tmp_path: Path):
    project = finished.copy(tmp_path)
    for command in ("freeze", "unfreeze"):
        project.call("dvc", command, "train-best")
    assert project.call("git", "status", "--porcelain").stdout == ""


def test_a_param_that_is_set_changes_one_line(tmp_path: Path):
    """As `dvc exp run -S` does it."""
    path = Path(shutil.copy(ROOT / "params.yaml", tmp_path))
    before = path.read_text().splitlines()
    apply_overrides(path, ["train.lr=0.01"])
    after = path.read_text().splitlines()
    assert len(before) == len(after)
    different = [new for old, new in zip(before, after, strict=True) if old != new]
    assert len(different) == 1
    assert different[0].startswith("  lr: 0.01 ")


def test_merging_two_experiments(finished: Project, tmp_path: Path):
    """Both params are kept, and dvc.lock and the reports are those of both together."""
    project = finished.copy(tmp_path)
    shutil.copy(ROOT / "Makefile", project.folder)
    project.call("git", "add", "Makefile")
    project.call("git", "commit", "-qm", "Makefile")
    main = project.call("git", "branch", "--show-current").stdout.strip()
    train = project.params["train"]
    for name, value in {"lr": 0.02, "epochs": 5}.items():
        project.call("git", "switch", "-q", "--create", name, main)
        before = train[name]
        project.set({f"train.{name}": value})
        project.repro("train-best")
        train[name] = before
        project.call("git", "commit", "-qam", name)
    done = project.call(*MAKE, "merge", "WITH=lr")
    assert "<<<<<<<" not in (project.folder / "dvc.lock").read_text()
    assert "Running stage 'train-best'" in done.stdout
    assert project.call("git", "status", "--porcelain").stdout == ""
    assert project.repro() == []
    lock = yaml.safe_load((project.folder / "dvc.lock").read_text())
    train = lock["stages"]["train-best"]["params"]["params.yaml"]["train"]
    assert (train["lr"], train["epochs"]) == (0.02, 5)
    parents = project.call("git", "rev-list", "--parents", "-1", "HEAD").stdout.split()[1:]
    assert len(parents) == 2


def test_a_merge_stops_where_params_conflict(finished: Project, tmp_path: Path):
    project = finished.copy(tmp_path)
    shutil.copy(ROOT / "Makefile", project.folder)
    main = project.call("git", "branch", "--show-current").stdout.strip()
    for name, lr in {"one": 0.02, "two": 0.03}.items():
        project.call("git", "switch", "-q", "--create", name, main)
        project.set({"train.lr": lr})
        project.call("git", "commit", "-qam", name)
    done = project.call(*MAKE, "merge", "WITH=one", status=2)
    assert "dvc repro && git add dvc.lock reports && git commit" in done.stderr
    assert "Running stage" not in done.stdout
    assert project.call("git", "diff", "--name-only", "--diff-filter=U").stdout == "params.yaml\n"
    done = project.call(*MAKE, "merge", "WITH=no-such-branch", status=2)
    assert "Running stage" not in done.stdout
