"""What of this package runs here, and with what it can speak.

Client, scheduler and workers each have the package, and their versions may differ. What they say to
each other is numbered: halves with the same number work together, whatever their versions; others
are left apart, and one line says so.
"""

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

#: Of what clients, schedulers and workers say to each other. One more whenever a half of the
#: version before could no longer make sense of it.
PROTOCOL: Final = 1
