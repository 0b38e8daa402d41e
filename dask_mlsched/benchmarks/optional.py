"""Packages that only the benchmarks need: the extra ``bench``."""

from __future__ import annotations

import importlib
from types import ModuleType


class MissingDependencyError(ImportError):
    """A package of the extra ``bench`` is not there: one line with the cure."""


def require(module: str, purpose: str) -> ModuleType:
    """Import a module of the extra ``bench``.

    Raises
    ------
    MissingDependencyError
        If it cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        msg = (
            f"{module} cannot be imported ({error}), and {purpose} needs it; "
            'install it with: pip install "dask-mlsched[bench]"'
        )
        raise MissingDependencyError(msg) from error
