"""The learning rate over a training."""

import numpy as np
import pytest

from mlp.schedule import Cosine, inverse_time


def test_inverse_time_by_hand():
    # 0.3 / (1 + 0.5 · 0), … · 1, … · 2
    assert [inverse_time(0.3, e, 0.5) for e in range(3)] == pytest.approx([0.3, 0.2, 0.15])


def test_cosine_by_hand():
    # 0, 1/4, 1/2, 3/4 and all of the way: (1 + cos) / 2
    expected = [1, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2, 0]
    assert [Cosine(8)(e) for e in (0, 2, 4, 6, 8)] == pytest.approx(expected, abs=1e-9)


def test_warmup_by_hand():
    # a fifth of 10 epochs: 0, 1/2 after one, 1 after two; then half a cosine over eight
    expected = [0, 0.25, 0.5, 1, 0.5, 0]
    assert [Cosine(10, 0.2)(e) for e in (0, 0.5, 1, 2, 6, 10)] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("warmup", [0.0, 0.02, 0.5])
def test_it_rises_then_falls_and_stays_at_zero(warmup):
    share = np.array([Cosine(20, warmup)(e) for e in np.linspace(0, 20, 400)])
    top = int(share.argmax())
    assert share[top] == pytest.approx(1, abs=0.02)
    assert np.all(np.diff(share[: top + 1]) > 0)
    assert np.all(np.diff(share[top:]) <= 0)
    assert Cosine(20, warmup)(25) == 0


def test_a_training_sees_each_step_in_its_middle(build):
    trainer = build(optimizer="sgd", lr=0.5, schedule="cosine", lr_decay=0.0, epochs=2)
    seen = []
    descend = trainer.optimizer._descend
    trainer.optimizer._descend = lambda *arrays: (
        seen.append(trainer.optimizer.current_lr),
        descend(*arrays),
    )
    trainer.fit(2)
    steps = np.arange(10) + 0.5  # 90 samples, 20 at a time, twice
    np.testing.assert_allclose(seen, 0.5 * (1 + np.cos(np.pi * steps / 10)) / 2, atol=1e-9)
    assert trainer.history["lr"] == [seen[4], seen[9]]
