"""The search: the grid, rows that depend on nothing but their configuration, the winner."""

import itertools
import json
import math

import numpy as np
import psutil
import pytest

from mlp.data import Dataset, load_dataset, save_dataset
from mlp.module import MLP
from mlp.search import (
    Rung,
    best_row,
    expand_grid,
    halving,
    run_search,
    run_trials,
    summarise,
    train_trial,
)

SPACE = {
    "hidden_size1": [64, 128, 256],
    "hidden_size2": [64, 128, 256],
    "lr": [0.01, 0.001, 0.0001],
    "l2_reg": [0.0001, 0.001, 0.01],
}


@pytest.fixture
def config(config, settings):
    """In a search, the seed is part of what tells trials apart."""
    return config | {"seed": settings.pop("seed")}


@pytest.fixture
def configs(config):
    """Four configurations that differ in size and learning rate."""
    return [config | {"hidden_size1": h, "lr": lr} for h in (4, 9) for lr in (0.01, 0.05)]


def rows_of(configs, data, settings, *, jobs=1, epochs=3):
    """The rows in the order of `configs`."""
    trials = run_trials(configs, *data, jobs=jobs, epochs=epochs, **settings)
    found = {trial.number: trial.row for trial in trials}
    return [found[number] for number in range(len(configs))]


def test_grid_has_81_configurations_in_the_published_order():
    grid = expand_grid(SPACE)
    assert [tuple(point.values()) for point in grid[:4]] == [
        (64, 64, 0.01, 0.0001),
        (64, 64, 0.01, 0.001),
        (64, 64, 0.01, 0.01),
        (64, 64, 0.001, 0.0001),
    ]
    assert grid[-1] == {"hidden_size1": 256, "hidden_size2": 256, "lr": 0.0001, "l2_reg": 0.01}
    assert len({tuple(point.items()) for point in grid}) == len(grid) == 81


def test_grid_of_one_value_each():
    assert expand_grid({"lr": [0.1], "l2_reg": [0]}) == [{"lr": 0.1, "l2_reg": 0}]


def test_row_is_the_configuration_then_the_best_epochs_metrics(config, noise, settings, build):
    row = train_trial(config, *noise, epochs=8, **settings)
    trainer = build(train=noise[0], val=noise[1], train_metrics="running")
    trainer.fit(8)
    best = trainer.best_metrics
    assert best["epoch"] < 8  # otherwise this test shows less
    assert row == config | {
        "parameters": trainer.model.params.size,
        "epochs": 8,
        "best_epoch": best["epoch"],
        "train_loss": best["train_loss"],
        "val_loss": best["val_loss"],
        "train_accuracy": best["train_accuracy"],
        "val_accuracy": best["val_accuracy"],
        "status": "ok",
    }
    assert list(row)[: len(config)] == list(config)


def test_rows_do_not_depend_on_the_number_of_jobs(configs, data, settings):
    # large enough (over 1 MB) that joblib memory-maps the training set for its workers
    wide = [Dataset(np.tile(part.x, (1, 300)), part.t) for part in data]
    assert wide[0].x.nbytes > 2**20
    configs = [point | {"lr": point["lr"] / 100} for point in configs]
    assert rows_of(configs, wide, settings, jobs=2) == rows_of(configs, wide, settings, jobs=1)


@pytest.mark.filterwarnings("ignore:.*cancelled")  # joblib's, of what is under way
def test_trials_that_nobody_waits_for_are_ended(configs, data, settings):
    wide = [config | {"hidden_size2": 64, "seed": seed} for config in configs for seed in range(20)]
    trials = run_trials(wide, *data, jobs=2, epochs=200, **settings)
    next(trials)
    at_work = [p for p in psutil.Process().children() if "popen_loky" in " ".join(p.cmdline())]
    assert len(at_work) == 2
    trials.close()
    assert psutil.wait_procs(at_work, timeout=2)[1] == []


def test_rows_do_not_depend_on_order_or_on_company(configs, data, settings):
    rows = rows_of(configs, data, settings)
    assert rows_of(configs[::-1], data, settings) == rows[::-1]
    assert rows_of(configs[1:2], data, settings) == rows[1:2]
    assert train_trial(configs[3], *data, epochs=3, **settings) == rows[3]


def test_largest_networks_come_first(configs, data, settings):
    order = [trial.number for trial in run_trials(configs, *data, jobs=1, epochs=1, **settings)]
    assert sorted(order) == [0, 1, 2, 3]
    assert sorted(order[:2]) == [2, 3]


def test_rows_belong_to_their_configurations(configs, data, settings):
    for point, row in zip(configs, rows_of(configs, data, settings), strict=True):
        assert point.items() <= row.items()


def test_rows_are_the_same_from_memory_mapped_files(config, data, settings, tmp_path):
    mapped = []
    for name, part in zip(("train", "val"), data, strict=True):
        save_dataset(tmp_path, name, part)
        mapped.append(load_dataset(tmp_path, name))
    assert rows_of([config], mapped, settings) == rows_of([config], data, settings)


def test_seed_changes_the_row(config, data, settings):
    one, other = rows_of([config, config | {"seed": config["seed"] + 1}], data, settings)
    assert one["val_loss"] != other["val_loss"]


def test_diverged_trial_is_recorded_and_the_search_goes_on(configs, data, settings):
    configs[1]["lr"] = 1e200
    rows = rows_of(configs, data, settings)
    assert [row["status"] for row in rows] == ["ok", "diverged", "ok", "ok"]
    assert list(rows[1]) == list(rows[0])
    assert all(math.isfinite(v) for v in rows[1].values() if not isinstance(v, str))
    json.dumps(rows, allow_nan=False)
    assert best_row([row | {"rung": 1} for row in rows])["lr"] != 1e200


def row(val_accuracy, val_loss=0.5, sizes=(64, 64), status="ok"):
    return {
        "hidden_size1": sizes[0],
        "hidden_size2": sizes[1],
        "rung": 1,
        "parameters": sizes[0] * (785 + sizes[1]) + 11 * sizes[1] + 10,
        "val_accuracy": val_accuracy,
        "val_loss": val_loss,
        "status": status,
    }


@pytest.mark.parametrize(
    ("loser", "winner"),
    [
        (row(0.8, val_loss=0.1), row(0.9, val_loss=0.9, sizes=(256, 256))),
        (row(0.9, val_loss=0.4), row(0.9, val_loss=0.3, sizes=(256, 256))),
        (row(0.9, sizes=(128, 64)), row(0.9, sizes=(64, 256))),
        (row(0.99, status="diverged"), row(0.1)),
    ],
    ids=["accuracy", "loss", "size", "diverged"],
)
def test_winner(loser, winner):
    assert best_row([loser, winner]) is winner
    assert best_row([winner, loser]) is winner


def test_smaller_network_wins_a_tie_for_every_two_of_the_published_sizes(rng):
    sizes = list(itertools.product(SPACE["hidden_size1"], SPACE["hidden_size2"]))
    count = {pair: MLP(784, pair, 10, rng=rng).params.size for pair in sizes}
    for two in itertools.permutations(sizes, 2):
        found = best_row([row(0.9, sizes=pair) for pair in two])
        assert (found["hidden_size1"], found["hidden_size2"]) == min(two, key=count.__getitem__)


def test_no_winner_if_all_diverged():
    assert best_row([row(0.0, -1.0, status="diverged")] * 3) is None
    assert best_row([]) is None


# --- seeds and rungs ------------------------------------------------------------------------------


def test_summary_is_the_mean_over_seeds():
    rows = [row(0.5, 0.25) | {"seed": 1, "best_epoch": 3, "train_loss": 0.5, "train_accuracy": 1.0}]
    rows += [rows[0] | {"seed": 0, "val_accuracy": 0.75, "val_loss": 0.75, "best_epoch": 5}]
    found = summarise(rows)
    assert "seed" not in found
    assert (found["val_accuracy"], found["val_loss"], found["best_epoch"]) == (0.625, 0.5, 4)
    assert found["val_accuracy_std"] == pytest.approx(0.125 * math.sqrt(2))
    assert found["seeds"] == 2
    assert summarise(rows[::-1]) == found
    assert summarise(rows[:1])["val_accuracy_std"] == 0


def test_summary_of_a_configuration_that_diverged_with_one_seed():
    rows = [row(0.9) | {"seed": 0}, row(0.0, -1.0, status="diverged") | {"seed": 1}]
    assert summarise(rows)["status"] == "diverged"
    assert summarise(rows)["val_accuracy"] == 0


def test_summary_is_of_the_last_rung():
    rest = {"seed": 0, "best_epoch": 1, "train_loss": 0.5, "train_accuracy": 1.0}
    rows = [row(0.5) | rest | {"rung": 2}, row(0.9) | rest | {"rung": 1}]
    assert summarise(rows)["val_accuracy"] == 0.5


def test_winner_is_of_the_last_rung():
    early, late = row(0.9), row(0.8) | {"rung": 2}
    assert best_row([early, late]) is late


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
    configurations, epochs, count, factor = arguments
    assert halving(configurations, epochs, rungs=count, factor=factor) == rungs


@pytest.mark.parametrize("jobs", [1, 2])
def test_halving_keeps_the_best_and_goes_on_where_they_stand(
    configs, data, settings, tmp_path, jobs
):
    configs = [{k: v for k, v in config.items() if k != "seed"} for config in configs]
    options = settings | {"seeds": [0, 1], "jobs": jobs}
    rungs = [Rung(4, 2), Rung(2, 6)]
    rows, remembered = run_search(configs, *data, rungs=rungs, journal=tmp_path, **options)
    assert remembered == 0
    first, second = ([[r for r in of if r["rung"] == rung] for of in rows] for rung in (1, 2))
    assert [len(of) for of in first] == [2, 2, 2, 2]
    assert {r["epochs"] for of in first for r in of} == {2}

    mean = [summarise(of) for of in first]
    order = sorted(range(4), key=lambda i: (-mean[i]["val_accuracy"], mean[i]["val_loss"]))
    assert [len(of) for of in second] == [2 if i in order[:2] else 0 for i in range(4)]

    # what went on from a checkpoint equals what was trained in one go
    for config, of in zip(configs, second, strict=True):
        for row in of:
            whole = train_trial(config | {"seed": row["seed"]}, *data, epochs=6, **settings)
            assert row == whole | {"rung": 2}

    again = run_search(configs, *data, rungs=rungs, journal=tmp_path, **options)
    assert again[1] == 12
    assert [sorted(of, key=str) for of in again[0]] == [sorted(of, key=str) for of in rows]


def test_checkpoints_save_time_and_may_be_lost(config, data, settings, tmp_path):
    path = tmp_path / "checkpoint.npz"
    whole = train_trial(config, *data, epochs=5, **settings)
    train_trial(config, *data, epochs=3, checkpoint=path, **settings)
    half = path.read_bytes()
    assert train_trial(config, *data, epochs=5, checkpoint=path, **settings) == whole
    path.write_bytes(half[:100])
    assert train_trial(config, *data, epochs=5, checkpoint=path, **settings) == whole
