"""make mutants: what is left is named in docs/testing.md, and is little."""

import json
import shutil
import subprocess
import sys
import tomllib

import pytest
from project import ROOT

LEFT = {"mlp.layers.xǁReLUǁforward__mutmut_3": 0, "mlp.search.trial.x__digest__mutmut_12": 33}
PAGE = "| `layers.ReLU.forward` | 2, 3 | why |\n| `search.trial._digest` | 12 | why |\n"


@pytest.fixture
def check(tmp_path):
    """A function: exit status and output for so many mutants killed, these left, and this page."""
    for folder in (".ci", "docs", "mutants/mlp"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(ROOT / ".ci/mutants.py", tmp_path / ".ci")

    def call(killed, left, page):
        codes = {f"mlp.layers.x__row_sums__mutmut_{i}": (1, 36, 37)[i % 3] for i in range(killed)}
        meta = {"exit_code_by_key": codes | left}
        (tmp_path / "mutants/mlp/layers.py.meta").write_text(json.dumps(meta), encoding="utf-8")
        (tmp_path / "docs/testing.md").write_text(page, encoding="utf-8")
        command = [sys.executable, tmp_path / ".ci/mutants.py"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    return call


def test_what_is_left_is_named_and_little(check):
    assert check(38, LEFT, PAGE) == (0, "38 of 40 mutants killed: 95.0 %\n")
    status, said = check(38, LEFT, PAGE.replace("2, 3", "2, 13"))
    assert status == 1
    assert "does not name layers.ReLU.forward 3\n" in said
    status, said = check(37, LEFT, PAGE)
    assert (status, said) == (1, "37 of 39 mutants killed: 94.9 %\n")


def test_a_run_that_was_interrupted_is_no_result(check):
    status, said = check(38, {"mlp.layers.x__row_sums__mutmut_99": None}, PAGE)
    assert status == 1
    assert "run make mutants" in said
    assert check(0, {}, PAGE)[0] == 1


def test_the_copy_has_all_that_its_tests_import(tmp_path):
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutmut"]
    for name in (*config["source_paths"], *config["also_copy"], "tests"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    selected = config["pytest_add_cli_args_test_selection"]
    command = [sys.executable, "-m", "pytest", "--collect-only", *selected]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
