"""What the documentation says is what the package has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parent.parent
SETTINGS = yaml.safe_load((REPOSITORY / "dask_mlsched" / "mlsched.yaml").read_text())["mlsched"]


def flat(tree: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield every setting's dotted name and its default, as text."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", str(value)


def test_the_configuration_reference_lists_every_setting_with_its_default() -> None:
    text = (REPOSITORY / "docs" / "configuration.md").read_text()
    listed = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|", text, flags=re.MULTILINE)
    assert dict(listed) == dict(flat(SETTINGS))


PAGES = [
    "README.md",
    "ci/GPU.md",
    *(
        f"docs/{name}.md"
        for name in ("theory", "configuration", "spilling", "models", "training", "report")
    ),
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
