"""Where the pages are, relative to Dask's dashboard."""

from __future__ import annotations

from typing import Final

#: Where Dask's menu leads to, and how the paths of parts by themselves begin.
PAGE: Final = "mlsched"
PART: Final = "individual-mlsched-"

#: The part that the menu leads to.
FIRST: Final = "residency"


def path_of(part: str) -> str:
    """Return the path of a part under Dask's menu."""
    return PAGE if part == FIRST else f"{PAGE}-{part}"
