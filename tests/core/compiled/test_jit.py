"""What is kept on disk is good for as long as nothing that it was made from has changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_CALLEE = """\
from dask_mlsched.core.compiled.jit import compiled

FACTOR = {factor}

@compiled
def scaled(x):
    return x * FACTOR + {offset}
"""

#: By its own name, and as an attribute of its module.
_CALLERS = {
    "name": "from callee import scaled as called",
    "module": "import callee",
}
_CALLER = """\
from dask_mlsched.core.compiled.jit import compiled
{imported}

@compiled
def middle(x):
    return {called}(x)

@compiled
def top(x):
    return middle(x) + 1
"""
_RUN = """\
import caller
print(caller.top(10), sum(caller.top.stats.cache_hits.values()))
"""


@pytest.fixture(params=list(_CALLERS))
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    called = "called" if request.param == "name" else "callee.scaled"
    text = _CALLER.format(imported=_CALLERS[request.param], called=called)
    (tmp_path / "caller.py").write_text(text)
    return tmp_path


def run(folder: Path, factor: int, offset: int) -> tuple[int, int]:
    """Return what a fresh process computes, and how often it took compiled code from disk."""
    (folder / "callee.py").write_text(_CALLEE.format(factor=factor, offset=offset))
    environment = {
        **os.environ,
        "NUMBA_CACHE_DIR": str(folder / "cache"),
        # Python itself takes a file of the same second and size for the same.
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", _RUN],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    value, hits = done.stdout.split()
    return int(value), int(hits)


@pytest.mark.slow
def test_a_change_in_what_is_called_reaches_callers_in_files_that_did_not_change(folder: Path):
    assert run(folder, factor=2, offset=5) == (26, 0)
    assert run(folder, factor=2, offset=5) == (26, 1)
    assert run(folder, factor=2, offset=7) == (28, 0)
    assert run(folder, factor=3, offset=7) == (38, 0)
