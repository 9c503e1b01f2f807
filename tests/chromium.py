"""A headless Chromium that tests look at pages with, driven over a pipe by its own protocol.

`python -m tests.chromium PAGE PICTURE` takes a picture of the top of a page.
"""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
)
MESSAGES = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
DESKTOP, PHONE = (1200, 900), (360, 740)


def executable() -> str | None:
    """Where Chromium is, if it is anywhere."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One tab; `messages` are the errors and everything else that its pages wrote to the console."""

    def __init__(self, commands: io.BufferedWriter, answers: io.BufferedReader) -> None:
        self._commands, self._answers, self._number = commands, answers, 0
        self._unread = b""
        self._session: str | None = None
        self._events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    @property
    def messages(self) -> list[str]:
        self.run("0")  # what was written before is here before this is answered
        return [json.dumps(event["params"]) for event in self._events if event["method"] in MESSAGES]

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a method of the protocol and waits for its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._commands.write(json.dumps(message).encode() + b"\0")
        self._commands.flush()
        while (answer := self._read()).get("id") != self._number:
            self._events.append(answer)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def open(
        self, page: Path, size: tuple[int, int] = DESKTOP, scripts: bool = True, dark: bool = False, media: str = ""
    ) -> None:
        """Loads a page anew, on a screen of that size in CSS pixels."""
        width, height = size
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=size == PHONE,
        )
        self._events.clear()
        self.call("Page.navigate", url=page.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._events.append(self._read())

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is waited for."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str, text: str = "") -> None:
        """Presses and lets go a key, by the name that pages know it by."""
        code = {"Tab": 9, "Enter": 13, "ArrowLeft": 37, "ArrowRight": 39}.get(key) or ord(key.upper())
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, text=text)

    def download(self, click: str, folder: Path) -> Path:
        """The file that the page hands over when a JavaScript expression clicks on it."""
        self.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        self._events.clear()
        self.run(click)
        while not any(event["params"].get("state") == "completed" for event in self._events):
            self._events.append(self._read())
        begun = next(event for event in self._events if event["method"] == "Page.downloadWillBegin")
        return folder / begun["params"]["suggestedFilename"]

    def picture(self, whole: bool = False) -> Image.Image:
        """What the screen shows, or the whole page."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")

    def pdf(self) -> bytes:
        """The page as it is printed on A4."""
        return base64.b64decode(self.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)["data"])

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            received = self._answers.read1()
            assert received, "Chromium ended"
            self._unread += received
        message, _, self._unread = self._unread.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser with a profile of its own, ended when it is left."""
    program = executable()
    assert program is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        to_browser, commands = os.pipe()
        answers, from_browser = os.pipe()
        flags = [*FLAGS, f"--user-data-dir={profile}", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        # Chromium reads commands from descriptor 3 and writes answers to 4.
        process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{to_browser} 4>&{from_browser}', "bash", program, *flags],
            pass_fds=(to_browser, from_browser),
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        with open(commands, "wb") as writer, open(answers, "rb") as reader:
            try:
                yield Browser(writer, reader)
            finally:
                process.terminate()
                process.wait()


def main(page: Path, picture: Path) -> None:
    """A picture of the top of a page, small enough for a repository."""
    with browser() as chromium:
        chromium.open(page, size=(1100, 1500))
        chromium.picture().quantize(256, method=Image.Quantize.FASTOCTREE).save(picture, optimize=True)


if __name__ == "__main__":
    if executable() is None:
        sys.exit(f"no Chromium here (one of {', '.join(NAMES)}): install it, as with apt-get install chromium")
    main(*map(Path, sys.argv[1:3]))
