"""Training: every sample used, the best weights kept, runs that resume and repeat exactly."""

import contextlib
import itertools
import json
import math
import sys
import tracemalloc

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from mlp.data import Dataset
from mlp.files import InputError, read_npz, write_json, write_npz
from mlp.history import History
from mlp.module import MLP
from mlp.optimizer import SGD, Adam
from mlp.trainer import DivergenceError, Trainer

EVERY_OPTIMIZER = pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])


@pytest.fixture
def restless(build, noise):
    """A trainer whose validation accuracy goes up and down: there is nothing to learn."""
    return build(train=noise[0], val=noise[1], lr=0.05)


def best_of(history):
    """The row of the best epoch: highest validation accuracy, then lowest validation loss."""
    return max(history.rows, key=lambda row: (row["val_accuracy"], -row["val_loss"]))


def same_run(a, b):
    """Whether two trainers hold the same bits."""
    return (
        a.history.rows == b.history.rows
        and a.best_metrics == b.best_metrics
        and a.model.params.tobytes() == b.model.params.tobytes()
    )


# --- what training does ---------------------------------------------------------------------------


@EVERY_OPTIMIZER
@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_one_batch_overfits(optimizer, activation, noise, build):
    """Labels drawn by lot are learnt by heart: all gradients flow."""
    batch = Dataset(noise[0].x[:15], noise[0].t[:15])
    lr = {"sgd": 1.0, "momentum": 0.1, "adam": 0.03}[optimizer]
    trainer = build(
        train=batch,
        val=batch,
        optimizer=optimizer,
        activation=activation,
        lr=lr,
        l2_reg=0.0,
        lr_decay=0.0,
        hidden_size1=32,
        hidden_size2=32,
    )
    trainer.fit(400)
    assert trainer.best_metrics["train_accuracy"] == 1
    assert trainer.best_metrics["train_loss"] < 0.1


@EVERY_OPTIMIZER
def test_separable_classes_are_learnt(optimizer, build):
    lr = {"sgd": 0.2, "momentum": 0.05, "adam": 0.02}[optimizer]
    trainer = build(optimizer=optimizer, lr=lr)
    history = trainer.fit(15)
    assert trainer.best_metrics["val_accuracy"] == 1
    assert history["train_loss"][-1] < history["train_loss"][0] / 2


def test_an_epoch_by_hand_with_its_last_smaller_batch(data, build):
    changes = {"optimizer": "sgd", "lr": 0.05, "l2_reg": 0.1, "batch_size": 8}
    trainer, twin = build(**changes), build(**changes)
    history = trainer.fit(1)
    model, (x, t), norms = twin.model, data[0], []
    order = twin.rng.permutation(90)
    for start in range(0, 90, 8):  # eleven batches of 8, one of 2
        batch = order[start : start + 8]
        model.loss(x[batch], t[batch])
        model.backward()
        penalty = 0.1 * model.params * (np.arange(model.params.size) < model.n_weights)
        model.params -= 0.05 * (model.grads + penalty)
        norms.append(np.linalg.norm(model.grads + penalty))
    np.testing.assert_allclose(trainer.model.params, model.params, rtol=1e-12, atol=1e-15)
    # of every tenth batch
    assert history["gradient_norm"] == pytest.approx([(norms[0] + norms[10]) / 2], rel=1e-12)
    assert trainer.optimizer.steps == 12


def test_each_epoch_shuffles_anew(build):
    trainer = build(lr=0.0, train_metrics="running")
    # with a learning rate of zero only the first batch's composition changes its norm
    norms = trainer.fit(5)["gradient_norm"]
    assert not any(math.isclose(a, b, rel_tol=1e-6) for a, b in itertools.combinations(norms, 2))


def test_lr_decays_once_per_epoch(build):
    history = build(lr=0.02, lr_decay=0.5).fit(3)
    # 0.02 / 1, 0.02 / 1.5, 0.02 / 2
    assert history["lr"] == pytest.approx([0.02, 0.02 / 1.5, 0.01])


def test_training_starts_from_the_weights_that_the_model_has(build, tmp_path):
    """As `save_parameters` and `load_parameters` suggest, even if the trainer was there before."""
    other = build(seed=1).model
    other.save_parameters(tmp_path / "model.npz")
    trainer = build(lr=0.0)
    trainer.model.load_parameters(tmp_path / "model.npz")
    trainer.fit(1)
    np.testing.assert_array_equal(trainer.model.params, other.params)


def test_weights_loaded_later_do_not_replace_better_ones(data, build):
    trainer = build(lr=0.05)
    trainer.fit(8)
    best = trainer.best_metrics
    trainer.model.params[:] = 0
    trainer.optimizer.lr = 0.0
    history = trainer.fit(9)
    assert history["val_accuracy"][-1] < best["val_accuracy"]
    assert trainer.best_metrics == best
    assert trainer.model.evaluate(*data[1]) == (best["val_loss"], best["val_accuracy"])


# --- the history ----------------------------------------------------------------------------------


def test_history_has_a_row_of_plain_numbers_per_epoch(build):
    history = build().fit(3)
    assert len(history) == 3
    assert history["epoch"] == [1, 2, 3]
    for row in history.rows:
        assert tuple(row) == History.COLUMNS
        assert all(type(value) in (int, float) for value in row.values())


@pytest.mark.parametrize("train_metrics", ["full", "running"])
def test_validation_metrics_are_those_of_the_epochs_last_weights(train_metrics, data, build):
    trainer = build(train_metrics=train_metrics)
    row = trainer.fit(1).rows[0]
    assert trainer.model.evaluate(*data[1]) == (row["val_loss"], row["val_accuracy"])


def test_full_train_metrics_are_those_of_the_epochs_last_weights(data, build):
    trainer = build(train_metrics="full")
    row = trainer.fit(1).rows[0]
    assert trainer.model.evaluate(*data[0]) == (row["train_loss"], row["train_accuracy"])


def test_running_train_metrics_are_those_of_the_batches_before_each_step(data, build):
    # with a learning rate of zero all batches see the first weights, the smaller one included
    trainer = build(train_metrics="running", lr=0.0)
    row = trainer.fit(1).rows[0]
    expected = trainer.model.evaluate(*data[0])
    assert (row["train_loss"], row["train_accuracy"]) == pytest.approx(expected, rel=1e-12)
    # one batch: the loss before the only step
    trainer = build(train_metrics="running", batch_size=90)
    before = trainer.model.evaluate(*data[0])[0]
    assert trainer.fit(1)["train_loss"] == pytest.approx([before], rel=1e-12)


def test_train_metrics_change_nothing_but_their_two_columns(build):
    full, running = build(train_metrics="full"), build(train_metrics="running")
    full.fit(3)
    running.fit(3)
    np.testing.assert_array_equal(full.model.params, running.model.params)
    assert full.history["val_loss"] == running.history["val_loss"]
    assert full.history["train_loss"] != running.history["train_loss"]


def test_gradient_norm_and_penalty_by_hand(data, build):
    trainer = build(optimizer="sgd", batch_size=90, l2_reg=0.1)
    twin = build(optimizer="sgd", batch_size=90, l2_reg=0.1).model
    row = trainer.fit(1).rows[0]
    twin.loss(*data[0])
    twin.backward()
    gradient = twin.grads.copy()
    gradient[: twin.n_weights] += 0.1 * twin.params[: twin.n_weights]
    assert row["gradient_norm"] == pytest.approx(np.linalg.norm(gradient), rel=1e-12)
    weights = trainer.model.params[: twin.n_weights]
    assert row["l2_penalty"] == pytest.approx(0.05 * np.sum(weights**2), rel=1e-12)


def test_no_penalty_without_l2(build):
    assert build(l2_reg=0.0).fit(2)["l2_penalty"] == [0, 0]


def test_history_to_csv_and_back(build, tmp_path):
    history = build(lr=0.0002).fit(3)
    history.to_csv(tmp_path / "history.csv")
    again = History.from_csv(tmp_path / "history.csv")
    assert again["epoch"] == [1, 2, 3]
    assert all(type(epoch) is int for epoch in again["epoch"])
    for column in History.COLUMNS:
        assert again[column] == pytest.approx(history[column], rel=1e-5, abs=5e-7)
    again.to_csv(tmp_path / "again.csv")
    content = (tmp_path / "history.csv").read_bytes()
    assert (tmp_path / "again.csv").read_bytes() == content
    assert content.startswith(",".join(History.COLUMNS).encode() + b"\n1,")
    assert b"\r" not in content


def test_history_csv_keeps_the_digits_of_small_learning_rates(build, tmp_path):
    history = build(lr=1e-5, lr_decay=0.1).fit(3)
    history.to_csv(tmp_path / "history.csv")
    assert History.from_csv(tmp_path / "history.csv")["lr"] == pytest.approx(
        history["lr"], rel=1e-3
    )


@pytest.mark.parametrize(
    "content",
    [
        "",
        "epoch,loss\n1,0.5\n",
        ",".join(History.COLUMNS) + "\n1,0.5\n",
        ",".join(History.COLUMNS) + "\n1" + 7 * ",high" + "\n",
        ",".join(History.COLUMNS) + "\n1" + 8 * ",0" + "\n",
        ",".join(History.COLUMNS) + "\n1" + 7 * ",nan" + "\n",
        ",".join(History.COLUMNS) + "\n2" + 7 * ",0" + "\n",
        ",".join(History.COLUMNS) + "\n1.5" + 7 * ",0" + "\n",
        ",".join(History.COLUMNS) + "\n1" + 7 * ("," + 200_000 * "0") + "\n",
        "epoch,\xff",
    ],
    ids=[
        *("empty", "other columns", "short row", "no numbers", "long row", "not finite"),
        *("from epoch 2", "half an epoch", "a long field", "Latin-1"),
    ],
)
def test_csv_that_is_no_history(content, tmp_path):
    path = tmp_path / "history.csv"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=r"history\.csv") as error:
        History.from_csv(path)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 600


# --- the best weights -----------------------------------------------------------------------------


def test_best_weights_are_restored(restless, noise):
    history = restless.fit(12)
    assert restless.best_metrics == best_of(history)
    assert restless.best_metrics["epoch"] < 12  # otherwise this test shows nothing
    best = restless.best_metrics["val_loss"], restless.best_metrics["val_accuracy"]
    assert restless.model.evaluate(*noise[1]) == best


def test_ties_are_decided_by_the_loss(build):
    trainer = build()
    history = trainer.fit(12)
    winners = [row for row in history.rows if row["val_accuracy"] == 1]
    assert len(winners) > 1  # otherwise this test shows nothing
    assert trainer.best_metrics == min(winners, key=lambda row: row["val_loss"])
    assert trainer.best_metrics != winners[0]


def test_first_of_equal_epochs_is_the_best(build):
    trainer = build(lr=0.0)
    trainer.fit(3)
    assert trainer.best_metrics["epoch"] == 1


def test_patience(restless):
    epochs = len(restless.fit(500, patience=4))
    assert epochs == restless.best_metrics["epoch"] + 4
    assert len(restless.fit(500, patience=4)) == epochs
    assert len(restless.fit(epochs + 1, patience=5)) == epochs + 1


def test_best_metrics_to_json_and_back(build, tmp_path):
    trainer, other = build(), build()
    trainer.fit(2)
    trainer.save_best_metrics(tmp_path / "best.json")
    assert other.load_best_metrics(tmp_path / "best.json") == trainer.best_metrics
    assert other.best_metrics == trainer.best_metrics


@pytest.fixture
def unbeatable(tmp_path):
    """A file of best metrics that no run reaches, from the thirtieth epoch of another one."""
    path = tmp_path / "best.json"
    write_json(path, dict.fromkeys(History.COLUMNS, 0.0) | {"val_accuracy": 1.1, "epoch": 30})
    return path


def test_loaded_best_metrics_have_to_be_beaten(unbeatable, build):
    trainer = build()
    trainer.model.params *= 0.5  # as if they had been loaded together with their metrics
    start = trainer.model.params.copy()
    best = trainer.load_best_metrics(unbeatable)
    trainer.fit(2)
    assert trainer.best_metrics == best
    np.testing.assert_array_equal(trainer.model.params, start)


def test_patience_counts_the_epochs_of_this_run(unbeatable, build):
    trainer = build()
    trainer.load_best_metrics(unbeatable)
    assert len(trainer.fit(100, patience=3)) == 3


# --- runs that go on and runs that repeat ---------------------------------------------------------


@EVERY_OPTIMIZER
def test_same_seed_same_bits(optimizer, build):
    first, second = build(optimizer=optimizer), build(optimizer=optimizer)
    first.fit(3)
    second.fit(3)
    assert same_run(first, second)


@EVERY_OPTIMIZER
@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_compiled_arithmetic_trains_the_same_network(
    dtype, activation, optimizer, build, rng, set_arithmetic
):
    """… to the bit, from bytes and from numbers: 150 steps, with the last batches smaller."""
    x, t = rng.integers(0, 256, (90, 5)).astype(dtype), rng.integers(0, 3, 90)
    options = {"train": Dataset(x, t), "optimizer": optimizer, "activation": activation}
    options |= {"val": options["train"], "normalisation": {"mean": 0.5, "std": 0.3}, "l2_reg": 0.01}
    trainers = []
    for arithmetic in ("plain", "compiled"):
        set_arithmetic(arithmetic)
        trainers.append(build(**options))
        trainers[-1].fit(30)
    assert same_run(*trainers)


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"lr": 0.03}, {"l2_reg": 0.0}, {"hidden_size2": 7}], ids=str
)
def test_seed_and_configuration_decide_the_draws(change, build):
    first, other = build(), build(**change)
    assert not np.array_equal(first.model.layers[0].W, other.model.layers[0].W)
    assert not np.array_equal(first.rng.permutation(90), other.rng.permutation(90))


def test_shuffles_do_not_depend_on_how_many_weights_were_drawn(data, build):
    wide = [Dataset(np.tile(part.x, (1, 3)), part.t) for part in data]
    orders = [
        trainer.rng.permutation(90) for trainer in (build(), build(train=wide[0], val=wide[1]))
    ]
    np.testing.assert_array_equal(*orders)


@EVERY_OPTIMIZER
def test_fit_counts_the_epochs_of_earlier_calls(optimizer, build):
    once, twice = build(optimizer=optimizer), build(optimizer=optimizer)
    once.fit(6)
    twice.fit(3)
    twice.fit(6)
    assert same_run(once, twice)
    assert len(twice.fit(6)) == len(twice.fit(2)) == 6


@EVERY_OPTIMIZER
@pytest.mark.parametrize("split", [1, 4])
def test_resumed_training_equals_uninterrupted_training(optimizer, split, noise, build, tmp_path):
    def new():
        return build(optimizer=optimizer, train=noise[0], val=noise[1])

    checkpoint = tmp_path / "checkpoint.npz"
    uninterrupted, first, second = new(), new(), new()
    uninterrupted.fit(6)
    first.fit(split, checkpoint=checkpoint)
    second.rng.random(7)  # the generator's state has to come from the checkpoint
    second.load_checkpoint(checkpoint)
    assert same_run(second, first)
    second.fit(6)
    assert same_run(second, uninterrupted)


def test_resumption_before_the_first_epoch(build, tmp_path):
    first, second = build(), build()
    first.save_checkpoint(tmp_path / "checkpoint.npz")
    second.load_checkpoint(tmp_path / "checkpoint.npz")
    first.fit(2)
    second.fit(2)
    assert same_run(first, second)


def test_checkpoint_is_written_after_each_epoch(build, tmp_path):
    trainer, seen = build(), []

    def look(history):
        other = build()
        other.load_checkpoint(tmp_path / "checkpoint.npz")
        seen.append(len(other.history))

    trainer.fit(3, checkpoint=tmp_path / "checkpoint.npz", on_epoch=look)
    assert seen == [1, 2, 3]


@EVERY_OPTIMIZER
def test_training_goes_on_after_an_interrupt(optimizer, build, tmp_path):
    """Ctrl-C in the third epoch leaves the best weights; the checkpoint gives the rest."""

    def interrupt(history):
        if len(history) == 3:
            raise KeyboardInterrupt

    uninterrupted, first, second = (build(optimizer=optimizer) for _ in range(3))
    uninterrupted.fit(6)
    with pytest.raises(KeyboardInterrupt):
        first.fit(6, on_epoch=interrupt, checkpoint=tmp_path / "checkpoint.npz")
    second.load_checkpoint(tmp_path / "checkpoint.npz")
    second.fit(6)
    assert same_run(second, uninterrupted)


PIECES = {
    "schedule": "cosine",
    "warmup": 0.2,
    "weight_decay": 0.01,
    "label_smoothing": 0.1,
    "input_dropout": 0.2,
    "dropout": 0.1,
    "batch_norm": True,
    "flip": True,
    "shift": 1,
    "epochs": 6,
}
SMALL_IMAGES = {"image_shape": (3, 5), "normalisation": {"mean": 0.4, "std": 0.3}}


@pytest.fixture
def images():
    """Training set and validation set of random bytes, 3×5 pixels."""
    rng = np.random.default_rng(5)

    def draw(n):
        return Dataset(rng.integers(0, 256, (n, 15), np.uint8), rng.integers(0, 3, n))

    return draw(90), draw(30)


@EVERY_OPTIMIZER
@pytest.mark.parametrize("taught", [False, True])
@pytest.mark.parametrize("without", [None, *PIECES])
def test_every_piece_of_a_recipe_goes_on_to_the_bit(
    without, taught, optimizer, images, build, tmp_path
):
    """What augmentation and dropout draw, and batch norm's averages, are part of a checkpoint."""
    pieces = {name: value for name, value in PIECES.items() if name != without} | {"epochs": 6}
    variants = (1 + ("flip" in pieces)) * (9 if "shift" in pieces else 1)
    soft_labels = np.random.default_rng(1).dirichlet([1, 1, 1], (90, variants))
    options = {"train": images[0], "val": images[1], "optimizer": optimizer, "dropout": 0.1}
    options |= pieces | SMALL_IMAGES | ({"soft_labels": soft_labels} if taught else {})
    whole, first, second = (build(**options) for _ in range(3))
    whole.fit(6)
    first.fit(2, checkpoint=tmp_path / "checkpoint.npz")
    second.fit(1)  # draws from its generators: their states have to come from the checkpoint
    second.load_checkpoint(tmp_path / "checkpoint.npz")
    second.fit(6)
    assert same_run(second, whole)
    assert whole.history["train_loss"][0] != whole.history["train_loss"][1]


@pytest.mark.parametrize("piece", PIECES)
def test_every_piece_of_a_recipe_changes_the_training(piece, images, build):
    options = {"train": images[0], "val": images[1], **SMALL_IMAGES, "train_metrics": "running"}
    pieces = PIECES | {"lr_decay": 0.0}
    with_it = build(**options, **pieces)
    without = build(**options, **{k: v for k, v in pieces.items() if k != piece})
    for trainer in (with_it, without):
        trainer.fit(2)
    assert with_it.history.rows != without.history.rows


def test_checkpoint_of_another_schedule_is_refused(images, build, tmp_path):
    """A cosine over six epochs is not the start of one over nine."""
    options = {"train": images[0], "val": images[1], "schedule": "cosine"}
    build(**options, epochs=6).fit(6, checkpoint=tmp_path / "checkpoint.npz")
    with pytest.raises(InputError, match="Cosine"):
        build(**options, epochs=9).load_checkpoint(tmp_path / "checkpoint.npz")


def edit(path, header=None, **arrays):
    """Change a checkpoint's header, by a function, and its arrays."""
    found = read_npz(path)
    text = json.loads(str(found.pop("json")[()]))
    text = header(text) if header else text
    found |= {name.replace("__", "."): array for name, array in arrays.items()}
    write_npz(path, json=json.dumps(text), **found)


@pytest.mark.parametrize(
    "harm",
    [
        {"params": np.zeros(3)},
        {"best_params": np.zeros((2, 2))},
        {"params": np.full(121, np.nan)},
        {"params": np.zeros(121, np.float32)},
        {"params": np.array(["a"] * 121)},
        {"optimizer__velocity": np.zeros(7)},
        {"optimizer__velocity": np.full(121, np.inf)},
        {"header": lambda h: h | {"generators": []}},
        {"header": lambda h: h | {"generators": [{"bit_generator": "MT19937"}]}},
        {"header": lambda h: h | {"generators": [h["generators"][0] | {"state": 7}]}},
        {"header": lambda h: h | {"generators": None}},
        {"header": lambda h: h | {"history": [{}]}},
        {"header": lambda h: h | {"history": [1]}},
        {"header": lambda h: h | {"history": 3}},
        {"header": lambda h: h | {"history": [h["history"][0] | {"lr": "x"}]}},
        {"header": lambda h: h | {"best_metrics": {"epoch": 1}}},
        {"header": lambda h: h | {"best_metrics": [1]}},
        {"header": lambda h: h | {"optimizer": None}},
        {"header": lambda h: h | {"optimizer": {"steps": "x", "epoch": 1}}},
        {"header": lambda h: h | {"optimizer": {"steps": 0}}},
        {"header": lambda h: [h]},
    ],
)
def test_harmed_checkpoint_changes_nothing(harm, build, tmp_path):
    path = tmp_path / "checkpoint.npz"
    build().fit(2, checkpoint=path)
    edit(path, **harm)
    trainer, twin = build(), build()
    with pytest.raises(InputError, match=r"checkpoint\.npz") as error:
        trainer.load_checkpoint(path)
    assert "\n" not in str(error.value)
    trainer.fit(2)
    twin.fit(2)
    assert same_run(trainer, twin)


HUGE = dict.fromkeys(History.COLUMNS, 0.5) | {"val_loss": 10**400}  # which no float is


@pytest.mark.parametrize("value", [None, [], {"epoch": 1}, "x", [{}], HUGE])
def test_best_metrics_that_are_none(value, build, tmp_path):
    trainer = build()
    trainer.fit(1)
    before = trainer.best_metrics
    write_json(tmp_path / "best.json", value)
    with pytest.raises(InputError, match=r"best\.json"):
        trainer.load_best_metrics(tmp_path / "best.json")
    assert trainer.best_metrics == before


@pytest.mark.parametrize("shape", [(90, 2, 3), (89, 1, 3), (90, 1, 4), (90, 3)])
def test_soft_labels_of_another_shape(shape, build):
    with pytest.raises(InputError, match="soft labels of shape"):
        build(soft_labels=np.ones(shape))


def test_interrupt_leaves_the_best_weights(restless, noise):
    def interrupt(history):
        if len(history) == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restless.fit(100, on_epoch=interrupt)
    best = best_of(restless.history)
    assert best["epoch"] < len(restless.history) == 12
    assert restless.model.evaluate(*noise[1]) == (best["val_loss"], best["val_accuracy"])


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_size1": 9},
        {"activation": "sigmoid"},
        # (h1 + 4) (h2 + 6) - 21 parameters: 12·12 = 9·16
        {"hidden_size1": 5, "hidden_size2": 10},
        {"optimizer": "adam"},
        {"optimizer": "sgd"},
    ],
    ids=str,
)
def test_checkpoint_of_another_network_or_optimizer(change, build, tmp_path):
    path = tmp_path / "checkpoint.npz"
    build(**change).fit(2, checkpoint=path)
    trainer, twin = build(), build()
    with pytest.raises(InputError, match=r"checkpoint\.npz") as error:
        trainer.load_checkpoint(path)
    assert "\n" not in str(error.value)
    trainer.fit(1)
    twin.fit(1)
    assert same_run(trainer, twin)  # nothing was taken over


def test_checkpoint_that_holds_more_than_this_optimizer_needs(build, tmp_path):
    build(optimizer="momentum").fit(1, checkpoint=tmp_path / "checkpoint.npz")
    with pytest.raises(InputError, match="Momentum"):
        build(optimizer="sgd").load_checkpoint(tmp_path / "checkpoint.npz")


@pytest.mark.parametrize("keep", [0, 10, 500])
def test_file_that_is_no_checkpoint(keep, build, tmp_path):
    path = tmp_path / "checkpoint.npz"
    trainer = build()
    trainer.fit(1, checkpoint=path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"checkpoint\.npz"):
        trainer.load_checkpoint(path)


@pytest.mark.parametrize("header", ["{", "[]", "{}", "[" * 5000])
def test_npz_file_of_something_else_is_no_checkpoint(header, build, tmp_path):
    np.savez(tmp_path / "other.npz", json=np.array(header), params=np.zeros(3))
    with pytest.raises(InputError, match=r"other\.npz"):
        build().load_checkpoint(tmp_path / "other.npz")


def test_model_file_is_no_checkpoint(build, tmp_path):
    trainer = build()
    trainer.model.save_parameters(tmp_path / "model.npz")
    with pytest.raises(InputError, match=r"model\.npz"):
        trainer.load_checkpoint(tmp_path / "model.npz")


# --- divergence -----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
@EVERY_OPTIMIZER
@pytest.mark.parametrize("train_metrics", ["full", "running"])
def test_divergence_is_an_error_and_leaves_finite_weights(optimizer, train_metrics, build):
    trainer = build(optimizer=optimizer, lr=1e200, train_metrics=train_metrics)
    start = trainer.model.params.copy()
    with pytest.raises(DivergenceError, match="no longer finite"):
        trainer.fit(5)
    assert len(trainer.history) == 0
    np.testing.assert_array_equal(trainer.model.params, start)


def test_divergence_is_noticed_at_once(build):
    with pytest.raises(DivergenceError, match=r"in epoch 1, step 2.*learning rate \(1e\+200\)"):
        build(optimizer="sgd", lr=1e200).fit(5)


def test_divergence_after_good_epochs_leaves_their_best_weights(build, data):
    trainer = build()
    trainer.fit(3)
    best = trainer.best_metrics
    trainer.optimizer.lr = 1e200
    with pytest.raises(DivergenceError):
        trainer.fit(9)
    assert trainer.best_metrics == best
    assert trainer.model.evaluate(*data[1]) == (best["val_loss"], best["val_accuracy"])


@EVERY_OPTIMIZER
@pytest.mark.parametrize("lr", [1e3, 1e6, 1e10, 1e18, 1e25])
def test_history_holds_finite_numbers_alone(optimizer, lr, data, build):
    """Huge steps may kill all ReLUs, and then the loss can stay finite; or training diverges."""
    train, val = (Dataset(part.x.astype(np.float32), part.t) for part in data)
    for batch_size in (20, 90):
        trainer = build(train=train, val=val, optimizer=optimizer, lr=lr, batch_size=batch_size)
        with contextlib.suppress(DivergenceError):
            trainer.fit(5)
        for row in trainer.history.rows:
            assert all(map(math.isfinite, row.values())), row


# --- what training costs --------------------------------------------------------------------------


def test_callback_is_called_each_epoch_with_the_history(build):
    trainer, seen = build(), []
    trainer.fit(3, on_epoch=lambda history: seen.append((history, len(history))))
    assert seen == [(trainer.history, 1), (trainer.history, 2), (trainer.history, 3)]


def blas_threads():
    libraries = threadpool_info()
    return {library["num_threads"] for library in libraries if library["user_api"] == "blas"}


def test_training_uses_one_blas_thread(build):
    seen = []
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        build().fit(1, on_epoch=lambda history: seen.append(blas_threads()))
        assert blas_threads() == before
    assert seen == [{1}]


@pytest.mark.parametrize("stream", ["a file", None])
def test_progress_is_silent_where_nobody_watches(build, capfd, monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream and sys.stderr)
    build().fit(2, progress=True)
    build().fit(2)
    assert capfd.readouterr() == ("", "")


@EVERY_OPTIMIZER
@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
@pytest.mark.parametrize("train_metrics", ["full", "running"])
def test_epochs_after_the_first_allocate_nothing_large(
    optimizer, activation, train_metrics, rng, build
):
    """Batches, activations and parameters are all of some 200 kB here, none is made anew."""
    train, val = (
        Dataset(rng.integers(0, 256, (n, 200), np.uint8), rng.integers(0, 3, n)) for n in (900, 300)
    )
    trainer = build(
        train=train,
        val=val,
        optimizer=optimizer,
        activation=activation,
        batch_size=250,
        hidden_size1=250,
        hidden_size2=200,
        train_metrics=train_metrics,
        lr=0.001,
        normalisation={"mean": 0.5, "std": 0.25},
    )
    smallest = min(250 * 200 * 4, trainer.model.layers[1].W.nbytes)
    peaks = []

    def measure(history):
        if len(history) == 1:
            tracemalloc.start()
        peaks.append(tracemalloc.get_traced_memory()[1])

    try:
        trainer.fit(3, on_epoch=measure)
    finally:
        tracemalloc.stop()
    assert peaks[-1] < smallest / 2


# --- plot -----------------------------------------------------------------------------------------


def test_plot(build, tmp_path):
    figures = pytest.importorskip("matplotlib.figure")
    pytest.importorskip("mlp.plots.training")
    trainer = build()
    trainer.fit(2)
    assert isinstance(trainer.plot(), figures.Figure)
    trainer.plot(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_plot_marks_the_best_epoch(restless):
    pytest.importorskip("mlp.plots.training")
    with pytest.raises(InputError, match="no epoch"):
        restless.plot()
    restless.fit(4)
    [_, subtitle] = restless.plot().texts
    assert subtitle.get_text().startswith(f"Best epoch: {restless.best_metrics['epoch']} of 4, ")


def test_plot_does_not_mark_the_best_epoch_of_another_training(unbeatable, build):
    pytest.importorskip("mlp.plots.training")
    trainer = build()
    trainer.load_best_metrics(unbeatable)
    trainer.fit(2)
    [_, subtitle] = trainer.plot().texts
    assert subtitle.get_text() == "2 epochs"


# --- by hand, without make_trainer ----------------------------------------------------------------


def test_trainer_takes_any_network_and_optimizer(data, network, rng):
    trainer = Trainer(network, Adam(0.01), *data, batch_size=500, rng=rng)
    trainer.fit(30)
    assert trainer.optimizer.steps == 30  # a batch larger than the data set is the data set
    assert network.compute_accuracy(*data[1]) == 1


def test_default_batch_size(data, rng):
    many = Dataset(np.tile(data[0].x, (3, 1)), np.tile(data[0].t, 3))
    model = MLP(5, [4], 3, rng=rng, dtype=np.float64)
    trainer = Trainer(model, SGD(0.01), many, data[1], rng=rng)
    trainer.fit(1)
    assert trainer.optimizer.steps == math.ceil(270 / 100)


@pytest.mark.parametrize("kind", [np.random.Philox, np.random.SFC64, np.random.MT19937])
def test_a_checkpoint_holds_any_generator(kind, build, tmp_path):
    trainers = [build() for _ in range(3)]
    for trainer in trainers:
        trainer.rng = np.random.Generator(kind(1))
    uninterrupted, first, second = trainers
    uninterrupted.fit(4)
    first.fit(2, checkpoint=tmp_path / "checkpoint.npz")
    second.load_checkpoint(tmp_path / "checkpoint.npz")
    second.fit(4)
    assert same_run(second, uninterrupted)


@pytest.mark.parametrize("epochs", [0, 2])
def test_an_epoch_that_was_broken_off_is_no_checkpoint(epochs, build, tmp_path, monkeypatch):
    """Ctrl-C in the middle of it; the one of `fit` is whole, and so is one after the next epoch."""
    uninterrupted, trainer, other = (build() for _ in range(3))
    uninterrupted.fit(epochs + 2)
    path = tmp_path / "checkpoint.npz"
    trainer.fit(epochs, checkpoint=path)
    losses = itertools.count()
    loss = trainer.model.loss

    def interrupted(x, t):
        if next(losses) == 2:
            raise KeyboardInterrupt
        return loss(x, t)

    monkeypatch.setattr(trainer.model, "loss", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(epochs + 2, checkpoint=path)
    with pytest.raises(InputError, match="broken off"):
        trainer.save_checkpoint(tmp_path / "broken.npz")
    assert path.exists() == (epochs > 0)
    if epochs:
        other.load_checkpoint(path)
    other.fit(epochs + 2)
    assert same_run(other, uninterrupted)
    trainer.fit(epochs + 1)
    trainer.save_checkpoint(path)
