"""params.yaml: it means to the stages what it means to DVC, or is refused in one line."""

import math
import random
from pathlib import Path
from typing import Any, get_args

import pytest
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import dumps_yaml, parse_yaml
from project import ROOT, Project

from mlp.files import InputError
from mlp.module import Activation
from mlp.optimizer import OptimizerName
from mlp.schedule import ScheduleName
from stages import params

GOOD = (ROOT / "params.yaml").read_text(encoding="utf-8")


def keys(values: dict[str, Any], prefix: str = "") -> list[str]:
    """The dotted names of all that is no section."""
    return [
        name
        for key, value in values.items()
        for name in (keys(value, f"{prefix}{key}.") if isinstance(value, dict) else [prefix + key])
    ]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def complaint(content: str | bytes) -> str:
    """What is said of a params.yaml, which has to be one short line with the way back."""
    data = content.encode() if isinstance(content, str) else content
    Path("params.yaml").write_bytes(data)
    with pytest.raises(InputError) as error:
        params.load()
    message = str(error.value)
    assert message.startswith("params.yaml: ")
    assert message.endswith("git checkout reports && dvc checkout")
    assert message.isprintable()
    assert len(message) < 700
    return message


def changed(key: str, value: Any) -> str:
    """The project's params.yaml with one value changed, as DVC would write it."""
    values = parse_yaml(GOOD, "params.yaml")
    section = values
    *path, last = key.split(".")
    for name in path:
        section = section[name]
    section[last] = value
    return dumps_yaml(values)


SCALARS = """\
0100 0o100 0x1F 0X1f 0b11 017 08 1_000 +7 -0 1:30 12:30:45 1e5 1E5 1e-05 1e+5 .5 5. 1.e3 +.5
-1.5e-3 1.2.3 .inf -.INF +.Inf inf .nan nan yes Yes no on off y n true True TRUE tRue false null
Null NULL ~ none None NA 2001-01-01 2001-99-99 2001-01-01T10:00:00Z 0o8 0x 1e = << - a-b 'yes'
"0100" !!str !!int '' +12e03
"""


def random_scalars() -> list[str]:
    draw = random.Random(0)
    return [
        "".join(draw.choices("0123789+-._:eExoabyn~", k=draw.randint(1, 6))) for _ in range(500)
    ]


def same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and (a == b or (isinstance(a, float) and math.isnan(a + b)))


@pytest.mark.parametrize("scalars", [SCALARS.split(), random_scalars()], ids=["chosen", "random"])
def test_a_scalar_means_the_same_to_dvc(scalars: list[str]):
    for scalar in scalars:
        text = f"section:\n  key: {scalar}\n"
        Path("params.yaml").write_text(text)
        try:
            theirs = parse_yaml(text, "params.yaml")["section"]["key"]
        except Exception:
            with pytest.raises(InputError):
                params.read()
        else:
            assert same(params.read()["section"]["key"], theirs), scalar


@pytest.mark.parametrize(
    "value", [["yes", "no", "maybe"], ["on", "1:30", "0100", "1e5", "null", "~"], 1e-05, 1e22, 7]
)
def test_what_dvc_writes_is_read_back(value: Any):
    Path("params.yaml").write_text(dumps_yaml({"key": value}))
    assert params.read() == {"key": value}


def test_classes_that_other_versions_of_yaml_take_for_booleans():
    Path("params.yaml").write_text(changed("preprocess.classes", ["yes", "no", "maybe"]))
    assert params.load().preprocess.classes == ["yes", "no", "maybe"]


def test_a_stage_takes_a_number_for_what_dvc_locks(tmp_path: Path):
    project = Project(tmp_path)
    file = project.folder / "params.yaml"
    file.write_text(file.read_text().replace("val_size: 30", "val_size: 036"))
    done = project.call("dvc", "repro", "preprocess")
    assert "264 training and 36 validation images" in done.stdout
    assert "val_size: 36\n" in (project.folder / "dvc.lock").read_text()


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("  epochs: 160", "  epochs: 160\n  epochs: 161", "epochs"),
        ("base:", "base: {seed: 1}\nbase:", "base"),
        ("    factor: 3", "    factor: 3\n    'factor': 3", "factor"),
    ],
)
def test_a_key_twice(old: str, new: str, key: str):
    assert f'found duplicate key "{key}"' in complaint(GOOD.replace(old, new))


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("base.seed", 2**32, "a whole number from 0 to 4,294,967,295"),
        ("preprocess.val_size", 10**9, "a whole number from 1 to 1,000,000"),
        ("preprocess.classes", [str(i) for i in range(257)], "names, 2 to 256 of them"),
        ("search.hidden_size1", [2**31], "whole numbers from 1 to 10,000, 1 to 100 of them"),
        ("search.hidden_size2", list(range(1, 102)), "whole numbers from 1 to 10,000, 1 to 100"),
        ("search.lr", [1 / n for n in range(1, 102)], "numbers above 0, 1 to 100 of them"),
        ("search.l2_reg", [], "numbers from 0 up, 1 to 100 of them"),
        ("search.epochs", 10**9, "a whole number from 1 to 1,000,000"),
        ("search.batch_size", 2**31, "a whole number from 1 to 1,000,000"),
        ("search.seeds", 100_000_000, "a whole number from 1 to 1,000;"),
        ("search.halving.rungs", 100_000, "a whole number from 2 to 20"),
        ("search.halving.factor", 10**9, "a whole number from 2 to 1,000"),
        ("train.hidden_size1", 2**31, "best, or a whole number from 1 to 10,000"),
        ("train.epochs", 10**9, "a whole number from 1 to 1,000,000"),
        ("train.patience", 10**9, "null, or a whole number from 1 to 1,000,000"),
        ("train.lr", math.inf, "best, or a number above 0"),
        ("train.dropout", 0.999, "a number from 0 to 0.99"),
        ("fetch.folders", ["a"] * 101, "a list of up to 100 texts"),
        ("fetch.folders", ["a\0b"], "a list of up to 100 texts"),
        ("fetch.urls", ["x" * 1001], "a list of up to 100 texts"),
        ("train.activation", "tanh", "best, relu or sigmoid"),
        ("train.flip", "yes", "true or false"),
        ("train.optimizer", True, "best, sgd, momentum or adam"),
        ("search.strategy", "random", "grid or halving"),
        ("search.optimizer", None, "sgd, momentum or adam"),
    ],
)
def test_a_value_out_of_bounds(key: str, value: Any, allowed: str):
    message = complaint(changed(key, value))
    assert message.startswith(f"params.yaml: {key}: ")
    assert f"; allowed is {allowed}" in message.replace("a list of different ", "")


@pytest.mark.parametrize("values", [[0.01, 0.010000001], [0.0, -0.0], [0.3, 0.1, 0.30000004]])
def test_rates_that_the_searchs_table_does_not_tell_apart(values: list[float]):
    key = "search.l2_reg"
    assert "allowed is a list of different numbers" in complaint(changed(key, values))
    assert "search.lr" in complaint(changed("search.lr", [0.5, 0.5 + 1e-9]))


def test_a_search_without_end():
    values = parse_yaml(changed("search.lr", [1 / n for n in range(1, 101)]), "params.yaml")
    values["search"]["seeds"] = 1000
    message = complaint(dumps_yaml(values))
    assert "search: 2,700,000 trainings; allowed are up to 100,000" in message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("preprocess.classes", [0, 1]),
        ("preprocess.classes", ["a", None]),
        ("preprocess.classes", [True, False]),
        ("fetch.urls", [80]),
        ("fetch.files.test_labels.sha256", 0),
        ("fetch.debian_package", 7),
    ],
)
def test_a_value_that_is_no_text_belongs_in_quotes(key: str, value: Any):
    assert ", in quotes; " in complaint(changed(key, value))


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "/etc/passwd", "..", ".hidden", "-x", "a\\b", "a*", "", "a b", "x\n"]
)
def test_a_file_name_that_leaves_the_folder(name: str):
    assert "allowed is a file's name" in complaint(changed("fetch.files.test_images.name", name))


@pytest.mark.parametrize(
    "name", ["-oDir::Bin::dpkg=/bin/sh", "a", "A-b", "a=1", "a/b", "a b", "a_b", "--", "ab\n"]
)
def test_a_package_name_that_is_an_option_or_none(name: str):
    assert "allowed is null, or a package's name" in complaint(
        changed("fetch.debian_package", name)
    )


def laughs() -> str:
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{n}: &l{n} [{', '.join(10 * [f'*l{n - 1}'])}]" for n in range(1, 12)]
    return "\n".join(lines)


BROKEN: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "the file: None; allowed is keys base, fetch"),
    "comments": ("# nothing\n", "the file: None; allowed is keys base, fetch"),
    "a list": ("- 1\n", "the file: [1]; allowed is keys"),
    "UTF-16": (GOOD.encode("utf-16"), "not text in UTF-8"),
    "Latin-1": ("a: Tüte\n".encode("latin-1"), "not text in UTF-8"),
    "a NUL": (GOOD + "\0", "not YAML"),
    "no such date": (GOOD.replace("- Bag", "- 2001-99-99"), "not YAML: month must be in 1..12"),
    "a date": (GOOD.replace("- Bag", "- 2001-01-01"), "in quotes"),
    "5,000 digits": (GOOD.replace("seed: 42", f"seed: {'4' * 5000}"), "not YAML: Exceeds"),
    "4,000 digits": (GOOD.replace("seed: 42", f"seed: {'4' * 4000}"), "base.seed: 4444"),
    "hexadecimal": (
        GOOD.replace("seed: 42", f"seed: 0x{'f' * 5000}"),
        "base.seed: a number too lo",
    ),
    "deep": (GOOD + "deep: " + "[" * 5_000, "nested too deeply"),
    "deep blocks": (GOOD + "- " * 20_000, "not YAML"),
    "itself": (
        GOOD.replace("hidden_size1:\n  - 64\n  - 128\n  - 256", "hidden_size1: &a [*a]"),
        "search.hidden_size1: [[[",
    ),
    "laughs": (laughs() + "\n", "base: missing"),
    "laughing classes": (laughs() + "\n" + GOOD.replace("- Bag", "- *l11"), "preprocess.classes"),
    "two documents": (GOOD + "---\n" + GOOD, "not YAML"),
    "a tag": (GOOD.replace("seed: 42", "seed: !!python/name:os.system"), "not YAML"),
    "a tab": ("base:\n\tseed: 1\n", "not YAML in line 2: found character"),
    "a numeric key": (GOOD + "1: 2\n", "1: unknown; allowed here"),
    "an odd key": (GOOD + "? [a, b]\n: 2\n", ""),
    "a long key": (GOOD + f"{'x' * 900}: 2\n", "unknown; allowed here"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file(case: str):
    content, message = BROKEN[case]
    assert message in complaint(content)


def test_no_file(folder: Path):
    with pytest.raises(InputError, match=r"^params\.yaml: .* run from the project's root"):
        params.load()
    (folder / "params.yaml").mkdir()
    with pytest.raises(InputError, match=r"^params\.yaml: Is a directory"):
        params.load()


@pytest.mark.parametrize("key", ["a\nb", "a\x1bb", "\u2028"])
def test_a_key_of_several_lines(key: str):
    values = parse_yaml(GOOD, "params.yaml")
    values["train"][key] = 1
    assert complaint(dumps_yaml(values)).startswith("params.yaml: train.")


@pytest.mark.parametrize(
    ("name", "choices"),
    [("activation", Activation), ("optimizer", OptimizerName), ("schedule", ScheduleName)],
)
def test_choices_are_those_of_the_package(name: str, choices: Any):
    """They are written once more, so that fetch does not depend on the network's modules."""
    allowed = complaint(changed(f"train.{name}", "?")).partition("allowed is ")[2].partition(";")[0]
    assert set(allowed.replace(",", " ").split()) - {"best", "or"} == {*get_args(choices)}


@pytest.mark.parametrize(("text", "value"), [("[]", []), ("[1]", [1]), ("null", None), ("3", 3)])
def test_what_an_experiment_sets_can_be_read(folder: Path, text: str, value: object):
    """`-S` writes a value of another kind into the file that people comment: a comment beside a
    list's key would end up inside the new value."""
    names = keys(parse_yaml(GOOD, "params.yaml"))
    path = folder / "params.yaml"
    path.write_text(GOOD, encoding="utf-8")
    apply_overrides(path, [f"{name}={text}" for name in names])
    for name in names:
        found = params.read(path)
        for key in name.split("."):
            found = found[key]
        assert found == value, name
