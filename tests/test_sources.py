"""Sources that misbehave: each is one line, and the next one is asked. Real servers, one process.

The bounds are lowered, so that what is held up for ever is given up within a second.
"""

import contextlib
import gzip
import hashlib
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dvc.utils.serialize import dumps_yaml, parse_yaml
from fuzzing import bounded, spoilt
from hypothesis import given
from hypothesis import strategies as st
from project import ROOT, write_source

from stages import fetch, sources

Send = Callable[[bytes], object]
FIRST = "train-images.gz"


class Server(socketserver.ThreadingTCPServer):
    """Hands the path of a GET request to `answer`, which writes what it likes."""

    daemon_threads = True
    allow_reuse_address = True
    answer: Callable[[str, Send], None]
    paths: list[str]

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"


class Handler(socketserver.StreamRequestHandler):
    server: Server

    def handle(self) -> None:
        path = self.rfile.readline().split()[1].decode()[1:]
        while self.rfile.readline().strip():
            pass
        self.server.paths.append(path)
        with contextlib.suppress(OSError):  # the client has gone
            self.server.answer(path, self.wfile.write)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, str]]:
    monkeypatch.chdir(tmp_path)
    for name, value in {"GRACE": 0.8, "TIMEOUT": 0.7, "LARGEST": 1 << 20, "PATIENCE": 0.5}.items():
        monkeypatch.setattr(sources, name, value)
    monkeypatch.setattr(fetch, "LARGEST", sources.LARGEST)
    monkeypatch.delenv(sources.VARIABLE, raising=False)
    return write_source(tmp_path / "source")


@pytest.fixture
def server(files: object) -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.paths = []
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield server
        server.shutdown()


def reply(send: Send, body: bytes, *headers: str, status: str = "200 OK") -> None:
    lines = [f"HTTP/1.1 {status}", "Connection: close", *headers, "", ""]
    send("\r\n".join(lines).encode("latin-1") + body)


def good(path: str, send: Send) -> None:
    reply(send, Path("source", path.split("/")[-1]).read_bytes())


def run(files: dict[str, dict[str, str]], urls: list[str], package: str | None = None) -> None:
    """The fetch stage with these URLs; the files that it gets have to be the right ones."""
    values = parse_yaml((ROOT / "params.yaml").read_text(encoding="utf-8"), "params.yaml")
    values["fetch"] = {"folders": [], "urls": urls, "debian_package": package, "files": files}
    Path("params.yaml").write_text(dumps_yaml(values))
    fetch.main()
    found = sorted(hashlib.sha256(f.read_bytes()).hexdigest() for f in Path("data/raw").iterdir())
    assert found == sorted(file["sha256"] for file in files.values())
    assert [path.name for path in Path("data").iterdir()] == ["raw"]


def drip(send: Send) -> None:
    for _ in range(600):
        send(b"x")
        time.sleep(0.05)


def drip_header(_: str, send: Send) -> None:
    send(b"HTTP/1.1 200 OK\r\nX-Long: ")
    drip(send)


def drip_body(_: str, send: Send) -> None:
    reply(send, b"", "Content-Length: 1000000")
    drip(send)


def pour(send: Send) -> None:
    while True:
        send(bytes(1 << 16))


def endless_body(_: str, send: Send) -> None:
    reply(send, b"")
    pour(send)


def endless_redirect_body(path: str, send: Send) -> None:
    reply(send, b"", f"Location: /again/{path}", status="302 Found")
    pour(send)


def idx(*shape: int) -> bytes:
    return struct.pack(f">{1 + len(shape)}I", 0x800 + len(shape), *shape)


def body(content: bytes, *headers: str, status: str = "200 OK") -> Callable[[str, Send], None]:
    return lambda path, send: reply(send, content, *headers, status=status)


def to(location: str) -> Callable[[str, Send], None]:
    return body(b"", f"Location: {location}", status="302 Found")


BAD = {
    "a header a byte at a time": (drip_header, "too slow"),
    "a body a byte at a time": (drip_body, "too slow"),
    "silence": (lambda path, send: time.sleep(30), "t"),  # timed out, or too slow
    "an endless body": (endless_body, "more than 1,048,576 bytes"),
    "an endless redirect's body": (endless_redirect_body, "redirects"),
    "a redirect to itself": (lambda path, send: to(f"/{path}")(path, send), "redirects"),
    "a redirect to nothing": (to("http://["), ""),
    "a redirect to a file": (to("file:///etc/passwd"), "No connection adapters"),
    "a redirect to no host": (to("http://.example."), ""),
    "a redirect to a port": (to("http://127.0.0.1:99999/"), ""),
    "a length that is none": (body(b"abc", "Content-Length: abc"), "abc"),
    "a negative length": (body(b"abc", "Content-Length: -3"), ""),
    "two lengths": (body(b"abc", "Content-Length: 3", "Content-Length: 4"), ""),
    "a body cut off": (body(b"abc", "Content-Length: 300"), "IncompleteRead"),
    "chunks that are none": (body(b"zz\r\nabc", "Transfer-Encoding: chunked"), ""),
    "no gzip, but said so": (body(idx(1, 1, 1), "Content-Encoding: gzip"), "header"),
    "another file, said to be gzip": (
        body(gzip.compress(b"other"), "Content-Encoding: gzip"),
        "not an IDX",
    ),
    "an unknown encoding": (body(b"abc", "Content-Encoding: x-what"), "not an IDX file"),
    "no HTTP": (lambda path, send: send(b"hello\r\n" * 9), ""),
    "a terminal's commands": (body(b"", status="404 \x1b[2Jgone"), "404"),
    "a long complaint": (body(b"", status=f"500 {'x' * 9000}"), "500"),
    "nothing": (lambda path, send: None, ""),
    "a page": (body(b"<h1>please log in</h1>"), "not an IDX file"),
    "a bomb": (body(gzip.compress(idx(2, 2, 2) + bytes(1 << 24))), "too long: its header"),
    "a bomb of zeros": (body(gzip.compress(bytes(1 << 24))), "not an IDX file"),
    "a promise": (body(gzip.compress(idx(*3 * [2**32 - 1]))), "truncated: its header announces"),
    "a large one": (body(gzip.compress(idx(2000, 30, 30) + bytes(1_800_000))), "at most 1,048,576"),
    "cut off gzip": (body(gzip.compress(idx(9, 9, 9) + bytes(729))[:-9]), "damaged"),
}


def test_a_daemon_has_no_terminal(files: dict, server: Server, monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    server.answer = good
    run(files, [server.url("")])


@pytest.mark.parametrize("case", BAD)
def test_a_source_that_misbehaves(case: str, files, server: Server, capsys):
    answer, message = BAD[case]
    server.answer = lambda path, send: (answer if path.startswith(("bad/", "again/")) else good)(
        path, send
    )
    run(files, [server.url("bad"), server.url("good")])
    captured = capsys.readouterr()
    [line] = captured.err.splitlines()
    assert line.startswith(f"fetch: {server.url('bad')}: ")
    assert message in line
    assert line.isprintable()
    assert len(line) < 700
    assert f"train-images from {server.url('good')}" in captured.out


def test_what_is_downloaded_is_bounded(files, server: Server, tmp_path: Path):
    server.answer = endless_body
    with pytest.raises(OSError, match="more than"):
        sources.at_url(server.url("bad"), "train-images", tmp_path)
    assert (tmp_path / FIRST).stat().st_size <= sources.LARGEST


def test_a_bomb_is_not_unpacked(files, tmp_path: Path):
    bomb, target = tmp_path / "bomb", tmp_path / "train-images-idx3-ubyte"
    bomb.write_bytes(gzip.compress(idx(2, 2, 2) + bytes(1 << 24)))
    wanted = fetch.SourceFile(name="bomb", sha256="0" * 64)
    with pytest.raises(fetch.InputError, match="too long"):
        fetch.take(bomb, wanted, target)
    assert target.stat().st_size == 16 + 8


HEADERS = st.tuples(
    st.sampled_from(
        [
            *("Content-Length", "Content-Encoding", "Transfer-Encoding", "Location", "Connection"),
            *("Content-Range", "Content-Type", "Set-Cookie", "Refresh", "X", "", "\xff"),
        ]
    ),
    st.sampled_from(
        [
            *("0", "-1", "abc", "3, 4", "9" * 30, "gzip", "br", "deflate", "identity", "chunked"),
            *("", "gzip, gzip", "keep-alive", "http://[", "file:///etc/passwd", "//", "?", "\0"),
        ]
    ),
).map(": ".join)
STATUS = st.sampled_from(
    [
        *("200 OK", "200 OK", "200 OK", "200", "206 Partial", "302 Found", "304 Not Modified"),
        *("100 Go", "404 \x1b[2Jgone", f"500 {'x' * 9000}", "999 ?", "-1 ?", "OK", ""),
    ]
)


def bodies(content: bytes) -> st.SearchStrategy[bytes]:
    almost = st.just(content) | spoilt(content)
    other = spoilt(idx(9, 9, 9) + bytes(729)) | st.binary(max_size=9)
    plain = almost | other | almost.map(lambda body: body + bytes(2_000_000))
    return plain | (other | st.just(bytes(1 << 24))).map(gzip.compress) | chunked(content)


def chunked(content: bytes) -> st.SearchStrategy[bytes]:
    return spoilt(b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content))


@given(data=st.data())
def test_whatever_a_server_sends(data: st.DataObject, files, server: Server, tmp_path: Path):
    """The right file, or what the stage takes for a source's failure, in a line."""
    content = Path("source", FIRST).read_bytes()
    lines = [f"HTTP/1.1 {data.draw(STATUS)}", *data.draw(st.lists(HEADERS, max_size=3)), "", ""]
    answer = "\r\n".join(lines).encode("latin-1") + data.draw(bodies(content))
    server.answer = lambda path, send: send(answer)
    wanted = fetch.SourceFile(**files["train_images"])
    target = tmp_path / fetch.TRAIN_IMAGES.name
    try:
        with bounded():
            path = sources.at_url(server.url("x"), wanted.name, tmp_path)
            fetch.take(path, wanted, target)
    except (OSError, fetch.InputError) as error:
        line = sources.reason(error)
        assert line.isprintable()
        assert 0 < len(line) <= 500
    else:
        assert hashlib.sha256(target.read_bytes()).hexdigest() == wanted.sha256
    assert all(p.stat().st_size <= sources.LARGEST for p in tmp_path.iterdir() if p.is_file())


def slow(path: str, send: Send) -> None:
    """Some 1.5 seconds for the first file, which is more than the grace."""
    content = Path("source", path.split("/")[-1]).read_bytes()
    reply(send, b"", f"Content-Length: {len(content)}")
    for start in range(0, len(content), 500):
        send(content[start : start + 500])
        time.sleep(0.1 if path.endswith(FIRST) else 0)


def changed(change: Callable[[bytes], bytes], *headers: str) -> Callable[[str, Send], None]:
    return lambda path, send: reply(
        send, change(Path("source", path.split("/")[-1]).read_bytes()), *headers
    )


FINE = {
    "slow, but steady": slow,
    "gzip, said so": changed(bytes, "Content-Encoding: gzip"),
    "gzip twice": changed(gzip.compress, "Content-Encoding: gzip"),
    "plain": changed(gzip.decompress),
    "gzip of several parts": changed(
        lambda content: b"".join(
            gzip.compress(gzip.decompress(content)[part])
            for part in (slice(0, 100), slice(100, None))
        )
    ),
    "zeros behind it": changed(lambda content: content + bytes(1000)),
    "redirected": lambda path, send: (
        good if path.startswith("there/") else to(f"/there/{path.split('/')[-1]}")
    )(path, send),
}


@pytest.mark.parametrize("case", FINE)
def test_a_source_that_is_odd_but_right(case: str, files, server: Server, capsys, monkeypatch):
    monkeypatch.setattr(sources, "RATE", 1000)
    server.answer = FINE[case]
    run(files, [server.url("fine")])
    assert capsys.readouterr().err == ""


def test_a_line_that_drops_once(files, server: Server, capsys):
    def answer(path: str, send: Send) -> None:
        content = Path("source", path).read_bytes()
        whole = path != FIRST or server.paths.count(path) > 1
        reply(send, content[: None if whole else 1000], f"Content-Length: {len(content)}")

    server.answer = answer
    run(files, [server.url("")])
    assert server.paths.count(FIRST) == 2
    assert capsys.readouterr().err == ""


def test_a_package_manager_that_hangs(files, server: Server, capsys, tmp_path, monkeypatch):
    """Its helper outlives it, and keeps its standard error open."""
    server.answer = body(b"", status="404 gone")
    tools = tmp_path / "bin"
    tools.mkdir()
    command = tools / "apt-get"
    command.write_text('#!/bin/sh\necho "$@" >> "$LOG"\n/bin/sleep 20 &\n/bin/sleep 20\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    with pytest.raises(fetch.InputError, match=r"Debian package tiny-idx: apt-get: no end after"):
        run(files, [server.url("bad")], "tiny-idx")
    assert (tmp_path / "log").read_text() == "download -- tiny-idx\n"
    assert list(Path("data").iterdir()) == []
