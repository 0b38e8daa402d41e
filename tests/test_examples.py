"""The examples run as they stand, and print what their text promises."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
EXAMPLES = REPOSITORY / "examples"

#: Something moved, under Dask alone and under the extension. How much less depends on the moment.
MOVED = [r"Dask alone: +[1-9]\d*\.\d MB moved", r"managed: +[1-9]\d*\.\d MB moved"]

#: What each example must print.
PROMISES = {
    "block_sparse_contraction.py": [r"results equal: True", *MOVED],
    "galerkin.py": [r"results equal: True", r"as scipy has it: True", *MOVED],
    "lifelong.py": [
        r"sent back: generalist",
        r"new family: our gap",
        r"picture is in lifelong.png",
    ],
    "own_policy.py": [r"results equal: True", r"reads-most: +[1-9]\d*\.\d MB moved"],
    "scanpy_style.py": [r"results equal: True", *MOVED],
    "sparse_pipeline.py": [r"results equal: True", *MOVED],
    "sparse_product.py": [r"results equal: True", r"decisions: [1-9]", r"loaded [1-9]"],
    "spilling_to_disk.py": [r"symmetric: True", r"store: spill-buffer", r"read [1-9]"],
}

#: What makes an example short enough for a test.
ARGUMENTS = {"lifelong.py": ["--quick"]}

pytestmark = pytest.mark.integration


def run(program: Path, *arguments: str, cwd: Path) -> str:
    """Run a program as a user does, and return what it prints."""
    done = subprocess.run(
        [sys.executable, program, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_has_a_promise():
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(PROMISES)


@pytest.mark.timeout(300)
def test_the_first_program_of_the_readme_runs(tmp_path: Path):
    first, same = (
        re.search(r"```python\n(.*?)```", (REPOSITORY / page).read_text(), re.DOTALL)[1]
        for page in ("README.md", "docs/getting-started.md")
    )
    assert first == same
    program = tmp_path / "program.py"
    program.write_text(first)
    printed = run(program, cwd=tmp_path)
    assert re.search(
        r"^mlsched: mode manage, policy learned; managing, 0 tasks", printed, re.MULTILINE
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", sorted(PROMISES))
def test_an_example_keeps_its_promise(name, tmp_path: Path):
    printed = run(EXAMPLES / name, *ARGUMENTS.get(name, []), cwd=tmp_path)
    for promise in PROMISES[name]:
        assert re.search(promise, printed), printed
