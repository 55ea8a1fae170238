"""Recipes: numbers of any kind become Python's own, and what has no meaning is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mlp.augment import Augmentation
from mlp.data import Dataset
from mlp.files import InputError
from mlp.optimizer import SGD
from mlp.recipe import Recipe, make_trainer
from mlp.trainer import Trainer


def test_numpys_numbers_and_lists_give_the_same_recipe():
    plain = Recipe(hidden_sizes=(8, 6), lr=1.0, l2_reg=0.5, batch_size=20, flip=True, patience=3)
    same = Recipe(
        hidden_sizes=[np.int64(8), np.uint8(6)],
        lr=1,
        l2_reg=np.float64(0.5),
        batch_size=np.int32(20),
        flip=np.True_,
        patience=np.int64(3),
    )
    assert same == plain
    assert hash(same) == hash(plain)
    assert json.dumps(same.as_dict()) == json.dumps(plain.as_dict())


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_sizes": 8},
        {"hidden_sizes": (8.5,)},
        {"hidden_sizes": (0, 4)},
        {"hidden_sizes": ("8",)},
        {"hidden_sizes": None},
        {"lr": "0.1"},
        {"lr": None},
        {"lr": float("nan")},
        {"lr": -0.1},
        {"lr": float("inf")},
        {"dropout": 1},
        {"input_dropout": 1.5},
        {"label_smoothing": 1.0},
        {"warmup": 1},
        {"weight_decay": -1},
        {"shift": 0.5},
        {"shift": -1},
        {"flip": "yes"},
        {"flip": 2},
        {"batch_norm": None},
        {"epochs": 2.5},
        {"epochs": "2"},
        {"patience": "2"},
        {"patience": -1},
        {"activation": "tanh"},
        {"activation": None},
        {"optimizer": "lion"},
        {"schedule": "linear"},
    ],
    ids=str,
)
def test_what_has_no_meaning_is_refused(change, recipe):
    [name] = change
    with pytest.raises(InputError, match=name) as error:
        replace(recipe, **change)
    assert "\n" not in str(error.value)


def test_flips_of_what_are_no_images(recipe, problem):
    with pytest.raises(InputError, match="image_shape"):
        make_trainer(replace(recipe, flip=True), problem, seed=0)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint16, np.bool_, np.float16])
def test_integers_make_a_network_of_float32(dtype, recipe, problem):
    train, val = (Dataset(part.x.astype(dtype), part.t) for part in (problem.train, problem.val))
    model = make_trainer(recipe, problem._replace(train=train, val=val), seed=0).model
    assert model.params.dtype == np.float32


def test_float64_stays(recipe, problem):
    assert make_trainer(recipe, problem, seed=0).model.params.dtype == np.float64


def test_a_network_says_what_it_was_made_of(recipe, problem):
    model = make_trainer(replace(recipe, flip=False, weight_decay=0.1), problem, seed=0).model
    assert model.metadata["classes"] == ["a", "b", "c"]
    settings = model.metadata["hyper_parameters"]
    assert settings["hidden_size1"] == 8
    assert settings["weight_decay"] == 0.1
    json.dumps(model.metadata)


def test_regularisation_draws_no_other_weights(recipe, problem):
    """Rungs of a ladder start from the same network, and see the same order of samples."""
    plain = make_trainer(recipe, problem, seed=0)
    pieces = {"label_smoothing": 0.1, "dropout": 0.2, "weight_decay": 0.1, "schedule": "cosine"}
    other = make_trainer(replace(recipe, **pieces), problem, seed=0)
    np.testing.assert_array_equal(plain.model.params, other.model.params)
    assert plain.rng.bit_generator.state == other.rng.bit_generator.state


def test_minus_zero_draws_as_zero():
    """Its text is another, and draws come from the text."""
    recipes = [Recipe(hidden_sizes=(4,), l2_reg=zero) for zero in (0.0, -0.0)]
    assert str(recipes[0].as_dict()) == str(recipes[1].as_dict())


@pytest.mark.parametrize("name", ["lr", "epochs", "batch_size", "patience"])
def test_a_number_beyond_all_is_refused_in_a_line(name):
    with pytest.raises(InputError, match=name):
        Recipe(hidden_sizes=(4,), **{name: 10**5000})


@pytest.mark.parametrize("shape", [(5, 5), (2, 2), (1, 4), (1, 6)])
def test_flips_of_images_with_other_pixels_than_the_samples(shape, recipe, problem):
    flips = replace(recipe, flip=True)
    with pytest.raises(InputError, match=rf"{shape[0]}×{shape[1]} pixels, but samples of 5"):
        make_trainer(flips, problem._replace(image_shape=shape), seed=0)
    trainer = make_trainer(recipe, problem, seed=0)
    with pytest.raises(InputError, match="pixels, but samples of 5"):
        Trainer(
            trainer.model,
            SGD(0.1),
            *(problem.train, problem.val),
            augmentation=Augmentation(shape, flip=True),
            rng=np.random.default_rng(0),
        )
