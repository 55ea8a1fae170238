"""What is compared is what the pipeline trains, and RESULTS.md is what was measured."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import recipes, report
from stages import params
from stages.train_best import recipe_of

ROOT = Path(__file__).parent.parent
MEASURED = {"Ours": 0.5, "TorchFused": 1.0}


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """RESULTS.md as committed; the working directory is a copy of what it was written from."""
    shutil.copytree(ROOT / report.RAW, tmp_path / report.RAW)
    monkeypatch.chdir(tmp_path)
    return (ROOT / "benchmarks/RESULTS.md").read_text(encoding="utf-8")


def test_the_recipe_is_that_of_params_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    trained = recipe_of(params.load().train)  # with the hidden sizes that the search has found
    assert replace(trained, hidden_sizes=recipes.RECIPE.hidden_sizes) == recipes.RECIPE


def test_the_results_are_written_from_what_is_kept_of_each_part(results: str) -> None:
    assert report.render(report.kept()) == results


def test_a_part_that_is_measured_again_leaves_the_others_as_they_were(results: str) -> None:
    part = report.WholeRecipe(
        machine="another machine",
        recipe=recipes.TEXT,
        seconds=MEASURED,
        plain={"Ours": 0.4, "TorchFused": 0.7},
        accuracy={"Ours": 0.87, "TorchFused": 0.86},
        drift={"TorchFused": 7e-7},
        compilation=None,
    )
    report.keep("recipe", part)
    text = report.render(report.kept())
    assert others_than(part.title, text) == others_than(part.title, results)
    assert "| the whole recipe: ≤ 0.80 × PyTorch with fused AdamW | 0.50 | yes |" in text
    assert "| … ≤ 1.35 × a plain epoch | 1.25 | yes |" in text
    assert "| PyTorch, fused AdamW | 1.000 | 0.700 | 1.43 | 0.50 | 0.8600 | 7e-07 |" in text
    assert "- The whole recipe: another machine\n" in text


def others_than(title: str, text: str) -> list[str]:
    """The sections of a page but for its head, the targets and one more."""
    sections = [section.rstrip() for section in text.split("\n## ")[2:]]
    return [section for section in sections if not section.startswith(f"{title}\n")]
