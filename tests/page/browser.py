"""A headless Chromium, driven over its DevTools protocol through a pipe: no port, no library."""

import base64
import io
import json
import os
import subprocess
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image


class Browser:
    """One tab. `send` returns a method's result; what the page did meanwhile collects in `events`."""

    def __init__(self, chromium: str, profile: Path) -> None:
        to_child, self._write = os.pipe()
        self._read, from_child = os.pipe()

        def ends() -> None:  # the protocol reads from descriptor 3 and writes to 4
            spare = os.dup(from_child)
            os.dup2(to_child, 3)
            os.dup2(spare, 4)

        words = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"]
        self._process = subprocess.Popen(
            [
                chromium,
                *words,
                "--hide-scrollbars",
                f"--user-data-dir={profile}",
                "--remote-debugging-pipe",
                "about:blank",
            ],
            pass_fds=(3, 4),
            preexec_fn=ends,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_child)
        os.close(from_child)
        self._buffer, self._last = b"", 0
        self._session = ""
        self.events: list[dict[str, Any]] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> Any:
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def open(self, page: Path, width: int, height: int) -> None:
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.send("Page.navigate", url=page.as_uri())
        self.wait("document.body && document.body.dataset.ready === '0'")

    def wait(self, condition: str) -> None:
        """Until a JavaScript expression is true; the test's own limit in time ends a wait in vain."""
        script = (
            f"new Promise((done) => {{ const look = () => ({condition}) ? done(1) : setTimeout(look, 20); look(); }})"
        )
        self.send("Runtime.evaluate", expression=script, awaitPromise=True)

    def value(self, expression: str) -> Any:
        return self.send("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.mouse("mousePressed", *start, button="left", clickCount=1)
        self.mouse("mouseMoved", *end, button="left", buttons=1)
        self.mouse("mouseReleased", *end, button="left", clickCount=1)

    def click(self, selector: str) -> None:
        self.value(f"document.querySelector({selector!r}).click()")

    def screenshot(self) -> Any:
        """(H, W, 3) uint8."""
        data = base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            more = os.read(self._read, 1 << 20)
            assert more, "the browser has gone"
            self._buffer += more
        line, self._buffer = self._buffer.split(b"\0", 1)
        answer = json.loads(line)
        assert isinstance(answer, dict)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)
