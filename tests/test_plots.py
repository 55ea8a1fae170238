"""Figures of real arrays; what is checked is what a figure says and the file it becomes."""

import itertools
import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox
from PIL import Image

from mlp.files import InputError
from mlp.history import History
from mlp.metrics import Calibration
from mlp.module import MLP
from mlp.plots.evaluation import confusion, mistakes, reliability
from mlp.plots.network import network
from mlp.plots.search import grid_heatmaps
from mlp.plots.style import DPI, WIDTH, save, short_names, styled
from mlp.plots.training import learning_curves
from mlp.plots.weights import neurons, weight_distributions
from mlp.weights import WeightStatistics, sparsity_verdict, weight_statistics


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def texts(figure):
    """All that is written in a figure."""
    found = [text.get_text() for text in figure.findobj(matplotlib.text.Text)]
    return [text for text in found if text]


@styled
def boxes(figure):
    """The text and its box in dots of all that is written in a figure, once it is drawn."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    found = [text for text in figure.findobj(matplotlib.text.Text) if text.get_text()]
    return [(text, text.get_window_extent(canvas.renderer)) for text in found if text.get_visible()]


def history(epochs):
    rows = [
        dict.fromkeys(History.COLUMNS, 0.1)
        | {"epoch": i, "val_accuracy": 0.8 + 0.01 * (i == 2), "val_loss": 1 / i}
        for i in range(1, epochs + 1)
    ]
    return History(rows)


def grid(sizes1=(64, 128), sizes2=(32, 64), lrs=(0.001, 0.01), l2_regs=(0.0, 0.0001)):
    """A table of trials; the last is the best, and with lr 0.01 all are far worse."""
    names = ("hidden_size1", "hidden_size2", "lr", "l2_reg")
    table = pd.DataFrame(itertools.product(sizes1, sizes2, lrs[::-1], l2_regs), columns=names)
    table["val_accuracy"] = 0.88 + 0.001 * np.arange(len(table)) - 0.5 * (table["lr"] == 0.01)
    more = {"val_accuracy_std": 0.0, "seeds": 1, "rung": 1, "epochs": 10, "parameters": 9}
    return table.assign(val_loss=0.3, status="ok", **more)


def best_of(table):
    """The winner's row, or None: of the last rung, the highest accuracy, ties by lower loss."""
    ok = table[(table["status"] == "ok") & (table["rung"] == table["rung"].max())]
    ranked = ok.sort_values(["val_accuracy", "val_loss"], ascending=[False, True], kind="stable")
    return ranked.iloc[0].to_dict() if len(ranked) else None


def heatmaps(table):
    """The figure of a table and the winner that the search elects."""
    return grid_heatmaps(table, best_of(table))


def frames(figure):
    """The rectangles that mark a winner, as (panel, column, row)."""
    return [
        (number, round(patch.get_x() + 0.5), round(patch.get_y() + 0.5))
        for number, axes in enumerate(figure.axes)
        for patch in axes.patches
        if isinstance(patch, Rectangle) and not patch.get_clip_on()
    ]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "a.PNG"
    save(learning_curves(history(3), 2), path)
    return path


class TestSave:
    def test_same_input_gives_the_same_bytes(self, tmp_path, rng):
        W = rng.normal(size=(30, 8))
        save(weight_distributions([W], [weight_statistics(W)]), tmp_path / "a.png")
        save(weight_distributions([W], [weight_statistics(W)]), tmp_path / "b.png")
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()

    def test_settings_of_the_user_change_nothing(self, saved, tmp_path):
        mine = {"font.size": 20, "axes.facecolor": "black", "savefig.dpi": 50}
        with matplotlib.rc_context(mine):
            save(learning_curves(history(3), 2), tmp_path / "b.png")
            assert matplotlib.rcParams["font.size"] == 20
        assert saved.read_bytes() == (tmp_path / "b.png").read_bytes()

    def test_no_metadata_and_a_white_ground(self, saved):
        with Image.open(saved) as picture:
            assert picture.info == {}
            assert picture.width == WIDTH * DPI
            assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)

    @pytest.mark.parametrize("name", ["a.pdf", "a.svg", "a.jpg", "a.b"])
    def test_another_format(self, name, tmp_path):
        with pytest.raises(InputError, match="figures are written as PNG"):
            save(learning_curves(history(3), 2), tmp_path / name)
        assert not list(tmp_path.iterdir())

    def test_a_failed_save_leaves_the_older_file(self, tmp_path, monkeypatch):
        path = tmp_path / "a.png"
        path.write_bytes(b"older")

        def fail(*args, **kwargs):
            raise OSError("no space left")

        monkeypatch.setattr(Image.Image, "save", fail)
        with pytest.raises(OSError, match="no space left"):
            save(learning_curves(history(3), 2), path)
        assert path.read_bytes() == b"older"
        assert list(tmp_path.iterdir()) == [path]

    def test_the_font_is_the_one_that_comes_with_matplotlib(self):
        for weight in ("normal", "bold"):
            found = font_manager.findfont(
                font_manager.FontProperties(family="DejaVu Sans", weight=weight)
            )
            assert found.startswith(matplotlib.get_data_path())

    def test_pyplot_is_not_loaded(self):
        modules = "evaluation, network, search, style, training, weights"
        code = f"import sys; from mlp.plots import {modules}"
        code += "; sys.exit('matplotlib.pyplot' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code]).returncode == 0


LONG = "Something rather long that goes on, whatever comes, until it ends {}"  # 67 characters
FOREIGN = ["under 10 $", "5 $ or 10 $", r"$\foo$", r"$\frac", "a_b", "_a", "^", "tab\tand\nbreak"]
FOREIGN += ["Größe", "عربي", "W" * 67, LONG.format("x"), LONG.format("y")]


def of_classes(classes, shape=(8, 8), wrong=12):
    """Every figure that has classes' names or images in it, of a made network and its errors."""
    rng, k = np.random.default_rng(0), len(classes)
    images = rng.integers(0, 256, (max(wrong, 1), *shape), dtype=np.uint8)
    t = np.arange(wrong) % k
    matrix = np.diag(np.full(k, 90)) + rng.integers(0, 2, (k, k))
    matrix[k - 1, 0] = 40
    return {
        "network": network(math.prod(shape), [5], k, "relu", classes=classes, image=images[0]),
        "confusion": confusion(matrix, classes),
        "mistakes": mistakes(images[:wrong], t, (t + 1) % k, np.linspace(1, 0.9, wrong), classes),
    }


@pytest.mark.filterwarnings("error")
class TestNames:
    def test_drawn_as_they_are(self, tmp_path):
        assert short_names(FOREIGN[:7], 14) == FOREIGN[:7]
        assert short_names(["tab\tand\nbreak", "bell\x07", "\ud800"], 14) == [
            *("tab and break", "bell�", "�")
        ]
        for name, figure in of_classes(FOREIGN[:8]).items():
            save(figure, tmp_path / f"{name}.png")  # a formula that cannot be parsed stops it
            found = figure.findobj(matplotlib.text.Text)
            assert not any(text.get_parse_math() for text in found if "$" in text.get_text())
            for shown in FOREIGN[:7]:
                assert any(shown in text.get_text() for text in found), (name, shown)

    def test_a_dollar_takes_room(self):
        """… as what begins a formula would not."""
        matrix = np.eye(2, dtype=int)
        width = {
            text.get_text(): box.width
            for text, box in boxes(confusion(matrix, ["$5$", "a$5$b"]))
            if text.get_ha() == "right"
        }
        assert width["a$5$b"] > width["$5$"] * 1.3

    @pytest.mark.parametrize("ems", [4, 7, 14])
    def test_long_names_are_shortened_and_told_apart(self, ems):
        """Whether they differ at their start, their end or between; measured as they are drawn."""
        middle = [f"class number {i} of these nineteen" for i in range(1, 4)]
        names = [*FOREIGN[-3:], *middle, *(name[::-1] for name in middle), "長い名前" * 9, "名"]
        short = short_names(names, ems)
        assert len(set(short)) == len(names)
        figure = matplotlib.figure.Figure(dpi=100)
        for name, text in zip(names, short, strict=True):
            assert len(text) <= len(name)
            assert ("…" in text) == (text != name)
            if name.isascii():
                figure.text(0, 0, text, fontsize=72, family="DejaVu Sans")
        assert max(box.width for _, box in boxes(figure)) <= ems * 100 * 1.02  # 72 pt are 100 dots

    def test_the_start_and_the_end_stay(self):
        [short, _] = short_names([LONG.format("x"), LONG.format("y")], 10)
        assert short.startswith("Someth")
        assert short.endswith(" x")

    @pytest.mark.parametrize("classes", [FOREIGN, ["W" * 67 + str(i) for i in range(30)]])
    def test_within_the_figure_and_apart(self, classes):
        for name, figure in of_classes(classes).items():
            found = boxes(figure)
            for text, box in found:
                assert box.x0 >= 0, (name, text)
                assert box.x1 <= WIDTH * DPI, (name, text)
            if name == "mistakes":
                lines = [box for text, box in found if text.axes is not None]
                overlaps = [a for a, b in itertools.combinations(lines, 2) if a.overlaps(b)]
                assert len(lines) == 24
                assert not overlaps

    def test_an_arabic_name_does_not_turn_what_follows(self):
        [name] = short_names(["عربي"], 10)
        assert name.strip("\u200e") == "عربي"
        assert name[0] == name[-1] == "\u200e"


class TestFonts:
    """In a process of its own: what it prints, and what fonts its system has."""

    CODE = """
import numpy as np
from mlp.plots.evaluation import confusion, mistakes
from mlp.plots.style import save
classes = {classes}
save(confusion(np.array([[5, 1], [2, 5]]), classes), "a.png")
one = np.zeros(1, int)
save(mistakes(np.zeros((1, 4, 4), np.uint8), one, one + 1, one + 0.5, classes), "b.png")
"""

    def run(self, folder, classes):
        """What is written on standard error."""
        folder.mkdir()
        environment = {**os.environ, "XDG_DATA_HOME": str(folder.parent / "share")}
        environment["PYTHONPATH"] = str(Path(__file__).parents[1])
        done = subprocess.run(
            [sys.executable, "-c", self.CODE.format(classes=ascii(classes))],
            **{"cwd": folder, "env": environment, "capture_output": True, "text": True},
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    def test_told_once_and_then_found(self, tmp_path):
        """Circled letters are in a font that comes with Matplotlib under another name."""
        said = self.run(tmp_path / "a", ["Ⓐ", "ⒷⒸ"])
        assert said.count("Warning") == 1
        assert "no font for CIRCLED (" in said
        assert "Noto Sans of that script" in said
        assert "Glyph" not in said
        fonts = tmp_path / "share" / "fonts"
        fonts.mkdir(parents=True)
        for face, named in (("STIXGeneral", "Regular"), ("STIXGeneralBol", "Bold")):
            source = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"
            shutil.copy(source, fonts / f"NotoSansCircled-{named}.ttf")
        assert self.run(tmp_path / "b", ["Ⓐ", "ⒷⒸ"]) == ""
        for name in ("a.png", "b.png"):
            images = [(tmp_path / folder / name).read_bytes() for folder in "ab"]
            assert images[0] != images[1]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", [(1, 1), (784, 1), (1, 784), (60, 10), (100, 100)])
class TestShapes:
    def test_images_are_seen(self, shape):
        for name, figure in of_classes(["a", "b"], shape, wrong=7).items():
            boxes(figure)
            width, height = figure.bbox.size
            assert width == WIDTH * DPI
            assert height < 2 * width
            for axes in figure.axes:
                for image in axes.images:
                    x0, x1, y0, y1 = image.get_extent()
                    box = axes.transData.transform_bbox(Bbox([[x0, y0], [x1, y1]]))
                    assert min(abs(box.width), abs(box.height)) >= 15, (
                        name
                    )  # a fourteenth of an inch
        thin = max(shape) > 12 * min(shape)
        assert any("to be seen" in text for text in texts(figure)) == thin

    @pytest.mark.parametrize("count", [1, 1500])
    def test_neurons_are_seen(self, shape, count, rng):
        figure = neurons(
            rng.normal(size=(math.prod(shape), count)).astype(np.float32), 1, shape=shape
        )
        boxes(figure)
        assert figure.bbox.height < 1.6 * figure.bbox.width
        mosaic, bar = figure.axes
        picture = mosaic.images[0].get_array()
        assert mosaic.bbox.width >= 0.999 * picture.shape[1]  # a dot per weight
        assert mosaic.bbox.height >= 0.999 * picture.shape[0]
        assert bar.bbox.height >= 100  # for its three words
        drawn = np.isfinite(picture.filled(np.nan)).sum() // math.prod(shape)
        told = [text for text in texts(figure) if f"room for {drawn:,} of them" in text]
        assert bool(told) == (drawn < count)
        assert drawn >= min(count, 150)


class TestCounts:
    def test_one_is_not_plural(self, rng):
        figures = [
            learning_curves(history(1), None),
            network(1, [], 1, "relu"),
            neurons(np.ones((1, 1)), 2),
            heatmaps(grid((64,), (32,), (0.001,), (0.0,)).assign(status="diverged")),
            heatmaps(grid().assign(rung=[1] * 8 + [2] * 8, epochs=[1] * 8 + [5] * 8)),
        ]
        found = [line for figure in figures for text in texts(figure) for line in text.split("\n")]
        for noun in ("epoch", "Affine layer", "neuron", "trial"):
            assert any(f"1 {noun}" in text for text in found), noun
            assert not any(f" 1 {noun}s" in f" {text}" for text in found)
        assert "5 epochs" in found


class TestWeightStatistics:
    def test_by_hand(self):
        # mean 0; squares 4, 1, 0, 1, 4 with mean 2; fourth powers 16, 1, 0, 1, 16 with mean 6.8
        found = weight_statistics(np.array([[-2.0, -1.0, 0.0, 1.0, 2.0]], np.float32))
        assert found == (5, 0.0, math.sqrt(2), 6.8 / 4 - 3, 0.0, 0.2, 0.2)

    def test_shares_by_hand(self):
        # mean 0, variance (2 · 9 + 2 · 0.0001) / 20: only the two outliers are beyond 2 std = 1.9,
        # and only they are not near zero; ±0.01 itself is not below 0.01
        w = np.array([3, -3, 0.01, -0.01] + [0] * 16)
        found = weight_statistics(w)
        assert found.beyond_two_std == pytest.approx(0.1)
        assert found.near_zero == pytest.approx(0.9)
        assert found.below_001 == pytest.approx(0.8)

    def test_of_a_normal_distribution(self, rng):
        found = weight_statistics(rng.normal(0, 0.05, 1_000_000).astype(np.float32))
        assert found.excess_kurtosis == pytest.approx(0, abs=0.02)
        assert found.beyond_two_std == pytest.approx(0.0455, abs=0.001)
        assert found.near_zero == pytest.approx(0.0797, abs=0.001)

    def test_scale_changes_neither_measure_of_sparsity(self, rng):
        w = rng.laplace(size=1000)
        one, other = weight_statistics(w), weight_statistics(w * 64)
        assert one.near_zero == other.near_zero
        assert one.excess_kurtosis == other.excess_kurtosis

    def test_equal_weights(self):
        assert weight_statistics(np.zeros((3, 2))) == (6, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)

    @pytest.mark.parametrize(
        ("layers", "verdict"),
        [
            ([(0.08, 0.0), (0.10, 1.0), (0.12, 2.0)], "Yes: share near zero 8.0% → 10.0% → 12.0%"),
            ([(0.12, 2.0), (0.10, 1.0), (0.08, -0.5)], "No, less sparse"),
            ([(0.12, 2.0), (0.13, 1.0)], "No steady trend"),
            ([(0.12, 2.0), (0.12, 2.0)], "No steady trend"),
            ([(0.12, 2.0)], "A single layer"),
        ],
    )
    def test_verdict(self, layers, verdict):
        statistics = [
            WeightStatistics(9, 0.0, 1.0, kurtosis, 0.04, near_zero, 0.0)
            for near_zero, kurtosis in layers
        ]
        found = sparsity_verdict(statistics)
        assert found.startswith(verdict)
        assert "\n" not in found


class TestNetwork:
    def test_parameters(self):
        found = texts(network(784, [256, 64], 10, "relu"))
        assert "784 → 256 → 64 → 10" in found
        assert "784 × 256 + 256\n= 200,960" in found
        assert found.count("ReLU") == 2
        assert any(text.startswith("218,058 parameters in 3 Affine layers") for text in found)

    def test_parameters_of_batch_norm(self):
        model = MLP(784, [256, 64], 10, batch_norm=True, rng=np.random.default_rng(0))
        found = texts(network(784, [256, 64], 10, "relu", batch_norm=True))
        assert "784 × 256 + 2 · 256\n= 201,216" in found
        assert any(text.startswith(f"{model.learnt.size:,} parameters in 3") for text in found)

    def test_classes_and_an_image_that_is_not_square(self, rng):
        image = rng.integers(0, 256, (12, 20), dtype=np.uint8)
        figure = network(240, [16], 3, "sigmoid", classes=["a", "b", "c"], image=image)
        assert {"a", "b", "c", "Sigmoid", "12 × 20 pixels"} <= set(texts(figure))

    def test_of_many_classes_the_first_and_the_last(self):
        classes = [f"class {i}" for i in range(300)]
        found = texts(network(9, [4], 300, "relu", classes=classes))
        shown = [int(text[6:]) for text in found if text.startswith("class ")]
        assert shown == [*range(len(shown) // 2), *range(300 - len(shown) // 2, 300)]
        assert len(shown) >= 10

    def test_an_image_of_one_value_is_as_dark_as_it_says(self):
        image = np.full((1, 1), 255, np.uint8)
        [drawn] = network(1, [4], 2, "relu", image=image).axes[0].images
        assert drawn.norm(255) == 1
        assert drawn.norm(0) == 0


class TestLearningCurves:
    def test_best_epoch(self):
        found = texts(learning_curves(history(3), 2))
        assert any(text.startswith("Best epoch: 2 of 3") for text in found)
        assert {"training", "validation", "best epoch"} <= set(found)

    def test_a_data_frame_and_a_single_epoch(self, tmp_path):
        figure = learning_curves(pd.DataFrame(history(1).rows), 1)
        save(figure, tmp_path / "a.png")
        assert any(text.startswith("Best epoch: 1 of 1") for text in texts(figure))

    def test_the_best_epoch_is_the_one_handed_over(self):
        """… whatever the history, whose figures may be rounded, would say."""
        figure = learning_curves(history(3), 3)
        assert any(
            text.startswith("Best epoch: 3 of 3, with validation accuracy 80.00%")
            for text in texts(figure)
        )
        marks = [line.get_xdata() for line in figure.axes[0].lines if line.get_marker() == "o"]
        assert [list(xs) for xs in marks if len(xs) == 1] == [[3], [3]]

    def test_the_best_is_of_another_training(self):
        found = texts(learning_curves(history(3), None))
        assert "3 epochs" in found
        assert "best epoch" not in found

    def test_epochs_that_are_missing(self):
        with pytest.raises(InputError, match="the best epoch, 4, is not in the history"):
            learning_curves(history(3), 4)
        with pytest.raises(InputError, match="the history has no epoch"):
            learning_curves(history(0), None)


class TestGridHeatmaps:
    def test_a_cell_for_each_trial_and_the_winner_framed(self):
        table = grid()
        figure = heatmaps(table)
        found = texts(figure)
        assert {f"{100 * value:.2f}" for value in table["val_accuracy"]} <= set(found)
        # panels: l2_reg down, lr across; the winner has lr 0.001, l2_reg 0.0001, 128, 64
        assert frames(figure) == [(2, 1, 1)]
        assert any("with hidden_size1 128, hidden_size2 64, lr 0.001, l2_" in t for t in found)

    def test_ties_go_to_the_lower_loss(self):
        table = grid(lrs=(0.001,), l2_regs=(0.0,)).assign(val_accuracy=0.9)
        table.loc[2, "val_loss"] = 0.2
        assert frames(heatmaps(table)) == [(0, 0, 1)]

    def test_the_winner_is_the_one_handed_over(self):
        """… even where the table, which is rounded in a file, shows others as good or better."""
        table = grid(lrs=(0.001,), l2_regs=(0.0,))
        figure = grid_heatmaps(table, table.to_dict("records")[1])
        assert frames(figure) == [(0, 1, 0)]
        start = "Framed, the best of 4: 88.10% with hidden_size1 64, hidden_size2 64, lr 0.001, "
        assert any(text.startswith(start) for text in texts(figure))

    def test_a_winner_of_more_digits_than_the_table(self):
        table = grid(lrs=(0.00123457, 0.00123456))
        exact = {"hidden_size1": 128, "hidden_size2": 64, "lr": 0.0012345678, "l2_reg": 0.0001}
        assert frames(grid_heatmaps(table, exact)) == [(3, 1, 1)]

    def test_a_winner_that_is_not_in_the_table(self):
        table = grid()
        with pytest.raises(InputError, match=r"not in the table of the search: .*'lr': 0\.002"):
            grid_heatmaps(table, table.to_dict("records")[0] | {"lr": 0.002})

    def test_a_single_trial(self, tmp_path):
        figure = heatmaps(grid((64,), (32,), (0.001,), (0.0,)))
        save(figure, tmp_path / "a.png")
        assert "88.00" in texts(figure)

    def test_trials_that_diverged(self, tmp_path):
        table = grid()
        table.loc[table.index[-3:], ["status", "val_accuracy", "val_loss"]] = "diverged", 0.0, -1.0
        figure = heatmaps(table)
        save(figure, tmp_path / "a.png")
        found = texts(figure)
        assert found.count("×") == 3
        assert "× diverged" in found
        assert "0.00" not in found

    def test_nothing_but_divergence(self, tmp_path):
        table = grid().assign(status="diverged", val_accuracy=0.0, val_loss=-1.0)
        figure = heatmaps(table)
        save(figure, tmp_path / "a.png")
        assert frames(figure) == []
        assert any("all diverged" in text for text in texts(figure))

    def test_a_trial_that_is_missing(self):
        figure = heatmaps(grid().drop(index=0))
        assert len([text for text in texts(figure) if len(text) == 5 and text[2] == "."]) >= 15

    def test_bad_trials_do_not_wash_out_the_good(self):
        images = [axes.images[0] for axes in heatmaps(grid()).axes[:4]]
        low, high = images[0].get_clim()
        assert high == pytest.approx(89.5)
        assert low > 85  # half of the trials are near 38


class TestWeights:
    def test_figures_in_the_table(self, rng, tmp_path):
        weights = [rng.normal(size=(50, 20)), rng.laplace(size=(20, 5)), np.zeros((5, 3))]
        figure = weight_distributions(weights, [weight_statistics(W) for W in weights])
        save(figure, tmp_path / "a.png")
        found = texts(figure)
        first = weight_statistics(weights[0])
        assert {"1,000", "100", "15", f"{first.std:.4f}", f"{first.near_zero:.1%}"} <= set(found)
        assert sparsity_verdict([weight_statistics(W) for W in weights]) in found


class TestNeurons:
    def mosaic(self, figure):
        return figure.axes[0].images[0].get_array().filled(np.nan)

    def test_images_smoothest_first(self):
        smooth = np.ones((4, 6))
        chequered = np.indices((4, 6)).sum(axis=0) % 2 * 2 - 1.0
        W = np.stack([chequered.reshape(-1), 3 * smooth.reshape(-1)], axis=1)
        mosaic = self.mosaic(neurons(W, 1, shape=(4, 6)))
        assert mosaic.shape == (1 + 5, 1 + 2 * 7)  # two tiles and a gap of 1 around them
        assert np.array_equal(mosaic[1:5, 1:7], smooth)
        assert np.array_equal(mosaic[1:5, 8:14], chequered)

    def test_inputs_that_fill_no_square(self, rng, tmp_path):
        W = rng.normal(size=(128, 7))
        figure = neurons(W, 2)
        save(figure, tmp_path / "a.png")
        mosaic = self.mosaic(figure)
        tile = mosaic[1:12, 1:13]  # 128 = 10 · 12 + 8
        assert np.isfinite(tile[:10]).all()
        assert np.isfinite(tile[10, :8]).all()
        assert np.isnan(tile[10, 8:]).all()
        assert np.isfinite(mosaic).sum() == 128 * 7

    def test_each_tile_has_its_own_range(self, rng):
        W = rng.normal(size=(64, 4))
        a = self.mosaic(neurons(W, 2))
        b = self.mosaic(neurons(W * np.array([1, 2, 4, 8]), 2))
        assert np.array_equal(a, b, equal_nan=True)

    def test_dead_neurons(self, tmp_path):
        figure = neurons(np.zeros((9, 3)), 1, shape=(3, 3))
        save(figure, tmp_path / "a.png")
        assert np.nanmax(self.mosaic(figure)) == 0
        assert any("blank: 3 that died" in text for text in texts(figure))
        assert not any("blank" in text for text in texts(neurons(np.ones((9, 3)), 2)))


class TestConfusion:
    def test_shares_counts_and_the_largest_error(self):
        figure = confusion(np.array([[6, 0, 2], [0, 9, 1], [0, 0, 0]]), ["a", "b", "c"])
        found = texts(figure)
        assert {"75.0", "6", "25.0", "2", "90.0", "9", "10.0", "1", "a", "b", "c"} <= set(found)
        assert "Largest error: 25.0% of a taken for c" in found

    @pytest.mark.parametrize("k", [2, 12, 13, 30])
    def test_figures_fit_their_cells(self, k, rng):
        matrix = rng.integers(1, 10, (k, k)) + np.diag(np.full(k, 10_000))
        matrix[0, 0] = 10**8
        figure = confusion(matrix, [f"class number {i}" for i in range(k)])
        [axes] = figure.axes
        inside = [(text, box) for text, box in boxes(figure) if text in axes.texts]
        assert len(inside) >= k * k
        cell = axes.bbox.width / k
        assert all(box.width < cell for _, box in inside)
        assert min(text.get_fontsize() for text, _ in inside) >= 5

    def test_of_300_classes_the_30_most_confused(self, tmp_path):
        start = time.process_time()
        rng, k = np.random.default_rng(0), 300
        matrix = rng.integers(0, 2, (k, k)) + np.diag(np.full(k, 1000))
        mixed = rng.choice(k, 30, replace=False)
        for i, j in zip(mixed[::2], mixed[1::2], strict=True):
            matrix[i, j] = 100
        matrix[mixed[0], mixed[1]] = 200
        figure = confusion(matrix, [f"class {i}" for i in range(k)])
        save(figure, tmp_path / "a.png")
        assert time.process_time() - start < 20  # a patch for each cell takes 100 s
        found = texts(figure)
        assert {text for text in found if text.startswith("class ")} == {
            f"class {i}" for i in mixed
        }
        [subtitle] = [text for text in found if text.startswith("Largest error")]
        share = 200 / matrix[mixed[0]].sum()  # of all that the class has, shown or not
        assert subtitle == (
            f"Largest error: {share:.1%} of class {mixed[0]} taken for class {mixed[1]}; "
            "of 300 classes, the 30 most confused are shown"
        )

    def test_no_errors_and_many_classes(self, tmp_path):
        figure = confusion(np.diag(np.arange(1, 31)), [f"class {i}" for i in range(30)])
        save(figure, tmp_path / "a.png")
        assert "No errors" in texts(figure)


class TestMistakes:
    def test_images_that_are_not_square(self, rng, tmp_path):
        images = rng.integers(0, 256, (7, 12, 20), dtype=np.uint8)
        t, y = np.zeros(7, np.int64), np.full(7, 2)
        confidence = np.linspace(1, 0.4, 7, dtype=np.float32)
        figure = mistakes(images, t, y, confidence, ["a", "b", "c"])
        save(figure, tmp_path / "a.png")
        found = texts(figure)
        assert found.count("a") == 7
        assert {"c, > 99.9%", "c, 40.0%"} <= set(found)

    def test_none(self, tmp_path):
        nothing = np.empty(0, np.int64)
        images = np.empty((0, 28, 28), np.uint8)
        figure = mistakes(images, nothing, nothing, np.empty(0), ["a", "b"])
        save(figure, tmp_path / "a.png")
        assert texts(figure) == ["No mistakes", "The network is right about every image"]
        assert figure.bbox.height < 1.5 * DPI  # there is nothing more to show


def test_reliability_shows_each_bin_and_its_size():
    found = Calibration(np.array([0.0, 0.4, 0.9]), np.array([0.0, 0.5, 0.8]), np.array([0, 1, 3]))
    figure = reliability(found)
    top, bottom = figure.axes
    assert [bar.get_height() for bar in top.patches] == [0.5, 0.8]  # none where there are none
    assert [bar.get_height() for bar in bottom.patches] == [0, 0.25, 0.75]
    # (1 · 0.1 + 3 · 0.1) / 4
    assert any("error 10.0%" in text.get_text() for text in figure.texts)
