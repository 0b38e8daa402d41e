"""Check the links of the repository's pages, or of a folder of built ones. No network is asked.

    python ci/check_links.py                    the pages of Markdown: README.md, docs/, ci/, cards
    python ci/check_links.py --built FOLDER     every page of HTML under it

Links within must lead to a file, and to a heading of it if they name one. Links to other sites must
be https addresses; whether anything is there is not asked.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

REPOSITORY = Path(__file__).resolve().parent.parent
PATTERNS = ("*.md", "docs/*.md", "ci/*.md", "dask_mlsched/models/*.md")

_FENCE = re.compile(r"^ *(`{3,})[^\n]*\n.*?^ *\1`* *$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)


class _Page(HTMLParser):
    """Gathers what a page of HTML links to, and what can be linked to in it."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.places: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one element."""
        for name, value in attrs:
            if name == "id" and value:
                self.places.add(value)
            wanted = name == "src" or (name == "href" and tag in {"a", "link"})
            if wanted and value:
                self.targets.append(value)


@cache
def read(path: Path) -> tuple[list[str], set[str]]:
    """Return the links of a page, and the names of the places in it."""
    text = path.read_text()
    if path.suffix == ".html":
        page = _Page()
        page.feed(text)
        return page.targets, page.places
    text = _FENCE.sub("", text)
    places = {slug(heading) for heading in _HEADING.findall(text)}
    return _LINK.findall(_CODE.sub("", text)), places


def slug(heading: str) -> str:
    """Name a heading as a link does: small letters, hyphens for spaces, no other signs.

    Examples
    --------
    >>> slug("Which graph is `this`?")
    'which-graph-is-this'
    """
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def problems(page: Path) -> Iterator[str]:
    """Say what is wrong with the links of a page, one line for each that leads nowhere."""
    for target in read(page)[0]:
        problem = _problem(page, target)
        if problem:
            yield f"{page}: {target}: {problem}"


def _problem(page: Path, target: str) -> str | None:
    parts = urlsplit(target)
    if parts.scheme in {"data", "mailto"}:
        return None
    if parts.scheme or parts.netloc:
        if parts.scheme != "https" or "." not in parts.netloc:
            return "expected an https address"
        return None
    file = (page.parent / unquote(parts.path)).resolve() if parts.path else page.resolve()
    if not file.exists():
        return "no such file"
    place = unquote(parts.fragment)
    if place and file.suffix in {".html", ".md"} and place not in read(file)[1]:
        return f"{file.name} has no such heading"
    return None


def main() -> None:
    """Check, print what leads nowhere, and fail if there is any."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--built", type=Path, help="a folder of built pages")
    folder = parser.parse_args().built
    if folder is None:
        pages = [page for pattern in PATTERNS for page in sorted(REPOSITORY.glob(pattern))]
    else:
        pages = sorted(folder.rglob("*.html"))
    if not pages:
        sys.exit(f"error: there are no pages in {folder or REPOSITORY}")
    found = [problem for page in pages for problem in problems(page)]
    for problem in found:
        print(problem, file=sys.stderr)
    if found:
        sys.exit(f"error: {len(found)} links of {len(pages)} pages lead nowhere")


if __name__ == "__main__":
    main()
