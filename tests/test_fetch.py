"""The fetch stage against real folders, a real HTTP server and a real apt repository."""

import functools
import gzip
import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from project import ROOT, Project, write_idx, write_source

RAW = (
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose source folder has to be named by the test."""
    project = Project(tmp_path)
    project.set({"fetch.folders": []})
    return project


@pytest.fixture
def server(project: Project) -> Iterator[http.server.ThreadingHTTPServer]:
    """Serves the source folder on the loopback interface."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            server.requests.append(self.path)

        def do_GET(self) -> None:
            if self.path.startswith("/slow/"):
                time.sleep(server.delay)
            if self.path.startswith("/wait/"):
                server.wait(4)
            super().do_GET()

    handler = functools.partial(Handler, directory=str(project.source))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.requests, server.delay = [], 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with server:
        yield server
        server.shutdown()


def url(server: http.server.ThreadingHTTPServer, path: str = "") -> str:
    return f"http://127.0.0.1:{server.server_port}{path}"


def raw(project: Project) -> dict[str, str]:
    folder = project.folder / "data" / "raw"
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(folder.iterdir())}


def expected(project: Project) -> list[str]:
    files = project.params["fetch"]["files"]
    return [files[role]["sha256"] for role in sorted(files)]


def leftovers(project: Project) -> list[str]:
    return [path.name for path in (project.folder / "data").iterdir() if path.name != "raw"]


def test_sources_give_the_same_files(project: Project, server):
    results = []
    plain = project.folder.parent / "plain"
    plain.mkdir()
    for file in project.source.iterdir():
        (plain / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
    for changes, environ in [
        ({}, {"FASHION_MNIST_DIR": str(project.source)}),
        ({}, {"FASHION_MNIST_DIR": str(plain)}),
        ({"fetch.folders": [str(project.source)]}, {}),
        ({"fetch.folders": [], "fetch.urls": [url(server)]}, {}),
    ]:
        project.set(changes)
        shutil.rmtree(project.folder / "data", ignore_errors=True)
        project.stage("fetch", **environ)
        results.append(raw(project))
        assert leftovers(project) == []
    assert list(results[0]) == list(RAW)
    assert list(results[0].values()) == expected(project)
    assert all(result == results[0] for result in results)


def test_the_variable_comes_first(project: Project, server):
    project.set({"fetch.urls": [url(server)]})
    done = project.stage("fetch", FASHION_MNIST_DIR=str(project.source))
    assert f"from {project.source}" in done.stdout
    assert server.requests == []


def test_a_later_source_fills_in(project: Project, server):
    """A URL that lacks one file, then one that does not answer, then one that has all."""
    lacking = project.source / "lacking"
    shutil.copytree(project.source, lacking)
    (lacking / "test-labels.gz").unlink()
    urls = [url(server, "/lacking"), "http://127.0.0.1:9", url(server)]
    project.set({"fetch.urls": urls})
    done = project.stage("fetch")
    assert list(raw(project).values()) == expected(project)
    assert "404" in done.stderr
    assert "refused" in done.stderr
    assert f"test-labels from {url(server)}" in done.stdout


def test_wrong_content_at_a_url_is_passed_over(project: Project, server):
    write_source(project.source / "wrong", seed=1)
    html = project.source / "html"
    html.mkdir()
    for file in project.source.glob("*.gz"):
        (html / file.name).write_text("<h1>please log in</h1>")
    project.set({"fetch.urls": [url(server, "/wrong"), url(server, "/html"), url(server)]})
    done = project.stage("fetch")
    assert list(raw(project).values()) == expected(project)
    assert "the SHA-256 of its decompressed content is" in done.stderr
    assert "not an IDX file of images: it starts with 0x3c68313e" in done.stderr


def test_a_url_that_hangs_is_given_up_after_one_retry(project: Project, server):
    sources = project.folder / "stages" / "sources.py"
    sources.write_text(sources.read_text().replace("\nTIMEOUT = 5 ", "\nTIMEOUT = 0.5 "))
    server.delay = 30
    project.set({"fetch.urls": [url(server, "/slow"), url(server)]})
    done = project.stage("fetch")
    assert "timed out" in done.stderr.lower()
    assert server.requests.count("/train-images.gz") == 1


def test_nothing_answers(project: Project, tmp_path: Path):
    project.stage("fetch", FASHION_MNIST_DIR=str(project.source))
    before = raw(project)
    project.set({"fetch.folders": [str(tmp_path / "none")], "fetch.urls": ["http://127.0.0.1:9"]})
    done = project.stage("fetch", status=2, FASHION_MNIST_DIR=str(tmp_path))
    message = done.stderr.partition("stages.fetch: ")[2]
    assert f"{tmp_path}: no train-images.gz there" in message
    assert f"{tmp_path / 'none'}: no such folder" in message
    assert "http://127.0.0.1:9: " in message
    assert "refused" in message
    assert "FASHION_MNIST_DIR" in message.splitlines()[-2]
    assert "apt-get install dataset-fashion-mnist" in message.splitlines()[-1]
    assert raw(project) == before
    assert leftovers(project) == []


@pytest.mark.parametrize("kind", ["folder", "pipe", "link to nothing", "link to a device"])
def test_what_is_no_file_is_named(project: Project, kind: str, tmp_path: Path):
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "train-images.gz"
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case _:
            path.symlink_to("/dev/zero" if kind == "link to a device" else "nowhere")
    project.set({"fetch.folders": [str(folder)]})
    done = project.stage("fetch", status=2)
    assert f"{folder}: train-images.gz is no file there, nor a link to one" in done.stderr


@pytest.mark.parametrize("harm", ["checksum", "content", "truncated"])
def test_a_folder_with_another_file_is_an_error(project: Project, harm: str):
    project.set({"fetch.folders": [str(project.source)]})
    project.stage("fetch")
    before = raw(project)
    labels = project.source / "test-labels.gz"
    if harm == "checksum":
        project.set({"fetch.files.test_labels.sha256": "0" * 64})
    elif harm == "content":
        write_idx(labels, np.zeros(60))
    else:
        labels.write_bytes(labels.read_bytes()[:-9])
    done = project.stage("fetch", status=2)
    assert done.stderr.count("\n") == 1
    if harm == "truncated":
        assert f"{labels}: damaged: Compressed file ended before" in done.stderr
    else:
        assert f"{labels}: the SHA-256 of its decompressed content is" in done.stderr
    assert raw(project) == before
    assert leftovers(project) == []


@pytest.mark.parametrize(
    ("part", "array", "said"),
    [
        ("test-images", np.zeros((60, 3, 3)), "holds images of 3×3 pixels, but"),
        ("test-labels", np.zeros(59), "holds 60 images, but"),
        ("train-labels", np.zeros(7), "holds 300 images, but"),
        ("test-images", np.zeros((60, 0, 0)), "holds no pixels"),
    ],
)
def test_files_that_do_not_fit_each_other(project: Project, part: str, array: np.ndarray, said):
    """Their checksums are as announced; it is said before anything is searched."""
    project.set({"fetch.folders": [str(project.source)]})
    project.stage("fetch")
    before = raw(project)
    write_idx(project.source / f"{part}.gz", array)
    content = gzip.decompress((project.source / f"{part}.gz").read_bytes())
    digest = hashlib.sha256(content).hexdigest()
    project.set({f"fetch.files.{part.replace('-', '_')}.sha256": digest})
    done = project.stage("fetch", status=2)
    assert said in done.stderr.splitlines()[-1]
    assert ".raw." not in done.stderr
    assert raw(project) == before
    assert leftovers(project) == []


def test_leftovers_of_a_kill_are_swept_but_not_those_of_a_run(project: Project, server):
    """Two runs hang at a server; one is killed, the other goes on while a third sweeps."""
    release = threading.Event()
    server.wait = release.wait
    project.set({"fetch.urls": [url(server, "/wait"), url(server)]})
    command = [sys.executable, "-m", "stages.fetch"]
    runs = [subprocess.Popen(command, cwd=project.folder) for _ in range(2)]
    data = project.folder / "data"
    names = {f".raw.mlp-{run.pid}-{run.pid}.tmp" for run in runs}
    while not (data.is_dir() and names <= set(os.listdir(data))):
        assert all(run.poll() is None for run in runs)
        time.sleep(0.02)
    killed, living = runs
    killed.kill()
    killed.wait()
    assert project.call("git", "status", "--short").stdout.strip() == "M params.yaml"
    project.stage("fetch", FASHION_MNIST_DIR=str(project.source))
    assert leftovers(project) == [f".raw.mlp-{living.pid}-{living.pid}.tmp"]
    release.set()
    assert living.wait(60) == 0
    assert leftovers(project) == []
    assert list(raw(project).values()) == expected(project)


@pytest.mark.skipif(not shutil.which("apt-get"), reason="no apt on this system")
def test_debian_package(project: Project, tmp_path: Path):
    """A package that apt does not know yet, in a repository in a folder."""
    package = tmp_path / "package"
    data = package / "usr/share/datasets/tiny"
    shutil.copytree(project.source, data)
    (package / "DEBIAN").mkdir()
    control = "Package: tiny-idx\nVersion: 1\nArchitecture: all\nMaintainer: t <t@t>\n"
    (package / "DEBIAN/control").write_text(control + "Description: t\n")
    repository = tmp_path / "repository"
    repository.mkdir()
    deb = repository / "tiny-idx_1_all.deb"
    subprocess.run(["dpkg-deb", "-b", package, deb], check=True, capture_output=True)
    digest = hashlib.sha256(deb.read_bytes()).hexdigest()
    entry = f"Filename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n"
    (repository / "Packages").write_text(control + entry + "Description: t\n")
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] file:{repository} ./\n")
    config = tmp_path / "apt.conf"
    config.write_text(
        f'Dir::Etc::SourceList "{tmp_path}/sources.list";\nDir::Etc::SourceParts "-";'
    )

    project.set({"fetch.debian_package": "tiny-idx"})
    project.stage("fetch", APT_CONFIG=str(config))
    assert list(raw(project).values()) == expected(project)
    assert leftovers(project) == []

    project.set({"fetch.debian_package": "no-such"})
    done = project.stage("fetch", status=2, APT_CONFIG=str(config))
    assert "Debian package no-such: Unable to locate package no-such" in done.stderr


def test_the_checksums_are_those_of_the_real_data():
    """Of the decompressed files that Debian ships, where they are installed."""
    folder = Path(os.environ.get("FASHION_MNIST_DIR", "/usr/share/datasets/fashion-mnist"))
    if not folder.is_dir():
        pytest.skip("the data set is not installed")
    text = (ROOT / "params.yaml").read_text()
    for file in folder.glob("*.gz"):
        assert hashlib.sha256(gzip.decompress(file.read_bytes())).hexdigest() in text


def test_an_output_that_nobody_reads_is_no_fault_of_a_source(project: Project):
    command = "exec python -m stages.fetch >/dev/full"
    done = project.call("sh", "-c", command, status=2, FASHION_MNIST_DIR=str(project.source))
    assert done.stderr == "stages.fetch: [Errno 28] No space left on device\n"
