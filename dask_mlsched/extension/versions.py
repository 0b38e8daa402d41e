"""What of this package runs here."""

from __future__ import annotations

import importlib.metadata
from typing import Final


def _installed() -> str:
    try:
        return importlib.metadata.version("dask-mlsched")
    except importlib.metadata.PackageNotFoundError:  # run from its sources
        return "unknown"


#: The installed version of the package.
VERSION: Final = _installed()
