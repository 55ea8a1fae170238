"""Odd input to what every stage depends on: right or refused."""

import io
import json
import os
import warnings
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from mlp.data import Dataset, stratified_split
from mlp.files import InputError, atomic, parse_json, read_npz
from mlp.module import MLP
from mlp.optimizer import SGD
from mlp.recipe import Recipe, make_trainer
from mlp.trainer import Trainer


@pytest.mark.parametrize("harm", ["nan", "masked", "object", "text"])
def test_prediction_takes_what_evaluation_takes(harm, network, data):
    x, t = data[1]
    odd = {
        "nan": np.where(x > 1, np.nan, x),
        "masked": np.ma.masked_less(x, 0),
        "object": x.astype(object),
        "text": x.astype(str),
    }[harm]
    for call in (network.predict, network.predict_proba):
        with pytest.raises(InputError, match="samples"):
            call(odd)
    with pytest.raises(InputError, match="samples"):
        network.compute_macro_micro_avg(odd, t)


def test_a_model_file_of_more_layers_than_arrays(tmp_path):
    sizes = {"input_size": 1, "hidden_sizes": [1] * 300_000, "output_size": 1}
    header = {"architecture": {**sizes, "activation": "relu"}, "metadata": {}}
    np.savez(tmp_path / "m.npz", json=json.dumps(header), x=np.zeros(300_001, np.float32))
    with pytest.raises(InputError, match="300,001 layers, but 1 arrays"):
        MLP.from_file(tmp_path / "m.npz")


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool])
def test_dropout_of_integers(dtype, problem, recipe):
    part = problem.train
    x = np.abs(np.rint(part.x)).astype(dtype)
    fits = []
    for given in (x, x.astype(np.float32)):
        data = problem._replace(train=Dataset(given, part.t))
        trainer = make_trainer(replace(recipe, input_dropout=0.2), data, seed=0)
        fits.append(trainer.fit(1).rows)
    assert fits[0] == fits[1]


def test_a_dropout_of_almost_everything(problem, recipe):
    trainer = make_trainer(replace(recipe, dropout=0.9999), problem, seed=0)
    assert len(trainer.fit(1)) == 1


def test_labels_to_split_as_a_list():
    first, second = stratified_split([0, 1, 0, 1], 2, np.random.default_rng(0))
    assert (len(first), len(second)) == (2, 2)


@pytest.mark.parametrize("harm", ["logits", "nan", "list", "short"])
def test_soft_labels(harm, network, data, rng):
    right = np.full((90, 1, 3), 1 / 3)
    odd = {"logits": rng.normal(size=right.shape), "nan": right * np.nan, "short": right[:3]}

    def make(soft):
        return Trainer(network, SGD(0.1), *data, soft_labels=soft, rng=np.random.default_rng(0))

    if harm == "list":
        assert len(make(right.tolist()).fit(1)) == 1
    else:
        with pytest.raises(InputError, match="soft labels"):
            make(odd[harm])


def test_an_integer_beyond_any_float(build, tmp_path):
    trainer = build()
    trainer.fit(1)
    (tmp_path / "best.json").write_text(json.dumps(trainer.best_metrics | {"lr": 10**400}))
    with pytest.raises(InputError, match="not what is measured"):
        trainer.load_best_metrics(tmp_path / "best.json")
    with pytest.raises(InputError, match="a recipe's lr"):
        Recipe(hidden_sizes=(4,), lr=10**400)


def test_a_checkpoint_that_is_nested_deeply(build, tmp_path):
    np.savez(tmp_path / "c.npz", json=np.array("[" * 100_000))
    with pytest.raises(InputError, match="not a checkpoint"):
        build().load_checkpoint(tmp_path / "c.npz")


@pytest.mark.parametrize("name", ["epochs", "batch_size"])
def test_a_recipe_of_nothing(name):
    with pytest.raises(InputError, match=f"a recipe's {name}: 0: out of range"):
        Recipe(hidden_sizes=(4,), **{name: 0})


def test_lists_to_a_trainer(recipe, problem):
    lists = problem._replace(train=Dataset(problem.train.x.tolist(), problem.train.t.tolist()))
    rows = [make_trainer(recipe, given, seed=0).fit(1).rows for given in (problem, lists)]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("name", ["", ".", "/"])
def test_no_name(name):
    with pytest.raises(InputError, match="not the name of a file"), atomic(name):
        pass


def test_nothing_but_a_regular_file_is_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="not a regular file"), atomic(tmp_path / "pipe"):
        pass
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("second", ["x.npy", "x"])
def test_an_array_twice(second, tmp_path):
    content = io.BytesIO()
    np.save(content, np.zeros(3))
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        warnings.simplefilter("ignore")
        for name in ("x.npy", second):
            archive.writestr(name, content.getvalue())
    with pytest.raises(InputError, match="has an array twice"):
        read_npz(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": 2}', '[{"b": {"a": 1, "a": 1}}]', "[1e999]", "-1e400"]
)
def test_json_that_says_two_things_or_no_number(text):
    with pytest.raises(ValueError, match=r"twice|is no number"):
        parse_json(text)


@pytest.mark.parametrize("odd", [{"input_dropout": -0.5}, {"dropout": 1}, {"label_smoothing": 5}])
def test_rates_and_shares_that_are_none(odd, rng):
    with pytest.raises(ValueError, match="is needed"):
        MLP(4, [3], 2, rng=rng, **odd)


@pytest.mark.parametrize("harm", ["an epoch is missing", "steps without an epoch", "no steps"])
def test_a_checkpoint_that_contradicts_itself(harm, build, tmp_path):
    trainer, path = build(), tmp_path / "c.npz"
    trainer.fit(3, checkpoint=path)
    arrays = read_npz(path)
    header = json.loads(str(arrays["json"]))
    if harm == "an epoch is missing":
        del header["history"][1]
    elif harm == "steps without an epoch":
        header["history"].clear()
    else:
        header["optimizer"]["steps"] = 0
    np.savez(path, **arrays | {"json": np.array(json.dumps(header))})
    fresh = build()
    with pytest.raises(InputError, match="not a checkpoint"):
        fresh.load_checkpoint(path)
    assert fresh.fit(3).rows == trainer.history.rows


def test_samples_of_half_precision(network):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert network.predict(np.ones((2, 5), np.float16)).shape == (2,)
