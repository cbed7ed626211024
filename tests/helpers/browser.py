"""Headless Chromium, as a person uses it: by the WebDriver protocol of W3C, and Chromium's own for what that lacks."""

import base64
import contextlib
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

from tests.helpers.daemons import TIMEOUT, wait_until
from tests.helpers.requirements import find

ENTER = "\ue007"
TAB = "\ue004"
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of an element's id (WebDriver 12.1)


class Browser:
    """One window of Chromium. Elements are named by CSS selectors, of which the first match counts."""

    def __init__(self, folder: Path) -> None:
        chromium, driver = find("chromium"), find("chromedriver")
        assert chromium
        assert driver
        self._http = requests.Session()
        self._http.trust_env = False  # the driver is behind no proxy
        self._url = ""
        self._driver = subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, text=True)
        try:
            assert self._driver.stdout
            lines = (re.search(r"successfully on port (\d+)", line) for line in self._driver.stdout)
            port = next(match[1] for match in lines if match)
            self._url = f"http://127.0.0.1:{port}/session"
            # A sandbox is made by root for other users only; without a GPU, /dev/shm may be small, too.
            flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
            options = {"binary": chromium, "args": [*flags, f"--user-data-dir={folder}"]}
            wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            session = self._post("", {"capabilities": {"alwaysMatch": wanted}})
            self._url += f"/{session['sessionId']}"
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End Chromium and its driver."""
        with contextlib.suppress(requests.RequestException):
            self._http.delete(self._url, timeout=TIMEOUT)
        self._driver.terminate()
        self._driver.wait(TIMEOUT)
        if self._driver.stdout:
            self._driver.stdout.close()
        self._http.close()

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        response = self._http.post(self._url + path, json=body, timeout=TIMEOUT * 2)
        value = response.json()["value"]
        assert response.ok, value
        return value

    def _get(self, path: str) -> Any:
        response = self._http.get(self._url + path, timeout=TIMEOUT)
        assert response.ok, response.text
        return response.json()["value"]

    def open(self, url: str) -> None:
        """Load a page, and wait until it is there."""
        self._post("/url", {"url": url})

    def back(self) -> None:
        """Press the button for the page before.

        ``history.back()`` is not the same: Chromium lets no script go back to a page of which it does not yet know
        that somebody has used it.
        """
        self._post("/back", {})

    @property
    def url(self) -> str:
        """The address of the page."""
        return str(self._get("/url"))

    @property
    def title(self) -> str:
        """The title of the page."""
        return str(self._get("/title"))

    def _element(self, selector: str) -> str:
        found = self._post("/element", {"using": "css selector", "value": selector})
        return f"/element/{found[_ELEMENT]}"

    def text(self, selector: str = "main") -> str:
        """The text of an element, as it is shown."""
        return str(self._get(f"{self._element(selector)}/text"))

    def click(self, selector: str) -> None:
        """Click an element."""
        self._post(f"{self._element(selector)}/click", {})

    def follow(self, text: str) -> None:
        """Click the link with this text."""
        found = self._post("/element", {"using": "link text", "value": text})
        self._post(f"/element/{found[_ELEMENT]}/click", {})

    def type(self, selector: str, keys: str) -> None:
        """Type into an element, which is empty before."""
        element = self._element(selector)
        self._post(f"{element}/clear", {})
        self._post(f"{element}/value", {"text": keys})

    def ask(self, name: str) -> None:
        """Type a name into the field for it, press Enter, and wait for the page."""
        self.run("window.isOld = true")
        self.type("#q", name + ENTER)
        wait_until(lambda: self.run("return !window.isOld && document.readyState === 'complete'"))

    def press(self, key: str) -> None:
        """Press a key, wherever the focus is."""
        strokes = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self._post("/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]})

    def run(self, script: str, *arguments: object) -> Any:
        """What a script returns."""
        return self._post("/execute/sync", {"script": script, "args": list(arguments)})

    def run_async(self, script: str, *arguments: object) -> Any:
        """What a script gives to the function that is its last argument."""
        return self._post("/execute/async", {"script": script, "args": list(arguments)})

    def tool(self, command: str, **parameters: object) -> Any:
        """Give a command of Chromium's own protocol for developers' tools."""
        return self._post("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def use_screen(self, width: int, height: int) -> None:
        """Show pages as a screen of this size does, in CSS pixels."""
        self.tool("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, scheme: str) -> None:
        """Prefer ``dark`` or ``light`` pages."""
        self.tool("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path: Path) -> None:
        """Write the whole page as a PNG."""
        shot = self.tool("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def complaints(self) -> list[str]:
        """What the console has been told since the last call: refused styles, scripts and images, and errors."""
        return [entry["message"] for entry in self._post("/se/log", {"type": "browser"})]
