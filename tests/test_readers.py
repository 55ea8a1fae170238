"""Files of another's making: each is read right, or refused in a line that names it."""

import importlib
import io
import itertools
import json
import os
import resource
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from garments import untrained_model
from project import Project

from mlp import __main__ as commands
from mlp.data import META, Dataset, Problem, load_problem, save_problem
from mlp.files import MOST_TEXT, InputError, map_npy, read_json, read_npz, write_npz
from mlp.history import History
from mlp.module import MLP

ROOT = Path(__file__).parent.parent
with pytest.MonkeyPatch.context() as patch:  # `import stages` pins NumPy's kernels
    patch.setenv("MLP_KERNELS", "native")
    results = importlib.import_module("stages.results")


def complaint(read, path) -> str:
    """What is said of a file, which has to be one short line that starts with its name."""
    with pytest.raises(InputError) as error:
        read(path)
    message = str(error.value)
    assert message.startswith(f"{path}")
    assert message.isprintable()
    assert len(message) < 1000
    return message.removeprefix(f"{path}: ")


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def header(shape: str, descr: str = "'<f4'") -> bytes:
    """An .npy header of any shape, without data."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


# --- arrays ---------------------------------------------------------------------------------------

GOOD = npy(np.zeros((3, 2), np.float32))
NPY = {
    "empty": (b"", "not an .npy file"),
    "text": (b"0,1\n", "not an .npy file"),
    "an archive": (b"PK\x05\x06" + bytes(18), "not an .npy file"),
    "cut": (GOOD[:-1], "damaged"),
    "longer": (GOOD + b"\0", "damaged"),
    "cut in its header": (GOOD[:50], "damaged"),
    "pickled": (npy(np.array([{}])), "pickled"),
    "a pickle": (b"\x80\x04N.", "pickled"),
    "a planet": (header("(5 * 10**8,) * 2"), "damaged"),
    "a terabyte": (header("(1000000, 1000000)"), "4,000,000,000,"),
    "a negative length": (header("(-3, -2)") + bytes(24), "damaged"),
    "a header of brackets": (header("(" * 9000), "damaged"),
    "a header that is none": (header("1", "{}"), "damaged"),
    "another version": (GOOD[:6] + b"\x09" + GOOD[7:], "damaged"),
}


@pytest.mark.parametrize("case", NPY)
def test_npy(case, tmp_path):
    content, message = NPY[case]
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    assert message in complaint(map_npy, path)


def archive(**entries: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as zipped:
        for name, content in entries.items():
            zipped.writestr(f"{name}.npy", content)
    return file.getvalue()


NPZ = {
    **{name: (archive(x=content), message) for name, (content, message) in NPY.items()},
    **dict.fromkeys(("empty", "text", "an archive", "a pickle"), (archive(x=b"no array"), "damag")),
    "a header of brackets": (archive(x=header("(" * 500 + "[" * 400)), "damaged"),
    "no archive": (GOOD, "not an .npz file"),
    "a bomb": (archive(x=npy(np.zeros(10**7))), "inflates to 80,000,128"),
    "a bomb in many parts": (archive(**{f"x{i}": bytes(10**6) for i in range(9)}), "inflates"),
    "overlapping": (archive(x=GOOD, y=GOOD).replace(b"y.npy", b"x.npy"), "has an array twice"),
}


@pytest.mark.parametrize("case", NPZ)
def test_npz(case, tmp_path):
    content, message = NPZ[case]
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    if message is None:
        np.testing.assert_array_equal(read_npz(path)["x"], np.zeros((3, 2)))
        return
    tracemalloc.start()
    try:
        assert message in complaint(read_npz, path)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_npz_that_is_compressed_a_little(tmp_path, rng):
    x = rng.standard_normal((50, 40)).astype(np.float32)
    np.savez_compressed(tmp_path / "x.npz", x=x, text=np.array("‖W‖"))
    found = read_npz(tmp_path / "x.npz")
    np.testing.assert_array_equal(found["x"], x)
    assert str(found["text"]) == "‖W‖"


@pytest.mark.parametrize(
    "content", ["[" * 100_000, "NaN", "[1e5, -Infinity]", "1" * 5000, '"\xff"']
)
def test_json(content, tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(content.encode("latin-1"))
    assert complaint(read_json, path).startswith("not ")


# What never ends, or is far longer than what is read, must not be read whole
ODD = {
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a pipe": os.mkfifo,
    "a folder": os.mkdir,
    "30 GB": lambda path: (path.touch(), os.truncate(path, 30 * 10**9)),
}


@pytest.mark.parametrize("read", [read_npz, map_npy, read_json, History.from_csv, MLP.from_file])
@pytest.mark.parametrize("case", ODD)
def test_files_that_are_not_read(case, read, tmp_path):
    path = tmp_path / "file"
    ODD[case](path)
    message = complaint(read, path)
    assert message.startswith(("not a", "30,000,000,000 bytes; at most"))
    assert MOST_TEXT < 10**9


# --- model files ----------------------------------------------------------------------------------


def small_model() -> MLP:
    model = MLP(6, [4, 3], 2, normalisation={"mean": 0.3, "std": 0.4}, rng=np.random.default_rng(0))
    metrics = dict.fromkeys(History.COLUMNS, 0.5) | {"epoch": 1}
    model.metadata = {"classes": ["a", "b"], "image_shape": [2, 3], "best_metrics": metrics}
    model.metadata |= {"hyper_parameters": {"lr": 0.1}}
    return model


def changed(path: Path, *, metadata=None, architecture=None, raw=None, **arrays) -> None:
    """Write the file again with another header and other arrays, whatever they are."""
    entries = read_npz(path)
    text = json.loads(str(entries["json"]))
    for part, change in {"metadata": metadata, "architecture": architecture}.items():
        if isinstance(change, dict):
            text[part] |= change
        elif change is not None:
            text[part] = None if change == "null" else change
    write_npz(path, **entries | {"json": json.dumps(text) if raw is None else raw} | arrays)


HUGE = 1_000_000_000
MODELS = {
    "metadata null": {"metadata": "null"},
    "metadata a list": {"metadata": [1]},
    "architecture null": {"architecture": "null"},
    "header null": {"raw": "null"},
    "header a number": {"raw": np.array(3.0)},
    "header deep": {"raw": "[" * 50_000},
    "header not finite": {"raw": '{"architecture": {}, "metadata": {"x": NaN}}'},
    "not finite": {"**": {"Affine1.W": np.full((6, 4), np.nan, np.float32)}},
    "infinite": {"**": {"Affine3.b": np.array([0, np.inf], np.float32)}},
    "integers": {"**": {"Affine1.W": np.ones((6, 4), int)}},
    "complex": {"**": {"Affine1.W": np.ones((6, 4), complex)}},
    "long doubles": {"**": {"Affine1.W": np.ones((6, 4), np.longdouble)}},
    "huge": {"architecture": {"hidden_sizes": [HUGE, HUGE]}},
    "huge and less than nothing": {"architecture": {"hidden_sizes": [HUGE, -HUGE]}},
    "huge inputs": {"architecture": {"input_size": 10**400}},
    "deep": {"architecture": {"hidden_sizes": [1] * 100_000}},
    "sizes of text": {"architecture": {"hidden_sizes": "43"}},
    "sizes of floats": {"architecture": {"hidden_sizes": [4.0, 3]}},
    "sizes of booleans": {"architecture": {"output_size": True}},
    "std 0": {"architecture": {"normalisation": {"mean": 0.3, "std": 0}}},
    "std negative": {"architecture": {"normalisation": {"mean": 0.3, "std": -1}}},
    "std tiny": {"architecture": {"normalisation": {"mean": 0.3, "std": 1e-300}}},
    "mean huge": {"architecture": {"normalisation": {"mean": 10**400, "std": 1}}},
    "mean a list": {"architecture": {"normalisation": {"mean": [0.3], "std": 1}}},
    "a dtype": {"architecture": {"normalisation": {"mean": 0.3, "std": 1, "dtype": "f2"}}},
    "a longer key": {"architecture": {"x" * 5000: "\n" * 5000}},
}
# Right as networks, but not described as some commands need it
UNDESCRIBED = {
    "classes 3": {"metadata": {"classes": 3}},
    "classes null": {"metadata": {"classes": None}},
    "classes a text": {"metadata": {"classes": "ab"}},
    "classes of two lines": {"metadata": {"classes": ["a", "b\nc"]}},
    "classes of half characters": {"metadata": {"classes": ["a", "\ud800"]}},
    "classes of numbers": {"metadata": {"classes": [0, 1]}},
    "one class": {"metadata": {"classes": ["a"]}},
    "image_shape null": {"metadata": {"image_shape": None}},
    "image_shape other": {"metadata": {"image_shape": [2, 4]}},
    "image_shape of text": {"metadata": {"image_shape": "23"}},
    "image_shape negative": {"metadata": {"image_shape": [-2, -3]}},
}
UNTRAINED = {
    "best_metrics null": {"metadata": {"best_metrics": None}},
    "best_metrics of text": {"metadata": {"best_metrics": {"epoch": "1"}}},
    "hyper_parameters a list": {"metadata": {"hyper_parameters": [1]}},
}


def harm(path: Path, changes: dict) -> None:
    small_model().save_parameters(path)
    changed(path, **{k: v for k, v in changes.items() if k != "**"}, **changes.get("**", {}))


@pytest.mark.parametrize("case", MODELS)
def test_model_file(case, tmp_path):
    path = tmp_path / "best.npz"
    harm(path, MODELS[case])
    tracemalloc.start()
    try:
        complaint(MLP.from_file, path)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    model = small_model()
    before = model.params.copy()
    if case != "sizes of floats":  # which are equal
        complaint(model.load_parameters, path)
    np.testing.assert_array_equal(model.params, before)


@pytest.mark.parametrize("command", ["predict", "info", "export", "page"])
@pytest.mark.parametrize("case", [*MODELS, *UNDESCRIBED, "a pipe", "a device", "30 GB", "a bomb"])
def test_commands(case, command, tmp_path, capsys, monkeypatch):
    path = tmp_path / "best.npz"
    if case in ODD:
        ODD[case](path)
    elif case == "a bomb":
        path.write_bytes(NPZ[case][0])
    else:
        harm(path, (MODELS | UNDESCRIBED)[case])
    out = tmp_path / "out"
    options = {"predict": ["a.png"], "export": ["--onnx", out], "page": ["-o", out]}
    arguments = ["mlp", command, path, *options.get(command, [])]
    monkeypatch.setattr(sys, "argv", [*map(str, arguments)])
    if command == "export":
        pytest.importorskip("onnx")
    with pytest.raises(SystemExit) as end:
        commands.main()
    said = capsys.readouterr()
    assert not out.exists()
    if command == "info" and case in UNDESCRIBED:  # which shows what there is
        assert end.value.code == 0
        return
    assert end.value.code == 2
    assert said.out == ""
    assert said.err.startswith(f"mlp {command}: {path}")
    assert said.err.count("\n") == 1
    assert len(said.err) < 1000


def test_metadata_as_deep_as_json_goes(tmp_path, capsys, monkeypatch):
    path, deep = tmp_path / "best.npz", {"x": 0}
    for _ in range(900):
        deep = {"x": deep}
    harm(path, {"metadata": deep})
    monkeypatch.setattr(sys, "argv", ["mlp", "info", str(path)])
    with pytest.raises(SystemExit) as end:
        commands.main()
    assert end.value.code in (0, 2)  # as deep as the interpreter happens to be
    assert capsys.readouterr().err.count("\n") == bool(end.value.code)


def test_a_bomb_within_little_memory(tmp_path):
    """A file of 2 MB whose architecture fits its arrays, which are 400 MB: by a real process that
    may have 500 MB."""
    path = tmp_path / "best.npz"
    small_model().save_parameters(path)
    entries = {k: npy(v) for k, v in read_npz(path).items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as zipped:
        for name, content in entries.items():
            zipped.writestr(f"{name}.npy", content)
        with zipped.open("bomb.npy", "w", force_zip64=True) as file:
            file.write(header("(100000000,)"))
            for _ in range(40):
                file.write(bytes(10_000_000))
    assert path.stat().st_size < 3_000_000
    done = subprocess.run(
        [sys.executable, "-m", "mlp", "info", str(path)],
        cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (5 * 10**8,) * 2),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 2
    assert "inflates to 400,0" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("big", [">f4", "<f2"])
def test_unusual_floats_become_the_networks_own(big, tmp_path):
    path, model = tmp_path / "best.npz", untrained_model()
    model.save_parameters(path)
    changed(path, **{k: v.astype(big) for k, v in read_npz(path).items() if k != "json"})
    found = MLP.from_file(path)
    assert found.params.dtype == np.float32
    np.testing.assert_allclose(found.params, model.params, atol=1e-3)


# --- the problem ----------------------------------------------------------------------------------


@pytest.fixture
def processed(tmp_path):
    rng = np.random.default_rng(0)
    parts = (Dataset(rng.integers(0, 256, (n, 6)).astype("u1"), np.arange(n) % 3) for n in (9, 5))
    scale = {"mean": 0.3, "std": 0.4}
    save_problem(tmp_path, Problem(*parts, ("a", "b", "c"), (2, 3), scale))
    return tmp_path


def test_problem_and_back(processed):
    problem = load_problem(processed)
    assert problem.classes == ("a", "b", "c")
    assert problem.image_shape == (2, 3)
    assert problem.normalisation == {"mean": 0.3, "std": 0.4}
    assert problem.val.x.shape == (5, 6)


METAS = [
    *(None, [], {}, 3, "a", {"classes": ["a", "b", "c"]}),
    *({"classes": value} for value in (None, [], "abc", 3, [1, 2, 3], {"a": 1}, ["a", "b", None])),
    *({"image_shape": value} for value in ([], 6, [6], [2, 3, 1], [2.0, 3], [-2, -3], [0, 6])),
    *({"image_shape": value} for value in ("23", [True, 6], [2, 4], False)),
    *({"normalisation": value} for value in (0.5, [], {}, {"mean": 0.3}, {"std": 0.4})),
    *({"normalisation": {"mean": 0.3, "std": value}} for value in (0, -1, "1", None, True, 1e999)),
    {"normalisation": {"mean": 0.3, "std": 0.4, "mode": 1}},
]


@pytest.mark.parametrize("change", METAS, ids=str)
def test_meta(change, processed):
    path = processed / META
    meta = read_json(path)
    whole = not isinstance(change, dict) or "normalisation" not in meta | change or not change
    partial = change == {"classes": ["a", "b", "c"]}
    path.write_text(json.dumps(change if whole or partial else meta | change))
    with pytest.raises(InputError) as error:
        load_problem(processed)
    assert str(error.value).startswith(str(processed))
    assert str(error.value).isprintable()
    if change != {"image_shape": [2, 4]}:
        assert str(error.value).startswith(f"{path}: ")


X, T = np.zeros((9, 6), np.uint8), np.zeros(9, int)
ARRAYS = {
    "text": ("train_x", X.astype("U1"), "numbers (N, features) are needed"),
    "times": ("train_x", X.astype("M8[s]"), "numbers (N, features) are needed"),
    "complex": ("train_x", X.astype(complex), "numbers (N, features) are needed"),
    "images": ("train_x", X.reshape(9, 2, 3), "numbers (N, features) are needed"),
    "a number": ("train_x", np.array(3), "numbers (N, features) are needed"),
    "other features": ("train_x", X[:, 1:], "samples of 5 features, but 6"),
    "other features in val": ("val_x", X[:5, 1:], "samples of 5 features, but 6"),
    "fewer": ("train_x", X[1:], "holds 8 samples"),
    "none": ("train_x", X[:0], ""),
    "floats": ("val_t", T[:5].astype(float), "integers (N,) are needed"),
    "booleans": ("val_t", T[:5].astype(bool), "integers (N,) are needed"),
    "a column": ("val_t", T[:5, None], "integers (N,) are needed"),
    "too many": ("val_t", T, "9 labels"),
    "too high": ("val_t", T[:5] + 3, "label 3 at position 0: the classes are 0 to 2"),
    "negative": ("train_t", T - 1, "label -1"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_of_a_problem(case, processed):
    name, array, message = ARRAYS[case]
    np.save(processed / f"{name}.npy", array)
    with pytest.raises(InputError) as error:
        load_problem(processed)
    assert message in str(error.value)
    assert f"{name}.npy" in str(error.value)
    assert str(error.value).isprintable()


def test_samples_are_not_read(processed):
    """Pages of the samples stay on disk: of 4 GB of holes hardly any memory is taken."""
    shape = (10**6, 4096)
    with (processed / "train_x.npy").open("wb") as file:
        file.write(header(str(shape), "'|u1'"))
        file.truncate(file.tell() + shape[0] * shape[1])
    np.save(processed / "train_t.npy", np.zeros(shape[0], np.uint8))
    np.save(processed / "val_x.npy", np.zeros((5, shape[1]), np.uint8))
    meta = read_json(processed / META) | {"image_shape": [64, 64]}
    (processed / META).write_text(json.dumps(meta))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert load_problem(processed).train.x.shape == shape
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


# --- what stages read of each other ---------------------------------------------------------------

WINNER = {"hidden_size1": 4, "hidden_size2": 3, "lr": 0.1, "l2_reg": 0}
WINNER |= {"activation": "relu", "optimizer": "adam"}


@pytest.fixture
def project_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("reports", "data/model", "data/evaluation"):
        Path(folder).mkdir(parents=True)


@pytest.mark.usefixtures("project_folder")
def test_winner():
    results.BEST_PARAMS.write_text(json.dumps([WINNER]))
    assert results.read_winner().model_dump() == WINNER


@pytest.mark.usefixtures("project_folder")
@pytest.mark.parametrize(
    "value",
    [
        *(None, {}, [], [{}], [None], [[]], 3, "x", WINNER, [WINNER, WINNER]),
        *([WINNER | {name: value}] for name in WINNER for value in (None, "x", [], -1, 1e999)),
        *([{k: v for k, v in WINNER.items() if k != name}] for name in WINNER),
        *([WINNER | {"hidden_size1": value}] for value in (True, 4.0, 0, 10**9, 10**400)),
        *([WINNER | {"lr": value}] for value in (0, True, "0.1", 10**400)),
        [WINNER | {"epochs": 3}],
        [WINNER | {"x" * 9999: "\n"}],
    ],
    ids=lambda value: str(value)[:90],
)
def test_what_is_no_winner(value):
    results.BEST_PARAMS.write_text(json.dumps(value))
    complaint(lambda _: results.read_winner(), results.BEST_PARAMS)


ROW = {name: WINNER[name] for name in itertools.islice(WINNER, 4)} | {"epochs": 2, "rung": 1}
ROW |= {"seeds": 1, "val_accuracy": 0.5, "val_accuracy_std": 0, "train_accuracy": 0.5}
ROW |= {"status": "ok", "other": "x"}


@pytest.mark.usefixtures("project_folder")
def test_search_table():
    pd.DataFrame([ROW] * 3).to_csv(results.GRID_SEARCH, index=False)
    assert results.read_search().to_dict("records") == [ROW] * 3


def table(*changes) -> bytes:
    return pd.DataFrame([ROW | change for change in changes]).to_csv(index=False).encode()


NUMBERS = [name for name in ROW if name not in ("status", "other")]
TABLES = [
    *(b"", b"\n", b"\xff\xfe", b"a,b\n1,2\n", b'"', b"a\n1,2\n3,4,5\n", b"a,b\n1\0,2\n"),
    *(table({}).replace(name.encode(), b"another") for name in (*NUMBERS, "status")),
    *(table({}, {name: value}) for name in NUMBERS for value in (None, "x", -1, "inf")),
    table({}, {"status": None}),
    table({"status": 3}),
    table({}).splitlines()[0],
]


@pytest.mark.usefixtures("project_folder")
@pytest.mark.parametrize("content", TABLES, ids=lambda content: str(content)[-70:])
def test_what_is_no_search_table(content):
    results.GRID_SEARCH.write_bytes(content)
    complaint(lambda _: results.read_search(), results.GRID_SEARCH)


@pytest.mark.usefixtures("project_folder")
@pytest.mark.parametrize("case", [*MODELS, *UNDESCRIBED, *UNTRAINED])
def test_model_of_stages(case):
    harm(results.MODEL, {})
    results.read_model()
    harm(results.MODEL, (MODELS | UNDESCRIBED | UNTRAINED)[case])
    complaint(lambda _: results.read_model(), results.MODEL)


@pytest.mark.usefixtures("project_folder")
def test_history_of_another_training():
    rows = [dict.fromkeys(History.COLUMNS, 1 / 3) | {"epoch": i} for i in (1, 2)]
    History(rows).to_csv(results.HISTORY)
    history, epoch = results.read_history(rows[1])
    assert (len(history), epoch) == (2, 2)
    for other in (rows[1] | {"val_loss": 0.33334}, rows[1] | {"epoch": 3}, {"epoch": 2}, {}):
        complaint(lambda _, other=other: results.read_history(other), results.HISTORY)


@pytest.mark.usefixtures("project_folder")
def test_arrays_by_shape_and_range():
    def read(**changes):
        path = Path("data/evaluation/mistakes.npz")
        arrays = {"images": np.zeros((2, 3, 4), "u1"), "t": np.array([0, 2])}
        arrays |= {"confidence": np.array([0.5, 1])} | changes
        write_npz(path, **{k: v for k, v in arrays.items() if v is not None})
        kinds = {"images": ("u", (None, 3, 4), 255), "t": ("iu", (None,), 2)}
        return results.read_arrays(path, **kinds, confidence=("f", (None,), 1))

    assert read(other=np.zeros(3)).keys() == {"images", "t", "confidence"}
    none = {"images": np.zeros((0, 3, 4), "u1"), "t": np.zeros(0, int), "confidence": np.zeros(0)}
    assert len(read(**none)["images"]) == 0
    for change in (
        *({"t": value} for value in (None, np.zeros(2), np.zeros(3, int), np.zeros((2, 1), int))),
        *({"t": np.array(value)} for value in ([0, 3], [-1, 0], 0)),
        *({"confidence": np.array(value)} for value in ([0, np.nan], [0.5, 1.5], ["a", "b"])),
        *({"images": value} for value in (None, np.zeros((2, 4, 3), "u1"), np.zeros((2, 3, 4)))),
    ):
        complaint(lambda _, change=change: read(**change), "data/evaluation/mistakes.npz")


# --- model and history belong together ------------------------------------------------------------

# A training that ends after two epochs: because it diverges, or with a model that cannot be written
BREAK = """
import runpy, sys
from mlp import model_file, trainer
run_epoch = trainer.Trainer._run_epoch

def diverge(self):
    if len(self.history) == 2:
        raise trainer.DivergenceError("the loss is no longer finite")
    run_epoch(self)

def full(*_, **__):
    raise OSError(28, "No space left on device")

if sys.argv.pop() == "diverges":
    trainer.Trainer._run_epoch = diverge
else:
    model_file.write_npz = full
runpy.run_module("stages.train_best", run_name="__main__", alter_sys=True)
"""


def test_a_training_that_fails_leaves_model_and_history(finished: Project, tmp_path):
    project = finished.copy(tmp_path)
    files = [project.folder / name for name in ("reports/history.csv", "data/model/best.npz")]
    before = [file.read_bytes() for file in files]
    project.set({"base.seed": 7})
    for end in ("diverges", "disk full"):
        done = project.call("python", "-c", BREAK, end, status=2)
        assert done.stderr.count("\n") == 1
        assert [file.read_bytes() for file in files] == before
        assert not list(project.folder.glob("*/.*.tmp"))
    project.stage("train-best")
    assert all(file.read_bytes() != old for file, old in zip(files, before, strict=True))
    project.stage("visualise")
