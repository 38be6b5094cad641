"""A browser without a window, told by its own protocol what to open: what a page logs is kept.

The DevTools protocol over a pipe needs no port, and no package.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

JSON = dict[str, Any]  # Any: the protocol's
NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_S = 60.0
_SIZE = (1280, 900)
_DRAWN = """new Promise(done => {
  const look = () => document.documentElement.dataset.drawn ? done(true) : setTimeout(look, 10);
  look();
})"""


def found() -> str | None:
    """Where there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@dataclass(kw_only=True)
class Page:
    """A page that is open. `complaints`: whatever it logged, and what the browser said of it."""

    _out: int
    _in: int
    _session: str = ""
    _number: int = 0
    _buffer: bytes = b""
    complaints: list[str] = field(default_factory=list)

    def open(self, path: Path) -> float:
        """Returns the seconds until its charts are drawn."""
        began = time.perf_counter()
        self.ask("Page.navigate", url=path.resolve().as_uri())
        self._until("Page.loadEventFired")
        self.value(_DRAWN)
        return time.perf_counter() - began

    @property
    def busy_s(self) -> float:
        """What its own thread has computed since it was opened."""
        told = self.ask("Performance.getMetrics")["metrics"]
        return float(next(each["value"] for each in told if each["name"] == "ThreadTime"))

    def value(self, expression: str) -> Any:  # Any: what the page says
        """What an expression is there; a promise is waited for."""
        answer = self.ask(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def look(self, path: Path, *, width: int = _SIZE[0]) -> None:
        """Keep a picture of the whole page."""
        height = self.value("document.documentElement.scrollHeight")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        answer = self.ask("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(answer["data"]))

    def as_if(self, **media: str) -> None:
        """`scheme`: dark or light; `media`: print or screen."""
        scheme = {"name": "prefers-color-scheme", "value": media.get("scheme", "light")}
        self.ask("Emulation.setEmulatedMedia", media=media.get("media", ""), features=[scheme])

    def ask(self, method: str, **params: object) -> JSON:
        self._number += 1
        said: JSON = {"id": self._number, "method": method, "params": params}
        if self._session:
            said["sessionId"] = self._session
        os.write(self._in, json.dumps(said).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self._hear(answer)
        assert "error" not in answer, (method, answer)
        result: JSON = answer["result"]
        return result

    def _until(self, event: str) -> None:
        while (said := self._next()).get("method") != event:
            self._hear(said)

    def _next(self) -> JSON:
        while b"\0" not in self._buffer:
            piece = os.read(self._out, 2**20)
            assert piece, "the browser has ended"
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\0")
        said: JSON = json.loads(line)
        return said

    def _hear(self, said: JSON) -> None:
        params = said.get("params", {})
        match said.get("method"):
            case "Runtime.consoleAPICalled":
                values = [str(each.get("value", each)) for each in params["args"]]
                self.complaints.append(" ".join(values))
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(params["exceptionDetails"])[:2000])
            case "Log.entryAdded":
                self.complaints.append(params["entry"]["text"])
            case "Page.javascriptDialogOpening":
                self.complaints.append(f"a dialog: {params['message']}")

    def attach(self) -> None:
        target = self.ask("Target.createTarget", url="about:blank")
        found = self.ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = found["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Performance"):
            self.ask(f"{domain}.enable")
        size = {"width": _SIZE[0], "height": _SIZE[1]}
        self.ask("Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=False)


@contextmanager
def browser() -> Iterator[Page]:
    """One page of a browser of its own. It has no network: what it asks for there fails aloud."""
    program = found()
    assert program is not None, f"none of {', '.join(NAMES)} is installed"
    with tempfile.TemporaryDirectory(prefix="tasuki-browser-", ignore_cleanup_errors=True) as home:
        to_it, to_us = os.pipe(), os.pipe()
        command = [
            program,
            "--headless=new",
            "--no-sandbox",  # root has none, in containers
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={home}",
            "--remote-debugging-pipe",
        ]
        # The browser reads from descriptor 3 and writes to 4.
        shell = ["bash", "-c", f'exec "$@" 3<&{to_it[0]} 4>&{to_us[1]}', "bash", *command]
        process = subprocess.Popen(
            shell,
            pass_fds=(to_it[0], to_us[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(to_it[0])
        os.close(to_us[1])
        try:
            page = Page(_out=to_us[0], _in=to_it[1])
            page.attach()
            yield page
        finally:
            os.close(to_it[1])  # it ends when nobody can tell it anything
            os.close(to_us[0])
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
