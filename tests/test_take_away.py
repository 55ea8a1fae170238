"""What the owner of a copy gives to others: a remote and a tag, by which the model is got."""

import hashlib
from pathlib import Path

from project import Project

MODEL = "data/model/best.npz"


def test_the_model_is_got_from_a_copy(finished: Project, tmp_path: Path):
    owner = finished.copy(tmp_path / "owner")
    owner.call("dvc", "remote", "add", "-d", "store", str(tmp_path / "store"))
    for command in (
        "git add .dvc/config",
        "git commit -qm remote",
        "dvc push -q",
        "git tag -a -m 1 fashion-mnist-mlp@v1.0.0",  # of tags, DVC sees annotated ones alone
    ):
        owner.call(*command.split())
    digest = hashlib.md5((owner.folder / MODEL).read_bytes()).hexdigest()
    clone = tmp_path / "clone"  # with nothing in its cache: all comes from the remote
    owner.call("git", "clone", "-q", str(owner.folder), str(clone))
    read = f"dvc.api.read({MODEL!r}, {str(clone)!r}, mode='rb')"
    python = f"import dvc.api, sys; sys.stdout.buffer.write({read})"
    for command in (
        ("dvc", "get", "-q", str(clone), MODEL, "-o", str(tmp_path / "get.npz")),
        ("dvc", "artifacts", "get", "-q", str(clone), "fashion-mnist-mlp",
         "-o", str(tmp_path / "artifact.npz")),
        ("bash", "-c", f'python -c "{python}" >{tmp_path}/api.npz'),
    ):  # fmt: skip
        owner.call(*command)
    for name in ("get", "artifact", "api"):
        content = (tmp_path / f"{name}.npz").read_bytes()
        assert hashlib.md5(content).hexdigest() == digest
