"""Files of another's making: read right, or refused in one line that names them."""

import contextlib
import copy
import gzip
import io
import itertools
import json
import sys

import numpy as np
import pandas as pd
import pytest
from fuzzing import (
    IMAGES,
    MANY,
    NPY,
    archives,
    bounded,
    edited,
    image_problem,
    npy,
    right_or_refused,
    spoilt,
)
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from project import write_idx
from test_trainer import same_run

from mlp import __main__ as commands
from mlp.data import META, Dataset, Problem, load_problem, save_problem
from mlp.files import MOST_EXPANSION, map_npy, read_json, read_npz
from mlp.history import History
from mlp.idx import IMAGES_MAGIC, copy_idx, read_pair
from mlp.module import MLP
from mlp.pictures import read_labels, read_pictures
from mlp.recipe import Recipe, make_trainer
from mlp.search.journal import Journal, _digest, read_entry
from mlp.search.trial import NO_RESULT, Trial
from mlp.trainer import DivergenceError
from stages import results

pytestmark = [
    pytest.mark.usefixtures("arithmetic_to_fuzz"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::DeprecationWarning"),
]


def json_texts(text):
    """Texts that are almost the given one, which is JSON, or are deep, or none."""
    almost = edited(json.loads(text)).map(json.dumps)
    return almost | st.sampled_from(["[" * 5000, '{"a":' * 5000, "NaN", "1e999", ""])


def json_bytes(value):
    text = json.dumps(value)
    return json_texts(text).map(str.encode) | spoilt(text.encode())


@given(data=st.data())
@MANY
def test_arrays(data, tmp_path):
    path = tmp_path / "x.npy"
    path.write_bytes(data.draw(NPY | spoilt(npy(np.zeros((3, 2), np.float32)))))
    found = right_or_refused(map_npy, path)
    assert found is None or found.nbytes < path.stat().st_size
    path = tmp_path / "x.npz"
    np.savez(path, x=np.zeros((3, 2)), t=np.array(["a", "b"]))
    path.write_bytes(data.draw(archives(path)))
    found = right_or_refused(read_npz, path) or {}
    assert sum(array.nbytes for array in found.values()) <= MOST_EXPANSION * path.stat().st_size
    found = right_or_refused(results.read_arrays, path, x=("f", (None, 2), 1))
    if found is not None:
        assert found["x"].shape[1:] == (2,)
        assert ((found["x"] >= 0) & (found["x"] <= 1)).all()


@pytest.fixture
def model_file(tmp_path):
    model = MLP(6, [4], 2, normalisation={"mean": 0.3, "std": 0.4}, rng=np.random.default_rng(0))
    best = dict.fromkeys(History.COLUMNS, 0.5) | {"epoch": 1}
    model.metadata = {"classes": ["a", "b"], "image_shape": [2, 3], "best_metrics": best}
    model.metadata |= {"hyper_parameters": {"lr": 0.1}}
    path = tmp_path / "model.npz"
    model.save_parameters(path)
    return model, path


@given(data=st.data())
@MANY
def test_model_file(data, model_file, tmp_path, monkeypatch):
    model, good = model_file
    path = tmp_path / "other.npz"
    path.write_bytes(data.draw(archives(good, json_texts)))
    found = right_or_refused(MLP.from_file, path)
    if found is not None:
        assert np.isfinite(found.params).all()
        assert found.predict_proba(np.zeros((2, found.input_size))).shape == (2, found.output_size)
    twin = copy.deepcopy(model)
    if right_or_refused(lambda: (twin.load_parameters(path), True)) is None:
        assert twin.params.tobytes() == model.params.tobytes()
        assert twin.metadata == model.metadata
    else:
        assert np.isfinite(twin.params).all()
    monkeypatch.setattr(results, "MODEL", path)
    found = right_or_refused(results.read_model)
    if found is not None:
        monkeypatch.setattr(results, "HISTORY", tmp_path / "history.csv")
        History([dict.fromkeys(History.COLUMNS, 0.5) | {"epoch": 1}]).to_csv(results.HISTORY)
        right_or_refused(results.read_history, found[3].best_metrics)


@pytest.fixture
def checkpoint(tmp_path):
    recipe = Recipe(hidden_sizes=(3,), dropout=0.1, batch_norm=True, lr=0.01, batch_size=9)

    def make():
        return make_trainer(recipe, image_problem(recipe), seed=0)

    path = tmp_path / "checkpoint.npz"
    make().fit(2, checkpoint=path)
    return make, path


@given(data=st.data())
@MANY
def test_checkpoint(data, checkpoint, tmp_path):
    make, good = checkpoint
    path = tmp_path / "other.npz"
    path.write_bytes(data.draw(archives(good, json_texts)))
    trainer, twin = make(), make()
    if right_or_refused(lambda: (trainer.load_checkpoint(path), True)) is None:
        trainer.fit(1)
        twin.fit(1)
        assert same_run(trainer, twin)
    else:
        with contextlib.suppress(DivergenceError):
            trainer.fit(3)


@given(data=st.data())
def test_problem(data, tmp_path):
    parts = [Dataset(np.zeros((n, 6), np.uint8), np.arange(n) % 3) for n in (9, 5)]
    save_problem(tmp_path, Problem(*parts, ("a", "b", "c"), (2, 3), {"mean": 0.3, "std": 0.4}))
    name = data.draw(st.sampled_from(["train_x", "train_t", "val_x", "val_t", "meta"]))
    if name == "meta":
        meta = read_json(tmp_path / META)
        (tmp_path / META).write_bytes(data.draw(json_bytes(meta)))
    else:
        path = tmp_path / f"{name}.npy"
        path.write_bytes(data.draw(NPY | spoilt(path.read_bytes())))
    problem = right_or_refused(load_problem, tmp_path)
    if problem is not None:
        for x, t in (problem.train, problem.val):
            assert x.shape == (len(t), 6)
            assert set(t.tolist()) <= {*range(len(problem.classes))}


WINNER = {"hidden_size1": 4, "hidden_size2": 3, "lr": 0.1, "l2_reg": 0.0}
WINNER |= {"activation": "relu", "optimizer": "adam"}
ROW = {name: WINNER[name] for name in itertools.islice(WINNER, 4)} | {"epochs": 2, "rung": 1}
ROW |= {
    "seeds": 1,
    "train_accuracy": 0.6,
    "val_accuracy": 0.5,
    "val_accuracy_std": 0.0,
    "status": "ok",
}
GOOD_SEARCH = pd.DataFrame([ROW, ROW]).to_csv(index=False).encode()


def test_what_is_spoilt_was_right(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "GRID_SEARCH", tmp_path / "search.csv")
    monkeypatch.setattr(results, "BEST_PARAMS", tmp_path / "best.json")
    results.GRID_SEARCH.write_bytes(GOOD_SEARCH)
    results.BEST_PARAMS.write_text(json.dumps([WINNER]))
    assert len(results.read_search()) == 2
    assert results.read_winner().lr == 0.1


@given(data=st.data())
@MANY
def test_what_stages_read(data, tmp_path, monkeypatch):
    for name in ("BEST_PARAMS", "GRID_SEARCH", "HISTORY"):
        monkeypatch.setattr(results, name, tmp_path / name)
    results.BEST_PARAMS.write_bytes(data.draw(json_bytes([WINNER])))
    right_or_refused(results.read_winner)
    rows, content = data.draw(edited([ROW, ROW, ROW])), GOOD_SEARCH
    with contextlib.suppress(ValueError, TypeError, AttributeError, UnicodeError):  # of odd values
        content = pd.DataFrame(rows).to_csv(index=False).encode()
    results.GRID_SEARCH.write_bytes(data.draw(st.just(content) | spoilt(content)))
    right_or_refused(results.read_search)
    best = dict.fromkeys(History.COLUMNS, 0.5) | {"epoch": 1}
    History([best, best | {"epoch": 2}]).to_csv(results.HISTORY)
    results.HISTORY.write_bytes(data.draw(spoilt(results.HISTORY.read_bytes())))
    right_or_refused(results.read_history, best)


@given(data=st.data())
@MANY
def test_best_metrics(data, checkpoint, tmp_path):
    trainer = checkpoint[0]()
    best = dict.fromkeys(History.COLUMNS, 0.5) | {"epoch": 1}
    trainer.best_metrics = dict(best)
    path = tmp_path / "best.json"
    path.write_bytes(data.draw(json_bytes(best)))
    if right_or_refused(trainer.load_best_metrics, path) is None:
        assert trainer.best_metrics == best


@given(data=st.data(), keep=st.booleans())
@MANY
@pytest.mark.filterwarnings("ignore::UserWarning")  # of damaged entries
def test_journal_entry(data, keep, tmp_path):
    recipe = Recipe(hidden_sizes=(3,))
    journal = Journal(tmp_path, image_problem(recipe))
    trial = Trial(recipe, 0, keep=keep)
    row = NO_RESULT | {"seed": 0, "parameters": 3, "epochs": 2, "status": "ok", "best_epoch": 1}
    journal.put(trial, row | ({"params": np.zeros(3)} if keep else {}))
    (path,) = tmp_path.glob("*.json")
    change = data.draw(st.sampled_from(["bytes", "signed", "params"]))
    if change == "bytes":
        path.write_bytes(data.draw(json_bytes(read_json(path))))
    elif change == "signed":  # with a right digest, as one who knows it can write
        value = data.draw(edited(read_json(path)))
        with contextlib.suppress(LookupError, TypeError, ValueError):
            value["digest"] = _digest([path.stem, dict(value["recipe"]), dict(value["row"])])
        path.write_text(json.dumps(value))
    elif keep:
        path.with_suffix(".npz").write_bytes(data.draw(archives(path.with_suffix(".npz"))))
    right_or_refused(read_entry, path)
    found = right_or_refused(journal.get, trial)
    assert (trial in journal) or found is None
    right_or_refused(commands.list_trials, tmp_path)


# --- images ---------------------------------------------------------------------------------------

SIZES = st.sampled_from([0, 1, 2, 5, 255, 2**16, 2**31 - 1, 2**32 - 1])


@st.composite
def idx(draw, images):
    """An IDX file of images or labels that are almost the given ones, or that announces more."""
    shape = draw(st.lists(SIZES, min_size=1, max_size=3)) if draw(st.booleans()) else images.shape
    header = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes()
    content = draw(st.just(header + images.tobytes()) | spoilt(header + images.tobytes()))
    if draw(st.booleans()):
        content = gzip.compress(content)
        content = draw(st.just(content) | spoilt(content))
    return content


@given(images=IMAGES, data=st.data())
@MANY
def test_idx(images, data, tmp_path):
    x, t = tmp_path / "x", tmp_path / "t"
    write_idx(x, images)
    write_idx(t, np.arange(len(images)))
    path, good = data.draw(st.sampled_from([(x, images), (t, np.arange(len(images), dtype="u1"))]))
    path.write_bytes(data.draw(idx(good)))
    pair = right_or_refused(read_pair, x, t, 9)
    if pair is not None:
        assert len(pair[0]) == len(pair[1])
        assert pair[0].ndim == 3
    copied = io.BytesIO()
    right_or_refused(copy_idx, path, IMAGES_MAGIC, copied, limit=1000)
    assert len(copied.getvalue()) <= 1000


def picture(image, kind):
    file = io.BytesIO()
    Image.fromarray(image).resize((9, 7)).save(file, kind)
    return file.getvalue()


@given(images=IMAGES, data=st.data(), invert=st.sampled_from(["auto", "yes", "no"]))
@MANY
def test_pictures(images, data, invert, tmp_path):
    path = tmp_path / "x"
    kinds = st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
    drawn = kinds.map(lambda kind: picture(images[0], kind)).flatmap(spoilt) | idx(images)
    path.write_bytes(data.draw(drawn | st.binary(max_size=9)))
    found = right_or_refused(read_pictures, str(path), (3, 4), invert)
    if found is not None:
        assert found.images.shape[1:] == (3, 4)
        assert found.images.dtype == np.uint8
    t = right_or_refused(read_labels, str(path), 9)
    assert t is None or set(t.tolist()) <= {*range(9)}


# --- commands -------------------------------------------------------------------------------------


@given(data=st.data(), command=st.sampled_from(["predict", "info", "export", "page"]))
@MANY
def test_commands(data, command, model_file, tmp_path, monkeypatch, capsys):
    """Right, or exit status 2, one line, and what was written before is left as it was."""
    path, image, out = (tmp_path / name for name in ("other.npz", "x", "out"))
    path.write_bytes(data.draw(archives(model_file[1], json_texts) | st.just(b"")))
    write_idx(image, np.arange(12).reshape(2, 2, 3))
    out.write_text("before")
    options = {"predict": [image], "export": ["--onnx", out], "page": ["-o", out], "info": []}
    arguments = ["mlp", command, path, *options[command]]
    monkeypatch.setattr(sys, "argv", [*map(str, arguments)])
    capsys.readouterr()
    with pytest.raises(SystemExit) as end, bounded():
        commands.main()
    said = capsys.readouterr()
    assert "memory" not in said.err.lower()
    if end.value.code == 0:
        assert said.err == ""
        return
    assert end.value.code == 2
    assert said.err.startswith(f"mlp {command}: {path}")
    assert said.err[:-1].isprintable()
    assert said.err[-1] == "\n"
    assert len(said.err) < 1500
    assert out.read_text() == "before"
