"""What a caller and params.yaml may hand over: taken right, or refused in one line."""

import contextlib
import json

import numpy as np
import pytest
from fuzzing import ARRAYS, MANY, edited, right_or_refused
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from project import ROOT

from mlp import metrics
from mlp.data import Dataset
from mlp.module import MLP
from mlp.optimizer import SGD
from mlp.trainer import DivergenceError, Trainer
from stages import params

pytestmark = [
    pytest.mark.usefixtures("arithmetic_to_fuzz"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::PendingDeprecationWarning"),
]

# --- labels and samples ---------------------------------------------------------------------------

LISTS = st.recursive(
    st.integers(-1, 3) | st.integers() | st.floats() | st.booleans() | st.none() | st.text(),
    lambda inner: st.lists(inner, max_size=6),
    max_leaves=9,
)
SMALL = st.integers(0, 2)
SIX = st.lists(SMALL, min_size=6, max_size=6)


def odd(array):
    """An array as other kinds of it."""
    return st.sampled_from(
        [
            array,
            array.tolist(),
            np.ma.masked_array(array),
            np.ma.masked_array(array, mask=np.arange(array.size).reshape(array.shape) == 1),
            np.asfortranarray(array),
            array[::-1],
            np.broadcast_to(array[:1], array.shape),
            np.asmatrix(array) if array.ndim == 2 else array,
        ]
    )


ALMOST_LABELS = (
    st.tuples(SIX, st.sampled_from(["?", "i1", "u1", "i4", "u8", ">i2", "f4", "U1", "O"]))
    .map(lambda pair: np.array(pair[0]).astype(pair[1]))
    .flatmap(odd)
)
LABELS = ALMOST_LABELS | ARRAYS | LISTS


def times(x, factor):
    with np.errstate(all="ignore"):
        return (x * x.dtype.type(factor)).astype(x.dtype) if x.dtype.kind == "f" else x


ALMOST_SAMPLES = (
    hnp.arrays(
        st.sampled_from(["?", "u1", "i8", "f2", "f4", ">f4", "f8", "g"]).map(np.dtype),
        (6, 4),
        elements=st.sampled_from([0, 1]),
    )
    .flatmap(lambda x: st.sampled_from([1, 1, 1, 3, 1e4, 1e39, np.inf]).map(lambda k: times(x, k)))
    .flatmap(odd)
)
SAMPLES = ALMOST_SAMPLES | ARRAYS | LISTS


def network() -> MLP:
    return MLP(4, [5], 3, rng=np.random.default_rng(3))


X = np.random.default_rng(0).standard_normal((6, 4))


@given(x=st.just(X) | SAMPLES, t=LABELS)
@MANY
def test_evaluate(x, t):
    model = network()
    before, twin = model.params.copy(), repr((x, t))
    found = right_or_refused(model.evaluate, x, t)
    assert model.params.tobytes() == before.tobytes()
    assert repr((x, t)) == twin
    if found is None:
        return
    assert not np.ma.is_masked(x)
    assert not np.ma.is_masked(t)
    plain, labels = np.asarray(x, np.float64), np.asarray(t)
    assert plain.shape == (len(labels), 4)
    assert set(labels.tolist()) <= {0, 1, 2}
    hidden = np.maximum(plain @ model.layers[0].W.astype(float) + model.layers[0].b, 0)
    logits = hidden @ model.layers[2].W.astype(float) + model.layers[2].b
    likely = logits - logits.max(axis=1, keepdims=True)
    likely -= np.log(np.exp(likely).sum(axis=1, keepdims=True))
    loss = -np.mean(likely[np.arange(len(labels)), labels.astype(int)])
    assert found[0] == pytest.approx(loss, rel=1e-4, abs=1e-4)
    assert 0 <= found[1] <= 1


@given(x=st.just(X) | SAMPLES, t=LABELS, batch_size=st.integers(-1, 9), soft=st.none() | ARRAYS)
@MANY
def test_trainer(x, t, batch_size, soft):
    model = network()
    before, twin = model.params.copy(), repr((x, t))
    good = Dataset(X, np.arange(6) % 3)
    for parts in ((Dataset(x, t), good), (good, Dataset(x, t))):
        options = {"batch_size": batch_size, "soft_labels": soft}
        trainer = right_or_refused(
            Trainer, model, SGD(0.01), *parts, rng=np.random.default_rng(0), **options
        )
        assert model.params.tobytes() == before.tobytes()
        if trainer is None:
            continue
        assert not np.ma.is_masked(x)
        assert not np.ma.is_masked(t)
        with contextlib.suppress(DivergenceError):
            trainer.fit(1)
            assert np.isfinite(model.params).all()
        model.params[...] = before
        assert repr((x, t)) == twin


PROBABILITIES = st.lists(
    st.lists(st.integers(1, 9), min_size=3, max_size=3), min_size=6, max_size=6
).map(lambda rows: np.array(rows) / np.sum(rows, axis=1, keepdims=True))


@given(
    probabilities=PROBABILITIES | ALMOST_SAMPLES | ARRAYS | LISTS,
    t=LABELS,
    y=LABELS,
    k=st.integers(1, 4),
)
@MANY
def test_metrics(probabilities, t, y, k):
    confusion = right_or_refused(metrics.confusion_matrix, t, y, 3)
    if confusion is not None:
        assert not np.ma.is_masked(t)
        assert not np.ma.is_masked(y)
        pairs = list(zip(np.asarray(t).tolist(), np.asarray(y).tolist(), strict=True))
        assert confusion.tolist() == [[pairs.count((i, j)) for j in range(3)] for i in range(3)]
    found = right_or_refused(metrics.calibration, probabilities, t)
    share = right_or_refused(metrics.top_k_accuracy, probabilities, t, k)
    assert (found is None) == (share is None)
    if found is not None:
        assert not np.ma.is_masked(probabilities)
        assert found.support.sum() == len(t)
        if np.max(probabilities) <= 1:
            assert 0 <= found.error <= 1 + 1e-9
        assert 0 <= share <= 1


# --- params.yaml ----------------------------------------------------------------------------------

PARAMS = (ROOT / "params.yaml").read_text(encoding="utf-8")
VALUES = params.YAML(typ="safe").load(PARAMS)
PIECES = [
    *"&*!%@`|>-:?,[]{}#'\"\\~\t\n\x1b\x00\ufeff\u2028\x85\ud800",
    *("<<", "!!binary ", "!!set ", "!!python/name:os", "!!timestamp ", "---", "...", "&a ", "*a"),
    *("0x1F", "0o17", "1_000", ".inf", ".nan", "1e400", "2001-99-99", "1:30", "yes", "null"),
    *("[" * 300, "9" * 5000, "\n  ", ": ", "- ", "\n? "),
]


@st.composite
def yaml_texts(draw):
    if draw(st.booleans()):
        value = draw(edited(VALUES))
        return json.dumps(value, ensure_ascii=draw(st.booleans()))
    text = PARAMS
    for _ in range(draw(st.integers(1, 4))):
        i = draw(st.integers(0, len(text)))
        j = min(len(text), i + draw(st.sampled_from([0, 0, 1, 5, 60])))
        text = text[:i] + draw(st.sampled_from(PIECES) | st.text(max_size=4)) + text[j:]
    return text


@given(text=yaml_texts())
@MANY
def test_params(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assume(len(text) < 100_000)
    params.PARAMS.write_bytes(text.encode(errors="surrogatepass"))
    found = right_or_refused(params.load)
    if found is not None:
        again = params.Params.model_validate(found.model_dump())
        assert again == found
