"""Figures of real arrays; what is checked is what a figure says and the file it becomes."""

import itertools
import math
import subprocess
import sys

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import font_manager
from matplotlib.patches import Rectangle
from PIL import Image

from mlp.files import InputError
from mlp.history import History
from mlp.plots.evaluation import confusion, mistakes
from mlp.plots.network import network
from mlp.plots.search import grid_heatmaps
from mlp.plots.style import DPI, WIDTH, save
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


class TestSave:
    def test_same_input_gives_the_same_bytes(self, tmp_path, rng):
        W = rng.normal(size=(30, 8))
        save(weight_distributions([W], [weight_statistics(W)]), tmp_path / "a.png")
        save(weight_distributions([W], [weight_statistics(W)]), tmp_path / "b.png")
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()

    def test_settings_of_the_user_change_nothing(self, tmp_path):
        save(learning_curves(history(3), 2), tmp_path / "a.png")
        mine = {"font.size": 20, "axes.facecolor": "black", "savefig.dpi": 50}
        with matplotlib.rc_context(mine):
            save(learning_curves(history(3), 2), tmp_path / "b.png")
            assert matplotlib.rcParams["font.size"] == 20
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()

    def test_no_metadata_and_a_white_ground(self, tmp_path):
        save(learning_curves(history(3), 2), tmp_path / "a.png")
        with Image.open(tmp_path / "a.png") as picture:
            assert picture.info == {}
            assert picture.width == WIDTH * DPI
            assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)

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

    def test_classes_and_an_image_that_is_not_square(self, rng):
        image = rng.integers(0, 256, (12, 20), dtype=np.uint8)
        figure = network(240, [16], 3, "sigmoid", classes=["a", "b", "c"], image=image)
        assert {"a", "b", "c", "Sigmoid", "12 × 20 pixels"} <= set(texts(figure))


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
        assert "No mistakes" in texts(figure)
