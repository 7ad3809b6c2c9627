"""A real Chromium, driven over the WebDriver protocol by its own chromedriver."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_STARTED = re.compile(r"started successfully on port (\d+)")
# What the page's terminal is sent, for tests to read: its picture is drawn on a canvas.
_LISTEN = """
window.drawn = "";
const decoder = new TextDecoder();
window.WebSocket = class extends window.WebSocket {
  constructor(...words) {
    super(...words);
    this.addEventListener("message", async ({data}) => {
      const bytes = data instanceof Blob ? await data.arrayBuffer() : data;
      window.drawn += typeof bytes === "string" ? bytes : decoder.decode(bytes);
    });
  }
};
"""
_ARGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,900",
)


class Browser:
    def __init__(self, driver: str, profile: str) -> None:
        self._driver = driver
        options = {
            "binary": _program("chromium"),
            "args": [*_ARGS, f"--user-data-dir={profile}"],
        }
        wanted = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}
        found = self._call("POST", "/session", {"capabilities": wanted})
        self._session = f"/session/{found['sessionId']}"
        listen = {"cmd": "Page.addScriptToEvaluateOnNewDocument", "params": {"source": _LISTEN}}
        self._call("POST", f"{self._session}/goog/cdp/execute", listen)

    def open(self, url: str) -> None:
        self._call("POST", f"{self._session}/url", {"url": url})

    @property
    def url(self) -> str:
        return str(self._call("GET", f"{self._session}/url"))

    def run(self, script: str) -> Any:
        return self._call("POST", f"{self._session}/execute/sync", {"script": script, "args": []})

    @property
    def drawn(self) -> str:
        """All that the page's terminal was sent since the last time this was read."""
        return str(self.run("const all = window.drawn; window.drawn = ''; return all"))

    def click(self, x: int, y: int) -> None:
        moves = [
            {"type": "pointerMove", "x": x, "y": y, "duration": 0},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        self._act({"type": "pointer", "id": "mouse", "actions": moves})

    def press(self, *keys: str) -> None:
        """Each a character; "\\ue007" is enter, "\\ue009" before one holds ctrl."""
        for key in keys:
            presses = [{"type": "keyDown", "value": k} for k in key]
            releases = [{"type": "keyUp", "value": k} for k in reversed(key)]
            self._act({"type": "key", "id": "keys", "actions": [*presses, *releases]})

    def picture(self) -> bytes:
        """The page as PNG."""
        return base64.b64decode(self._call("GET", f"{self._session}/screenshot"))

    def close(self) -> None:
        self._call("DELETE", self._session)

    def _act(self, device: dict[str, Any]) -> None:
        self._call("POST", f"{self._session}/actions", {"actions": [device]})

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._driver + path, data, method=method)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.loads(answer.read())["value"]


@contextmanager
def opened() -> Iterator[Browser]:
    with tempfile.TemporaryDirectory(prefix="dbxc", ignore_cleanup_errors=True) as profile:
        driver = subprocess.Popen(
            [_program("chromedriver"), "--port=0"], stdout=subprocess.PIPE, text=True
        )
        try:
            assert driver.stdout
            port = next(m[1] for line in driver.stdout if (m := _STARTED.search(line)))
            browser = Browser(f"http://127.0.0.1:{port}", profile)
            try:
                yield browser
            finally:
                browser.close()
        finally:
            driver.terminate()
            driver.communicate()


def _program(name: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is missing: make test installs it"
    return found
