"""Bad input gets one line and exit status 2, and earlier outputs stay as they were."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from project import CLASSES, SHAPE, Project, write_idx

from mlp.module import MLP

Harm = Callable[[Project], None]


@pytest.fixture(scope="module")
def project(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return finished.copy(tmp_path_factory.mktemp("stages"))


def outputs(project: Project) -> dict[Path, bytes]:
    files = (f for top in ("data", "reports") for f in (project.folder / top).rglob("*"))
    return {file: file.read_bytes() for file in files if file.is_file()}


def param(key: str, value: object) -> Harm:
    return lambda project: project.set({key: value})


def unknown_section(project: Project) -> None:
    with (project.folder / "params.yaml").open("a") as file:
        file.write("trian: {}\n")


def truncate(name: str) -> Harm:
    def harm(project: Project) -> None:
        path = project.folder / "data/raw" / name
        path.write_bytes(path.read_bytes()[:-7])

    return harm


def swap(project: Project) -> None:
    raw = project.folder / "data/raw"
    images, labels = raw / "train-images-idx3-ubyte", raw / "train-labels-idx1-ubyte"
    content = images.read_bytes()
    images.write_bytes(labels.read_bytes())
    labels.write_bytes(content)


def fewer_labels(part: str) -> Harm:
    return lambda project: write_idx(
        project.folder / f"data/raw/{part}-labels-idx1-ubyte", np.zeros(9)
    )


def label_too_high(project: Project) -> None:
    t = np.arange(300) % (len(CLASSES) + 1)
    write_idx(project.folder / "data/raw/train-labels-idx1-ubyte", t)


def other_image_size(project: Project) -> None:
    write_idx(project.folder / "data/raw/t10k-images-idx3-ubyte", np.zeros((60, 3, 3)))


def model_of_another_shape(project: Project) -> None:
    path = project.folder / "data/model/best.npz"
    with np.load(path) as file:
        arrays = dict(file)
    arrays["Affine1.W"] = arrays["Affine1.W"][:-1]
    np.savez(path, **arrays)


def model_of_other_images(project: Project) -> None:
    path = project.folder / "data/model/best.npz"
    model = MLP.from_file(path)
    other = MLP(7, [4, 4], len(CLASSES), rng=np.random.default_rng(0))
    other.metadata = model.metadata
    other.save_parameters(path)


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


def weights_too_large(project: Project) -> None:
    model = MLP.from_file(project.folder / "data/model/best.npz")
    model.params[: model.n_weights] = 3e38
    model.save_parameters(project.folder / "data/model/best.npz")


def pickled_model(project: Project) -> None:
    np.savez(project.folder / "data/model/best.npz", json=np.array(Bomb(), object))


def blank_images(project: Project) -> None:
    write_idx(project.folder / "data/raw/train-images-idx3-ubyte", np.zeros((300, *SHAPE)))


def bare_pickle(project: Project) -> None:
    (project.folder / "data/model/best.npz").write_bytes(pickle.dumps(Bomb()))


def damaged_best_params(project: Project) -> None:
    (project.folder / "reports/best_params.json").write_text('{"lr": ')


def damaged_evaluation(project: Project) -> None:
    path = project.folder / "data/evaluation/test.npz"
    path.write_bytes(path.read_bytes()[:100])


def winner_of_another_search(project: Project) -> None:
    path = project.folder / "reports/best_params.json"
    path.write_text(path.read_text().replace('"hidden_size2": 4', '"hidden_size2": 5'))


def foreign_history(project: Project) -> None:
    (project.folder / "reports/history.csv").write_text("a,b\n1,2\n")


def history_of_another_training(project: Project) -> None:
    path = project.folder / "reports/history.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))


CASES: dict[str, tuple[str, Harm, str]] = {
    "not a number": (
        "grid-search",
        param("search.lr", ["fast"]),
        "params.yaml: search.lr: ['fast']; allowed is a list of different numbers above 0",
    ),
    "a former optimizer": (
        "grid-search",
        param("search.optimizer", "adam_compiled"),
        "search.optimizer: 'adam_compiled'; allowed is sgd, momentum or adam",
    ),
    "unknown key": ("train-best", param("train.lrr", 1), "params.yaml: train.lrr: unknown; allow"),
    "unknown section": ("fetch", unknown_section, "params.yaml: trian: unknown; allowed here"),
    "wrong type": ("train-best", param("train.epochs", 1.5), "train.epochs: 1.5; allowed is a who"),
    "out of range": ("train-best", param("train.lr", -1), "train.lr: -1; allowed is best, or a nu"),
    "a boolean": ("train-best", param("train.lr", True), "train.lr: True; allowed is best, or a n"),
    "validation too large": ("preprocess", param("preprocess.val_size", 300), "none would be left"),
    "diverges": (
        "train-best",
        lambda project: project.set({"train.lr": 1e30, "train.optimizer": "sgd"}),
        "the training loss is no longer finite in epoch 1",
    ),
    "truncated images": (
        "preprocess",
        truncate("train-images-idx3-ubyte"),
        "data/raw/train-images-idx3-ubyte: truncated: its header announces 9,016 bytes",
    ),
    "truncated labels": ("preprocess", truncate("train-labels-idx1-ubyte"), "truncated"),
    "truncated at evaluation": ("evaluate", truncate("t10k-images-idx3-ubyte"), "truncated"),
    "swapped": ("preprocess", swap, "are images and labels swapped?"),
    "counts differ": ("preprocess", fewer_labels("train"), "holds 300 images, but"),
    "test counts differ": ("evaluate", fewer_labels("t10k"), "holds 60 images, but"),
    "label too high": ("preprocess", label_too_high, "3 classes allow 0 to 2"),
    "test images of another size": ("evaluate", other_image_size, "this network takes (N, 30)"),
    "blank images": ("preprocess", blank_images, "all pixels of the training images have the same"),
    "model of another shape": ("evaluate", model_of_another_shape, "a model of another shape"),
    "model of other images": ("evaluate", model_of_other_images, "but its network takes 7 numbers"),
    "weights too large": (
        "evaluate",
        weights_too_large,
        "data/model/best.npz: what it makes of data/raw/t10k-images-idx3-ubyte is not finite",
    ),
    "pickled model": ("evaluate", pickled_model, "refused, because it holds pickled content"),
    "bare pickle": ("evaluate", bare_pickle, "refused, because it holds pickled content"),
    "damaged winner": ("train-best", damaged_best_params, "reports/best_params.json"),
    "damaged evaluation": ("visualise", damaged_evaluation, "test.npz: "),
    "damaged history": ("visualise", foreign_history, "reports/history.csv: not a history"),
    "winner of another search": ("visualise", winner_of_another_search, "winner is not in the tab"),
    "history of another training": (
        "visualise",
        history_of_another_training,
        "is not in the history",
    ),
    "no data": (
        "grid-search",
        lambda project: (project.folder / "data/processed/train_x.npy").unlink(),
        "data/processed/train_x.npy",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input(project: Project, case: str):
    stage, harm, message = CASES[case]
    before = outputs(project)
    good = (project.folder / "params.yaml").read_text()
    params = project.params | {k: dict(v) for k, v in project.params.items()}
    try:
        harm(project)
        harmed = outputs(project)
        done = project.stage(stage, status=2)
        assert message in done.stderr
        assert done.stderr.startswith(f"stages.{stage.replace('-', '_')}: ")
        assert done.stderr.count("\n") == 1
        assert outputs(project) == harmed
        assert not (project.folder / "exploded").exists()
    finally:
        project.params = params
        (project.folder / "params.yaml").write_text(good)
        for file in outputs(project).keys() - before.keys():
            file.unlink()
        for file, content in before.items():
            file.write_bytes(content)


def test_predict(project: Project):
    image = np.zeros((2, *SHAPE))
    write_idx(project.folder / "two.idx", image)
    done = project.call("python", "-m", "mlp", "predict", "data/model/best.npz", "two.idx")
    assert done.stdout.count("\n") == 2
    assert done.stdout.split(": ")[1].split()[0] in CLASSES
