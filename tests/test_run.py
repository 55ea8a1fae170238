"""What all stages have in common: --help, no arguments, and how they end."""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from dvc.utils.serialize import parse_yaml
from project import ROOT, STAGES, Project

DVC = parse_yaml((ROOT / "dvc.yaml").read_text(encoding="utf-8"), "dvc.yaml")["stages"]
VARIABLES = {"fetch": ["FASHION_MNIST_DIR"], "grid-search": ["MLP_JOBS", "MLP_CLUSTER"]}
# A stage that ends as its docstring says
ODD = """
from mlp.files import InputError, read_json
from stages import run

def main():
    {body}

if __name__ == "__main__":
    run(main)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which nothing has run."""
    return Project(tmp_path_factory.mktemp("run"))


def nothing_ran(project: Project) -> bool:
    return not any((project.folder / name).exists() for name in ("data", "reports"))


@pytest.mark.parametrize("stage", STAGES)
def test_help(project: Project, stage: str):
    name = stage.replace("-", "_")
    done = project.call("python", "-m", f"stages.{name}", "--help")
    docstring = (ROOT / f"stages/{name}.py").read_text().split('"""')[1]
    assert docstring.strip() in done.stdout
    variables = VARIABLES.get(stage, [])
    for item in (
        *variables,
        *DVC[stage].get("params", []),
        *(next(iter(o)) if isinstance(o, dict) else o for o in DVC[stage].get("outs", [])),
        "MLP_KERNELS",
    ):
        assert item in done.stdout
    assert done.stderr == ""
    assert nothing_ran(project)


@pytest.mark.parametrize("arguments", [["--epochs", "3"], ["x"], ["--hlep"], [""]])
def test_arguments_are_refused(project: Project, arguments: list[str]):
    done = project.call("python", "-m", "stages.fetch", *arguments, status=2)
    assert done.stderr.startswith(f"stages.fetch: unknown arguments: {' '.join(arguments)};")
    assert done.stderr.count("\n") == 1
    assert nothing_ran(project)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_run_by_its_path_says_how_to_run_it(project: Project, stage: str):
    name = stage.replace("-", "_")
    done = project.call("python", f"stages/{name}.py", status=2, PYTHONPATH=str(project.folder))
    assert done.stderr.count("\n") == 1
    assert f"python -m stages.{name}" in done.stderr
    assert nothing_ran(project)


@pytest.mark.parametrize("stage", STAGES[1:])
def test_out_of_order(project: Project, stage: str):
    done = project.stage(stage, status=2)
    assert "; run dvc repro" in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"stages.{stage.replace('-', '_')}: ")


ENDS = {
    "deep JSON": ('read_json("deep.json")', "nested too deeply"),
    "recursion": ("main()", "nested too deeply"),
    "memory": ("bytearray(1 << 62)", "not enough memory"),
    "an array": ("import numpy; numpy.ones((1 << 30, 1 << 12))", "not enough memory: Unable to"),
    "encoding": ("bytes([255]).decode()", "another encoding"),
    "input": ('raise InputError("bad")', "bad"),
}


@pytest.mark.parametrize("case", ENDS)
def test_the_last_resort_is_a_line(project: Project, case: str):
    body, message = ENDS[case]
    (project.folder / "deep.json").write_text("[" * 100_000)
    (project.folder / "stages/odd.py").write_text(ODD.format(body=body))
    done = project.stage("odd", status=2)
    assert done.stderr.startswith("stages.odd: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_unexpected_exception_keeps_its_traceback(project: Project):
    (project.folder / "stages/odd.py").write_text(ODD.format(body="{}['key']"))
    done = project.stage("odd", status=1)
    assert "Traceback" in done.stderr
    assert "KeyError: 'key'" in done.stderr


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252:strict", "utf-8:strict"])
def test_what_an_encoding_lacks_stops_no_stage(project: Project, encoding: str):
    body = "import warnings; print('784 → 64, ‖W‖'); warnings.warn('σ → 0'); print('\\udcff')"
    (project.folder / "stages/odd.py").write_text(ODD.format(body=body), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "stages.odd"],
        cwd=project.folder,
        env=os.environ | {"PYTHONIOENCODING": encoding, "LC_ALL": "C"},
        capture_output=True,
        check=True,
    )
    assert done.stdout.startswith(b"784 ")
    assert b"64" in done.stdout


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64") or not shutil.which("qemu-x86_64"),
    reason="needs x86-64 and qemu-x86_64 (Debian's package qemu-user)",
)
def test_a_processor_without_avx2(project: Project):
    def emulated(**environ: str) -> "subprocess.CompletedProcess[str]":
        paths = os.pathsep.join([str(project.folder), sysconfig.get_path("purelib")])
        python = str(Path(sys.executable).resolve())
        return project.call(
            *("qemu-x86_64", "-cpu", "Nehalem", python, "-m", "stages.preprocess"),
            status=None,
            PYTHONPATH=paths,
            **environ,
        )

    done = emulated()
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "AVX2" in done.stderr
    assert "MLP_KERNELS=native" in done.stderr
    project.stage("fetch")
    native = emulated(MLP_KERNELS="native")
    assert native.returncode == 0, native.stderr
    assert "270 training and 30 validation images" in native.stdout
    shutil.rmtree(project.folder / "data")
