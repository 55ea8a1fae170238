"""The study of the write-up's claims: its measures, its rules, and its stages on small data."""

import numpy as np
import pandas as pd
import pytest
import yaml
from project import ROOT, Project
from test_ladder import imported

from mlp.weights import class_templates, correlations, neighbour_correlation
from stages.params import load as load_root
from studies import replication
from studies.ladder import MODELS
from studies.replication import CONTROL, PUBLISHED, START, verdicts
from studies.replication.page import FILES, Tables, conclusion, page

STAGES = yaml.safe_load((ROOT / "studies/replication/dvc.yaml").read_text(encoding="utf-8"))[
    "stages"
]
PARAMS = yaml.safe_load((ROOT / "studies/replication/params.yaml").read_text(encoding="utf-8"))
WINNER = {"hidden_size1": 4, "hidden_size2": 4, "lr": 0.001, "l2_reg": 0.001}


class TestMeasures:
    def test_templates_by_hand(self):
        x = np.array([[0, 4], [2, 8], [10, 0], [5, 5]], np.uint8)
        found = class_templates(x, np.array([0, 0, 1, 3]))
        means = [[1, 6], [10, 0], [5, 5]]
        differences = [[-9, 6], [-4, 1], [5, -5]]
        np.testing.assert_allclose(found, means + differences)

    def test_correlation_has_neither_scale_nor_offset(self, rng):
        templates = rng.normal(size=(2, 50))
        W = np.stack([3 * templates[0] - 5, -0.1 * templates[1] + 2, np.zeros(50)], axis=1)
        found = correlations(W.astype(np.float32), templates)
        assert found.shape == (3, 2)
        assert found[0, 0] == pytest.approx(1, abs=1e-6)
        assert found[1, 1] == pytest.approx(-1, abs=1e-6)
        assert found[0, 1] == pytest.approx(np.corrcoef(templates)[0, 1], abs=1e-6)
        assert not found[2].any()

    def test_neighbours(self, rng):
        rows, columns = np.indices((16, 16))
        images = np.stack([rows + columns, (rows + columns) % 2, np.zeros((16, 16))]).astype(float)
        smooth, board, zeros = neighbour_correlation(images)
        assert smooth > 0.9
        assert board == pytest.approx(-1)
        assert zeros == 0
        noise = neighbour_correlation(rng.normal(size=(400, 16, 16)))
        assert noise.mean() == pytest.approx(-1 / 255, abs=0.01)
        assert np.mean(noise < verdicts.PATTERN) > 0.95

    def test_neighbours_by_hand_where_a_pixel_is_missing(self):
        """1, 2 and 6 around their mean: −2, −1 and 3; one pair beside, one below."""
        found = neighbour_correlation(np.array([[[1, 2], [6, np.nan]]]))
        assert found == pytest.approx(((2 - 6) / 2) / ((4 + 1 + 9) / 3))


def search(*accuracies: list[float]) -> pd.DataFrame:
    """A search's table: of configurations with hidden_size1 1, 2, …, the accuracies by seed."""
    rows = [
        {"hidden_size1": n, "hidden_size2": 4, "lr": 0.001, "l2_reg": 0.001, "seed": seed}
        | {"val_accuracy": accuracy, "status": "ok" if accuracy else "diverged"}
        for n, values in enumerate(accuracies, start=1)
        for seed, accuracy in enumerate(values)
    ]
    return pd.DataFrame(rows)


class TestWinner:
    @pytest.mark.parametrize(
        ("accuracies", "word", "rank"),
        [
            (([0.89, 0.90], [0.88, 0.89]), "yes", 1),
            (([0.88, 0.89], [0.885, 0.892]), "partly", 2),
            (([0.88, 0.881], [0.90, 0.901]), "no", 2),
            (([0.88, 0.89], [0.0, 0.99]), "yes", 1),  # what diverged with a seed is out
        ],
    )
    def test_verdict(self, accuracies, word, rank):
        found = verdicts.place(search(*accuracies), WINNER | {"hidden_size1": 1})
        assert (found.rank, found.of) == (rank, 2)
        assert verdicts.winner(found).word == word

    def test_distance_by_hand(self):
        found = verdicts.place(search([0.88, 0.90], [0.93, 0.93]), WINNER | {"hidden_size1": 1})
        assert found.gap == pytest.approx(4)
        assert found.std == pytest.approx(1)  # of variances 2 and 0
        assert found.noise == pytest.approx(1.645, abs=1e-3)  # 5 % of a normal distribution
        assert found.ranks == [2, 2]
        assert found.best == "2, 4, 0.001, 0.001"

    def test_a_setting_that_was_not_searched(self):
        with pytest.raises(ValueError, match="no result of 9, 4"):
            verdicts.place(search([0.9, 0.9]), WINNER | {"hidden_size1": 9})


@pytest.mark.parametrize(
    ("test", "word"), [([0.866, 0.869], "yes"), ([0.885, 0.886], "no"), ([0.85, 0.851], "no")]
)
def test_accuracy(test, word):
    assert verdicts.accuracy(pd.Series(test), 0.867).word == word


@pytest.mark.parametrize(
    ("first", "second", "word"),
    [
        ([[1, 2, 3], [2, 3, 4]], [[0, 1, 2], [0, 1, 5]], "yes"),
        ([[1, 2, 3], [2, 3, 4]], [[0, 1, 2], [0, 1, 1]], "partly"),  # not in each network
        ([[1, 2, 1], [2, 3, 4]], [[3, 2, 1], [0, 1, 1]], "no"),
    ],
)
def test_depth(first, second, word):
    rows = [
        {"seed": seed, "layer": layer, "a": first[seed][layer - 1], "b": second[seed][layer - 1]}
        for seed in (0, 1)
        for layer in (1, 2, 3)
    ]
    found = verdicts.depth(pd.DataFrame(rows), {"a": "one", "b": "other"})
    assert found.word == word
    assert found.why.count("of 2 networks") == 2


def neurons(r: dict[str, float], view: str, neighbours: float = 0.0) -> list[dict[str, object]]:
    """Rows of two networks of each kind, whose medians of r differ by 0.02."""
    return [
        {"network": name, "view": view, "seed": seed, "r50": r[name] + 0.02 * seed}
        | {"neighbours": neighbours + 0.01 * seed}
        for name in r
        for seed in (0, 1)
    ]


GARMENTS = {"yes": (0.5, 0.3, 0.1), "partly": (0.3, 0.3, 0.1), "no": (0.1, 0.3, 0.1)}


@pytest.mark.parametrize("word", GARMENTS)
def test_resemblance(word):
    r = dict(zip((PUBLISHED, CONTROL, START), GARMENTS[word], strict=True))
    table = pd.DataFrame(neurons(r, "layer 1"))
    assert verdicts.resemblance(table, PUBLISHED, "layer 1").word == word


@pytest.mark.parametrize(
    ("through", "neighbours", "word"),
    [("no", 0.0, "yes"), ("partly", 0.0, "yes"), ("yes", 0.0, "partly"), ("no", 0.3, "no")],
)
def test_no_pattern(through, neighbours, word):
    r = dict(zip((PUBLISHED, CONTROL, START), GARMENTS[through], strict=True))
    rows = neurons(r, "layer 2 through layer 1") + neurons(r, "layer 2", neighbours)
    assert verdicts.no_pattern(pd.DataFrame(rows), PUBLISHED).word == word


@pytest.mark.parametrize(("smaller", "helps"), [(0.91, True), (0.901, False), (0.88, False)])
def test_smaller_first_weights(smaller, helps):
    rows = [
        {"network": PUBLISHED, "scale": scale, "seed": seed, "val_accuracy": mean + change}
        | {"first_epoch": mean}
        for scale, mean in ((1, 0.9), (0.1, smaller))
        for seed, change in enumerate((-0.001, 0.001))
    ]
    scale, gain, noise = verdicts.best_scale(pd.DataFrame(rows))
    assert (scale, gain) == (0.1, pytest.approx(100 * (smaller - 0.9)))
    assert noise == pytest.approx(1.645 * 0.1 * 2**0.5, rel=1e-3)  # std 0.1 · √2, two seeds
    said = conclusion(pd.DataFrame(rows))
    assert ("So smaller first weights help." in said) == helps
    assert f"the best of all is {0.1 if smaller > 0.9 else 1:g}" in said


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose claims have been put to the test."""
    project = Project.finished(tmp_path_factory.getbasetemp().parent)
    project = project.copy(tmp_path_factory.mktemp("replication"))
    project.call("cp", "-r", str(ROOT / "studies"), ".")
    params = {
        **PARAMS,
        "search_seeds": 2,
        "control_seeds": 2,
        "first_steps": {"scales": [1, 0.1], "seeds": 2, "epochs": 1},
        "published": {"winner": WINNER, "test_accuracy": 0.9},
    }
    ladder = yaml.safe_load((ROOT / "studies/ladder/params.yaml").read_text(encoding="utf-8"))
    ladder["seeds"] = 2
    for recipe in ladder["rungs"].values():
        recipe |= {"hidden_sizes": [8, 4], "epochs": 2}
    for name, values in {"ladder": ladder, "replication": params}.items():
        path = project.folder / "studies" / name / "params.yaml"
        path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    for rung in (PUBLISHED, replication.RECIPE):
        run(project, f"ladder.rung {rung}")
    models = [f"{rung},99,0.9,0.{n}" for rung in (PUBLISHED, replication.RECIPE) for n in (88, 92)]
    (project.folder / MODELS).write_text(
        "\n".join(["rung,parameters,val_accuracy,test_accuracy", *models])
    )
    for stage in STAGES.values():
        run(project, stage["cmd"].removeprefix("python -m studies."))
    return project


def run(project: Project, stage: str, **options):
    return project.call("python", "-m", *f"studies.{stage}".split(), MLP_JOBS="1", **options)


def test_each_stage_writes_what_it_declares(study: Project):
    for stage in STAGES.values():
        for out in stage["outs"]:
            [path] = out
            assert (study.folder / path).exists()


def test_page_says_what_the_tables_say(study: Project):
    text = (study.folder / "docs/replication.md").read_text(encoding="utf-8")
    search = pd.read_csv(study.folder / replication.SEARCH)
    assert len(search) == 2 * 4
    means = search.groupby([*verdicts.SEARCHED]).val_accuracy.mean().sort_values(ascending=False)
    rank = means.index.get_loc(tuple(WINNER.values())) + 1
    assert "| The winner is 4, 4, 0.001, 0.001 | **" in text
    assert f": rank {rank} of 4" in text
    assert "| 90 % on test | **yes**: 90.00 ± 2.83 % |" in text
    layers = pd.read_csv(study.folder / replication.LAYERS)
    assert len(layers) == 2 * 2 * 3
    neurons = pd.read_csv(study.folder / replication.NEURONS)
    assert len(neurons) == (3 + 1) * 2 * 3


def test_the_first_weights_are_scaled_and_nothing_else_is(study: Project):
    steps = pd.read_csv(study.folder / replication.FIRST_STEPS)
    assert len(steps) == 2 * 2 * 2
    first = steps.groupby("scale").first_loss
    assert np.allclose(first.get_group(0.1), np.log(3), atol=0.05)
    assert (first.get_group(1.0).to_numpy() > first.get_group(0.1).to_numpy()).any()


def test_controls_are_remembered(study: Project):
    path = study.folder / "data/replication/controls/42.npz"
    before = path.read_bytes()
    path.unlink()
    assert "2 of 2 remembered" in run(study, "replication.controls").stdout
    assert path.read_bytes() == before


def test_a_winner_that_was_not_searched_is_one_line(study: Project, tmp_path_factory):
    other = study.copy(tmp_path_factory.mktemp("wrong"))
    path = other.folder / "studies/replication/params.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("hidden_size1: 4", "hidden_size1: 5"))
    said = run(other, "replication.page", status=2).stderr
    assert "published.winner: the search has no result of 5, 4, 0.001, 0.001" in said
    assert said.count("\n") == 1


def test_scales_without_one_are_refused(study: Project, tmp_path_factory):
    other = study.copy(tmp_path_factory.mktemp("scales"))
    path = other.folder / "studies/replication/params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    params["first_steps"]["scales"] = [0.5, 0.1]
    path.write_text(yaml.safe_dump(params), encoding="utf-8")
    said = run(other, "replication.page", status=2).stderr
    assert "studies/replication/params.yaml: first_steps.scales: [0.5, 0.1]; allowed is" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("name", STAGES)
def test_declared_deps_are_what_a_stage_imports(name: str):
    found = imported(STAGES[name]["cmd"].split()[2], set())
    if "stages/executor.py" in found:
        imported("mlp.search.processes", found)
    assert {dep for dep in STAGES[name]["deps"] if dep.endswith(".py")} == found


def test_no_stage_depends_on_test_images():
    for stage in STAGES.values():
        assert not any(dep.startswith("data/raw") for dep in stage["deps"])


def test_the_committed_page_is_that_of_the_committed_tables(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    tables = Tables(*(pd.read_csv(path) for path in FILES))
    text = page(tables, replication.load(), len(load_root().preprocess.classes))
    assert replication.PAGE.read_text(encoding="utf-8") == text
