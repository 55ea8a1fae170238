"""The promise behind dvc.lock: the same bits on every x86-64 processor with AVX2, in any place."""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from project import ROOT, STAGES, Project

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="the pins are for x86-64"
)

LOOK = """
import stages
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
from threadpoolctl import threadpool_info
print(*(library["architecture"] for library in threadpool_info()),
      *(name for name in __cpu_dispatch__ if __cpu_features__[name]))
"""

# Two epochs on made-up images, with both activations and every kind of kernel the pipeline uses;
# predictions on one thread, as evaluate makes them, because two round otherwise
TRAIN = """
import stages
import hashlib
import numpy as np
from mlp.data import Dataset, Problem, fit_normalisation
from mlp.recipe import Recipe, make_trainer
from threadpoolctl import threadpool_limits
rng = np.random.default_rng(0)
images, t = rng.integers(0, 256, (230, 784), np.uint8), rng.integers(0, 10, 230)
data, normalisation = Dataset(images, t), fit_normalisation(images)
digest = hashlib.sha256()
for activation in "relu", "sigmoid":
    recipe = Recipe(hidden_sizes=(88, 24), activation=activation, lr=0.001, l2_reg=0.001,
                    lr_decay=0.3)
    problem = Problem(data, data, tuple("0123456789"), normalisation=normalisation)
    trainer = make_trainer(recipe, problem, seed=42)
    trainer.fit(2)
    digest.update(trainer.model.params)
    with threadpool_limits(1, user_api="blas"):
        digest.update(trainer.model.predict_proba(data.x))
    digest.update(repr(trainer.history.rows).encode())
print(digest.hexdigest())
"""
# Compilation is slow on a processor that is emulated, and here gives the same code for it
COMPILED_FOR = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe,+popcnt",
}
ONLY_WHAT_IT_USES = """
from llvmlite import binding
from mlp import compiled
binding.get_host_cpu_name = lambda: "haswell"
_compile = compiled._compile
unused = {"dropout", "augment", "centre", "scale", "scale_backward"}
compiled._compile = lambda f, *types: None if f.__name__ in unused else _compile(f, *types)
"""
DIGEST = "c406aae855e43a08ba6b0b511ad878ae0925274f11a2b37c6f648050400f9006"


def python(code: str, *prefix: str, **environ: str) -> str:
    paths = os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])
    done = subprocess.run(
        [*prefix, Path(sys.executable).resolve(), "-c", code],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": paths} | environ,
        check=True,
    )
    return done.stdout.strip()


def test_the_pins_take_effect():
    assert python(LOOK) == "Haswell X86_V3"


def test_the_pins_can_be_lifted():
    if "avx512f" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor has nothing above AVX2")
    assert "X86_V4" in python(LOOK, MLP_KERNELS="native")


@pytest.mark.parametrize(("compiled", "threads"), [("0", "3"), ("1", "1")])
def test_training_gives_the_known_bits(compiled: str, threads: str):
    several = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    assert python(TRAIN, MLP_COMPILED=compiled, PYTHONHASHSEED=threads, **several) == DIGEST


@pytest.mark.parametrize(("cpu", "compiled"), [("Haswell", "1"), ("EPYC-Rome", "0")])
def test_another_processor_gives_the_same_bits(cpu: str, compiled: str):
    """An Intel and an AMD processor without AVX-512, emulated."""
    emulator = shutil.which("qemu-x86_64")
    if not emulator:
        pytest.skip("needs qemu-x86_64 (Debian's package qemu-user)")
    code, environ = TRAIN, {"MLP_COMPILED": compiled}
    if compiled == "1":
        code = code.replace("import stages\n", f"import stages\n{ONLY_WHAT_IT_USES}", 1)
        environ |= COMPILED_FOR
        assert python(code, **environ) == DIGEST
    assert python(code, emulator, "-cpu", cpu, **environ) == DIGEST


def test_another_place_gives_the_same_bytes(finished: Project, tmp_path: Path):
    """All stages, from nothing, with other values of all that must not matter: the folder, the
    locale and its encoding, the time zone, the seed of hashes, the numbers of threads and jobs, and
    whether arithmetic is compiled."""
    project = finished.copy(tmp_path / "größer als ÿ, ıİ")
    shutil.rmtree(project.folder / "data" / "trials")
    environ = {"LC_ALL": "tr_TR.ISO-8859-9", "TZ": "America/St_Johns", "PYTHONHASHSEED": "3"}
    environ |= {"MLP_JOBS": "2", "MLP_COMPILED": "1"}
    environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "3")
    cache = project.folder / "mlp" / "__pycache__"
    cache.mkdir(exist_ok=True)
    for code in (ROOT / "mlp" / "__pycache__").glob("*.nb[ci]"):  # compiled before, in other tests
        shutil.copy2(code, cache)
    if shutil.which("localedef"):  # make the locale, which few machines have
        made = tmp_path / "locales" / environ["LC_ALL"]
        made.parent.mkdir()
        command = ["localedef", "-i", "tr_TR", "-f", "ISO-8859-9", made]
        subprocess.run(command, check=False)
        environ["LOCPATH"] = str(made.parent)
    assert project.repro("--force", **environ) == list(STAGES)
    assert project.call("git", "diff", "HEAD", "--stat").stdout == ""  # dvc.lock is among it
