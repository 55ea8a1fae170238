"""Networks: gradients, one flat vector of parameters, inference, model files."""

import copy
import json
import math
import pickle
import re
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from mlp.files import InputError
from mlp.functions import cross_entropy, softmax
from mlp.layers import Affine, BatchNorm, ReLU, Sigmoid
from mlp.metrics import confusion_matrix, macro_micro_average
from mlp.model_file import read_model_file
from mlp.module import BLOCK, MLP, Module
from mlp.optimizer import SGD


def new(hidden_sizes=(6, 4), *, seed=0, **options):
    """A network of the shape of the fixture `network`, with other parameters."""
    options = {"dtype": np.float64} | options
    return MLP(5, hidden_sizes, 3, rng=np.random.default_rng(seed), **options)


def affines(network):
    return [layer for layer in network.layers if isinstance(layer, Affine)]


@pytest.fixture
def many(rng):
    """More samples than inference takes at a time, and not a multiple: (x, t)."""
    n = 2 * BLOCK + 17
    return rng.standard_normal((n, 5)), rng.integers(0, 3, n)


@pytest.mark.parametrize("l2_reg", [0.0, 0.1])
@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
@pytest.mark.parametrize("hidden_sizes", [[6], [6, 4], [6, 5, 4]])
def test_gradient_along_a_random_direction(hidden_sizes, activation, l2_reg, data, rng):
    network = new(hidden_sizes, activation=activation)
    network.params += 0.1 * rng.standard_normal(network.params.size)
    direction = rng.standard_normal(network.params.size)
    start, step = network.params.copy(), 1e-6 * direction

    def objective(params):
        network.params[:] = params
        weights = params[: network.n_weights]
        return network.loss(*data[0]) + 0.5 * l2_reg * np.sum(weights**2)

    numerical = (objective(start + step) - objective(start - step)) / 2e-6
    objective(start)
    network.backward()
    # a step of length zero adds the penalty's gradient and changes nothing
    SGD(0.0, l2_reg=l2_reg).update(network.params, network.grads, network.n_weights)
    np.testing.assert_array_equal(network.params, start)
    assert network.grads @ direction == pytest.approx(numerical, rel=1e-6)


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_gradient_of_every_parameter(activation, data, numerical_gradient, relative_error, rng):
    network = new(activation=activation)
    network.params += 0.1 * rng.standard_normal(network.params.size)
    numerical = numerical_gradient(lambda: network.loss(*data[0]), network.params, step=1e-6)
    network.loss(*data[0])
    network.backward()
    assert relative_error(network.grads, numerical) < 1e-6


def test_forward_is_the_layers_one_after_the_other(network, data):
    x = data[0].x
    first, second, third = affines(network)
    hidden = np.maximum(x @ first.W + first.b, 0)
    hidden = np.maximum(hidden @ second.W + second.b, 0)
    expected = hidden @ third.W + third.b
    np.testing.assert_allclose(network.forward(x), expected, rtol=1e-12, atol=1e-14)


def test_only_the_first_layer_skips_its_input_gradient(network):
    assert [layer.input_gradient for layer in network.layers] == [False, True, True, True, True]


@pytest.fixture
def pixels(rng):
    """Twenty images of five pixels."""
    return rng.integers(0, 256, (20, 5), np.uint8)


def test_normalisation_in_front(pixels, rng):
    """… is that of the samples; neither it nor the first Affine computes an input gradient."""
    options = {"normalisation": {"mean": 0.3, "std": 0.4}}
    network, plain = new(**options), new()
    samples, t = (pixels / 255 - 0.3) / 0.4, rng.integers(0, 3, 20)
    assert network.loss(pixels, t) == pytest.approx(plain.loss(samples, t), rel=1e-12)
    for each in (network, plain):
        each.backward()
    np.testing.assert_allclose(network.grads, plain.grads, rtol=1e-9, atol=1e-15)
    assert [layer.input_gradient for layer in affines(network)] == [False, True, True]
    np.testing.assert_allclose(network.predict_proba(pixels), plain.predict_proba(samples))


def test_any_stack_of_layers_is_a_module(data, rng):
    network = Module(
        [Affine(5, 4, rng=rng), Sigmoid(), Affine(4, 4, rng=rng), ReLU(), Affine(4, 3, rng=rng)]
    )
    assert network.predict_proba(data[0].x).shape == (90, 3)
    assert network.params.dtype == np.float32


def test_parameters_stand_in_one_vector_weights_first(network):
    layers = affines(network)
    weights = [layer.W.ravel() for layer in layers]
    biases = [layer.b for layer in layers]
    np.testing.assert_array_equal(network.params, np.concatenate(weights + biases))
    assert network.n_weights == 5 * 6 + 6 * 4 + 4 * 3
    assert network.params.flags.c_contiguous
    assert network.grads.flags.c_contiguous
    assert network.params.shape == network.grads.shape == (5 * 6 + 6 * 4 + 4 * 3 + 6 + 4 + 3,)


def test_layers_see_the_vectors(network):
    for layer in affines(network):
        assert np.shares_memory(layer.W, network.params)
        assert np.shares_memory(layer.b, network.params)
        assert np.shares_memory(layer.dW, network.grads)
        assert np.shares_memory(layer.db, network.grads)
    network.params[:] = 7
    network.grads[:] = 8
    for layer in affines(network):
        assert np.all(layer.W == 7)
        assert np.all(layer.b == 7)
        assert np.all(layer.dW == 8)
        assert np.all(layer.db == 8)


EVERY_COPY = pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))]
)


def step(network, data):
    """The network's probabilities after a step of training."""
    network.loss(*data)
    network.backward()
    SGD(0.1).update(network.params, network.grads, network.n_weights)
    return network.predict_proba(data.x)


@EVERY_COPY
@pytest.mark.parametrize("trained", [False, True])
def test_copy_and_original_train_apart(duplicate, trained, data):
    network, twin = new(), new()
    if trained:
        step(network, data[0])
        step(twin, data[0])
    other = duplicate(network)
    for model in (network, other):
        for layer in affines(model):
            assert np.shares_memory(layer.W, model.params)
            assert np.shares_memory(layer.db, model.grads)
    before = other.predict_proba(data[0].x)
    after = step(network, data[0])
    np.testing.assert_array_equal(after, step(twin, data[0]))
    np.testing.assert_array_equal(other.predict_proba(data[0].x), before)
    np.testing.assert_array_equal(step(other, data[0]), after)
    np.testing.assert_array_equal(network.predict_proba(data[0].x), after)


@EVERY_COPY
def test_a_copy_is_a_network_of_its_own(duplicate, network, data):
    other = duplicate(network)
    before = network.predict_proba(data[0].x)
    np.testing.assert_array_equal(other.predict_proba(data[0].x), before)
    assert other.params.ctypes.data % 64 == other.grads.ctypes.data % 64 == 0
    other.params[:] = 0
    assert np.all(other.predict_proba(data[0].x) == 1 / 3)
    np.testing.assert_array_equal(network.predict_proba(data[0].x), before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_holds_throughout(dtype, data):
    network, x = new(dtype=dtype), data[0].x.astype(dtype)
    network.loss(x, data[0].t)
    network.backward()
    assert {network.params.dtype, network.grads.dtype} == {np.dtype(dtype)}
    assert network.forward(x).dtype == network.predict_proba(x).dtype == dtype


def test_float32_is_the_default(rng):
    assert MLP(5, [4], 3, rng=rng).params.dtype == np.float32


def test_same_seed_same_parameters():
    np.testing.assert_array_equal(new(seed=1).params, new(seed=1).params)
    assert not np.array_equal(new(seed=1).params, new(seed=2).params)


@pytest.mark.parametrize(
    ("activation", "variances"),
    [
        # He before a ReLU, Glorot elsewhere
        ("relu", [2 / 300, 2 / 200, 2 / (250 + 150)]),
        ("sigmoid", [2 / (300 + 200), 2 / (200 + 250), 2 / (250 + 150)]),
    ],
)
def test_initial_variances(activation, variances, rng):
    network = MLP(300, [200, 250], 150, activation=activation, rng=rng)
    assert [layer.W.var() for layer in affines(network)] == pytest.approx(variances, rel=0.02)
    assert not network.params[network.n_weights :].any()


# He's weights double the variance of the logits, which puts the first loss some 0.8 above ln K
@pytest.mark.parametrize(("activation", "above"), [("relu", 1.0), ("sigmoid", 0.4)])
def test_initial_loss_is_close_to_that_of_guessing(activation, above, rng):
    x = rng.standard_normal((1000, 784), dtype=np.float32)
    t = rng.integers(0, 10, 1000)
    losses = [
        MLP(784, [128, 64], 10, activation=activation, rng=np.random.default_rng(seed)).loss(x, t)
        for seed in range(5)
    ]
    assert math.log(10) - 0.05 < np.mean(losses) < math.log(10) + above


def test_repr_reads_like_the_network(rng):
    # 784·256 + 256, 256·64 + 64, 64·10 + 10
    assert repr(MLP(784, [256, 64], 10, rng=rng)) == (
        "MLP(\n"
        "  Affine(784 → 256)          200,960\n"
        "  ReLU()\n"
        "  Affine(256 → 64)            16,448\n"
        "  ReLU()\n"
        "  Affine(64 → 10)                650\n"
        ")  218,058 parameters, float32"
    )


def test_unknown_activation(rng):
    with pytest.raises(ValueError, match="tanh"):
        MLP(5, [4], 3, activation="tanh", rng=rng)


def test_l2_norm_is_that_of_the_weights_alone(network):
    expected = math.sqrt(sum(np.sum(layer.W**2) for layer in affines(network)))
    assert network.l2_norm() == pytest.approx(expected, rel=1e-14)


def test_evaluate_in_blocks_is_evaluate_at_once(network, many):
    x, t = many
    logits = network.forward(x)
    expected = cross_entropy(logits, t), np.mean(logits.argmax(axis=1) == t)
    assert network.evaluate(x, t) == pytest.approx(expected, rel=1e-12)


def test_predict_proba_in_blocks_is_softmax_at_once(network, many):
    expected = softmax(network.forward(many[0]))
    np.testing.assert_allclose(network.predict_proba(many[0]), expected, rtol=1e-12)
    np.testing.assert_array_equal(network.predict(many[0]), expected.argmax(axis=1))


def test_one_pass_gives_what_two_give_to_the_bit(network, many):
    x, t = many
    logits = network.predict_logits(x)
    np.testing.assert_array_equal(softmax(logits), network.predict_proba(x))
    blocks = [(x[i : i + BLOCK], t[i : i + BLOCK]) for i in range(0, len(t), BLOCK)]
    loss = sum(len(block[1]) * network.loss(*block) for block in blocks) / len(t)
    accuracy = network.compute_accuracy(x, t)
    assert network.evaluate(x, t) == network.evaluate_logits(logits, t) == (loss, accuracy)


def test_predictions_are_not_written_over(network, data):
    first = network.predict_proba(data[0].x), network.predict(data[0].x)
    before = [array.copy() for array in first]
    network.predict_proba(-data[0].x)
    network.predict(-data[0].x)
    network.evaluate(-data[0].x, data[0].t)
    for array, expected in zip(first, before, strict=True):
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_threads_predict_as_one_does(activation, rng):
    network = MLP(200, [100, 50], 10, activation=activation, rng=rng)
    tasks = [rng.standard_normal((n, 200), dtype=np.float32) for n in range(100, 500, 50)]
    t = rng.integers(0, 10, 500)

    def answers(x):
        return network.predict_proba(x).tobytes(), network.evaluate(x, t[: len(x)])

    expected = [answers(x) for x in tasks]
    with ThreadPoolExecutor(len(tasks)) as pool, threadpool_limits(1, user_api="blas"):
        for _ in range(5):
            assert list(pool.map(answers, tasks)) == expected


def test_prediction_does_not_disturb_training(data, rng):
    """… neither in the same thread nor from another."""
    network, twin = new(), new()
    network.loss(*data[0])
    twin.loss(*data[0])
    hits = network.hits
    for call in (lambda run: run(), lambda run: ThreadPoolExecutor(1).submit(run).result()):
        call(lambda: network.predict_proba(10 * data[1].x))
        call(lambda: network.evaluate(*data[1]))
    network.backward()
    twin.backward()
    assert network.hits == hits
    np.testing.assert_array_equal(network.grads, twin.grads)


def test_predictions_for_no_samples(network):
    assert network.predict_proba(np.empty((0, 5))).shape == (0, 3)
    assert network.predict(np.empty((0, 5))).shape == (0,)


def test_hits_counts_what_loss_saw(network, data):
    x, t = data[0]
    network.loss(x, t)
    assert network.hits == np.sum(network.predict(x) == t)


def test_compute_accuracy(network, many):
    x, t = many
    assert network.compute_accuracy(x, t) == pytest.approx(np.mean(network.predict(x) == t))


def test_compute_macro_micro_avg(network, many):
    x, t = many
    average = network.compute_macro_micro_avg(x, t)
    assert average == macro_micro_average(confusion_matrix(t, network.predict(x), 3))
    assert average.micro.f1 == pytest.approx(network.compute_accuracy(x, t), rel=1e-14)


def test_samples_are_left_alone(network, data):
    x, t = data[0].x.copy(), data[0].t.copy()
    network.loss(x, t)
    network.backward()
    network.predict_proba(x)
    np.testing.assert_array_equal(x, data[0].x)
    np.testing.assert_array_equal(t, data[0].t)


@pytest.mark.parametrize("n", [80, 100])
def test_as_many_labels_as_samples(n, network, data):
    with pytest.raises(InputError, match=f"90 samples.* {n} labels"):
        network.evaluate(data[0].x, np.zeros(n, int))


@pytest.mark.parametrize("shape", [(4, 6), (5,), (4, 5, 1)])
def test_samples_of_another_shape(network, shape):
    for method in (network.predict_proba, network.predict):
        with pytest.raises(InputError, match=r"takes \(N, 5\)"):
            method(np.zeros(shape))
    for method in (network.evaluate, network.compute_accuracy, network.compute_macro_micro_avg):
        with pytest.raises(InputError, match=r"takes \(N, 5\)"):
            method(np.zeros(shape), np.zeros(shape[0], int))


# --- model files ----------------------------------------------------------------------------------

METADATA = {"classes": ["T‑shirt", "Trouser"], "mean": 0.1 + 0.2, "nested": {"n": [1, None]}}


@pytest.fixture
def path(network, tmp_path):
    """A model file of the fixture `network`."""
    network.metadata = METADATA
    network.save_parameters(tmp_path / "model.npz")
    return tmp_path / "model.npz"


def test_round_trip_is_exact(network, path):
    other = new()
    assert not np.array_equal(other.params, network.params)
    other.load_parameters(path)
    assert other.params.tobytes() == network.params.tobytes()
    assert other.metadata == METADATA


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_from_file(activation, dtype, data, tmp_path):
    normalisation = {"mean": 0.1 + 0.2, "std": 0.4}
    network = new([7, 2, 4], activation=activation, normalisation=normalisation, dtype=dtype)
    network.metadata = METADATA
    network.save_parameters(tmp_path / "model.npz")
    other = MLP.from_file(tmp_path / "model.npz")
    assert repr(other) == repr(network)
    assert other.params.tobytes() == network.params.tobytes()
    assert other.metadata == METADATA
    np.testing.assert_array_equal(other.predict_proba(data[0].x), network.predict_proba(data[0].x))


def test_loading_fills_the_vectors_and_rebinds_nothing(path):
    network = new()
    params, views = network.params, [layer.W for layer in affines(network)]
    network.load_parameters(path)
    assert network.params is params
    for layer, view in zip(affines(network), views, strict=True):
        assert layer.W is view
        assert np.shares_memory(layer.W, network.params)


def test_training_after_a_load_changes_what_forward_uses(path, data):
    network = new()
    network.load_parameters(path)
    before = network.loss(*data[0])
    network.backward()
    SGD(0.01).update(network.params, network.grads, network.n_weights)
    assert network.loss(*data[0]) < before


def test_model_file_holds_plain_arrays_by_name(network, path):
    header, arrays = read_model_file(path)
    assert set(header) == {"architecture", "metadata"}
    assert header["architecture"] == {
        "input_size": 5,
        "hidden_sizes": [6, 4],
        "output_size": 3,
        "activation": "relu",
        "normalisation": None,
    }
    for number, layer in enumerate(affines(network), start=1):
        np.testing.assert_array_equal(arrays.pop(f"Affine{number}.W"), layer.W)
        np.testing.assert_array_equal(arrays.pop(f"Affine{number}.b"), layer.b)
    assert not arrays
    with np.load(path, allow_pickle=False) as file:
        assert all(file[name].dtype.kind in "fU" for name in file.files)


def test_same_model_same_bytes(network, path):
    first = path.read_bytes()
    network.save_parameters(path)
    assert path.read_bytes() == first
    assert list(path.parent.iterdir()) == [path]


def test_any_module_can_be_saved(data, tmp_path):
    def make(seed):
        rng = np.random.default_rng(seed)
        return Module([Affine(5, 4, rng=rng), Sigmoid(), Affine(4, 3, rng=rng)])

    first, second = make(1), make(2)
    first.save_parameters(tmp_path / "model.npz")
    second.load_parameters(tmp_path / "model.npz")
    np.testing.assert_array_equal(first.predict_proba(data[0].x), second.predict_proba(data[0].x))
    with pytest.raises(InputError, match="not of an MLP"):
        MLP.from_file(tmp_path / "model.npz")


def resave(path, **changes):
    """Write the file again, with entries changed or, where None, left out."""
    with np.load(path, allow_pickle=False) as file:
        entries = dict(file) | changes
    np.savez(path, **{name: array for name, array in entries.items() if array is not None})


def is_empty(path):
    path.write_bytes(b"")


def is_truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def has_a_flipped_bit(path):
    content = bytearray(path.read_bytes())
    content[content.index(b"Affine1.W") + 200] ^= 1  # within the weights, behind NumPy's header
    path.write_bytes(content)


def is_text(path):
    path.write_text("epoch,loss\n1,0.5\n")


def is_a_pickle(path):
    path.write_bytes(pickle.dumps({"W": [1.0]}))


def is_one_array(path):
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def holds_a_pickle(path):
    resave(path, **{"Affine1.W": np.full((5, 6), None)})


def has_no_json(path):
    resave(path, json=None)


def has_broken_json(path):
    resave(path, json=np.array('{"architecture": '))


def has_json_of_another_kind(path):
    resave(path, json=np.array('["architecture", "metadata"]'))


def has_no_architecture(path):
    resave(path, json=np.array('{"metadata": {}}'))


def lacks_a_bias(path):
    resave(path, **{"Affine2.b": None})


def holds_strings(path):
    resave(path, **{"Affine3.W": np.full((4, 3), "one")})


BROKEN = [
    is_empty,
    is_truncated,
    has_a_flipped_bit,
    is_text,
    is_a_pickle,
    is_one_array,
    holds_a_pickle,
    has_no_json,
    has_broken_json,
    has_json_of_another_kind,
    has_no_architecture,
    lacks_a_bias,
    holds_strings,
]


def is_of_another_size(path):
    new([6, 5]).save_parameters(path)


def is_of_another_depth(path):
    new([6]).save_parameters(path)


def is_of_another_activation(path):
    new(activation="sigmoid").save_parameters(path)


def complaint(function, path):
    """The message of the InputError, which has to be one line that starts with the path."""
    with pytest.raises(InputError) as error:
        function(path)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"{path}: ")
    return str(error.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    "breaks", [*BROKEN, is_of_another_size, is_of_another_depth, is_of_another_activation]
)
def test_file_that_does_not_fit_changes_nothing(breaks, path):
    network = new()
    network.metadata = {"mine": True}
    before = network.params.copy()
    breaks(path)
    complaint(network.load_parameters, path)
    np.testing.assert_array_equal(network.params, before)
    assert network.metadata == {"mine": True}


@pytest.mark.parametrize("breaks", BROKEN)
def test_from_file_of_a_broken_file(breaks, path):
    breaks(path)
    complaint(MLP.from_file, path)


@pytest.mark.parametrize(
    "change",
    [
        {"input_size": 0},
        {"input_size": -5},
        {"hidden_sizes": 6},
        {"hidden_sizes": [6, "4"]},
        {"activation": "tanh"},
        {"normalisation": 0.5},
        {"normalisation": {"mean": 0.5}},
        {"normalisation": {"mean": 0.5, "std": 0}},
        {"normalisation": {"mean": "0.5", "std": 1}},
        {"depth": 3},
        {"output_size": None},
    ],
    ids=str,
)
def test_from_file_of_an_impossible_architecture(change, path):
    header = read_model_file(path)[0]
    header["architecture"] |= change
    resave(path, json=np.array(json.dumps(header)))
    complaint(MLP.from_file, path)


def test_from_file_without_parameters(path):
    json_alone = np.load(path)["json"]
    np.savez(path, json=json_alone)
    complaint(MLP.from_file, path)


@pytest.mark.parametrize(
    ("breaks", "reason"),
    [
        (holds_a_pickle, "pickle"),
        (is_text, "^not an?"),  # and nothing of pickles, for which NumPy takes any text
        (is_truncated, "^not an?"),
        (has_no_json, "not a model file"),
        (is_of_another_size, "another shape"),
        (is_of_another_activation, "another architecture"),
    ],
)
def test_message_gives_the_reason(breaks, reason, path):
    breaks(path)
    assert re.search(reason, complaint(new().load_parameters, path))


class Trap:
    """Unpickling it leaves a trace."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return self.trace.touch, ()


def test_nothing_is_unpickled(path, tmp_path):
    trap = np.array([Trap(tmp_path / "trace")], dtype=object)
    for name in ("Affine1.W", "json", "other"):
        resave(path, **{name: trap})
        complaint(new().load_parameters, path)
        complaint(MLP.from_file, path)
        new().save_parameters(path)
    path.write_bytes(pickle.dumps(trap))
    complaint(new().load_parameters, path)
    assert not (tmp_path / "trace").exists()
    pickle.loads(pickle.dumps(trap))
    assert (tmp_path / "trace").exists()  # the trap works


def test_missing_file(network, tmp_path):
    with pytest.raises(FileNotFoundError):
        network.load_parameters(tmp_path / "none.npz")
    with pytest.raises(FileNotFoundError):
        MLP.from_file(tmp_path / "none.npz")


def test_metadata_of_numpys_numbers(network, path):
    network.metadata = {
        "classes": np.array(["a", "b", "c"]),
        "best": {"epoch": np.int64(3), "accuracy": np.float32(0.5), "ok": np.True_},
    }
    network.save_parameters(path)
    plain = {"classes": ["a", "b", "c"], "best": {"epoch": 3, "accuracy": 0.5, "ok": True}}
    assert MLP.from_file(path).metadata == plain


@pytest.mark.parametrize(
    "metadata", [None, [1], {"a": {1}}, {"a": b"b"}, {"a": object()}, {"a": 1j}, {np.int64(1): 2}]
)
def test_metadata_that_could_not_be_read_are_not_written(metadata, network, path):
    before = path.read_bytes()
    network.metadata = metadata
    with pytest.raises(InputError, match="cannot be written"):
        network.save_parameters(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("dtype", [np.longdouble, np.int32, complex])
def test_parameters_that_could_not_be_read_are_not_written(dtype, tmp_path, rng):
    with pytest.raises(InputError, match=r"Affine1\.W of type"):
        MLP(5, [4], 3, rng=rng, dtype=dtype).save_parameters(tmp_path / "model.npz")
    assert not list(tmp_path.iterdir())


def test_metadata_that_json_cannot_hold_leaves_the_old_file(network, path):
    before = path.read_bytes()
    network.metadata = {"mean": float("nan")}
    with pytest.raises(ValueError, match="JSON"):
        network.save_parameters(path)
    assert path.read_bytes() == before


# --- batch norm and dropout -----------------------------------------------------------------------


@pytest.fixture
def regularised():
    """5 → 6 → 4 → 3 in float64 with everything that differs between training and prediction."""
    rng = np.random.default_rng(3)
    return MLP(
        5,
        [6, 4],
        3,
        batch_norm=True,
        dropout=0.2,
        input_dropout=0.1,
        label_smoothing=0.1,
        rng=rng,
        dtype=np.float64,
    )


def test_what_is_kept_stands_behind_what_is_learnt(regularised):
    kept = [
        array
        for layer in regularised.layers
        if isinstance(layer, BatchNorm)
        for array in (layer.mean, layer.variance)
    ]
    # weights; γ and β of two layers, the last layer's b; means and variances
    assert regularised.n_weights == 5 * 6 + 6 * 4 + 4 * 3
    assert regularised.learnt.size == regularised.grads.size == regularised.n_weights + 2 * 10 + 3
    assert regularised.params.size == regularised.learnt.size + 2 * 10
    np.testing.assert_array_equal(
        regularised.params[regularised.learnt.size :], np.concatenate(kept)
    )
    assert np.shares_memory(regularised.learnt, regularised.params)


def test_no_optimizer_touches_what_is_kept(regularised, data):
    x, t = data[0]
    regularised.loss(x, t)
    regularised.backward()
    kept = regularised.params[regularised.learnt.size :].copy()
    assert kept.any()  # the averages have moved
    SGD(0.1, l2_reg=0.1, weight_decay=0.1).update(
        regularised.learnt, regularised.grads, regularised.n_weights
    )
    np.testing.assert_array_equal(regularised.params[regularised.learnt.size :], kept)


def test_gradient_of_a_network_with_every_piece(rng):
    """Along a random direction, with the same dropout in each evaluation."""
    options = {"batch_norm": True, "dropout": 0.2, "input_dropout": 0.1, "label_smoothing": 0.1}

    def network():
        return MLP(5, [6, 4], 3, rng=np.random.default_rng(3), dtype=np.float64, **options)

    x, t, model = rng.standard_normal((20, 5)), rng.integers(0, 3, 20), network()
    direction = rng.standard_normal(model.learnt.size)

    def loss(step):
        other = network()  # draws what `model` draws
        other.learnt += step * direction
        return other.loss(x, t)

    model.loss(x, t)
    model.backward()
    numerical = (loss(1e-6) - loss(-1e-6)) / 2e-6
    assert np.dot(model.grads, direction) == pytest.approx(numerical, rel=1e-6)


def test_prediction_draws_nothing_and_does_not_depend_on_company(regularised, rng):
    for _ in range(5):
        regularised.forward(rng.standard_normal((9, 5)), training=True)
    x = rng.standard_normal((9, 5))
    together = regularised.predict_proba(x)
    alone = np.concatenate([regularised.predict_proba(x[i : i + 1]) for i in range(9)])
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_batch_norm_is_saved_loaded_and_copied(regularised, rng, tmp_path):
    for _ in range(5):
        regularised.forward(rng.standard_normal((9, 5)), training=True)
    regularised.save_parameters(tmp_path / "model.npz")
    loaded, x = MLP.from_file(tmp_path / "model.npz"), rng.standard_normal((9, 5))
    for other in (loaded, copy.deepcopy(regularised), pickle.loads(pickle.dumps(regularised))):
        np.testing.assert_array_equal(other.params, regularised.params)
        np.testing.assert_array_equal(other.predict_proba(x), regularised.predict_proba(x))
    plain = MLP(5, [6, 4], 3, rng=rng, dtype=np.float64)
    with pytest.raises(InputError, match="another"):
        plain.load_parameters(tmp_path / "model.npz")


def test_pixels_between_zero_and_one_are_warned_of(rng):
    model = MLP(4, [3], 2, normalisation={"mean": 0.3, "std": 0.3}, rng=rng)
    images = rng.integers(0, 256, (5, 4)).astype(np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for right in (images, images.astype(np.float32), images // 255, np.zeros((2, 4))):
            model.predict(right)
        MLP(4, [3], 2, rng=rng).predict(images / 255)  # it has no pixels
    with pytest.warns(UserWarning, match="between 0 and 1"):
        model.predict(images / 255)


def test_numpys_numbers_as_sizes(rng, tmp_path):
    t = rng.integers(0, 3, 9)
    normalisation = {"mean": np.float32(0.5), "std": np.float64(0.25)}
    model = MLP(np.int64(4), [np.uint8(8)], t.max() + 1, normalisation=normalisation, rng=rng)
    model.save_parameters(tmp_path / "model.npz")
    np.testing.assert_array_equal(MLP.from_file(tmp_path / "model.npz").params, model.params)


def test_numbers_of_numpy_normalise_as_pythons_do(rng):
    x = rng.integers(0, 256, (20, 5), dtype=np.uint8)
    given = [{"mean": number(0.3), "std": number(0.7)} for number in (float, np.float64)]
    ours, theirs = (
        MLP(5, [4], 3, normalisation=numbers, rng=np.random.default_rng(0)) for numbers in given
    )
    np.testing.assert_array_equal(ours.predict_logits(x), theirs.predict_logits(x))


def test_numbers_beyond_a_networks_dtype_are_refused(network, tmp_path):
    small = MLP(5, [6, 4], 3, rng=np.random.default_rng(0))
    network.params[0] = 1e39
    network.save_parameters(tmp_path / "model.npz")
    before = small.params.copy()
    with pytest.raises(InputError, match="numbers beyond float32"):
        small.load_parameters(tmp_path / "model.npz")
    np.testing.assert_array_equal(small.params, before)
