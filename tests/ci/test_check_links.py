"""Links that lead nowhere are found, and those that lead somewhere are not."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

CI = Path(__file__).resolve().parent.parent.parent / "ci"


@pytest.fixture(scope="module")
def links() -> ModuleType:
    specification = importlib.util.spec_from_file_location("check_links", CI / "check_links.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def complaints(links: ModuleType, folder: Path, text: str, name: str = "page.md") -> list[str]:
    """Return what is said of a page with this text, without its name."""
    page = folder / name
    page.write_text(text)
    links.read.cache_clear()
    return [each.removeprefix(f"{page}: ") for each in links.problems(page)]


def test_links_to_files_headings_and_sites_are_fine(links: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# One `two`, three?\n")
    text = (
        "# Here\n[a](other.md) [b](other.md#one-two-three) [c](#here)\n![d](other.md)\n"
        "[e](https://example.org/x?y=1#z)\n"
    )
    assert complaints(links, tmp_path, text) == []


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("gone.md", "no such file"),
        ("gone.png", "no such file"),
        ("#there", "page.md has no such heading"),
        ("page.md#there", "page.md has no such heading"),
        ("http://example.org", "expected an https address"),
        ("https:/example.org", "expected an https address"),
    ],
)
def test_a_link_that_leads_nowhere_is_told(
    links: ModuleType, tmp_path: Path, target: str, problem: str
) -> None:
    found = complaints(links, tmp_path, f"# Here\nSee [this]({target}).\n")
    assert found == [f"{target}: {problem}"]


def test_code_has_no_links_and_no_headings(links: ModuleType, tmp_path: Path) -> None:
    text = "`[a](gone.md)` and\n```python\n# Here\nx[0](gone)\n```\n[b](#here)\n"
    assert complaints(links, tmp_path, text) == ["#here: page.md has no such heading"]


def test_built_pages_are_checked_by_their_ids(links: ModuleType, tmp_path: Path) -> None:
    text = '<p id="here"><a href="#here">a</a><a href="#there">b</a><img src="gone.png"></p>'
    assert complaints(links, tmp_path, text, "page.html") == [
        "#there: page.html has no such heading",
        "gone.png: no such file",
    ]
