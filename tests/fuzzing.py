"""What properties and fuzzing share: how many examples, what a refusal is, and odd values.

`make test` tries the same examples each time, `make fuzz` (MLP_FUZZ=1) others in each round.
"""

import contextlib
import copy
import io
import os
import signal
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlp.data import Dataset, Problem
from mlp.files import InputError
from mlp.recipe import Recipe

FUZZ = os.environ.get("MLP_FUZZ") == "1"
# Fixtures give each example a folder that earlier ones have written to, which is meant
COMMON = {
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
    "print_blob": True,
}
settings.register_profile("test", max_examples=8, derandomize=True, **COMMON)
settings.register_profile("fuzz", max_examples=100, derandomize=False, **COMMON)
settings.load_profile("fuzz" if FUZZ else "test")
MANY = settings(max_examples=4 * settings().max_examples)  # of what takes a millisecond

PATIENCE = 120  # seconds, after which a call hangs
MOST = 1 << 30  # bytes of memory that a call may take


@contextlib.contextmanager
def bounded():
    """A block that must end in time and within memory, where the system can see to it."""
    if sys.platform != "linux":
        yield
        return
    import resource

    def hang(*_):
        pytest.fail("it hangs")

    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    previous = signal.signal(signal.SIGALRM, hang)
    resource.setrlimit(resource.RLIMIT_AS, (taken + MOST, limits[1]))
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.signal(signal.SIGALRM, previous)


def right_or_refused(function, *arguments, **options):
    """What a function returns, or None if it refuses its arguments as it should: by an InputError
    of one short line."""
    try:
        with bounded():
            return function(*arguments, **options)
    except InputError as error:
        message = str(error)
    assert message.isprintable(), message
    assert 0 < len(message) < 1500
    assert "memory" not in message, message  # it asked for far too much
    return None


def image_problem(recipe: Recipe, *, taught: bool = False) -> Problem:
    """Images of 2×3 pixels in three classes, with a teacher's probabilities if `taught`."""
    rng = np.random.default_rng(5)
    train, val = (
        Dataset(rng.integers(0, 256, (n, 6), np.uint8), rng.integers(0, 3, n)) for n in (23, 9)
    )
    problem = Problem(train, val, ("a", "b", "c"), (2, 3), {"mean": 0.4, "std": 0.3})
    variants = (1 + recipe.flip) * (2 * recipe.shift + 1) ** 2
    soft = rng.dirichlet([1, 1, 1], (23, variants)).astype(np.float32)
    return problem._replace(soft_labels=soft if taught else None)


# --- values ---------------------------------------------------------------------------------------

NAMES = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=9)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=9,
)
ODD_JSON = (
    JSON
    | st.sampled_from([10**400, 1e300, -1, 0, 2**63, "", "\n", "\ud800", "x" * 5000, [[]], {}])
    | st.sampled_from([float("nan"), float("inf"), "\x1b[31m", "a\u2028b"])
)
ODD_NAMES = NAMES | st.sampled_from(["a\nb", "\x1b[0m", "x" * 3000])
IMAGES = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=5))
DTYPES = st.sampled_from(
    [
        *("?", "i1", "u1", "i2", "i4", "u4", "i8", "u8", ">i4", ">u8", "f2", "f4", ">f4", "f8"),
        *("g", "c8", "c16", "U3", "S3", "M8[s]", "m8[s]", "O"),
    ]
).map(np.dtype)
ARRAYS = DTYPES.flatmap(
    lambda dtype: hnp.arrays(
        dtype,
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6),
        elements=st.none() | st.integers() | st.text(max_size=3) if dtype.hasobject else None,
    )
)


@st.composite
def edited(draw, value):
    """A JSON-like value with some of its parts replaced, removed or added to."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        places = [(None, None)]
        stack = [value]
        while stack:
            part = stack.pop()
            if isinstance(part, dict | list):
                keys = [*part] if isinstance(part, dict) else [*range(len(part))]
                places += [(part, key) for key in keys]
                stack += [part[key] for key in keys]
        part, key = draw(st.sampled_from(places))
        if part is None:
            if draw(st.integers(0, 9)) == 0:
                return draw(ODD_JSON)
            continue
        change = draw(st.sampled_from(["replace", "remove", "add"]))
        if change == "remove":
            del part[key]
            continue
        odd = copy.deepcopy(draw(ODD_JSON))
        if change == "replace":
            part[key] = odd
        elif isinstance(part, dict):
            part[draw(ODD_NAMES)] = odd
        else:
            part.insert(key, odd)
    return value


# --- bytes ----------------------------------------------------------------------------------------


@st.composite
def spoilt(draw, content):
    """Bytes of which some were changed, lost or doubled."""
    content = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        i = draw(st.integers(0, len(content)))
        j = min(len(content), i + draw(st.integers(0, 30)))
        change = draw(st.sampled_from(["cut", "remove", "double", "write", "flip", "append"]))
        if change == "cut":
            del content[i:]
        elif change == "remove":
            del content[i:j]
        elif change == "double":
            content[i:i] = content[i:j]
        elif change == "flip" and i < len(content):
            content[i] ^= 1 << draw(st.integers(0, 7))
        elif change == "write":
            content[i:j] = draw(st.binary(min_size=j - i, max_size=j - i))
        elif change == "append":
            content += draw(st.binary(max_size=9))
    return bytes(content)


@st.composite
def npy_header(draw):
    """An .npy header that may announce anything, and a few bytes after it."""
    dimension = st.sampled_from([0, 1, 2, 3, -1, 10**6, 2**31, 2**63, 10**30, True, 2.0, None])
    shape = draw(st.lists(dimension, max_size=5).map(tuple) | st.just(3) | st.just("x"))
    descr = draw(
        st.sampled_from(["<f4", "|u1", "<i8", "|O", "|S0", "<U0", "|V0", "<f16", "<M8[s]", "x", ""])
        | st.sampled_from([[("a", "<f4")], [("a", "<f4", (2,))], [("n\n" * 50, "<i4")], None, 3])
        | st.sampled_from([[(f"field{i}", "<f8") for i in range(200)]])
    )
    text = f"{{'descr': {descr!r}, 'fortran_order': {draw(st.booleans())}, 'shape': {shape!r}, }}"
    version = draw(st.sampled_from([1, 2, 3, 9]))
    size = len(text.encode()).to_bytes(2 if version == 1 else 4, "little")
    rest = bytes(draw(st.sampled_from([0, 1, 4, 12, 24, 48])))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text.encode() + rest


def npy(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


NPY = npy_header() | ARRAYS.map(npy) | st.binary(max_size=20)


@st.composite
def archives(draw, path, edit=None):
    """The .npz file at `path` with changed bytes or entries, or with its JSON text edited, if
    `edit` makes a strategy of such a text."""
    content = path.read_bytes()
    if draw(st.integers(0, 3)) == 0:
        return draw(spoilt(content))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist()}
    if edit and draw(st.booleans()):
        text = str(np.load(io.BytesIO(entries["json.npy"])))
        entries["json.npy"] = npy(draw(edit(text)))
    else:
        for _ in range(draw(st.integers(1, 2))):
            name = draw(st.sampled_from([*entries, "y.npy", "json", "../x"]))
            change = draw(st.sampled_from(["replace", "remove", "spoil", "values"]))
            if change == "replace":
                entries[name] = draw(NPY)
            elif change == "remove":
                entries.pop(name, None)
            elif change == "spoil" and name in entries:
                entries[name] = draw(spoilt(entries[name]))
            elif change == "values" and name in entries:
                with contextlib.suppress(ValueError, TypeError, EOFError):  # already spoilt
                    array = np.load(io.BytesIO(entries[name]))
                    value = draw(st.sampled_from([0, -1, 1e30, 1e300, np.nan, np.inf]))
                    kind = draw(st.sampled_from([array.dtype, "f8", "f4", ">f8"]))
                    with np.errstate(all="ignore"):
                        entries[name] = npy(np.full(array.shape, value).astype(kind))
    file = io.BytesIO()
    method = draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA]))
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, entry in entries.items():
            archive.writestr(name, entry)
    return file.getvalue()
