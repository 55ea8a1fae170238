"""Where the data set's files come from: folders, URLs and Debian packages.

Each kind of source is a function that takes a file's name and a folder for temporary files, and
returns where the file lies now, compressed or not.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pooch
import requests

from stages.params import (
    Fetch,
)

VARIABLE = "FASHION_MNIST_DIR"
TIMEOUT = 5  # seconds to connect, and between two pieces of a download

Find = Callable[[str, Path], Path]


def in_folder(folder: Path, name: str, _: Path) -> Path:
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    raise FileNotFoundError(f"no {name}.gz there" if folder.is_dir() else "no such folder")


def at_url(url: str, name: str, temporary: Path) -> Path:
    path = temporary / f"{name}.gz"
    download = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=TIMEOUT)
    try:
        download(f"{url}/{name}.gz", str(path), None)
    except (requests.ConnectionError, requests.Timeout):
        download(f"{url}/{name}.gz", str(path), None)
    return path


def in_package(package: str, name: str, temporary: Path) -> Path:
    folder = temporary / "package"
    if not folder.exists():
        folder.mkdir()
        download_package(package, folder)
    path = next(folder.rglob(f"{name}.gz"), None)
    if path is None:
        raise FileNotFoundError(f"no {name}.gz in it")
    return path


def download_package(package: str, folder: Path) -> None:
    """Download and unpack a Debian package. Needs no root, not even to bring apt's lists up to
    date, because they are its own."""
    print(f"fetch: downloading Debian package {package}", file=sys.stderr, flush=True)
    (folder / "lists" / "partial").mkdir(parents=True)
    options = (f"Dir::State::Lists={folder / 'lists'}", f"Dir::Cache={folder / 'cache'}")
    state = [part for option in (*options, "APT::Sandbox::User=root") for part in ("-o", option)]
    try:
        call("apt-get", "download", package, cwd=folder)
    except OSError:
        call("apt-get", *state, "update", cwd=folder)
        call("apt-get", *state, "download", package, cwd=folder)
    call("dpkg-deb", "-x", *map(str, folder.glob("*.deb")), ".", cwd=folder)


def call(*command: str, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise OSError(done.stderr.split("E: ")[-1] or f"{command[0]} failed")


def sources(fetch: Fetch) -> list[tuple[str, Find]]:
    """The sources in the order in which they are asked, each with its name in messages."""
    own = os.environ.get(VARIABLE)
    folders = [own, *fetch.folders] if own else fetch.folders
    found: list[tuple[str, Find]] = [(name, partial(in_folder, Path(name))) for name in folders]
    found += [(url, partial(at_url, url.rstrip("/"))) for url in fetch.urls]
    if package := fetch.debian_package:
        found.append((f"Debian package {package}", partial(in_package, package)))
    return found


def reason(error: BaseException) -> str:
    """Why a source failed, in a line; requests wraps the cause of a failed connection in others."""
    while isinstance(error, requests.RequestException) and error.args:
        cause = getattr(error.args[0], "reason", error.args[0])
        if not isinstance(cause, Exception):
            break
        error = cause
    text = re.sub(r"^HTTPS?Connection\(.*?\): ", "", " ".join(str(error).split()))
    return text or type(error).__name__
