"""The page in a real browser: it draws, it complains of nothing, and names do nothing there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.support.wait import WebDriverWait

from dask_mlsched.cli import mlsched
from evil_names import EVIL, evil_trace

pytestmark = pytest.mark.slow

#: Number of rectangles that bokeh has drawn, once it is done.
_DRAWN = """
const documents = window.Bokeh ? Bokeh.documents : []
if (!documents.length || !documents.every((each) => each.is_idle)) return 0
let count = 0
for (const each of documents)
    for (const source of each._all_models.values())
        if (source.type === "ColumnDataSource" && source.data.what) count += source.data.what.length
return count
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Start Chromium without a window."""
    found, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if found is None or driver is None:
        missing = "the browser chromium or its driver, chromedriver, is not installed"
        if os.environ.get("MLSCHED_SKIP_NOTHING"):
            pytest.fail(missing)
        pytest.skip(missing)
    options = ChromeOptions()
    options.binary_location = found
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1200,1600",
        f"--user-data-dir={tmp_path_factory.mktemp('browser')}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = Chrome(options=options, service=Service(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


@pytest.fixture(scope="module")
def page(browser: Chrome, tmp_path_factory: pytest.TempPathFactory) -> Chrome:
    """Open the report of a run whose tasks have evil names."""
    folder = tmp_path_factory.mktemp("report")
    trace, out = evil_trace(folder / "run"), folder / "report.html"
    arguments = ["report", "--trace", trace, "--out", out, "--decisions", 3, "--title", EVIL[2]]
    result = CliRunner().invoke(mlsched, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return opened(browser, out)


def opened(browser: Chrome, path: Path) -> Chrome:
    browser.get(path.as_uri())
    WebDriverWait(browser, 60).until(lambda each: each.execute_script(_DRAWN) > 0)
    return browser


def canvas(page: Chrome, name: str) -> Any:
    """Return the element that a picture is drawn on; bokeh hides it in shadows."""
    return page.execute_script(
        """
        const search = (root) => {
            for (const each of root.querySelectorAll("*")) {
                if (each.matches(".bk-events")) return each
                if (each.shadowRoot) {
                    const found = search(each.shadowRoot)
                    if (found) return found
                }
            }
            return null
        }
        return search(document.getElementById(arguments[0]))
        """,
        name,
    )


def test_all_pictures_are_drawn_and_the_page_is_as_wide_as_the_window(page: Chrome):
    for name in ("timeline", "loaded", "evicted", "resident"):
        size = canvas(page, name).size
        assert size["width"] > 300, name
        assert size["height"] > 80, name
    wide, window = page.execute_script(
        "return [document.documentElement.scrollWidth, window.innerWidth]"
    )
    assert wide <= window


def test_names_are_text(page: Chrome):
    with pytest.raises(Exception, match="no such alert"):
        page.switch_to.alert  # noqa: B018 - asking is what raises
    assert EVIL[2] in page.title
    text = page.find_element("tag name", "body").text
    for name in EVIL[:3]:
        assert name in text


def test_a_tooltip_tells_the_task_as_text(page: Chrome):
    target = canvas(page, "timeline")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", target)
    shown = ""
    width = target.size["width"]
    for place in range(0, width // 2, 7):
        ActionChains(page, duration=20).move_to_element_with_offset(
            target, place - width // 3, -target.size["height"] // 2 + 45
        ).perform()
        shown = page.execute_script(
            """
            const texts = []
            const search = (root) => {
                for (const each of root.querySelectorAll("*")) {
                    if (each.shadowRoot) search(each.shadowRoot)
                    if (each.matches(".bk-tooltip-row-value, .bk-tooltip-custom"))
                        texts.push(each.textContent)
                }
            }
            search(document)
            return texts.join("|")
            """
        )
        if any(name in shown for name in EVIL[:4]):
            break
    assert any(name in shown for name in EVIL[:4]), shown
    made = page.execute_script(
        """
        const found = []
        const search = (root) => {
            for (const each of root.querySelectorAll("*")) {
                if (each.shadowRoot) search(each.shadowRoot)
                if (each.matches("img, script:not(body > script)")) found.push(each.outerHTML)
            }
        }
        search(document)
        return found.map((each) => each.slice(0, 80))
        """
    )
    assert made == []


def test_nothing_is_asked_of_a_network_and_nothing_goes_wrong(page: Chrome):
    log = page.get_log("browser")  # type: ignore[attr-defined] # of Chromium's driver alone
    assert [each["message"] for each in log if each["level"] in {"WARNING", "SEVERE"}] == []
    asked = page.execute_script(
        "return performance.getEntriesByType('resource').map((each) => each.name)"
    )
    assert [name for name in asked if not name.startswith(("data:", "blob:"))] == []
