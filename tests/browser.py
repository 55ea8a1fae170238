"""Chromium, through chromedriver's own protocol (W3C WebDriver), without a library for it."""

import base64
import json
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key that the standard gives

ARGUMENTS = (
    *("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "no-first-run"),
    # nothing but the page that a test opens
    *("disable-background-networking", "disable-component-update", "disable-sync"),
    *("disable-extensions", "disable-quic"),
)


class Browser:
    """One session; a context manager, so that no process is left behind."""

    @staticmethod
    def exists() -> bool:
        return bool(shutil.which("chromedriver") and shutil.which("chromium"))

    def __init__(self) -> None:
        self._driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True
        )
        assert self._driver.stdout
        port = next(
            found[1]
            for line in self._driver.stdout
            if (found := re.search(r"started successfully on port (\d+)", line))
        )
        self._url = f"http://127.0.0.1:{port}/session"
        options = {
            "binary": shutil.which("chromium"),
            "args": [f"--{argument}" for argument in ARGUMENTS],
        }
        timeouts = {"script": 120_000, "pageLoad": 120_000}  # milliseconds, on a busy machine
        capabilities = {"alwaysMatch": {"goog:chromeOptions": options, "timeouts": timeouts}}
        session = self._call("POST", "", {"capabilities": capabilities})["sessionId"]
        self._url += f"/{session}"
        self.devtools("Network.enable")

    def become(self, width: int = 1280, *, dark: bool = False, offline: bool = False) -> None:
        """Set what a page finds; errors of earlier pages are forgotten."""
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", features=[feature])
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        unlimited = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.devtools("Network.emulateNetworkConditions", offline=offline, **unlimited)
        self.errors()

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._call("DELETE", "")
        finally:
            self._driver.terminate()
            self._driver.communicate()

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._url + path, data, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=150) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from error

    def devtools(self, command: str, **params: Any) -> Any:
        return self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": params})

    def open(self, path: Path) -> None:
        self._call("POST", "/url", {"url": path.resolve().as_uri()})

    def run(self, script: str, *arguments: Any) -> Any:
        """What the body of a function returns, waited for if it is a promise."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def keys(self, text: str) -> None:
        """Press keys where the focus is, one after the other."""
        actions = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        self._call(
            "POST", "/actions", {"actions": [{"type": "key", "id": "k", "actions": actions}]}
        )

    def click(self, selector: str, x: int = 0, y: int = 0) -> None:
        """Press the pointer on an element, x and y pixels from its centre."""
        origin = self._call("POST", "/element", {"using": "css selector", "value": selector})
        self.run("arguments[0].scrollIntoView({block: 'center'})", origin)
        actions = [
            {"type": "pointerMove", "origin": origin, "x": x, "y": y},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        pointer = {"type": "pointer", "id": "p", "actions": actions}
        self._call("POST", "/actions", {"actions": [pointer]})

    def choose_file(self, selector: str, path: Path) -> None:
        element = self._call("POST", "/element", {"using": "css selector", "value": selector})
        self._call("POST", f"/element/{element[ELEMENT]}/value", {"text": str(path.resolve())})

    def errors(self) -> list[str]:
        """What the console was told of errors, refused requests among them."""
        log = self._call("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in log if entry["level"] == "SEVERE"]

    def screenshot(self, path: Path) -> None:
        shot = self.devtools("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))
