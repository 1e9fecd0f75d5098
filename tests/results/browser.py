"""A real browser for tests: headless Chromium, spoken to over a pipe in the DevTools protocol. No further packages.

Source: https://chromedevtools.github.io/devtools-protocol (``--remote-debugging-pipe``: JSON messages that end in NUL,
requests on descriptor 3, answers on descriptor 4).
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe")
PATIENCE_SECONDS = 300


class Tab:
    """One page. `problems` are what it complained about: exceptions, console errors, refused requests."""

    def __init__(self, requests: int, answers: int) -> None:
        self.problems: list[str] = []
        self._requests, self._answers = requests, answers
        self._buffer, self._last, self._session = b"", 0, ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._requests, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._last:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self._notice(answer)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            assert select.select([self._answers], [], [], PATIENCE_SECONDS)[0], "the browser has gone quiet"
            piece = os.read(self._answers, 1 << 20)
            assert piece, "the browser has gone"
            self._buffer += piece
        text, self._buffer = self._buffer.split(b"\0", 1)
        message: dict[str, Any] = json.loads(text)
        return message

    def _notice(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                self.problems.append(str(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning"):
                self.problems.append(str(params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.problems.append(params["entry"]["text"])
            case "Network.requestWillBeSent" if not params["request"]["url"].startswith(("file:", "data:", "blob:")):
                self.problems.append(f"asked the network for {params['request']['url']}")

    def open(self, path: Path, *, width: int = 1000, dark: bool = False) -> None:
        """Open the report at `path` and wait until it is drawn."""
        self.view(width, dark=dark)
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.evaluate(
            "new Promise(done => { const wait = () => document.documentElement?.dataset.ready ? done(1) : "
            "setTimeout(wait, 50); wait(); })"
        )

    def view(self, width: int, *, dark: bool = False) -> None:
        """Pretend to be a screen this wide, in light or dark mode."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression; promises are waited for."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def screenshot(self, path: Path) -> None:
        """The whole page as PNG."""
        picture = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(picture["data"]))


@contextmanager
def browser(profile: Path) -> Iterator[Tab]:
    """A tab of a browser that ends with the block."""
    assert CHROMIUM is not None, "no Chromium: apt-get install chromium"
    read_request, write_request = os.pipe()
    read_answer, write_answer = os.pipe()

    def descriptors() -> None:
        os.dup2(os.dup(read_request), 3)
        os.dup2(os.dup(write_answer), 4)

    process = subprocess.Popen(
        [CHROMIUM, *FLAGS, f"--user-data-dir={profile}"],
        preexec_fn=descriptors,
        close_fds=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(read_request)
    os.close(write_answer)
    try:
        yield Tab(write_request, read_answer)
    finally:
        process.terminate()
        process.wait(timeout=30)
        os.close(write_request)
        os.close(read_answer)
