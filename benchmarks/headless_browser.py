"""Opens a page in a headless Chromium and looks at it as a person would, over the DevTools protocol.

For the tests and pictures of the report. The page gets no network: every request but for files and data is kept in
``requests``, and fails.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tornado.websocket import WebSocketClientConnection, websocket_connect

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
_LOCAL = ("file:", "data:", "blob:", "about:")


def find_browser() -> str | None:
    """Path of a Chromium or Chrome: LS_OOD_BROWSER, or the first on PATH; None where there is none."""
    return os.environ.get("LS_OOD_BROWSER") or next(filter(None, map(shutil.which, _NAMES)), None)


class Page:
    """One tab of a browser of its own; a context manager that ends the browser.

    Args:
        folder: for the browser's profile.
        timeout_s: patience with the browser, seconds.

    Attributes:
        complaints: exceptions and errors on the page's console.
        requests: addresses that the page asked for beyond files and data.
    """

    def __init__(self, folder: Path, timeout_s: float = 60.0) -> None:
        self._folder, self._timeout_s = folder, timeout_s
        self._number = 0
        self._events: list[dict[str, Any]] = []
        self.complaints: list[str] = []
        self.requests: list[str] = []

    def __enter__(self) -> Page:
        browser = find_browser()
        if browser is None:
            raise FileNotFoundError(f"none of {', '.join(_NAMES)} is on PATH; name one in LS_OOD_BROWSER.")
        self._loop = asyncio.new_event_loop()
        self._process = subprocess.Popen(
            [browser, *_FLAGS, f"--user-data-dir={self._folder}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._socket = self._connect()
            targets = self.call("Target.getTargets", session=None)["targetInfos"]
            target = next(one["targetId"] for one in targets if one["type"] == "page")
            self._session = self.call("Target.attachToTarget", session=None, targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.call(f"{domain}.enable")
            self.call(
                "Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0
            )
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._loop.close()

    def _connect(self) -> WebSocketClientConnection:
        port_file, deadline = self._folder / "DevToolsActivePort", time.monotonic() + self._timeout_s
        while not (port_file.is_file() and len(port_file.read_text().split()) == 2):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the browser did not start (exit code {self._process.poll()}).")
            time.sleep(0.05)
        port, path = port_file.read_text().split()
        return self._run(lambda: websocket_connect(f"ws://127.0.0.1:{port}{path}", max_message_size=100_000_000))

    def _run(self, begin: Callable[[], Awaitable[Any]]) -> Any:
        async def waiting() -> Any:
            return await asyncio.wait_for(begin(), self._timeout_s)

        return self._loop.run_until_complete(waiting())

    def call(self, method: str, session: str | None = "own", **parameters: Any) -> dict[str, Any]:
        """Ask the browser for something and return its answer; what it tells meanwhile is noted."""
        self._number += 1
        question: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            question["sessionId"] = self._session
        self._run(lambda: self._socket.write_message(json.dumps(question)))
        while True:
            message = self._next()
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]

    def _next(self) -> dict[str, Any]:
        text = self._run(self._socket.read_message)
        if text is None:
            raise RuntimeError("the browser hung up.")
        message: dict[str, Any] = json.loads(text)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, told: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(told["exceptionDetails"].get("exception", told["exceptionDetails"])))
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "assert"):
            self.complaints.append(str(told["args"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.complaints.append(told["entry"]["text"])
        elif method == "Network.requestWillBeSent" and not told["request"]["url"].startswith(_LOCAL):
            self.requests.append(told["request"]["url"])
        self._events.append({"method": method})

    def open(self, path: Path, width: int, height: int) -> None:
        """Load a file into a window of this size, as a phone's below 500 px, and wait until it is drawn."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        self.call("Emulation.setTouchEmulationEnabled", enabled=width < 500)
        self._events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._next()
        self.settle()

    def settle(self) -> None:
        """Wait until the browser has drawn twice."""
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")

    def evaluate(self, script: str) -> Any:
        """Value of a JavaScript expression, promises awaited."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def mouse(self, kind: str, x: float, y: float, button: str = "none") -> None:
        """A ``mouseMoved``, ``mousePressed`` or ``mouseReleased`` at a place in the window."""
        pressed = 1 if button == "left" and kind != "mouseReleased" else 0
        self.call(
            "Input.dispatchMouseEvent",
            type=kind,
            x=x,
            y=y,
            button=button,
            buttons=pressed,
            clickCount=int(kind != "mouseMoved"),
        )

    def drag(self, begin: tuple[float, float], end: tuple[float, float], steps: int = 8) -> None:
        """Press at one place, move, and let go at another."""
        self.mouse("mouseMoved", *begin)
        self.mouse("mousePressed", *begin, "left")
        for step in range(1, steps + 1):
            share = step / steps
            self.mouse(
                "mouseMoved",
                begin[0] + share * (end[0] - begin[0]),
                begin[1] + share * (end[1] - begin[1]),
                "left",
            )
        self.mouse("mouseReleased", *end, "left")
        self.settle()

    def swipe(self, begin: tuple[float, float], up: float) -> None:
        """Lay a finger on a place and draw it up by so many px."""
        self.call(
            "Input.synthesizeScrollGesture",
            x=begin[0],
            y=begin[1],
            yDistance=-up,
            gestureSourceType="touch",
            speed=2000,
        )
        self.settle()

    def picture(self, whole: bool = False) -> bytes:
        """PNG of the window, or of the whole page."""
        parameters: dict[str, Any] = {"format": "png"}
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            parameters["captureBeyondViewport"] = True
            parameters["clip"] = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        return base64.b64decode(self.call("Page.captureScreenshot", **parameters)["data"])

    def pdf(self) -> bytes:
        """The page as it would be printed."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"])
