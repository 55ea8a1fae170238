"""The optimizers, against steps worked out by hand and against the textbook."""

import math
import tracemalloc

import numpy as np
import pytest

from mlp.files import InputError
from mlp.optimizer import BLOCK, FLUSH_EVERY, OPTIMIZERS, SGD, Adam, Momentum

N_WEIGHTS = 4  # of 6 parameters; the other two are biases
STEPS_PER_EPOCH = 3
EVERY_OPTIMIZER = pytest.mark.parametrize(
    ("name", "arithmetic"),
    [*((name, "plain") for name in OPTIMIZERS), ("adam", "compiled")],
    indirect=["arithmetic"],
)
PLAIN_AND_COMPILED = pytest.mark.parametrize("arithmetic", ["plain", "compiled"], indirect=True)
STEPS = pytest.mark.parametrize("steps", [1, 10])
LR = pytest.mark.parametrize("lr", [0.1, 0.001])
LR_DECAY = pytest.mark.parametrize("lr_decay", [0.0, 0.5])
L2 = pytest.mark.parametrize("l2_reg", [0.0, 0.1])


@pytest.fixture
def start(rng):
    return rng.standard_normal(6)


@pytest.fixture
def gradients(rng):
    return rng.standard_normal((10, 6))


def run(optimizer, params, gradients, first=0):
    """Parameters after one step per gradient, the optimizer's epochs counted as a trainer does."""
    params = params.copy()
    for step, gradient in enumerate(gradients, start=first):
        optimizer.epoch = step // STEPS_PER_EPOCH
        optimizer.update(params, gradient.copy(), N_WEIGHTS)
    return params


def steps_by_hand(optimizer, gradients, start=0.0):
    """The path of a single parameter, a bias."""
    params, path = np.array([start]), []
    for gradient in gradients:
        optimizer.update(params, np.array([gradient]), 0)
        path.append(float(params[0]))
    return path


def test_sgd_by_hand():
    # 1 - 0.1·0.5; 0.95 - 0.1·2
    assert steps_by_hand(SGD(0.1), [0.5, 2.0], start=1.0) == pytest.approx([0.95, 0.75])


def test_l2_by_hand_shrinks_weights_and_leaves_biases_alone():
    params, grads = np.array([1.0, -2.0]), np.array([0.5, 0.25])
    SGD(0.1, l2_reg=0.2).update(params, grads, 1)
    # the weight's gradient is 0.5 + 0.2·1 = 0.7, the bias's stays 0.25
    np.testing.assert_allclose(grads, [0.7, 0.25])
    # 1 - 0.1·0.7, -2 - 0.1·0.25
    np.testing.assert_allclose(params, [0.93, -2.025])


def test_l2_shrinks_everything_if_nobody_says_what_the_weights_are():
    params = np.array([1.0, -2.0])
    SGD(0.1, l2_reg=0.2).update(params, np.zeros(2))
    np.testing.assert_allclose(params, [0.98, -1.96])


def test_momentum_by_hand():
    # v = 1, 1.9, 2.71 - 3 = -0.29 (0.9·1.9 = 1.71, and 1.71 - 2 = -0.29); sums: 1, 2.9, 2.61
    path = steps_by_hand(Momentum(0.1, momentum=0.9), [1.0, 1.0, -2.0])
    assert path == pytest.approx([-0.1, -0.29, -0.261])


def test_nesterov_by_hand():
    # v = 1, 1.9; g + 0.9 v = 1.9, 2.71; sums: 1.9, 4.61
    path = steps_by_hand(Momentum(0.1, momentum=0.9, nesterov=True), [1.0, 1.0])
    assert path == pytest.approx([-0.19, -0.461])


def test_adam_by_hand():
    # step 1: m̂ = 0.1 / 0.1 = 1 and v̂ = 0.001 / 0.001 = 1, so a step of lr, whatever the gradient
    # step 2: m = 0.9·0.1 - 0.1 = -0.01, m̂ = -0.01 / 0.19; v = 0.001999, v̂ = 0.001999 / 0.001999
    path = steps_by_hand(Adam(0.1), [1.0, -1.0])
    assert path == pytest.approx([-0.1, -0.1 + 0.1 * 0.01 / 0.19], rel=1e-7)
    assert steps_by_hand(Adam(0.1), [-1000.0]) == pytest.approx([0.1])


@EVERY_OPTIMIZER
def test_lr_decays_per_epoch_and_not_per_step(name, arithmetic):
    optimizer = OPTIMIZERS[name](0.6, lr_decay=0.5)
    rates = []
    for epoch in range(3):
        optimizer.epoch = epoch
        for _ in range(4):
            optimizer.update(np.ones(2), np.ones(2), 1)
        rates.append(optimizer.current_lr)
    # 0.6 / 1, 0.6 / 1.5, 0.6 / 2
    assert rates == pytest.approx([0.6, 0.4, 0.3])


@STEPS
@LR
@LR_DECAY
@L2
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_is_the_textbooks(
    steps, lr, lr_decay, l2_reg, momentum, nesterov, start, gradients
):
    p, v = start.copy(), np.zeros(6)
    for step, gradient in enumerate(gradients[:steps]):
        g = gradient + l2_reg * p * (np.arange(6) < N_WEIGHTS)
        v = momentum * v + g
        rate = lr / (1 + lr_decay * (step // STEPS_PER_EPOCH))
        p = p - rate * (g + momentum * v if nesterov else v)
    optimizer = Momentum(lr, momentum=momentum, nesterov=nesterov, lr_decay=lr_decay, l2_reg=l2_reg)
    result = run(optimizer, start, gradients[:steps])
    np.testing.assert_allclose(result, p, rtol=1e-12, atol=1e-14)
    if momentum == 0:
        plain = run(SGD(lr, lr_decay=lr_decay, l2_reg=l2_reg), start, gradients[:steps])
        np.testing.assert_allclose(plain, p, rtol=1e-12, atol=1e-14)


@STEPS
@LR
@LR_DECAY
@L2
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.9), (0.0, 0.5)])
@pytest.mark.parametrize("eps", [1e-8, 0.1])
@PLAIN_AND_COMPILED
def test_adam_is_the_papers(arithmetic, steps, lr, lr_decay, l2_reg, betas, eps, start, gradients):
    (beta1, beta2), p, m, v = betas, start.copy(), np.zeros(6), np.zeros(6)
    for step, gradient in enumerate(gradients[:steps]):
        g = gradient + l2_reg * p * (np.arange(6) < N_WEIGHTS)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat, v_hat = m / (1 - beta1 ** (step + 1)), v / (1 - beta2 ** (step + 1))
        rate = lr / (1 + lr_decay * (step // STEPS_PER_EPOCH))
        p = p - rate * m_hat / (np.sqrt(v_hat) + eps)
    optimizer = Adam(lr, beta1=beta1, beta2=beta2, eps=eps, lr_decay=lr_decay, l2_reg=l2_reg)
    result = run(optimizer, start, gradients[:steps])
    np.testing.assert_allclose(result, p, rtol=1e-12, atol=1e-14)


@EVERY_OPTIMIZER
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_update_works_in_place_and_keeps_the_dtype(name, arithmetic, dtype):
    params = np.ones(6, dtype)
    view = params[2:4].reshape(2, 1)
    optimizer = OPTIMIZERS[name](0.1, l2_reg=0.1)
    optimizer.update(params, np.ones(6, dtype), N_WEIGHTS)
    assert np.all(view < 1)
    assert all(getattr(optimizer, array).dtype == dtype for array in optimizer.arrays)


@EVERY_OPTIMIZER
@pytest.mark.parametrize("before", [0, 4])
def test_state_goes_on_bit_for_bit(name, arithmetic, before, start, gradients):
    def new():
        return OPTIMIZERS[name](0.1, lr_decay=0.5, l2_reg=0.1)

    uninterrupted = run(new(), start, gradients)
    first, second = new(), new()
    half = run(first, start, gradients[:before])
    second.load_state_dict(first.state_dict())
    assert (second.epoch, second.steps) == (first.epoch, first.steps)
    assert all(getattr(second, kept).ctypes.data % 64 == 0 for kept in second.arrays if before)
    np.testing.assert_array_equal(run(second, half, gradients[before:], before), uninterrupted)


@EVERY_OPTIMIZER
def test_state_is_a_copy(name, arithmetic, start, gradients):
    optimizer = OPTIMIZERS[name](0.1)
    half = run(optimizer, start, gradients[:4])
    state = optimizer.state_dict()
    expected = run(optimizer, half, gradients[4:], 4)
    for _ in range(2):  # neither the first run nor the first load may touch the state
        again = OPTIMIZERS[name](0.1)
        again.load_state_dict(state)
        np.testing.assert_array_equal(run(again, half, gradients[4:], 4), expected)


@EVERY_OPTIMIZER
def test_first_state_makes_a_used_optimizer_a_new_one(name, arithmetic, start, gradients):
    first, used = OPTIMIZERS[name](0.1), OPTIMIZERS[name](0.1)
    state = first.state_dict()
    run(used, start, gradients)
    used.load_state_dict(state)
    np.testing.assert_array_equal(run(used, start, gradients), run(first, start, gradients))


@PLAIN_AND_COMPILED
@pytest.mark.parametrize(
    "make",
    [
        lambda: Momentum(0.01),
        lambda: Momentum(0.01, momentum=0.5),
        lambda: Adam(0.001),
        lambda: Adam(0.001, beta2=0.9),
    ],
)
def test_no_denormals_after_the_gradient_has_become_zero(make, arithmetic):
    optimizer = make()
    params = np.ones(30, np.float32)
    grads = np.logspace(-15, 5, 30, dtype=np.float32)
    optimizer.update(params, grads, 0)
    grads[:] = 0
    for _ in range(5000):
        optimizer.update(params, grads, 0)
    for name in optimizer.arrays:
        array = np.abs(getattr(optimizer, name))
        assert not np.any((array > 0) & (array < np.finfo(np.float32).tiny)), name
    assert np.isfinite(params).all()


@EVERY_OPTIMIZER
def test_no_denormals_where_l2_alone_moves_a_weight(name, arithmetic):
    params = np.logspace(-10, 0, 30, dtype=np.float32)
    optimizer = OPTIMIZERS[name](0.1, l2_reg=0.5)
    for _ in range(3000):
        optimizer.update(params, np.zeros(30, np.float32))
        assert not np.any((params != 0) & (np.abs(params) < np.finfo(np.float32).tiny))
    assert np.all(np.abs(params) < 1e-10)


def test_flushing_changes_no_step_that_matters(rng):
    """300 steps, three flushes, with large and with small gradients: still the paper's Adam."""
    gradients = rng.standard_normal((300, 12)) * np.logspace(-10, 1, 12)
    p, m, v = np.ones(12), np.zeros(12), np.zeros(12)
    for step, g in enumerate(gradients, start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        p -= 0.01 * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-9)
    params = np.ones(12)
    adam = Adam(0.01, eps=1e-9)
    for g in gradients:
        adam.update(params, g.copy(), 0)
    np.testing.assert_allclose(params, p, rtol=1e-11)
    assert math.isclose(adam.power1, 0.9**300, rel_tol=1e-12)


@EVERY_OPTIMIZER
@pytest.mark.parametrize("n_weights", [0, 5, BLOCK, BLOCK + 5, 2 * BLOCK + 7])
def test_blocks_change_nothing(name, arithmetic, n_weights, rng):
    """A vector of three blocks makes the step that its parts would make by themselves."""
    params, grads = rng.standard_normal((2, 2 * BLOCK + 7))
    whole, parts = (params.copy(), grads.copy()), (params.copy(), grads.copy())
    OPTIMIZERS[name](0.1, l2_reg=0.1).update(*whole, n_weights)
    for index in np.array_split(np.arange(len(params)), 11):
        p, g = params[index], grads[index]
        OPTIMIZERS[name](0.1, l2_reg=0.1).update(p, g, np.count_nonzero(index < n_weights))
        parts[0][index], parts[1][index] = p, g
    np.testing.assert_array_equal(whole, parts)


# --- defaults, weight decay, what is kept ---------------------------------------------------------


@EVERY_OPTIMIZER
def test_nothing_shrinks_or_decays_unless_asked(name, arithmetic):
    optimizer, params = OPTIMIZERS[name](0.1), np.array([1.0, -2.0])
    optimizer.epoch = 3
    optimizer.update(params, np.zeros(2))
    np.testing.assert_array_equal(params, [1, -2])
    assert (optimizer.current_lr, optimizer.steps) == (0.1, 1)


def test_the_defaults_of_momentum_and_adam(gradients):
    start = np.zeros(6)
    np.testing.assert_array_equal(
        run(Momentum(0.1), start, gradients),
        run(Momentum(0.1, momentum=0.9, nesterov=False), start, gradients),
    )
    np.testing.assert_array_equal(
        run(Adam(), start, gradients),
        run(Adam(0.001, beta1=0.9, beta2=0.999, eps=1e-8), start, gradients),
    )


@EVERY_OPTIMIZER
def test_weight_decay_by_hand(name, arithmetic):
    optimizer, params = OPTIMIZERS[name](0.1, weight_decay=0.5, lr_decay=1.0), np.array([1.0, -2.0])
    optimizer.update(params, np.zeros(2), 1)
    np.testing.assert_allclose(params, [1 - 0.1 * 0.5, -2], rtol=1e-15)  # biases are not shrunk
    optimizer.epoch = 1
    optimizer.update(params, np.zeros(2), 1)
    np.testing.assert_allclose(params, [0.95 * (1 - 0.05 * 0.5), -2], rtol=1e-15)
    optimizer.lr_factor = 0.0  # of a schedule
    optimizer.update(params, np.ones(2), 1)
    np.testing.assert_allclose(params, [0.95 * 0.975, -2], rtol=1e-15)


def test_weight_decay_comes_before_the_step_and_after_l2():
    params, grads = np.array([1.0]), np.array([0.5])
    SGD(0.1, l2_reg=0.2, weight_decay=0.5).update(params, grads)
    # 1 · (1 - 0.1·0.5) - 0.1·(0.5 + 0.2·1)
    np.testing.assert_allclose(params, [0.88], rtol=1e-15)


@EVERY_OPTIMIZER
def test_what_means_nothing_is_flushed_every_hundredth_step(name, arithmetic):
    optimizer, params = OPTIMIZERS[name](0.1), np.array([1e-20, 1e-15, -1e-20, 1.0])
    for step in range(1, FLUSH_EVERY):
        optimizer.update(params, np.zeros(4))
        assert params.tolist() == [1e-20, 1e-15, -1e-20, 1], step
    optimizer.update(params, np.zeros(4))
    assert params.tolist() == [0, 1e-15, 0, 1]


@EVERY_OPTIMIZER
def test_gradients_of_another_dtype(name, arithmetic, start, gradients):
    rounded = gradients.astype(np.float32)
    found = run(OPTIMIZERS[name](0.1), start, rounded)
    expected = run(OPTIMIZERS[name](0.1), start, rounded.astype(np.float64))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@EVERY_OPTIMIZER
def test_a_float32_network_is_trained_with_float32_alone(name, arithmetic):
    optimizer = OPTIMIZERS[name](0.1, l2_reg=0.1)
    for _ in range(FLUSH_EVERY):
        optimizer.update(np.ones(6, np.float32), np.ones(6, np.float32))
    arrays = [*optimizer._buffers._arrays.values()]
    assert {array.dtype for array in arrays} <= {np.dtype(np.float32), np.dtype(np.bool_)}


@EVERY_OPTIMIZER
def test_steps_allocate_nothing_of_the_parameters_length(name, arithmetic):
    optimizer, params, grads = OPTIMIZERS[name](0.1, l2_reg=0.1), np.ones(BLOCK), np.ones(BLOCK)
    for steps in (0, FLUSH_EVERY - 1):  # the first of all, and the first that flushes
        optimizer.steps = steps
        optimizer.update(params, grads)
    optimizer.steps = FLUSH_EVERY - 1
    tracemalloc.start()
    try:
        optimizer.update(params, grads)
        # NumPy multiplies numbers by booleans with 64 KB of its own
        assert tracemalloc.get_traced_memory()[1] < 1.5 * BLOCK
    finally:
        tracemalloc.stop()


@EVERY_OPTIMIZER
def test_a_state_keeps_its_dtype(name, arithmetic):
    first, second = OPTIMIZERS[name](0.1), OPTIMIZERS[name](0.1)
    first.update(np.ones(6, np.float32), np.ones(6, np.float32))
    second.load_state_dict(first.state_dict())
    assert all(getattr(second, array).dtype == np.float32 for array in second.arrays)


@EVERY_OPTIMIZER
def test_state_is_python_numbers_and_arrays(name, arithmetic, start, gradients):
    optimizer = OPTIMIZERS[name](0.1)
    run(optimizer, start, gradients)
    kept = {"power1", "power2"} if name == "adam" else set()
    assert set(optimizer.state_dict()) == {"epoch", "steps", *optimizer.arrays, *kept}


@EVERY_OPTIMIZER
@pytest.mark.parametrize("size", [1, 5, 7, 6000])
def test_an_optimizer_is_for_one_network(name, arithmetic, size, start, gradients):
    optimizer = OPTIMIZERS[name](0.1)
    refusal = "^parameters of another number: each network needs its own optimizer$"
    with pytest.raises(InputError, match=refusal):
        optimizer.update(np.zeros(6), np.ones(size))
    run(optimizer, start, gradients)
    if not optimizer.arrays:  # it keeps nothing of its steps
        return
    params = np.zeros(size)
    with pytest.raises(InputError, match=refusal):
        optimizer.update(params, np.ones(size))
    assert not params.any()


@EVERY_OPTIMIZER
def test_numbers_of_numpy_train_as_pythons_do(name, arithmetic, start, gradients):
    numbers = {"lr": 0.01, "lr_decay": 0.1, "l2_reg": 0.1, "weight_decay": 0.3}
    numbers |= {
        "momentum": {"momentum": 0.7},
        "adam": {"beta1": 0.8, "beta2": 0.9, "eps": 1e-3},
    }.get(name, {})
    start, gradients = start.astype(np.float32), gradients.astype(np.float32)
    kinds = [{key: kind(value) for key, value in numbers.items()} for kind in (float, np.float64)]
    ours, theirs = (OPTIMIZERS[name](**kind) for kind in kinds)
    theirs.lr_factor = np.float64(1)
    np.testing.assert_array_equal(run(theirs, start, gradients), run(ours, start, gradients))
    assert type(theirs.current_lr) is type(theirs.l2_reg) is float
