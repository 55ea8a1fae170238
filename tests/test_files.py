"""Files appear whole or not at all; and the package's own files import one way."""

import ast
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import mlp
from mlp.files import (
    InputError,
    atomic,
    read_json,
    sweep,
    temporary,
    write_json,
    write_npz,
    write_text,
)

PACKAGE = Path(mlp.__file__).parent
# Each module imports only from those before it, and the leaves only from the first two
ORDER = (
    *("version", "arrays", "files", "checks", "functions", "data", "idx", "metrics", "weights"),
    *("history", "progress", "compiled", "augment", "layers", "model_file", "module", "schedule"),
    *("optimizer", "trainer", "recipe", "search.trial", "search.journal", "search.result"),
    "search",
    *("search.processes", "search.cluster", "plots.style", "plots.network", "plots.training"),
    *("plots.search", "plots.evaluation", "plots.weights", "plots"),
    *("pictures", "export", "page", "__main__"),
)
LEAVES = ("data", "idx", "metrics", "weights", "history", "progress", "augment")
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def test_atomic_replaces_a_file(tmp_path):
    path = tmp_path / "new" / "file.txt"
    for text in ("old", "new"):
        with atomic(path) as temporary:
            temporary.write_text(text)
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_atomic_keeps_the_old_file_if_the_block_raises(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def write_half():
        with atomic(path) as temporary:
            temporary.write_text("half of the n")
            assert path.read_text() == "old"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_processes_left_is_swept(tmp_path):
    """But not what belongs to a process that lives, nor what only looks alike."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        gone = process.pid
    left = f"mlp-{gone}-1.tmp"
    (tmp_path / f".other.npy.{left}").write_text("half of it")
    (tmp_path / f".folder.{left}").mkdir()
    (tmp_path / f".folder.{left}" / "inside").write_text("half of it")
    kept = {f".file.npy.mlp-{os.getppid()}-1.tmp", f".notes.{gone}.tmp", f"file.{left}"}
    kept |= {".notes.mlp-.tmp", f".f.{left}.gz"}
    for name in kept:
        (tmp_path / name).write_text("")
    write_text(tmp_path / "file.txt", "new")
    assert {path.name for path in tmp_path.iterdir()} == kept | {"file.txt"}


def test_temporary_removes_a_folder(tmp_path):
    with temporary(tmp_path / "new" / "file") as folder:
        folder.mkdir()
        (folder / "inside").write_text("")
    assert list((tmp_path / "new").iterdir()) == []


def test_write_text_is_utf8_with_unix_line_ends(tmp_path):
    write_text(tmp_path / "file.txt", "‖W‖\n2\n")
    assert (tmp_path / "file.txt").read_bytes() == "‖W‖\n2\n".encode()


def test_write_json(tmp_path):
    path = tmp_path / "file.json"
    value = {"class": "T‑shirt", "lr": 1e-05}
    write_json(path, value)
    assert read_json(path) == json.loads(path.read_text(encoding="utf-8")) == value
    assert path.read_bytes().endswith(b"}\n")
    assert "T‑shirt" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [b"", b'{"lr": 0.1', b"\xff\xfe"])
def test_read_json_of_something_else(content, tmp_path):
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"file\.json") as error:
        read_json(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_write_json_refuses_what_json_has_no_name_for(number, tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "file.json", {"loss": number})
    assert not list(tmp_path.iterdir())


def test_write_npz(tmp_path):
    path = tmp_path / "file.npz"
    contents = []
    for _ in range(2):
        write_npz(path, text="‖W‖", numbers=np.arange(3.0))
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
    assert list(tmp_path.iterdir()) == [path]
    with np.load(path, allow_pickle=False) as file:
        assert str(file["text"]) == "‖W‖"
        np.testing.assert_array_equal(file["numbers"], [0, 1, 2])


def test_write_npz_pickles_nothing(tmp_path):
    with pytest.raises(ValueError, match="allow_pickle"):
        write_npz(tmp_path / "file.npz", what={"a": 1})
    assert not list(tmp_path.iterdir())


def test_input_error_is_a_value_error():
    assert issubclass(InputError, ValueError)


def run(code):
    """The last line that a fresh interpreter prints."""
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.splitlines()[-1]


def test_importing_the_package_loads_no_module():
    code = "import mlp, sys; print([m for m in sys.modules if m.startswith(('mlp.', 'numpy'))])"
    assert run(code) == "[]"


def test_importing_the_search_loads_no_library_that_it_does_without():
    others = {"matplotlib", "pandas", "dvc", "yaml"}
    assert run(f"import mlp.search, sys; print({others} & set(sys.modules))") == "set()"


@pytest.mark.parametrize("name", mlp.__all__)
def test_public_names(name):
    assert getattr(mlp, name).__name__ == name
    assert name in dir(mlp)


def test_unknown_name():
    with pytest.raises(AttributeError, match="Perceptron"):
        mlp.Perceptron  # noqa: B018


def imports(path, nodes):
    """The modules that import statements among `nodes` name."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "mlp":
                yield from (f"mlp.{alias.name}" for alias in node.names)
            else:
                yield node.module


def at_run_time(tree):
    """The nodes outside `if TYPE_CHECKING:`."""
    typing = [node for node in tree.body if isinstance(node, ast.If)]
    ignored = {id(child) for block in typing for child in ast.walk(block)}
    return [node for node in ast.walk(tree) if id(node) not in ignored]


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_one_way(name):
    path = MODULES[name]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = {m.removeprefix("mlp.") for m in imports(path, tree.body) if m.startswith("mlp.")}
    if name == "__init__":
        assert not found
        return
    assert found <= set(ORDER[: ORDER.index(name)])
    if name in LEAVES:
        assert found <= {"arrays", "files", "checks", "compiled"}


@pytest.mark.parametrize(
    ("library", "users"),
    [
        ("matplotlib", "plots"),
        ("dask", "search.cluster"),
        ("distributed", "search.cluster"),
        ("onnx", "export"),
        ("dvc", "nobody"),
    ],
)
def test_only_one_room_imports(library, users):
    for name, path in MODULES.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        libraries = {module.split(".")[0] for module in imports(path, at_run_time(tree))}
        assert library not in libraries or name.startswith(users), name


def test_what_cannot_be_swept_stops_no_writing(tmp_path, monkeypatch):
    """As another user's file in a folder like /tmp."""
    (tmp_path / ".old.mlp-999999999-1.tmp").write_text("half of it")

    def refuse(path):
        raise PermissionError(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        sweep(tmp_path)
    write_text(tmp_path / "file.txt", "new")
    assert (tmp_path / "file.txt").read_text() == "new"


def test_threads_that_write_the_same_file(tmp_path):
    path, texts = tmp_path / "file.txt", [letter * 1000 for letter in "abcd"]
    with ThreadPoolExecutor(len(texts)) as pool:
        list(pool.map(write_text, [path] * 200, texts * 50))
    assert path.read_text() in texts
    assert list(tmp_path.iterdir()) == [path]
