"""The page of the results, in a real browser: it says what the files say, and all can use it."""

import csv
import hashlib
import json
import re
from collections import Counter
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from browser import Browser
from PIL import Image
from project import CLASSES, ROOT, SHAPE, Project

from mlp.idx import read_pair
from mlp.metrics import examples
from mlp.module import MLP
from stages.report.sprite import ACROSS, write_sprite
from stages.report.tables import short, trials

REPORTS = ROOT / "reports"  # the committed ones
RIGHT, DOWN = "\ue014", "\ue015"


@pytest.fixture(scope="module")
def project(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return finished.copy(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def reports(project: Project) -> Path:
    return project.folder / "reports"


@pytest.fixture
def browser(shared: Browser, reports: Path) -> Browser:
    shared.open(reports / "index.html")
    return shared


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def texts(browser: Browser, selector: str) -> list[str]:
    return browser.run(
        "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent.trim())",
        selector,
    )


def table(browser: Browser, selector: str) -> list[list[str]]:
    """The texts of the rows of a table's body that are shown."""
    return browser.run(
        "return [...document.querySelector(arguments[0]).tBodies[0].rows].filter(r => !r.hidden)"
        ".map(r => [...r.cells].map(c => c.textContent.trim()))",
        selector,
    )


def test_it_says_what_the_files_say(browser, project, reports):
    metrics = json.loads((reports / "metrics.json").read_text())
    low, high = metrics["test_accuracy_95_percent_interval"]
    assert texts(browser, ".headline strong") == [f"{metrics['test_accuracy']:.2%}"]
    result = " ".join(texts(browser, "#result"))
    assert f"between {low:.2%} and {high:.2%}" in result
    assert "published" not in result  # which is of other data

    rows = [
        [row["class"], *(f"{float(row[n]):.1%}" for n in ("precision", "recall", "f1"))]
        for row in read(reports / "per_class.csv")
    ]
    assert [row[:4] for row in table(browser, "#classes")] == rows

    search = read(reports / "grid_search.csv")
    search.sort(key=lambda row: -float(row["val_accuracy"]))
    names = ("hidden_size1", "hidden_size2", "lr", "l2_reg")
    shown = table(browser, "#trials")
    assert len(shown) == len(search) == 4
    accuracies = [f"{float(row['val_accuracy']):.2%}" for row in search]
    assert [row[4].removesuffix(", the winner") for row in shown] == accuracies
    [winner] = json.loads((reports / "best_params.json").read_text())
    [won] = [row for row in shown if "winner" in row[4]]
    assert [float(text) for text in won[:4]] == [winner[name] for name in names]

    run = " ".join(texts(browser, "#run td, #run th"))
    assert f"search.epochs {project.params['search']['epochs']} " in run
    assert hashlib.sha256((project.folder / "data/model/best.npz").read_bytes()).hexdigest() in run
    for pin in ("numpy", "dvc"):
        version = re.search(f"^{pin}==(.+)", (ROOT / "requirements.txt").read_text(), re.M)[1]
        assert f"{pin} {version} " in run


def test_values_are_written_as_in_params_yaml():
    values = (True, None, [0.001, 1e-05], 4096, float("nan"))
    assert [*map(short, values)] == ["true", "null", "0.001, 1e-05", "4,096", "–"]


def test_among_equals_the_winner_is_first():
    recipe = {"hidden_size1": 6, "hidden_size2": 4, "lr": 0.1, "l2_reg": 0.0}
    row = recipe | {"parameters": 9, "epochs": 2, "rung": 1, "seeds": 1, "status": "ok"}
    row |= {"val_accuracy": 0.5, "val_accuracy_std": 0.0, "train_accuracy": 0.5}
    losses = {0.1: 0.9, 0.2: 0.7, 0.3: 0.8}
    search = pd.DataFrame([row | {"lr": lr, "val_loss": loss} for lr, loss in losses.items()])
    shown = trials(search, recipe | {"lr": 0.2})["rows"]
    assert [row["won"] for row in shown] == [True, False, False]


def test_the_committed_page_has_the_published_result(shared):
    shared.open(REPORTS / "index.html")
    assert "The published result is 86.7%" in " ".join(texts(shared, "#result").pop().split())
    assert "number 4 of 81, with 88.76%" in texts(shared, "#result .note")[0]


@pytest.mark.parametrize("which", ["committed", "small"])
def test_nothing_that_it_shows_is_missing_or_elsewhere(which, reports):
    folder = REPORTS if which == "committed" else reports
    page = (folder / "index.html").read_text(encoding="utf-8")
    linked = set(re.findall(r'(?:src|href)="([^#"]+)"', page)) - {"data:,"}
    assert {name for name in linked if not (folder / name).is_file()} == set()
    figures = {f"figures/{path.name}" for path in (folder / "figures").iterdir()}
    assert figures - linked == set()  # each that is drawn has a place
    assert not re.search(r"://|/home/|/tmp/", page)
    assert "default-src 'none'" in page  # the browser itself refuses what is not beside the page
    assert len(page.encode()) < 150_000
    assert (folder / "examples.png").stat().st_size < 300_000


@pytest.mark.parametrize(("width", "dark"), [(390, True), (768, True), (1280, False)])
def test_everyone_can_use_it(width, dark, shared):
    """axe-core has nothing to say, with what scrolls and unfolds in full view; nothing is wider
    than the window; the console has no error."""
    shared.become(width, dark=dark)
    shared.open(REPORTS / "index.html")
    assert shared.run("return document.documentElement.scrollWidth") <= width
    shared.run("for (const e of document.querySelectorAll('details')) e.open = true")
    shared.run((files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8"))
    options = {
        "resultTypes": ["violations"],  # in half the time that all results take
        "rules": {"color-contrast": {"enabled": width != 768}},  # slow, and of colours, not widths
    }
    found = "axe.run(arguments[0]).then(r => r.violations.map(v => [v.id, v.nodes[0].html]))"
    assert shared.run(f"return {found}", options) == []
    assert shared.run("return [...document.images].filter(i => !i.alt).length") == 0
    assert shared.errors() == []


def test_tables_sort_by_each_column(browser):
    before = table(browser, "#trials")
    for column in range(6):
        button = f"#trials thead th:nth-child({column + 1}) button"
        for direction in ("ascending", "descending", "ascending"):
            if browser.run(
                "return document.querySelectorAll('#trials thead th')[arguments[0]].ariaSort",
                column,
            ) == (direction):
                continue
            browser.click(button)
            state = (
                "return [...document.querySelectorAll('#trials [aria-sort]')].map(e => e.ariaSort)"
            )
            [told] = browser.run(state)
            values = [float(re.match("[0-9.e-]+", r[column])[0]) for r in table(browser, "#trials")]
            assert values == sorted(values, reverse=told == "descending")
    assert sorted(before) == sorted(table(browser, "#trials"))

    browser.click("#classes thead th:first-child button")
    assert [row[0] for row in table(browser, "#classes")] == sorted(CLASSES, key=str.lower)


def choose(browser: Browser, select: int, text: str) -> None:
    browser.run(
        "const s = document.querySelectorAll('.filters select')[arguments[0]];"
        "s.value = [...s.options].find(o => o.textContent === arguments[1]).value;"
        "s.dispatchEvent(new Event('change'))",
        select,
        text,
    )


def test_the_search_is_filtered_by_each_hyper_parameter(browser, reports):
    names = ("hidden_size1", "hidden_size2", "lr", "l2_reg")
    assert [text.split()[0] for text in texts(browser, ".filters label")] == list(names)
    search = read(reports / "grid_search.csv")
    for i, name in enumerate(names):
        for value in {row[name] for row in search}:
            choose(browser, i, value)
            shown = table(browser, "#trials")
            assert {row[i] for row in shown} == {value}
            assert len(shown) == sum(row[name] == value for row in search)
            assert texts(browser, "#shown") == [f"{len(shown)} of 4 configurations"]
        choose(browser, i, "all")
    choose(browser, 0, "4")
    choose(browser, 2, "0.01")
    assert len(table(browser, "#trials")) == 1


TILES = (
    "return [...document.querySelectorAll('#examples .tile')].map(e => "
    "['--x', '--y'].map(p => Number(e.style.getPropertyValue(p))))"
)


def test_a_cell_shows_its_images(browser, project, reports):
    """Pixel by pixel: what a cell shows of the sprite are test images of its row, taken for its
    column, and no image twice."""
    raw = project.folder / "data" / "raw"
    files = (raw / f"t10k-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1"))
    images, _ = read_pair(*files, len(CLASSES))
    answers = read(reports / "confusion.csv")
    counts = Counter((row["actual"], row["predicted"]) for row in answers)
    sprite = np.array(Image.open(reports / "examples.png"))
    rows, columns = SHAPE
    for (actual, predicted), count in counts.items():
        t, y = CLASSES.index(actual), CLASSES.index(predicted)
        browser.click(f"#matrix [data-t='{t}'][data-y='{y}']")
        found = browser.run(TILES)
        assert len(found) == min(count, 12)
        shown = {
            sprite[rows * j : rows * (j + 1), columns * i : columns * (i + 1)].tobytes()
            for i, j in found
        }
        assert len(shown) == len(found)
        mine = {
            ((255 - image) // 16).tobytes()
            for image, row in zip(images, answers, strict=True)
            if (row["actual"], row["predicted"]) == (actual, predicted)
        }
        assert shown <= mine
        [title] = texts(browser, "#examples h3")
        assert title.startswith(
            f"{actual}, named rightly: {count} image"
            if t == y
            else f"{actual} taken for {predicted}: {count} image"
        )
        pressed = "return document.querySelectorAll('#matrix [aria-pressed=\"true\"]').length"
        assert browser.run(pressed) == 1
    assert browser.errors() == []


def test_arrow_keys_go_from_cell_to_cell(shared):
    """Over cells that are empty, and at the border they stay."""
    shared.open(REPORTS / "index.html")
    focus = "return ['t', 'y'].map(name => Number(document.activeElement.dataset[name]))"
    there = shared.run(
        "return [...document.querySelectorAll('#matrix button')]"
        ".map(({dataset}) => [Number(dataset.t), Number(dataset.y)])"
    )
    assert len(there) < 100
    shared.click("#matrix [data-t='0'][data-y='0']")
    for key, along in ((RIGHT, 0), (DOWN, 1)):
        start = shared.run(focus)
        line = [place for place in there if place[along] == start[along]]
        for place in [*line[line.index(start) + 1 :], line[-1]]:
            shared.keys(key)
            assert shared.run(focus) == place
    shared.keys(" ")
    assert shared.run("return document.activeElement.ariaPressed") == "true"
    reached = "return document.querySelectorAll('#matrix button:not([tabindex=\"-1\"])').length"
    assert shared.run(reached) == 1  # one stop of the tab key for the whole matrix


def test_sections_of_what_is_not_always_there(shared, finished, tmp_path):
    project = finished.copy(tmp_path)
    reports = project.folder / "reports"
    assert 'id="ladder"' not in (reports / "index.html").read_text()

    (reports / "ladder").mkdir()
    Image.new("L", (9, 9)).save(reports / "ladder" / "ladder.png")
    metrics = json.loads((reports / "metrics.json").read_text())
    [uncertainty] = metrics["uncertainty"]
    assert uncertainty.pop("calibration_error") >= 0
    uncertainty["a_calibration_of_another_kind"] = 0.01234
    (reports / "metrics.json").write_text(json.dumps(metrics))
    path = project.folder / "data/model/best.npz"
    model = MLP.from_file(path)
    names = ["</script><b>", "{{ classes }}", "&amp;"]
    model.metadata = model.metadata | {"classes": names}
    model.save_parameters(path)
    project.stage("visualise")

    shared.open(reports / "index.html")
    assert shared.run("return document.querySelector('#ladder img').alt").startswith("Accuracy")
    assert table(shared, "#calibration table") == [["a calibration of another kind", "0.0123"]]
    assert texts(shared, "#matrix tbody th") == names
    assert shared.errors() == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "reports/metrics.json: not JSON"),
        ("[]", "reports/metrics.json: the file: "),
        ('{"test_accuracy": 1.5}', "reports/metrics.json: test_accuracy: "),
    ],
)
def test_damaged_metrics(project, reports, text, message):
    path = reports / "metrics.json"
    good, page = path.read_bytes(), (reports / "index.html").read_bytes()
    path.write_text(text)
    try:
        done = project.stage("visualise", status=2)
    finally:
        path.write_bytes(good)
    assert done.stderr.startswith(f"stages.visualise: {message}")
    assert done.stderr.count("\n") == 1
    assert (reports / "index.html").read_bytes() == page


def test_the_pipeline_that_it_shows_is_that_of_dvc():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    page = (REPORTS / "index.html").read_text(encoding="utf-8")
    shown = re.findall(r"<li><b>(.+?)</b> (.+?)</li>", page)
    assert shown == [(name, stage["desc"]) for name, stage in stages.items()]
    folder = ROOT / "stages" / "report"
    parts = {f"stages/report/{path.name}" for path in folder.iterdir() if path.is_file()}
    assert parts <= set(stages["visualise"]["deps"])


def test_examples_of_each_cell(rng):
    t, y = rng.integers(0, 3, (2, 400))
    y[t == 2] = 2  # never wrong
    confidence = rng.random(400).astype(np.float32)
    shown = examples(t, y, confidence, most=5, total=400)
    cells = [(int(a), int(b)) for a, b in zip(t[shown], y[shown], strict=True)]
    assert cells == sorted(cells)
    for a, b in set(cells):
        members = np.flatnonzero((t == a) & (y == b))
        members = members[np.argsort(-confidence[members], kind="stable")].tolist()
        expected = members[:3] + members[-2:] if a == b else members[:5]
        assert [i for i in shown if (t[i], y[i]) == (a, b)] == expected

    few = examples(t, y, confidence, most=5, total=20)  # seven cells: two of each
    assert Counter(zip(t[few].tolist(), y[few].tolist(), strict=True)) == dict.fromkeys(cells, 2)
    assert len(examples(t, y, confidence, most=5, total=3)) == 3
    assert len(examples(t[:0], y[:0], confidence[:0], most=5, total=3)) == 0


def test_a_sprite_of_noise_has_under_300_kb(rng, tmp_path):
    images = rng.integers(0, 256, (560_000 // 784, 28, 28)).astype(np.uint8)
    write_sprite(tmp_path / "sprite.png", images)
    assert (tmp_path / "sprite.png").stat().st_size < 300_000
    drawn = np.array(Image.open(tmp_path / "sprite.png").convert("L"))
    for i in (0, 100, len(images) - 1):
        row, column = divmod(i, ACROSS)
        tile = drawn[28 * row : 28 * row + 28, 28 * column : 28 * column + 28]
        np.testing.assert_array_equal(tile, (255 - images[i]) // 16 * 17)
