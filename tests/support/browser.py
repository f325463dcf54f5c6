"""Chromium without a window, spoken to in its DevTools protocol over a pipe.

Source: chromedevtools.github.io/devtools-protocol.
"""

import base64
import fcntl
import json
import os
import select
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.programs import program

_FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    # Tests run as root in containers, and open pages of this project only.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--metrics-recording-only",
    "--no-first-run",
    "--hide-scrollbars",
)
# A browser that says nothing for so long has hung; a busy machine has not.
_SILENT_SECONDS = 300
_KEY_CODES = {
    "Tab": 9,
    "Enter": 13,
    " ": 32,
    "End": 35,
    "Home": 36,
    "ArrowLeft": 37,
    "ArrowRight": 39,
}
# Resolves once a condition holds; asked again at each change of the page.
_UNTIL = """new Promise((resolve) => {
  const check = () => { if (%s) { observer.disconnect(); resolve(true); } };
  const observer = new MutationObserver(check);
  observer.observe(document, {subtree: true, childList: true, attributes: true,
                              characterData: true});
  check();
})"""


class Page:
    """One page, and what it did so far.

    Args:
        browser: Where it is open.
        session: Its identity there.

    Attributes:
        complaints: What came to its console, and exceptions.
        asked: URLs that it sent requests to.
    """

    def __init__(self, browser: "Browser", session: str) -> None:
        self._browser = browser
        self._session = session
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self._loaded: set[str] = set()
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility", "DOM"):
            self.send(f"{domain}.enable")
        self.send("Page.setLifecycleEventsEnabled", enabled=True)
        self.send("Performance.enable", timeDomain="threadTicks")

    def send(self, method: str, **parameters: object) -> dict[str, Any]:
        """Send a command and return its result."""
        return self._browser.send(method, parameters, session=self._session)

    def open(self, url: str) -> None:
        """Go somewhere, and wait until the page is loaded."""
        loader = self.send("Page.navigate", url=url)["loaderId"]
        # The empty page before it is complete as well.
        while loader not in self._loaded:
            self._browser.take_event()

    def look(self, *, width: int, height: int, scheme: str = "light") -> None:
        """Set the size of the window, and the colour scheme that is preferred."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.send("Emulation.setEmulatedMedia", features=[feature])

    def value(self, expression: str) -> Any:
        """Return what an expression gives, once its promise is kept."""
        done = self.send(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
        )
        if "exceptionDetails" in done:
            raise AssertionError(done["exceptionDetails"])
        return done["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait until something holds of the page."""
        self.value(_UNTIL % condition)

    def text(self, selector: str) -> str:
        """Return the text of an element, as it is shown."""
        return str(self.value(f"document.querySelector({selector!r}).innerText"))

    def click(self, selector: str) -> None:
        """Press the mouse over the middle of an element."""
        x, y = self.value(
            f"""(() => {{ const target = document.querySelector({selector!r});
            target.scrollIntoView({{block: "center"}});
            const box = target.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2]; }})()"""
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send(
                "Input.dispatchMouseEvent",
                type=kind,
                x=x,
                y=y,
                button="left",
                clickCount=1,
            )

    def press(self, key: str, *, ctrl: bool = False) -> None:
        """Press a key."""
        named = {"key": key, "windowsVirtualKeyCode": _KEY_CODES[key]}
        typed = {"Enter": "\r", " ": " "}.get(key)
        down = {"type": "keyDown" if typed else "rawKeyDown"} | named
        if typed:
            down["text"] = typed
        for event in (down, {"type": "keyUp"} | named):
            modifiers = 2 if ctrl else 0
            self.send("Input.dispatchKeyEvent", modifiers=modifiers, **event)

    def write(self, selector: str, text: str) -> None:
        """Put a text into a field in place of what it holds."""
        self.value(f"document.querySelector({selector!r}).select()")
        self.value(f"document.querySelector({selector!r}).focus()")
        self.send("Input.insertText", text=text)

    def controls(self) -> list[tuple[str, str]]:
        """Return role and accessible name of everything that takes the focus."""
        nodes = self.send("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", "").strip())
            for node in nodes
            if not node["ignored"]
            and node["role"]["value"] != "RootWebArea"
            and any(
                each["name"] == "focusable" and each["value"]["value"]
                for each in node.get("properties", ())
            )
        ]

    def busy_seconds(self) -> float:
        """Return the processor time that its main thread has taken so far."""
        found = self.send("Performance.getMetrics")["metrics"]
        return float(next(x["value"] for x in found if x["name"] == "TaskDuration"))

    def screenshot(self, path: Path) -> None:
        """Write a picture of the whole page, PNG."""
        taken = self.send(
            "Page.captureScreenshot", format="png", captureBeyondViewport=True
        )
        path.write_bytes(base64.b64decode(taken["data"]))

    def notice(self, event: Mapping[str, Any]) -> None:
        """Take down what the page did."""
        parameters = event["params"]
        match event["method"]:
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(parameters["exceptionDetails"]))
            case "Runtime.consoleAPICalled":
                self.complaints.append(json.dumps(parameters["args"]))
            case "Log.entryAdded":
                self.complaints.append(json.dumps(parameters["entry"]))
            case "Network.requestWillBeSent":
                self.asked.append(parameters["request"]["url"])
            case "Page.lifecycleEvent" if parameters["name"] == "load":
                self._loaded.add(parameters["loaderId"])


class Browser:
    """A running browser.

    Args:
        reading: File descriptor of what it says.
        writing: File descriptor of what it is told.
    """

    def __init__(self, reading: int, writing: int) -> None:
        self._reading = reading
        self._writing = writing
        self._unread = b""
        self._number = 0
        self._pages: dict[str, Page] = {}

    def page(self) -> Page:
        """Open an empty page with a storage of its own."""
        context = self.send("Target.createBrowserContext", {})["browserContextId"]
        target = self.send(
            "Target.createTarget", {"url": "about:blank", "browserContextId": context}
        )
        session = self.send(
            "Target.attachToTarget", {"targetId": target["targetId"], "flatten": True}
        )["sessionId"]
        page = Page(self, session)
        self._pages[session] = page
        return page

    def send(
        self, method: str, parameters: Mapping[str, Any], *, session: str | None = None
    ) -> dict[str, Any]:
        """Send a command and return its result; events go to their pages."""
        self._number += 1
        number = self._number
        command: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if session is not None:
            command["sessionId"] = session
        _write(self._writing, json.dumps(command).encode() + b"\0")
        while (message := self.take_event()).get("id") != number:
            pass
        assert "error" not in message, message
        result: dict[str, Any] = message["result"]
        return result

    def take_event(self) -> dict[str, Any]:
        """Wait for the next message, tell the page that it is of, and return it."""
        message = self._next()
        page = self._pages.get(message.get("sessionId", ""))
        if page is not None and "method" in message:
            page.notice(message)
        return message

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._reading], [], [], _SILENT_SECONDS)
            assert ready, "the browser has hung"
            more = os.read(self._reading, 1 << 20)
            assert more, "the browser has ended"
            self._unread += more
        message, self._unread = self._unread.split(b"\0", 1)
        parsed: dict[str, Any] = json.loads(message)
        return parsed


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Start a browser, and see that it is gone afterwards."""
    told, tell = _pipe()
    hear, said = _pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        # The browser reads from descriptor 3 and writes to 4.
        process = subprocess.Popen(
            [
                program("bash"),
                "-c",
                f'exec "$0" "$@" 3<&{told} 4>&{said}',
                program("chromium"),
                *_FLAGS,
                f"--user-data-dir={profile}",
            ],
            pass_fds=(told, said),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(told)
        os.close(said)
        browser = Browser(hear, tell)
        try:
            yield browser
            browser.send("Browser.close", {})
        finally:
            os.close(tell)
            os.close(hear)
            process.kill()
            process.wait()


def _pipe() -> tuple[int, int]:
    # Far from 3 and 4, which the shell gives away.
    ends = os.pipe()
    moved = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 64) for end in ends]
    for end in ends:
        os.close(end)
    return moved[0], moved[1]


def _write(descriptor: int, raw: bytes) -> None:
    while raw:
        raw = raw[os.write(descriptor, raw) :]
