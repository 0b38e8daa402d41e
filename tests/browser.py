"""A real browser without a screen, for tests of what people see."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import JavascriptException
from selenium.webdriver.support.ui import WebDriverWait

#: CI says that nothing may be skipped: there, what is missing fails.
NOTHING_SKIPPED = "MLSCHED_SKIP_NOTHING"

#: Where screenshots are kept, for people to look at.
SCREENSHOTS = Path(__file__).resolve().parent.parent / "out" / "screenshots"

#: Chromium would look for its maker's hosts at every start otherwise.
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)

#: Seconds in which the browser has to answer: it may share few processors with a whole cluster.
_PATIENCE = 120.0


class Browser:
    """Opens pages, looks at them, and says what the browser complained of."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get(url)

    def follow(self, path: str) -> None:
        """Click on the first link that leads somewhere, be it in one of Bokeh's shadow roots."""
        self.wait(
            f"""
            function find(node) {{
                for (const link of node.querySelectorAll("a"))
                    if (link.getAttribute("href") === "{path}") return link;
                for (const each of node.querySelectorAll("*")) {{
                    const found = each.shadowRoot && find(each.shadowRoot);
                    if (found) return found;
                }}
                return null;
            }}
            const link = find(document);
            if (link === null) return false;
            link.click();
            return true;
            """
        )

    def wait(self, script: str, seconds: float = 30.0) -> object:
        """Wait until a script returns something, and return that."""

        def found(driver: webdriver.Chrome) -> object:
            try:
                return driver.execute_script(script)
            except JavascriptException:
                return None  # what it looks for is not there yet

        return WebDriverWait(self.driver, seconds).until(found)

    def text(self) -> str:
        """Return all text that can be seen, that in Bokeh's shadow roots as well."""
        return str(
            self.driver.execute_script(
                """
                function words(node) {
                    if (node.nodeType === Node.TEXT_NODE) return node.textContent;
                    if (["STYLE", "SCRIPT"].includes(node.nodeName)) return "";
                    const inside = node.shadowRoot ? words(node.shadowRoot) : "";
                    return inside + Array.from(node.childNodes).map(words).join(" ");
                }
                return words(document.body);
                """
            )
        )

    def complaints(self) -> list[str]:
        """List what the browser logged as an error since the last time."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] == "SEVERE"
        ]

    def screenshot(self, name: str, height: int = 1200) -> Path:
        """Keep a picture of the page."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.driver.set_window_size(1400, height)
        path = SCREENSHOTS / f"{name}.png"
        assert self.driver.save_screenshot(str(path))
        return path


def _missing() -> str | None:
    for name in ("chromium", "chromedriver"):
        if shutil.which(name) is None:
            return f"{name} is not installed: ci/packages.sh installs it"
    return None


@contextmanager
def browser() -> Iterator[Browser]:
    """Start a browser; skip the test if there is none, unless nothing may be skipped."""
    missing = _missing()
    if missing is not None:
        if os.environ.get(NOTHING_SKIPPED):
            pytest.fail(missing)
        pytest.skip(missing)
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=str(shutil.which("chromedriver")))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*_FLAGS, f"--user-data-dir={profile}", "--window-size=1400,1200"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=service)
        driver.set_script_timeout(_PATIENCE)
        driver.set_page_load_timeout(_PATIENCE)
        try:
            yield Browser(driver)
        finally:
            driver.quit()


def points(column: str) -> str:
    """Return a script that counts the rows of the longest source that has a column."""
    return f"""
        let most = 0;
        for (const doc of Bokeh.documents)
            for (const model of doc._all_models.values())
                if (model.type === "ColumnDataSource" && model.data["{column}"] !== undefined)
                    most = Math.max(most, model.data["{column}"].length);
        return most;
    """
