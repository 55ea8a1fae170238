"""Draw the figures of docs/learn.md: `python -m docs.figures`, the same bytes each time."""

import stages as stages  # before NumPy: pins the kernels

# isort: split
import math
from pathlib import Path

import numpy as np
from matplotlib.colors import ListedColormap

from mlp import MLP, SGD, Adam, Dataset, Momentum, Trainer
from mlp.functions import relu, sigmoid
from mlp.layers import Affine, ReLU
from mlp.module import Module
from mlp.optimizer import Optimizer
from mlp.plots.style import (
    BLUE,
    INK,
    MUTED,
    RULE,
    VERMILION,
    Figure,
    plain,
    save,
    styled,
    titled_figure,
)
from mlp.schedule import Cosine, inverse_time

GREEN = "#009E73"  # a third of Okabe and Ito's colours


@styled
def activations() -> Figure:
    figure = titled_figure(2.9, "What bends", "The two activations, and their slopes")
    x = np.linspace(-5, 5, 401)
    y = sigmoid(x)
    panels = {"ReLU": (relu(x), np.where(x > 0, 1.0, np.nan)), "Sigmoid": (y, y * (1 - y))}
    for axes, (name, (values, slope)) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        axes.plot(x, values, color=BLUE, label="y")
        axes.plot(x, slope, color=VERMILION, ls="--", label="dy/dx")
        if name == "ReLU":
            axes.plot([-5, 0], [0.02, 0.02], color=VERMILION, ls="--")
            axes.set_ylim(-0.2, 3.2)
        axes.set(title=name, xlabel="x")
        axes.legend(loc="upper left")
    return figure


@styled
def gradient() -> Figure:
    """The network of the page, by hand: its loss along one weight, and the numerical slope."""
    model = Module(
        [
            Affine(np.array([[0.5, -1.0], [0.5, 0.25]]), np.array([0.0, 0.1])),
            ReLU(),
            Affine(np.array([[1.0, -1.0], [0.5, 2.0]]), np.array([0.0, 0.5])),
        ]
    )
    x, t = np.array([[1.0, 2.0]]), np.array([1])
    start = model.loss(x, t)
    model.backward()
    slope, value = float(model.grads[0]), float(model.params[0])

    def loss(weight: float) -> float:
        model.params[0] = weight
        return model.loss(x, t)

    steps = 10.0 ** np.arange(-14, 0.1, 0.25)
    above, below = ([loss(value + sign * h) for h in steps] for sign in (1, -1))
    central = np.abs((np.array(above) - below) / (2 * steps) - slope)
    forward = np.abs((np.array(above) - start) / steps - slope)
    figure = titled_figure(
        3.1, "The slope, by calculus and by trying", "The loss along one weight of the first layer"
    )
    left, right = figure.subplots(1, 2)
    weights = np.linspace(-1.5, 1.5, 301)
    left.plot(weights, [loss(w) for w in weights], color=BLUE, label="loss")
    tangent = np.array([-0.4, 1.4])
    left.plot(
        tangent,
        start + slope * (tangent - value),
        color=VERMILION,
        ls="--",
        label=f"slope {slope:.2f}",
    )
    left.plot(value, start, "o", color=INK)
    left.set(xlabel="the weight", ylabel="loss", title="Loss and its tangent")
    left.legend(loc="upper left")
    right.loglog(steps, np.maximum(forward, 1e-16), color=MUTED, label="(L(w+h) − L(w)) / h")
    right.loglog(steps, np.maximum(central, 1e-16), color=BLUE, label="(L(w+h) − L(w−h)) / 2h")
    right.set(xlabel="h", ylabel="error of the slope", title="Neither too far nor too near")
    for axis in (right.xaxis, right.yaxis):
        axis.set_major_formatter("{x:.0e}")
    right.set_xticks([1e-12, 1e-8, 1e-4, 1])
    right.legend(loc="upper left", fontsize=8)
    right.set_ylim(1e-13, 1e5)
    return figure


@styled
def optimizers() -> Figure:
    """Thirty steps in a valley that is 20 times steeper across than along."""
    figure = titled_figure(
        3.3, "Down a narrow valley", "Thirty steps with a loss of ½ (x² + 20 y²), from (−4, 1)"
    )
    curvature = np.array([1.0, 20.0])
    optimizers: dict[str, Optimizer] = {
        "SGD, lr 0.09": SGD(0.09),
        "Momentum, lr 0.02": Momentum(0.02, momentum=0.8),
        "Adam, lr 0.4": Adam(0.4),
    }
    x, y = np.meshgrid(np.linspace(-4.6, 1.6, 200), np.linspace(-1.3, 1.3, 120))
    for axes, (name, optimizer) in zip(
        figure.subplots(1, 3, sharey=True), optimizers.items(), strict=True
    ):
        axes.contour(x, y, x**2 + 20 * y**2, levels=12, colors=RULE, linewidths=0.8)
        point = np.array([-4.0, 1.0])
        path = [point.copy()]
        for _ in range(30):
            optimizer.update(point, curvature * point)
            path.append(point.copy())
        axes.plot(*np.array(path).T, "o-", color=BLUE, lw=1, ms=2.5)
        axes.plot(0, 0, "*", color=VERMILION, ms=10)
        axes.set(title=name, xlabel="x")
        axes.grid(False)
    return figure


@styled
def schedules() -> Figure:
    figure = titled_figure(2.6, "How large a step", "The learning rate over a training")
    axes = figure.add_subplot()
    cosine = Cosine(160, warmup=0.02)
    epochs = np.linspace(0, 160, 801)
    axes.plot(epochs, [0.0013 * cosine(e) for e in epochs], color=BLUE, label="cosine, warm-up 2 %")
    rates = [inverse_time(0.0013, math.floor(e), 0.1) for e in epochs]
    axes.plot(epochs, rates, color=MUTED, label="inverse time, lr_decay 0.1")
    axes.set(xlabel="epoch", ylabel="learning rate")
    axes.legend()
    return figure


def spirals(n: int, rng: np.random.Generator) -> Dataset:
    """Three spiral arms (n, 2), each a class."""
    t = np.arange(n) % 3
    radius = rng.uniform(0.1, 1, n)
    angle = 2.1 * t + 3.5 * radius + rng.normal(0, 0.15, n)
    return Dataset(np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1), t)


@styled
def learning() -> Figure:
    rng = np.random.default_rng(0)
    train, val = spirals(600, rng), spirals(300, rng)
    model = MLP(2, [16, 16], 3, rng=rng, dtype=np.float64)
    trainer = Trainer(model, Adam(0.01), train, val, batch_size=50, rng=rng)
    epochs = (0, 2, 10, 60)
    figure = titled_figure(
        2.9, "Learning", "Three spirals, 2 → 16 → 16 → 3: what the network says of each place"
    )
    line = np.linspace(-1.15, 1.15, 200)
    grid = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    colours = [BLUE, VERMILION, GREEN]
    for axes, epoch in zip(figure.subplots(1, 4), epochs, strict=True):
        trainer.fit(epoch)
        areas = model.predict(grid).reshape(200, 200)
        axes.imshow(
            areas,
            ListedColormap(colours),
            extent=(-1.15, 1.15) * 2,
            origin="lower",
            alpha=0.25,
            vmin=0,
            vmax=2,
        )
        axes.scatter(*val.x.T, c=np.array(colours)[val.t], s=3)
        accuracy = model.compute_accuracy(*val)
        axes.set_title(f"epoch {epoch}: {100 * accuracy:.0f} %")
        plain(axes)
    return figure


if __name__ == "__main__":
    folder = Path(__file__).parent / "figures"
    folder.mkdir(exist_ok=True)
    for draw in (activations, gradient, optimizers, schedules, learning):
        save(draw(), folder / f"{draw.__name__}.png")
