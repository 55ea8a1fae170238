"""The pipeline's stages: `python -m stages.NAME`, from the project's root.

Imported before any of them, and before NumPy: pins the kernels that do the arithmetic, so that
every x86-64 processor with AVX2 rounds alike and `dvc.lock` can be reproduced to the bit.
"""

import os
import platform
import sys
import warnings
from collections.abc import Callable

if platform.machine() in ("x86_64", "AMD64") and os.environ.get("MLP_KERNELS") != "native":
    os.environ["OPENBLAS_CORETYPE"] = "Haswell"
    # all of NumPy's dispatch targets above AVX2: see "SIMD Extensions" of numpy.show_config()
    os.environ["NPY_DISABLE_CPU_FEATURES"] = "X86_V4 AVX512_ICL AVX512_SPR"


def run(main: Callable[[], None]) -> None:
    """Run a stage: bad input ends it with one line on standard error and exit status 2."""
    from mlp.files import InputError

    name = sys.modules["__main__"].__spec__.name  # type: ignore[union-attr]
    warnings.formatwarning = lambda message, *_, **__: f"{name}: {message}\n"
    try:
        main()
    except (InputError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as interrupt:
        print(f"{name}: interrupted{': ' if interrupt.args else ''}{interrupt}", file=sys.stderr)
        sys.exit(130)
