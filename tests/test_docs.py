"""What the documentation says is what the package has."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parent.parent
DOCS = REPOSITORY / "docs"


def test_the_configuration_reference_is_what_schema_and_defaults_make() -> None:
    done = subprocess.run(
        [sys.executable, DOCS / "configuration_reference.py", "--check"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def names_in_schema(schema: dict[str, Any], above: str = "") -> Iterator[str]:
    """Yield every setting's dotted name."""
    for name, part in schema["properties"].items():
        if "properties" in part:
            yield from names_in_schema(part, f"{above}{name}.")
        else:
            yield f"{above}{name}"
            assert part["description"].strip(), name


def names_in_defaults(tree: dict[str, Any], above: str = "") -> Iterator[str]:
    """Yield every setting's dotted name."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from names_in_defaults(value, f"{above}{name}.")
        else:
            yield f"{above}{name}"


def test_every_default_is_described_in_the_schema_and_listed_in_the_reference() -> None:
    package = REPOSITORY / "dask_mlsched"
    schema = yaml.safe_load((package / "mlsched-schema.yaml").read_text())
    defaults = yaml.safe_load((package / "mlsched.yaml").read_text())["mlsched"]
    described = set(names_in_schema(schema))
    assert described == set(names_in_defaults(defaults))
    text = (DOCS / "configuration.md").read_text()
    assert set(re.findall(r"^\| `([^`]+)` \| `", text, flags=re.MULTILINE)) == described


PAGES = [
    "README.md",
    "ci/GPU.md",
    *(f"docs/{name}.md" for name in ("theory", "configuration", "spilling", "models", "training")),
]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page: str) -> None:
    path = REPOSITORY / page
    targets = re.findall(r"\]\(([^)#:]+)\)", path.read_text())
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_scripts_named_in_the_readme_exist_and_can_be_run() -> None:
    scripts = set(re.findall(r"\bci/[a-z_]+\.sh\b", (REPOSITORY / "README.md").read_text()))
    assert scripts >= {"ci/demo.sh", "ci/test.sh"}
    assert [name for name in scripts if not (REPOSITORY / name).stat().st_mode & 0o100] == []
