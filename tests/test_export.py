"""A model as ONNX gives the answers that it gives here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from garments import CLASSES, describe, garments, untrained_model

from mlp.export import steps, write_onnx
from mlp.files import InputError
from mlp.functions import relu, sigmoid, softmax
from mlp.layers import Affine, Layer
from mlp.model_file import described
from mlp.module import MLP, Module

ROOT = Path(__file__).parent.parent


@pytest.fixture
def runtime():
    pytest.importorskip("onnx")
    return pytest.importorskip("onnxruntime")


def test_onnx_on_the_test_images(runtime, tmp_path):
    model, images = untrained_model(256, 128), garments("t10k").x
    model.params *= 1.6  # logits as large as those of a trained network
    write_onnx(model, tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    x = images.reshape(len(images), -1)
    [y] = session.run(["probabilities"], {"pixels": x.astype(np.float32)})
    assert y.shape == (10_000, 10)
    np.testing.assert_allclose(y, model.predict_proba(x), rtol=0, atol=1e-5)
    for size in (0, 1, 7):
        [part] = session.run(None, {"pixels": x[:size].astype(np.float32)})
        np.testing.assert_allclose(part, y[:size], rtol=0, atol=1e-5)

    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["classes"]) == CLASSES
    assert json.loads(facts["image_shape"]) == [28, 28]
    assert json.loads(facts["architecture"]) == model.architecture()


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("hidden", [[], [6], [6, 5, 4]])
@pytest.mark.parametrize("pieces", [{}, {"batch_norm": True, "dropout": 0.2, "input_dropout": 0.1}])
def test_every_architecture(pieces, activation, dtype, hidden, runtime, rng, tmp_path):
    model = MLP(12, hidden, 3, activation=activation, rng=rng, dtype=dtype, **pieces)
    for _ in range(9):  # so that batch norm has averages to fold
        model.forward(5 + 3 * rng.standard_normal((20, 12)).astype(dtype), training=True)
    model.learnt += (0.3 * rng.standard_normal(model.learnt.size)).astype(dtype)
    model.metadata = {"classes": ["a", "b", "č"], "image_shape": [3, 4]}
    write_onnx(model, tmp_path / "model.onnx")
    x = rng.standard_normal((9, 12)).astype(dtype)
    [y] = runtime.InferenceSession(tmp_path / "model.onnx").run(None, {"pixels": x})
    np.testing.assert_allclose(y, model.predict_proba(x), rtol=0, atol=1e-6)


def test_the_same_model_gives_the_same_file(runtime, tmp_path):
    contents = []
    for _ in range(2):
        write_onnx(untrained_model(), tmp_path / "model.onnx")
        contents.append((tmp_path / "model.onnx").read_bytes())
    assert contents[0] == contents[1]
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_steps_are_the_network(rng):
    model = MLP(5, [4], 3, activation="sigmoid", normalisation={"mean": 0.3, "std": 0.4}, rng=rng)
    x = rng.integers(0, 256, (7, 5)).astype(np.float32)
    y = x
    for kind, numbers in steps(model):
        match kind:
            case "scale":
                y = y * numbers["scale"] - numbers["shift"]
            case "affine":
                y = y @ numbers["W"] + numbers["b"]
            case "relu":
                y = relu(y)
            case "sigmoid":
                y = sigmoid(y)
    np.testing.assert_allclose(softmax(y), model.predict_proba(x), atol=1e-6)


def test_a_layer_that_nobody_has_translated(rng):
    class Cube(Layer):
        pass

    with pytest.raises(InputError, match=r"Cube\(\) cannot be exported"):
        steps(Module([Affine(5, 3, rng=rng), Cube()]))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "its metadata lacks 'classes'"),
        ({"classes": 3, "image_shape": [28, 28]}, "classes 3: a list of names is needed"),
        ({"classes": "0123456789", "image_shape": [28, 28]}, "a list of names is needed"),
        ({"classes": [*CLASSES[:9], 9], "image_shape": [28, 28]}, "a list of names is needed"),
        ({"classes": CLASSES, "image_shape": [28]}, r"image_shape \[28\]: rows and columns are"),
        ({"classes": CLASSES, "image_shape": "28"}, "rows and columns are needed"),
        ({"classes": CLASSES, "image_shape": [-28, -28]}, "rows and columns are needed"),
        ({"classes": CLASSES[1:], "image_shape": [28, 28]}, "28×28 pixels and 9 classes, but"),
        ({"classes": CLASSES, "image_shape": [28, 27]}, "its network takes 784 numbers"),
    ],
)
def test_metadata_that_does_not_fit(metadata, message):
    model = describe(untrained_model())
    model.metadata = metadata
    with pytest.raises(InputError, match=message) as error:
        described(model, "best.npz")
    assert str(error.value).startswith("best.npz: ")


def test_without_onnx(tmp_path):
    (tmp_path / "onnx.py").write_text("raise ImportError")
    untrained_model().save_parameters(tmp_path / "model.npz")
    done = subprocess.run(
        [sys.executable, "-m", "mlp", "export", tmp_path / "model.npz", "--onnx", tmp_path / "out"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 2
    assert done.stderr == ("mlp export: onnx is missing: pip install onnx\n")
    assert not (tmp_path / "out").exists()
