"""A page in headless Chromium, over the pipe of its DevTools protocol."""

import fcntl
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.support.programs import program

_FLAGS = (
    "--headless",
    "--no-sandbox",  # of which root has none; the pages are our own
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--remote-debugging-pipe",
)
# Where Chromium reads commands and writes answers.
_COMMANDS, _ANSWERS = 3, 4


@dataclass(slots=True)
class Tab:
    """An opened page.

    Attributes:
        requests: Addresses that it asked for.
        complaints: What it wrote to the console, and its uncaught errors.
        load_seconds: From the navigation to its load event.
        busy_seconds: Processor time of the page's main thread until then.
    """

    _browser: "_Browser"
    _session: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    load_seconds: float = 0.0
    busy_seconds: float = 0.0

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        answer = self._browser.call(
            "Runtime.evaluate",
            {"expression": expression, "returnByValue": True},
            session=self._session,
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def load(self, path: Path) -> None:
        """Open a file and wait until it has loaded."""
        browser = self._browser
        for domain in ("Network", "Runtime", "Log", "Page"):
            browser.call(f"{domain}.enable", session=self._session)
        clock = {"timeDomain": "threadTicks"}
        browser.call("Performance.enable", clock, session=self._session)
        began = time.perf_counter()
        address = {"url": path.resolve().as_uri()}
        browser.call("Page.navigate", address, session=self._session)
        browser.wait_for("Page.loadEventFired")
        self.load_seconds = time.perf_counter() - began
        found = browser.call("Performance.getMetrics", session=self._session)
        by_name = {each["name"]: each["value"] for each in found["metrics"]}
        self.busy_seconds = by_name["TaskDuration"]

    def look(self) -> None:
        """Gather what the page has asked for and complained of so far."""
        self.evaluate("0")
        for event in self._browser.events:
            method, values = event["method"], event["params"]
            if method == "Network.requestWillBeSent":
                self.requests.append(values["request"]["url"])
            elif method in (
                "Runtime.consoleAPICalled",
                "Runtime.exceptionThrown",
                "Log.entryAdded",
            ):
                self.complaints.append(json.dumps(values))
        self._browser.events.clear()


@contextmanager
def opened(path: Path) -> Iterator[Tab]:
    """Open a file in a browser of its own."""
    with TemporaryDirectory() as profile, _running(Path(profile)) as browser:
        target = browser.call("Target.createTarget", {"url": "about:blank"})
        attached = browser.call(
            "Target.attachToTarget", {"targetId": target["targetId"], "flatten": True}
        )
        tab = Tab(browser, attached["sessionId"])
        tab.load(path)
        tab.look()
        yield tab


class _Browser:
    def __init__(self, commands: int, answers: int) -> None:
        self._commands = os.fdopen(commands, "wb", buffering=0)
        self._answers = os.fdopen(answers, "rb", buffering=0)
        self._unread = b""
        self._last_id = 0
        self.events: list[dict[str, Any]] = []

    def call(
        self, method: str, values: dict[str, Any] | None = None, *, session: str = ""
    ) -> dict[str, Any]:
        self._last_id += 1
        message = {"id": self._last_id, "method": method, "params": values or {}}
        if session:
            message["sessionId"] = session
        self._commands.write(json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._last_id:
            self.events.append(answer)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def wait_for(self, method: str) -> None:
        while all(event.get("method") != method for event in self.events):
            self.events.append(self._read())

    def close(self) -> None:
        self._commands.close()
        self._answers.close()

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            piece = self._answers.read(1 << 16)
            assert piece, "Chromium has ended"
            self._unread += piece
        whole, _, self._unread = self._unread.partition(b"\0")
        message: dict[str, Any] = json.loads(whole)
        return message


@contextmanager
def _running(profile: Path) -> Iterator[_Browser]:
    read_commands, commands = os.pipe()
    answers, write_answers = os.pipe()
    chromium = [program("chromium"), *_FLAGS, f"--user-data-dir={profile}"]
    # The shell puts the pipes where Chromium looks for them; they lie elsewhere first,
    # or one could cover the other.
    spare = (read_commands, write_answers)
    moved = [fcntl.fcntl(each, fcntl.F_DUPFD, 50) for each in spare]
    places = f"{_COMMANDS}<&{moved[0]} {_ANSWERS}>&{moved[1]}"
    process = subprocess.Popen(
        ["bash", "-c", f'exec "$0" "$@" {places}', *chromium],
        pass_fds=moved,
        stderr=subprocess.DEVNULL,
    )
    for each in (*spare, *moved):
        os.close(each)
    browser = _Browser(commands, answers)
    try:
        yield browser
        browser.call("Browser.close")
        process.wait(timeout=30)
    finally:
        browser.close()
        process.kill()
        process.wait()
