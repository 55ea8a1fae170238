"""The package elsewhere: what is in its wheel, what type checkers see, and what extras are for."""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from project import ROOT, write_idx

import mlp
from mlp.files import InputError
from mlp.module import MLP

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

# What the command `mlp` does
COMMAND = """
from importlib.metadata import distribution
[command] = distribution("fashion-mnist-mlp").entry_points.select(name="mlp")
command.load()()
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel, built from a copy, without a network."""
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("needs setuptools to build a wheel")
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "mlp", folder / "mlp", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    command = "-m pip wheel -q --disable-pip-version-check --no-build-isolation --no-deps ."
    subprocess.run([sys.executable, *command.split()], cwd=folder, check=True, timeout=120)
    [path] = folder.glob("*.whl")
    return path


def test_a_wheel_holds_all_of_the_package(wheel: Path):
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "mlp").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = {n.rpartition("/")[2]: archive.read(n).decode() for n in names - expected}
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert f"Version: {mlp.__version__}\n" in metadata["METADATA"]
    assert "MIT License" in metadata["LICENSE"]


def test_its_commands_work_in_another_folder(wheel: Path, tmp_path: Path):
    site = tmp_path / "site"
    command = "-m pip install -q --disable-pip-version-check --no-deps --no-index --target"
    subprocess.run([sys.executable, *command.split(), site, wheel], check=True, timeout=120)
    model = MLP(4, [3], 2, rng=np.random.default_rng(0))
    model.metadata.update(classes=["a", "b"], image_shape=[2, 2])
    model.save_parameters(tmp_path / "model.npz")
    write_idx(tmp_path / "images", np.eye(2).reshape(1, 2, 2))

    def run(*command):
        environ = os.environ | {"PYTHONPATH": str(site), "MLP_COMPILED": "0"}
        done = subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = run(sys.executable, "-c", "import mlp; print(mlp.__version__, mlp.__file__)")
    assert where == f"{mlp.__version__} {site / 'mlp' / '__init__.py'}\n"
    page = ["page", "model.npz", "-o", "page.html", "--samples", "images"]
    assert run(sys.executable, "-m", "mlp", *page).startswith("page.html: ")
    assert "<script>" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "MLP" in run(sys.executable, "-c", COMMAND, "info", "model.npz")


def test_type_checkers_see_the_public_names():
    tree = ast.parse((ROOT / "mlp" / "__init__.pyi").read_text(encoding="utf-8"))
    seen = {
        alias.asname: node.module.removeprefix("mlp.")
        for node in tree.body
        for alias in node.names
        if alias.asname == alias.name
    }
    assert seen == mlp._HOME
    assert (ROOT / "mlp" / "py.typed").exists()


def test_there_is_one_version():
    assert PYPROJECT["project"]["dynamic"] == ["version"]
    code = "import mlp, sys; print(mlp.__version__, {m for m in sys.modules if m[:4] == 'mlp.'})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{mlp.__version__} {{'mlp.version'}}\n"


@pytest.mark.parametrize("missing", ["matplotlib", "PIL"])
def test_a_plot_names_what_is_missing(missing, monkeypatch, build, tmp_path):
    trainer = build()
    trainer.fit(1)
    for name in [name for name in sys.modules if name.startswith(("mlp.plots", f"{missing}."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)  # which makes `import` raise
    with pytest.raises(InputError, match="pip install matplotlib pillow") as caught:
        trainer.plot(tmp_path / "plot.png")
    assert len(str(caught.value).splitlines()) == 1
    assert not [*tmp_path.iterdir()]


def test_packages_that_messages_name_are_those_of_the_extras():
    extras = str(PYPROJECT["project"]["optional-dependencies"])
    named = {
        package
        for path in (ROOT / "mlp").rglob("*.py")
        for names in re.findall("pip install ([a-z ]+)", path.read_text(encoding="utf-8"))
        for package in names.split()
    }
    assert named >= {"matplotlib", "onnx", "pillow"}
    assert {package for package in named if package not in extras} == set()
