"""The search: strategies, rows that depend on nothing but their trial, the journal, the winner."""

import itertools
import json
import math
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import mlp
from mlp.__main__ import list_trials
from mlp.data import load_dataset, save_dataset
from mlp.files import InputError, read_json, write_json
from mlp.module import MLP
from mlp.recipe import Recipe, make_trainer
from mlp.search import (
    Result,
    Rung,
    expand_grid,
    failures,
    grid,
    halving,
    processes,
    run_search,
    rungs_of,
    winner,
)
from mlp.search.journal import Journal, _digest, entries
from mlp.search.trial import NO_RESULT, SOURCES, Trial, meaning

SPACE = {
    "hidden_size1": [64, 128, 256],
    "hidden_size2": [64, 128, 256],
    "lr": [0.01, 0.001, 0.0001],
    "l2_reg": [0.0001, 0.001, 0.01],
}


ROW = {"seed": 0, "parameters": 9, "epochs": 3, **NO_RESULT, "val_accuracy": 0.5, "status": "ok"}


@pytest.fixture
def recipes(recipe):
    """Four recipes that differ in size and learning rate."""
    return [replace(recipe, hidden_sizes=(h, 6), lr=lr) for h in (4, 9) for lr in (0.01, 0.05)]


def here(trials, problem):
    """An executor without processes."""
    for number, trial in trials:
        yield number, trial.run(problem)


def rows_of(recipes, problem, **options):
    """The rows in the order of `recipes`."""
    results, _ = run_search(grid(recipes), problem, here, seeds=[0], **options)
    return [row for result in results for row in result.rows]


def test_grid_has_81_configurations_in_the_published_order():
    points = expand_grid(SPACE)
    assert [tuple(point.values()) for point in points[:4]] == [
        (64, 64, 0.01, 0.0001),
        (64, 64, 0.01, 0.001),
        (64, 64, 0.01, 0.01),
        (64, 64, 0.001, 0.0001),
    ]
    assert points[-1] == {"hidden_size1": 256, "hidden_size2": 256, "lr": 0.0001, "l2_reg": 0.01}
    assert len({tuple(point.items()) for point in points}) == len(points) == 81


def test_grid_of_one_value_each():
    assert expand_grid({"lr": [0.1], "l2_reg": [0]}) == [{"lr": 0.1, "l2_reg": 0}]


def test_row_is_the_best_epochs_metrics(recipe, noise, problem, build):
    row = Trial(replace(recipe, epochs=8), 0).run(problem._replace(train=noise[0], val=noise[1]))
    trainer = build(train=noise[0], val=noise[1], train_metrics="running")
    trainer.fit(8)
    best = trainer.best_metrics
    assert best["epoch"] < 8  # otherwise this test shows less
    assert row == {
        "seed": 0,
        "parameters": trainer.model.params.size,
        "epochs": 8,
        "best_epoch": best["epoch"],
        "train_loss": best["train_loss"],
        "val_loss": best["val_loss"],
        "train_accuracy": best["train_accuracy"],
        "val_accuracy": best["val_accuracy"],
        "status": "ok",
    }


def test_rows_do_not_depend_on_order_or_on_company(recipes, problem):
    rows = rows_of(recipes, problem)
    assert rows_of(recipes[::-1], problem) == rows[::-1]
    assert rows_of(recipes[1:2], problem) == rows[1:2]
    assert Trial(recipes[3], 0).run(problem) == rows[3]


def test_longest_trials_come_first(recipes, problem):
    order = []

    def watched(trials, problem):
        for number, trial in trials:
            order.append(trial.recipe)
            yield number, trial.run(problem)

    longer = replace(recipes[0], epochs=9)
    run_search(grid([*recipes[1:], longer]), problem, watched, seeds=[0])
    assert order[0] == longer
    assert set(order[1:3]) == set(recipes[2:])


def test_results_belong_to_their_recipes(recipes, problem):
    results, _ = run_search(grid(recipes), problem, here, seeds=[0])
    assert [result.recipe for result in results] == recipes
    for result in results:
        assert result.rows == [Trial(result.recipe, 0).run(problem)]
        assert result.recipe.hyper_parameters.items() <= result.summary().items()


def test_rows_are_the_same_from_memory_mapped_files(recipe, problem, tmp_path):
    mapped = {}
    for name in ("train", "val"):
        save_dataset(tmp_path, name, getattr(problem, name))
        mapped[name] = load_dataset(tmp_path, name)
    assert rows_of([recipe], problem._replace(**mapped)) == rows_of([recipe], problem)


def test_seed_changes_the_row(recipe, problem):
    results, _ = run_search(grid([recipe]), problem, here, seeds=[0, 1])
    one, other = results[0].rows
    assert one["val_loss"] != other["val_loss"]


def test_diverged_trial_is_recorded_and_the_search_goes_on(recipes, problem):
    recipes[1] = replace(recipes[1], lr=1e200)
    results, _ = run_search(grid(recipes), problem, here, seeds=[0])
    rows = [result.rows[0] for result in results]
    assert [row["status"] for row in rows] == ["ok", "diverged", "ok", "ok"]
    assert list(rows[1]) == list(rows[0])
    assert all(math.isfinite(v) for v in rows[1].values() if not isinstance(v, str))
    json.dumps(rows, allow_nan=False)
    assert winner(results).recipe.lr != 1e200


def test_a_strategy_of_ones_own(recipes, problem):
    """Random search, as the package's docstring has it."""

    def random_search(recipes, n, rng):
        yield [recipes[i] for i in rng.choice(len(recipes), n, replace=False)]

    strategy = random_search(recipes, 2, np.random.default_rng(0))
    results, _ = run_search(strategy, problem, here, seeds=[0])
    assert len({result.recipe for result in results} & set(recipes)) == len(results) == 2


def test_a_strategy_is_told_what_came_of_its_list(recipes, problem):
    told = []

    def climber():
        told.append((yield recipes[:2]))
        told.append((yield [replace(told[0][0].recipe, lr=0.03)]))

    results, _ = run_search(climber(), problem, here, seeds=[0, 1])
    assert [result.recipe for result in told[0]] == recipes[:2]
    assert [len(result.rows) for result in told[0]] == [2, 2]
    assert [result.rung for result in results] == [1, 1, 2]
    assert told[1][0].recipe.lr == 0.03


def test_a_list_that_names_a_recipe_twice(recipe, problem):
    twice = [recipe, replace(recipe, epochs=recipe.epochs + 1)]
    with pytest.raises(InputError, match="twice"):
        run_search(grid(twice), problem, here, seeds=[0])


def test_no_seeds_and_no_recipes(recipe, problem):
    with pytest.raises(InputError, match="seeds"):
        run_search(grid([recipe]), problem, here, seeds=[])
    assert run_search(grid([]), problem, here, seeds=[0]) == ([], 0)


def test_networks_of_any_depth_are_searched(recipe, problem):
    recipes = [replace(recipe, hidden_sizes=sizes) for sizes in ((4,), (4, 3), (5, 4, 3))]
    results, _ = run_search(grid(recipes), problem, here, seeds=[0])
    assert [result.summary()["status"] for result in results] == ["ok"] * 3
    assert results[2].summary()["hidden_size3"] == 3


# --- the winner -----------------------------------------------------------------------------------


def result(val_accuracy, val_loss=0.5, sizes=(64, 64), status="ok", seed=0, rung=1, **changes):
    metrics = {"best_epoch": 1, "train_loss": 0.5, "train_accuracy": 1.0}
    parameters = sizes[0] * (785 + sizes[1]) + 11 * sizes[1] + 10
    row = {"seed": seed, "parameters": parameters, "epochs": 3, **metrics, "val_loss": val_loss}
    row |= {"val_accuracy": val_accuracy, "status": status} | changes
    return Result(Recipe(hidden_sizes=sizes), rung, [row])


@pytest.mark.parametrize(
    ("loser", "best"),
    [
        (result(0.8, val_loss=0.1), result(0.9, val_loss=0.9, sizes=(256, 256))),
        (result(0.9, val_loss=0.4), result(0.9, val_loss=0.3, sizes=(256, 256))),
        (result(0.9, sizes=(128, 64)), result(0.9, sizes=(64, 256))),
        (result(0.99, status="diverged"), result(0.1)),
    ],
    ids=["accuracy", "loss", "size", "diverged"],
)
def test_winner(loser, best):
    assert winner([loser, best]) is best
    assert winner([best, loser]) is best


def test_smaller_network_wins_a_tie_for_every_two_of_the_published_sizes(rng):
    sizes = list(itertools.product(SPACE["hidden_size1"], SPACE["hidden_size2"]))
    count = {pair: MLP(784, pair, 10, rng=rng).params.size for pair in sizes}
    for two in itertools.permutations(sizes, 2):
        found = winner([result(0.9, sizes=pair) for pair in two])
        assert found.recipe.hidden_sizes == min(two, key=count.__getitem__)


def test_no_winner_if_all_diverged():
    assert winner([result(0.0, -1.0, status="diverged")] * 3) is None
    assert winner([]) is None


def test_failures_are_told_from_what_diverged_and_what_has_a_result():
    dead = result(0.0, -1.0, status="failed: its process died (SIGKILL)")
    others = [result(0.9), result(0.0, -1.0, status="diverged", rung=2)]
    assert winner([*others, dead]) is None
    assert failures(others) == []
    assert failures([*others, dead]) == ["failed: its process died (SIGKILL)"]


def test_winner_is_of_the_last_rung():
    early, late = result(0.9), result(0.8, rung=2)
    assert winner([early, late]) is late


# --- seeds and rungs ------------------------------------------------------------------------------


def test_summary_is_the_mean_over_seeds():
    one = result(0.5, 0.25, seed=1, best_epoch=3)
    one.rows += result(0.75, 0.75, seed=0, best_epoch=5).rows
    found = one.summary()
    assert "seed" not in found
    assert (found["val_accuracy"], found["val_loss"], found["best_epoch"]) == (0.625, 0.5, 4)
    assert found["val_accuracy_std"] == pytest.approx(0.125 * math.sqrt(2))
    assert found["seeds"] == 2
    one.rows.reverse()
    assert one.summary() == found
    one.rows.pop()
    assert one.summary()["val_accuracy_std"] == 0


def test_summary_of_a_configuration_that_diverged_with_one_seed():
    one = result(0.9, seed=0)
    one.rows += result(0.0, -1.0, status="diverged", seed=1).rows
    assert one.summary()["status"] == "diverged"
    assert one.summary()["val_accuracy"] == 0


@pytest.mark.parametrize(
    ("arguments", "rungs"),
    [
        ((81, 10, 3, 3), [(81, 2), (27, 4), (9, 10)]),
        ((81, 27, 2, 4), [(81, 7), (21, 27)]),
        ((2, 1, 3, 2), [(2, 1), (1, 1), (1, 1)]),
        ((5, 7, 1, 3), [(5, 7)]),
    ],
)
def test_rungs(arguments, rungs):
    recipes, epochs, count, factor = arguments
    assert rungs_of(recipes, epochs, rungs=count, factor=factor) == rungs


def climb(recipes, problem, rungs, **options):
    return run_search(halving(recipes, rungs), problem, here, seeds=[0, 1], **options)


def test_halving_keeps_the_best_and_goes_on_where_they_stand(recipes, problem, tmp_path):
    rungs = [Rung(4, 2), Rung(2, 6)]
    first = climb(recipes, problem, rungs[:1])[0]
    results, remembered = climb(recipes, problem, rungs, journal=tmp_path, checkpoints=True)
    assert remembered == 0
    assert len(list(tmp_path.glob("*.npz"))) == 8
    assert [(result.recipe.hidden_sizes, result.recipe.lr) for result in results] == [
        (recipe.hidden_sizes, recipe.lr) for recipe in recipes
    ]
    mean = [result.summary() for result in first]
    order = sorted(range(4), key=lambda i: (-mean[i]["val_accuracy"], mean[i]["val_loss"]))
    assert [result.rung for result in results] == [2 if i in order[:2] else 1 for i in range(4)]
    assert {len(result.rows) for result in results} == {2}

    # what went on from a checkpoint equals what was trained in one go
    for recipe, found in zip(recipes, results, strict=True):
        epochs = rungs[found.rung - 1].epochs
        assert found.recipe == replace(recipe, epochs=epochs)
        for row in found.rows:
            assert row == Trial(found.recipe, row["seed"]).run(problem)

    again, remembered = climb(recipes, problem, rungs, journal=tmp_path, checkpoints=True)
    assert remembered == 12
    assert again == results


def test_a_checkpoint_that_has_gone_further_is_not_used(recipes, problem, tmp_path):
    """A shorter search after a longer one elects what it elects without memory."""
    climb(recipes, problem, [Rung(4, 3), Rung(2, 9)], journal=tmp_path, checkpoints=True)
    rungs = [Rung(4, 2), Rung(2, 6)]
    fresh, _ = climb(recipes, problem, rungs)
    found, remembered = climb(recipes, problem, rungs, journal=tmp_path, checkpoints=True)
    assert remembered == 0
    assert found == fresh


def test_checkpoints_save_time_and_may_be_lost(recipe, problem, tmp_path):
    path = tmp_path / "checkpoint.npz"
    recipe = replace(recipe, epochs=5)
    whole = Trial(recipe, 0).run(problem)
    Trial(replace(recipe, epochs=3), 0, path).run(problem)
    half = path.read_bytes()
    assert Trial(recipe, 0, path).run(problem) == whole
    path.write_bytes(half[:100])
    assert Trial(recipe, 0, path).run(problem) == whole


# --- the journal ----------------------------------------------------------------------------------


def test_journal_knows_a_trial_by_all_that_decides_it(recipe, problem, tmp_path):
    row, trial = ROW, Trial(recipe, 0)
    Journal(tmp_path, problem).put(trial, row)
    assert Journal(tmp_path, problem).get(trial) == row
    assert trial in Journal(tmp_path, problem)
    others = [Trial(recipe, 1), *(Trial(replace(recipe, **c), 0) for c in CHANGES)]
    for other in others:
        assert Journal(tmp_path, problem).get(other) is None
    for changed in (
        problem._replace(classes=("a", "b", "c", "d")),
        problem._replace(normalisation={"mean": 0.5, "std": 0.25}),
        problem._replace(val=problem.train),
        problem._replace(image_shape=(5, 1)),
        problem._replace(soft_labels=np.ones((90, 1, 3)) / 3),
        problem._replace(train=problem.train._replace(x=problem.train.x.reshape(45, 10))),
        problem._replace(train=problem.train._replace(x=problem.train.x.astype("f4"))),
    ):
        assert Journal(tmp_path, changed).get(trial) is None


CHANGES = [
    {"hidden_sizes": (8, 6, 2)},
    {"activation": "sigmoid"},
    {"optimizer": "adam"},
    {"lr": 0.03},
    {"lr_decay": 0.2},
    {"l2_reg": 0.0},
    {"batch_size": 21},
    {"epochs": 4},
    {"patience": 2},
    {"batch_norm": True},
    {"schedule": "cosine"},
    {"warmup": 0.1},
    {"weight_decay": 0.1},
    {"label_smoothing": 0.1},
    {"input_dropout": 0.1},
    {"dropout": 0.1},
    {"flip": True},
    {"shift": 1},
]


def test_every_part_of_a_recipe_is_tried():
    assert {name for change in CHANGES for name in change} == set(Recipe.__dataclass_fields__)


def test_entries_of_another_version_are_not_found(recipe, problem, tmp_path, monkeypatch):
    journal = Journal(tmp_path, problem)
    journal.put(Trial(recipe, 0), ROW)
    monkeypatch.setattr("mlp.search.journal.context", lambda _: {"sources": ["other"]})
    assert Journal(tmp_path, problem).get(Trial(recipe, 0)) is None


@pytest.mark.parametrize("harm", [{}, {"digest": "0"}, {"row": [1]}, {"recipe": None}])
def test_damaged_entries_are_not_believed(harm, recipe, problem, tmp_path):
    journal, trial = Journal(tmp_path, problem), Trial(recipe, 0)
    journal.put(trial, ROW)
    [path] = tmp_path.iterdir()
    write_json(path, (read_json(path) | harm) if harm else [])
    assert trial not in journal
    with pytest.warns(UserWarning, match="training this trial again"):
        assert journal.get(trial) is None


# A row, or a recipe, that is not what a search writes
MISTYPED = [
    *({"row": {name: value}} for name in ROW for value in ([], None, True)),
    {"row": {"seed": 0.0}},
    {"row": {"val_accuracy": "0.5"}},
    {"row": {"val_accuracy": 1e999}},
    {"row": {"train_loss": 10**400}},
    {"recipe": {"lr": "0.1"}},
    {"recipe": {"hidden_sizes": 8}},
    {"recipe": {"hidden_sizes": [8, "6"]}},
    {"recipe": {"epochs": 3.0}},
    {"recipe": {"patience": "never"}},
]


@pytest.mark.parametrize("harm", [*MISTYPED, {"row": None}], ids=str)
def test_entries_of_other_types_are_not_believed_whatever_their_digest(
    harm, recipe, problem, tmp_path
):
    journal, trial = Journal(tmp_path, problem), Trial(recipe, 0)
    journal.put(trial, ROW)
    [path] = tmp_path.iterdir()
    entry = read_json(path)
    for part, change in harm.items():
        entry[part] = entry[part] | change if change else {}
    entry["digest"] = _digest([path.stem, entry["recipe"], entry["row"]])
    path.write_text(json.dumps(entry))
    assert trial not in journal
    with pytest.warns(UserWarning, match="damaged|not JSON"):
        assert not list(entries(tmp_path))
    with pytest.warns(UserWarning, match="training this trial again"):
        assert journal.get(trial) is None


def test_an_entry_of_a_recipe_with_fewer_values_is_listed(recipe, problem, tmp_path, capsys):
    Journal(tmp_path, problem).put(Trial(recipe, 0), ROW)
    [path] = tmp_path.iterdir()
    entry = read_json(path)
    del entry["recipe"]["lr"], entry["recipe"]["epochs"]
    entry["digest"] = _digest([path.stem, entry["recipe"], entry["row"]])
    path.write_text(json.dumps(entry))
    [found] = entries(tmp_path)
    assert found.recipe == replace(recipe, lr=Recipe.lr, epochs=Recipe.epochs)
    list_trials(tmp_path)
    assert "1 trials in" in capsys.readouterr().out


def test_best_weights_are_kept_with_the_row(recipe, problem, tmp_path):
    trainer = make_trainer(recipe, problem, seed=0)
    trainer.fit(recipe.epochs)
    for remembered in (0, 1):
        [result], found = run_search(
            grid([recipe]), problem, here, seeds=[0], journal=tmp_path, keep=True
        )
        assert found == remembered
        np.testing.assert_array_equal(result.rows[0]["params"], trainer.model.params)
    [weights] = tmp_path.glob("*.npz")
    weights.write_bytes(weights.read_bytes()[:100])  # damaged: trained again
    with pytest.warns(UserWarning, match="training this trial again"):
        [result], found = run_search(
            grid([recipe]), problem, here, seeds=[0], journal=tmp_path, keep=True
        )
    assert found == 0
    np.testing.assert_array_equal(result.rows[0]["params"], trainer.model.params)


def test_a_row_without_weights_is_not_enough_if_they_are_wanted(recipe, problem, tmp_path):
    run_search(grid([recipe]), problem, here, seeds=[0], journal=tmp_path)
    _, found = run_search(grid([recipe]), problem, here, seeds=[0], journal=tmp_path, keep=True)
    assert found == 0


def test_an_entry_under_another_name_is_not_believed(recipe, problem, tmp_path):
    journal, trial, other = Journal(tmp_path, problem), Trial(recipe, 0), Trial(recipe, 1)
    journal.put(trial, ROW)
    [path] = tmp_path.iterdir()
    journal.put(other, ROW)
    [another] = set(tmp_path.iterdir()) - {path}
    another.write_bytes(path.read_bytes())
    assert other not in journal
    assert trial in journal


def as_given(problem, **changes):
    """A problem as a notebook may have it: NumPy's numbers, and arrays of any kind."""
    return problem._replace(
        classes=np.array(problem.classes),
        image_shape=np.array([1, 5]),
        normalisation={"mean": np.float32(0.5), "std": np.float64(0.25)},
        **changes,
    )


def plain(problem):
    return problem._replace(image_shape=(1, 5), normalisation={"mean": 0.5, "std": 0.25})


def test_a_problem_and_seeds_of_numpys_numbers(recipe, problem, tmp_path):
    lists = {
        name: type(part)(part.x.tolist(), part.t.tolist())
        for name, part in {"train": problem.train, "val": problem.val}.items()
    }
    for seeds, given in (([0, 1], plain(problem)), (np.arange(2), as_given(problem, **lists))):
        [result], found = run_search(grid([recipe]), given, here, seeds=seeds, journal=tmp_path)
        assert [row["status"] for row in result.rows] == ["ok", "ok"]
    assert found == 2  # they are the same trials


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda x, t: (np.ma.masked_less(x, 0), t), "samples that are masked"),
        (lambda x, t: (x, np.ma.masked_equal(t, 1)), "labels that are masked"),
        (lambda x, t: (x.astype(object), t), "samples of type object"),
        (lambda x, t: (np.where(x > 2, np.inf, x), t), "not all finite"),
        (lambda x, t: (x[:0], t[:0]), "no samples"),
        (lambda x, t: (x, t + 1), "the classes are 0 to 2"),
        (lambda x, t: (x[0, 0], t), "of a problem"),
        (lambda x, t: ([[1, 2], [3]], t), "of a problem"),
        (lambda x, t: (x[:, :0], t), "without features"),
    ],
    ids=range(9),
)
def test_a_search_of_what_no_trainer_takes(change, why, recipe, problem, tmp_path):
    problem = problem._replace(train=type(problem.train)(*change(*problem.train)))
    executors = [here, partial(processes.train, jobs=1)]  # which would drop a mask
    for executor in executors:
        with pytest.raises(InputError, match=why):
            run_search(grid([recipe]), problem, executor, seeds=[0], journal=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"image_shape": "15"},
        {"image_shape": (1.0, 5.0)},
        {"normalisation": [0.5, 0.25]},
        {"normalisation": {"mean": "a", "std": 1}},
        {"normalisation": {"mean": 0, "std": 0}},
    ],
    ids=str,
)
def test_a_search_of_what_is_no_problem(change, recipe, problem):
    with pytest.raises(InputError, match=r"of a problem|an std above 0"):
        run_search(grid([recipe]), problem._replace(**change), here, seeds=[0])


@pytest.mark.parametrize("seeds", [[], np.arange(0), [-1], [0, 0], [0.0], 3, ["0"]], ids=repr)
def test_what_are_no_seeds(seeds, recipe, problem):
    with pytest.raises(InputError, match="a search's seeds"):
        run_search(grid([recipe]), problem, here, seeds=seeds)


def trials_command(*arguments):
    """`python -m mlp trials`."""
    command = [sys.executable, "-m", "mlp", "trials", *map(str, arguments)]
    root = Path(mlp.__file__).parent.parent
    return subprocess.run(command, cwd=root, capture_output=True, text=True)


def test_a_folder_with_other_files_loses_none_of_them(recipe, problem, tmp_path):
    Journal(tmp_path, problem).put(Trial(recipe, 0), ROW | {"params": np.zeros(3)})
    own = set(tmp_path.iterdir())
    for name in ("package.json", "best.npz", "a" * 32 + ".txt"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / f"{'b' * 32}.json").symlink_to("nowhere")
    others = set(tmp_path.iterdir()) - own
    listed = trials_command("--folder", tmp_path)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert f"1 trials in {tmp_path}" in listed.stdout
    cleared = trials_command("--folder", tmp_path, "--clear")
    assert cleared.stdout == f"1 trials removed from {tmp_path}\n"
    assert set(tmp_path.iterdir()) == others


def test_an_entry_that_leaves_what_has_a_value_anyway(recipe, problem, tmp_path):
    Journal(tmp_path, problem).put(Trial(recipe, 0), ROW)
    [path] = tmp_path.iterdir()
    short = {"hidden_sizes": [8]}
    write_json(path, {"recipe": short, "row": ROW, "digest": _digest([path.stem, short, ROW])})
    listed = trials_command("--folder", tmp_path)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "  8           0.001 " in listed.stdout
    path.write_text("{")
    listed = trials_command("--folder", tmp_path)
    assert listed.returncode == 0
    assert listed.stderr.count("\n") == 1
    assert listed.stderr.startswith(f"mlp trials: {path}: not JSON")


def test_meaning_leaves_comments_and_docstrings_out():
    code = 'def f(x):\n    """Old."""\n    return x + 1\n'
    assert meaning('"""New."""\n\n\n# why\n' + code.replace("Old", "Ö")) == meaning(code)
    assert meaning(code.replace("+ 1", "+ 2")) != meaning(code)
    assert meaning(code.replace("return x + 1", '"""Two."""\n    return x + 1')) != meaning(code)


def test_sources_are_those_that_a_trial_loads():
    """… but for those that decide nothing of it."""
    harmless = {
        "files",
        "checks",
        "idx",
        "model_file",
        "progress",
        "search/journal",
        "search/result",
        "search/__init__",
    }
    code = (
        "import sys; from mlp.search.trial import Trial;"
        "print(*(m for m in sys.modules if m.startswith('mlp.')))"
    )
    root = Path(mlp.__file__).parent.parent
    out = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    loaded = {name.removeprefix("mlp.").replace(".", "/") for name in out.stdout.split()}
    loaded = {"search/__init__" if name == "search" else name for name in loaded}
    assert loaded - harmless == set(SOURCES)
