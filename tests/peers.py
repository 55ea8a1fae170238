"""Layers, losses, optimizers, whole networks and metrics against PyTorch, JAX and scikit-learn.

In float64; `make test-peers` runs it, in an environment of its own.
"""

import copy

import numpy as np
import pytest

from mlp import metrics
from mlp.functions import cross_entropy, sigmoid, softmax
from mlp.layers import Affine, BatchNorm, Dropout, ReLU, Sigmoid, Softmax, SoftmaxWithLoss
from mlp.module import MLP
from mlp.optimizer import SGD, Adam, Momentum
from mlp.schedule import Cosine

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)
jnp = jax.numpy

TOLERANCE = 1e-12  # of the largest number in an array
N, INPUTS, CLASSES = 20, 7, 4
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, INPUTS))
T = RNG.integers(0, CLASSES, N)
SOFT = RNG.dirichlet(np.ones(CLASSES), N)
DOUT = RNG.standard_normal((N, INPUTS))


def tensor(array, grad=False):
    return torch.tensor(np.asarray(array), requires_grad=grad)


def close(found, expected):
    found, expected = (
        np.asarray(a.detach() if isinstance(a, torch.Tensor) else a) for a in (found, expected)
    )
    assert found.shape == expected.shape
    scale = np.abs(expected).max(initial=1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * scale)


def torch_gradients(function, *arrays, dout):
    tensors = [tensor(array, grad=True) for array in arrays]
    y = function(*tensors)
    y.backward(tensor(dout))
    return [y, *(t.grad for t in tensors)]


def jax_gradients(function, *arrays, dout):
    y, pull = jax.vjp(function, *map(jnp.asarray, arrays))
    return [y, *pull(jnp.asarray(dout))]


ELEMENTWISE = {
    "relu": (ReLU, torch.relu, jax.nn.relu),
    "sigmoid": (Sigmoid, torch.sigmoid, jax.nn.sigmoid),
    "softmax": (Softmax, lambda x: torch.softmax(x, 1), jax.nn.softmax),
}
GRADIENTS = {"torch": torch_gradients, "jax": jax_gradients}


@pytest.mark.parametrize("peer", GRADIENTS)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_layer(name, peer):
    layer = ELEMENTWISE[name][0]()
    function = ELEMENTWISE[name][1 + (peer == "jax")]
    y, dx = GRADIENTS[peer](function, X, dout=DOUT)
    close(layer.forward(X, training=True), y)
    close(layer.backward(DOUT), dx)
    close(layer.forward(X), y)


@pytest.mark.parametrize("peer", GRADIENTS)
def test_affine(peer):
    W, b = RNG.standard_normal((INPUTS, INPUTS)), RNG.standard_normal(INPUTS)
    layer = Affine(W, b)
    y, dx, dW, db = GRADIENTS[peer](lambda x, W, b: x @ W + b, X, W, b, dout=DOUT)
    close(layer.forward(X, training=True), y)
    close(layer.backward(DOUT), dx)
    close(layer.dW, dW)
    close(layer.db, db)


def test_batch_norm():
    layer, peer = BatchNorm(INPUTS, dtype=np.float64), torch.nn.BatchNorm1d(INPUTS).double()
    layer.gamma[...], layer.beta[...] = RNG.standard_normal((2, INPUTS))
    with torch.no_grad():
        peer.weight[:], peer.bias[:] = tensor(layer.gamma), tensor(layer.beta)
    for factor in (1, 5):
        x = tensor(factor * X + 2, grad=True)
        y = peer(x)
        peer.zero_grad()
        y.backward(tensor(DOUT))
        close(layer.forward(factor * X + 2, training=True), y)
        close(layer.backward(DOUT), x.grad)
        close(layer.dgamma, peer.weight.grad)
        close(layer.dbeta, peer.bias.grad)
        close(layer.mean, peer.running_mean)
        close(layer.variance, peer.running_var)
    close(layer.forward(X), peer.eval()(tensor(X)))


def test_dropout_in_prediction_and_its_mask_in_training():
    layer = Dropout(0.25, rng=np.random.default_rng(0))
    close(layer.forward(X), torch.nn.Dropout(0.25).eval()(tensor(X)))
    mask = layer.forward(np.ones_like(X), training=True).copy()
    _, dx = torch_gradients(lambda x: x * tensor(mask), X, dout=DOUT)
    close(layer.backward(DOUT), dx)
    assert set(np.round(mask.ravel(), 12)) == {0, round(4 / 3, 12)}


@pytest.mark.parametrize("scale", [1, 100])
@pytest.mark.parametrize("smoothing", [0, 0.1, 0.6])
@pytest.mark.parametrize("kind", ["labels", "soft"])
def test_loss(kind, smoothing, scale):
    logits = scale * X[:, :CLASSES]
    t = T if kind == "labels" else SOFT
    x = tensor(logits, grad=True)
    smooth = smoothing if kind == "labels" else 0  # probabilities are learnt as they are
    loss = torch.nn.functional.cross_entropy(x, tensor(t), label_smoothing=smooth)
    loss.backward()
    layer = SoftmaxWithLoss(smoothing)
    close(layer.forward(logits, t), loss)
    close(layer.backward(), x.grad)
    target = SOFT if kind == "soft" else np.eye(CLASSES)[T] * (1 - smoothing) + smoothing / CLASSES

    def of(x):
        return -jnp.mean(jnp.sum(jax.nn.log_softmax(x) * target, axis=1))

    value, gradient = jax.value_and_grad(of)(jnp.asarray(logits))
    close(layer.forward(logits, t), value)
    close(layer.backward(), gradient)


def test_functions():
    close(softmax(X), jax.nn.softmax(X))
    close(sigmoid(X), jax.nn.sigmoid(X))
    close(cross_entropy(X, T), torch.nn.functional.cross_entropy(tensor(X), tensor(T)))


OPTIMIZERS = {
    "sgd": (SGD(0.1), lambda p: torch.optim.SGD(p, 0.1)),
    "momentum": (Momentum(0.05), lambda p: torch.optim.SGD(p, 0.05, momentum=0.9)),
    "nesterov": (
        Momentum(0.05, nesterov=True),
        lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, nesterov=True),
    ),
    "sgd with l2": (SGD(0.1, l2_reg=0.1), lambda p: torch.optim.SGD(p, 0.1, weight_decay=0.1)),
    "adam": (Adam(0.01), lambda p: torch.optim.Adam(p, 0.01)),
    "adam with l2": (
        Adam(0.01, l2_reg=0.1, beta1=0.8, beta2=0.99, eps=1e-6),
        lambda p: torch.optim.Adam(p, 0.01, (0.8, 0.99), 1e-6, weight_decay=0.1),
    ),
    "adamw": (Adam(0.01, weight_decay=0.1), lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1)),
}


@pytest.mark.parametrize("steps", [1, 10, 200])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer(name, steps):
    mine, peer = copy.deepcopy(OPTIMIZERS[name][0]), OPTIMIZERS[name][1]
    rng = np.random.default_rng(1)
    params = rng.standard_normal(50)
    theirs = tensor(params.copy(), grad=True)
    optimizer = peer([theirs])
    for _ in range(steps):
        gradient = rng.standard_normal(50)
        theirs.grad = tensor(gradient)
        optimizer.step()
        mine.update(params, gradient.copy())
    close(params, theirs)


@pytest.mark.parametrize("rise", [1, 4])
def test_cosine_with_warm_up(rise):
    """torch's rise starts with its first step, so that its step i is the end of the i-th epoch."""
    epochs = 20
    optimizer = torch.optim.SGD([tensor(X, grad=True)], 1.0)
    parts = [
        torch.optim.lr_scheduler.LinearLR(optimizer, 1 / rise, total_iters=rise - 1),
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs - rise),
    ]
    scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, parts, milestones=[rise - 1])
    mine = Cosine(epochs, rise / epochs)
    for epoch in range(1, epochs + 1):
        assert abs(mine(epoch) - scheduler.get_last_lr()[0]) < 1e-9  # to which it is rounded
        optimizer.step()
        scheduler.step()


class Masked(torch.nn.Module):
    """Dropout with a mask that it is given."""

    mask = None

    def forward(self, x):
        return x * self.mask if self.training else x


def torch_network(model):
    modules = []
    for layer in model.layers:
        if isinstance(layer, Affine):
            twin = torch.nn.Linear(*layer.W.shape, bias=bool(layer.biases)).double()
            with torch.no_grad():
                twin.weight[:] = tensor(layer.W.T.copy())
                if layer.biases:
                    twin.bias[:] = tensor(layer.b.copy())
        elif isinstance(layer, BatchNorm):
            twin = torch.nn.BatchNorm1d(len(layer.gamma)).double()
        elif isinstance(layer, Dropout):
            twin = Masked()
        else:
            twin = torch.nn.ReLU() if isinstance(layer, ReLU) else torch.nn.Sigmoid()
        modules.append(twin)
    return torch.nn.Sequential(*modules)


@pytest.mark.parametrize("steps", [1, 10, 200])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_network_trained_as_by_torch(activation, batch_norm, steps):
    model = MLP(
        INPUTS,
        [9, 5],
        CLASSES,
        activation=activation,
        batch_norm=batch_norm,
        label_smoothing=0.1,
        rng=np.random.default_rng(2),
        dtype=np.float64,
    )
    twin = torch_network(model)
    mine = Momentum(0.01)
    theirs = torch.optim.SGD(twin.parameters(), 0.01, momentum=0.9)
    for _ in range(steps):
        loss = torch.nn.functional.cross_entropy(twin(tensor(X)), tensor(T), label_smoothing=0.1)
        theirs.zero_grad()
        loss.backward()
        theirs.step()
        close(model.loss(X, T), loss)
        model.backward()
        mine.update(model.learnt, model.grads, model.n_weights)
    close(model.predict_logits(X), twin.eval()(tensor(X)))


@pytest.mark.parametrize("steps", [1, 10, 200])
def test_network_taught_with_dropout_by_adamw(steps):
    """Soft labels, BatchNorm, dropout, weight decay of the weights alone, and a cosine."""
    model = MLP(
        INPUTS,
        [9, 5],
        CLASSES,
        batch_norm=True,
        input_dropout=0.2,
        dropout=0.3,
        rng=np.random.default_rng(2),
        dtype=np.float64,
    )
    twin, mine, schedule = torch_network(model), Adam(0.01, weight_decay=0.1), Cosine(250, 0.1)
    weights = {module.weight for module in twin if isinstance(module, torch.nn.Linear)}
    rest = [p for p in twin.parameters() if p not in weights]
    groups = [{"params": [*weights]}, {"params": rest, "weight_decay": 0}]
    theirs = torch.optim.AdamW(groups, weight_decay=0.1)
    masked = [module for module in twin if isinstance(module, Masked)]
    for step in range(steps):
        layers = copy.deepcopy([layer for layer in model.layers if isinstance(layer, Dropout)])
        for module, layer, size in zip(masked, layers, (INPUTS, 9, 5), strict=True):
            module.mask = tensor(layer.forward(np.ones((N, size)), training=True).copy())
        mine.lr_factor = schedule(step + 0.5)
        for group in theirs.param_groups:
            group["lr"] = mine.current_lr
        loss = torch.nn.functional.cross_entropy(twin(tensor(X)), tensor(SOFT))
        theirs.zero_grad()
        loss.backward()
        theirs.step()
        close(model.loss(X, SOFT), loss)
        model.backward()
        mine.update(model.learnt, model.grads, model.n_weights)
    close(model.predict_logits(X), twin.eval()(tensor(X)))


@pytest.mark.parametrize("steps", [1, 10, 200])
def test_network_trained_as_by_jax(steps):
    model = MLP(INPUTS, [9, 5], CLASSES, rng=np.random.default_rng(2), dtype=np.float64)
    affine = [layer for layer in model.layers if isinstance(layer, Affine)]
    weights = [(jnp.array(layer.W), jnp.array(layer.b)) for layer in affine]

    def logits(weights):
        *hidden, (W, b) = weights
        x = jnp.asarray(X)
        for V, c in hidden:
            x = jax.nn.relu(x @ V + c)
        return x @ W + b

    def loss(weights):
        likely = jax.nn.log_softmax(logits(weights))
        penalty = sum(jnp.sum(W**2) for W, _ in weights)
        return -jnp.mean(likely[jnp.arange(N), T]) + 0.5 * 0.01 * penalty

    gradient = jax.jit(jax.grad(loss))
    optimizer = SGD(0.05, l2_reg=0.01)
    for _ in range(steps):
        weights = jax.tree.map(lambda w, g: w - 0.05 * g, weights, gradient(weights))
        model.loss(X, T)
        model.backward()
        optimizer.update(model.learnt, model.grads, model.n_weights)
    close(model.predict_logits(X), logits(weights))


# --- metrics --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_metrics_as_scikit_learn_has_them(seed):
    scores = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    n, classes = 300, 6
    t, y = rng.integers(0, classes - 1, n), rng.integers(0, classes, n)  # one class is absent
    everything = list(range(classes))
    confusion = metrics.confusion_matrix(t, y, classes)
    close(confusion, scores.confusion_matrix(t, y, labels=everything))
    options = {"labels": everything, "zero_division": 0}
    *each, support = scores.precision_recall_fscore_support(t, y, **options)
    found = metrics.per_class(confusion)
    for mine, theirs in zip(found, [*each, support], strict=True):
        close(mine, theirs)
    averages = metrics.macro_micro_average(confusion)
    for name in ("macro", "micro"):
        theirs = scores.precision_recall_fscore_support(t, y, average=name, **options)[:3]
        close(getattr(averages, name), np.array(theirs))
    probabilities = rng.dirichlet(np.ones(classes), n)
    for k in (1, 2, 3):
        theirs = scores.top_k_accuracy_score(t, probabilities, k=k, labels=everything)
        assert metrics.top_k_accuracy(probabilities, t, k) == theirs


def test_calibration_as_scikit_learn_has_it():
    calibration_curve = pytest.importorskip("sklearn.calibration").calibration_curve
    rng = np.random.default_rng(0)
    probabilities, t = rng.dirichlet(np.ones(4), 500), rng.integers(0, 4, 500)
    found = metrics.calibration(probabilities, t, bins=10)
    hit = probabilities.argmax(axis=1) == t
    right, sure = calibration_curve(hit, probabilities.max(axis=1), n_bins=10)
    some = found.support > 0
    close(found.accuracy[some], right)
    close(found.confidence[some], sure)
