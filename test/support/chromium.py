"""Drives a headless Chromium over the DevTools protocol's pipe: no port, no driver program, no library."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--mute-audio",
    "--disable-extensions", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--remote-debugging-pipe",
)  # fmt: skip


def find_chromium() -> str | None:
    """Return the browser to test with, or None; CHROMIUM names another one."""
    names = [os.environ["CHROMIUM"]] if os.environ.get("CHROMIUM") else list(NAMES)
    return next((path for path in map(shutil.which, names) if path), None)


class ChromiumError(Exception):
    """What the browser said went wrong."""


class Chromium:
    """A running browser; `call` sends a command, events of each tab are kept in order."""

    def __init__(self, program: str, profile: Path) -> None:
        # The protocol wants the pipes' ends as descriptors 3 and 4, so none of them may be those here.
        down_read, self._down = map(_above, os.pipe())
        self._up, up_write = map(_above, os.pipe())
        line = f'exec "$@" 3<&{down_read} 4>&{up_write} {down_read}<&- {up_write}>&-'
        self._process = subprocess.Popen(
            ["bash", "-c", line, "chromium", program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(down_read, up_write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(down_read)
        os.close(up_write)
        self._rest = b""
        self._last = 0
        self.events: list[dict[str, Any]] = []

    def close(self) -> None:
        """Stop the browser."""
        with suppress(ChromiumError, OSError):
            self.call("Browser.close", timeout_s=10)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._down)
        os.close(self._up)

    def call(self, method: str, session: str | None = None, timeout_s: float = 60.0, **params: Any) -> dict[str, Any]:
        """Send a command and return its result; raises ChromiumError."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._down, data) :]
        deadline = time.monotonic() + timeout_s
        while True:
            answer = self._receive(deadline, method)
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise ChromiumError(f"{method}: {answer['error']['message']}")
                return answer["result"]  # type: ignore[no-any-return]
            if "method" in answer:
                self.events.append(answer)

    def _receive(self, deadline: float, what: str) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._up], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise ChromiumError(f"{what}: no answer in time")
            data = os.read(self._up, 1 << 20)
            if not data:
                raise ChromiumError(f"{what}: the browser ended")
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)  # type: ignore[no-any-return]

    @contextmanager
    def tab(self, width: int = 1280, height: int = 900, **features: str) -> Iterator[Tab]:
        """Open a tab of a size in CSS pixels; `features` are media features, such as prefers_color_scheme="dark"."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(self, session)
        for domain in ("Page", "Runtime", "Network", "Log"):
            tab.call(f"{domain}.enable")
        tab.resize(width, height)
        media = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        tab.call("Emulation.setEmulatedMedia", features=media)
        try:
            yield tab
        finally:
            self.call("Target.closeTarget", targetId=target)


def _above(descriptor: int) -> int:
    """Return a copy of a descriptor that is 10 or more, and close it."""
    copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return copy


class Tab:
    """One page in the browser."""

    def __init__(self, browser: Chromium, session: str) -> None:
        self._browser = browser
        self.session = session

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command to this tab."""
        return self._browser.call(method, self.session, **params)

    def resize(self, width: int, height: int) -> None:
        """Give the page a size in CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def open(self, page: Path | str) -> None:
        """Load a file or a URL, without waiting for more than its document."""
        url = page if isinstance(page, str) else page.resolve().as_uri()
        self.call("Page.navigate", url=url)
        self.wait(lambda: self.run("document.readyState") == "complete", "the page to load")

    def run(self, expression: str) -> Any:
        """Evaluate JavaScript, awaiting a promise, and return its value; raises ChromiumError when it throws."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise ChromiumError(str(details.get("exception", {}).get("description", details["text"])))
        return answer["result"].get("value")

    def wait(self, ready: Callable[[], Any], what: str, timeout_s: float = 60.0) -> None:
        """Wait until something is so; raises ChromiumError, naming `what`."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if time.monotonic() > deadline:
                raise ChromiumError(f"waited {timeout_s} s in vain for {what}")
            time.sleep(0.03)

    def events(self, method: str) -> list[dict[str, Any]]:
        """Return the parameters of this tab's events of a kind so far."""
        mine = [event for event in self._browser.events if event.get("sessionId") == self.session]
        return [event["params"] for event in mine if event["method"] == method]

    def press(self, key: str, text: str = "", modifiers: int = 0) -> None:
        """Press and release a key by its name, such as Tab, Enter, ArrowRight."""
        codes = {"Tab": 9, "Enter": 13, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        shared = {"key": key, "modifiers": modifiers, "windowsVirtualKeyCode": codes.get(key, 0)}
        text = "\r" if key == "Enter" else text
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **shared)
        self.call("Input.dispatchKeyEvent", type="keyUp", **shared)

    def screenshot(self, whole: bool = False) -> bytes:
        """Return a PNG of the view, or of the whole page."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"])

    def pdf(self) -> bytes:
        """Return the page as it prints."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True, preferCSSPageSize=False)["data"])


@contextmanager
def chromium(program: str) -> Iterator[Chromium]:
    """Run a browser with an empty profile."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Chromium(program, Path(profile))
        try:
            yield browser
        finally:
            browser.close()
