"""Where the data set's files come from: folders, URLs and Debian packages.

Each kind of source is a function that takes a file's name and a folder for temporary files, and
returns where the file lies now, compressed or not. It raises OSError if it has no such file, and
neither waits for ever nor fills the disk.
"""

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pooch
import requests

from stages.params import Fetch

VARIABLE = "FASHION_MNIST_DIR"
TIMEOUT = 5  # seconds to connect, and between two pieces of a download
GRACE, RATE = 20.0, 10_000  # a download may last 20 s, and a second more for each 10 kB of it
LARGEST = 1 << 30  # bytes of a file, compressed or not
PATIENCE = 900  # seconds for a command of the package manager, which bounds sizes itself

Find = Callable[[str, Path], Path]


def in_folder(folder: Path, name: str, _: Path) -> Path:
    paths = folder / f"{name}.gz", folder / name
    for path in paths:
        if path.is_file():
            return path
    for path in paths:
        if os.path.lexists(path):
            raise FileNotFoundError(f"{path.name} is no file there, nor a link to one")
    raise FileNotFoundError(f"no {name}.gz there" if folder.is_dir() else "no such folder")


class Download(threading.Thread):
    """Download a URL to a file, in a thread of its own: whatever a server does to hold it, in its
    header, a redirect or the body, the thread that waits for it can go on without it."""

    def __init__(self, url: str, path: Path) -> None:
        super().__init__(daemon=True)
        self.url, self.path = url, path
        self.end = time.monotonic() + GRACE
        self.received = 0
        self.error: Exception | None = None

    def run(self) -> None:
        fetch = pooch.HTTPDownloader(
            progressbar=sys.stderr is not None and sys.stderr.isatty(),
            timeout=TIMEOUT,
            headers={"Accept-Encoding": "identity"},
            hooks={"response": self.close_redirect},
        )
        try:
            with self.path.open("wb") as self.file:
                try:
                    fetch(self.url, self, None)
                except (
                    requests.ConnectionError,
                    requests.Timeout,
                    requests.exceptions.ChunkedEncodingError,  # a line that drops
                ):
                    self.file.seek(0)
                    self.file.truncate()
                    fetch(self.url, self, None)
        except Exception as error:  # requests, urllib3, http.client and pooch have dozens
            self.error = error

    @staticmethod
    def close_redirect(response: requests.Response, *_: Any, **__: Any) -> None:
        if response.is_redirect:
            response.close()  # requests would read its body, however long, into memory

    def write(self, piece: bytes) -> None:
        self.received += len(piece)
        self.end += len(piece) / RATE
        if self.received > LARGEST:
            raise OSError(f"more than {LARGEST:,} bytes")
        if time.monotonic() > self.end:
            raise TimeoutError("too slow")
        self.file.write(piece)

    def flush(self) -> None:
        """pooch asks for it after each piece."""


def at_url(url: str, name: str, temporary: Path) -> Path:
    path = temporary / f"{name}.gz"
    download = Download(f"{url}/{name}.gz", path)
    download.start()
    while download.is_alive():
        download.join(0.1)
        if time.monotonic() > download.end:
            raise TimeoutError(f"too slow: {download.received:,} bytes in {GRACE:.0f} s or more")
    if download.error:
        raise OSError(reason(download.error)) from download.error
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
        call("apt-get", "download", "--", package, cwd=folder)
    except ChildProcessError:
        call("apt-get", *state, "update", cwd=folder)
        call("apt-get", *state, "download", "--", package, cwd=folder)
    call("dpkg-deb", "-x", "--", *map(str, folder.glob("*.deb")), ".", cwd=folder)


def call(*command: str, cwd: Path) -> None:
    # a file for its messages, because a pipe stays open as long as any helper of it lives
    with tempfile.TemporaryFile() as messages:
        try:
            done = subprocess.run(
                command,
                cwd=cwd,
                env=os.environ | {"LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=messages,
                timeout=PATIENCE,
            )
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"{command[0]}: no end after {PATIENCE} s") from error
        if done.returncode:
            messages.seek(0)
            text = messages.read(100_000).decode(errors="replace")
            raise ChildProcessError(text.split("E: ")[-1] or f"{command[0]} failed")


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
    """Why a source failed, in a line; requests and urllib3 wrap the cause in other exceptions."""
    while causes := [
        cause
        for cause in (getattr(error, "reason", None), *error.args)
        if isinstance(cause, Exception)
    ]:
        error = causes[0]
    text = re.sub(r"^HTTPS?Connection\(.*?\): ", "", " ".join(str(error).split()))
    # a server may send what a terminal would obey
    text = "".join(c if c.isprintable() else "?" for c in text)
    return f"{text:.500}" or type(error).__name__
