"""What the documentation says is what the package has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from dask_mlsched.extension.figures import FIGURES
from dask_mlsched.extension.plugin_events import Action

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


METRICS = (REPOSITORY / "docs" / "metrics.md").read_text()


def test_the_table_of_metrics_is_the_code() -> None:
    row = r"^\| `dask_mlsched_(\w+)` \| (\w+) \| ([^|]*)\| ([^|]+) \|$"
    listed = re.findall(row, METRICS, flags=re.MULTILINE)
    assert listed == [
        (
            each.written,
            each.kind,
            "".join(f"`{label}`, " for label in each.labels).removesuffix(", ")
            + " " * bool(each.labels),
            each.help,
        )
        for each in FIGURES
    ]


def test_the_table_of_events_is_the_code() -> None:
    row = r"^\| `([a-z-]+)` \| (`[^|]+`) \| [^|]+ \|$"
    listed = {
        action: re.findall(r"`(\w+)`", figures)
        for action, figures in re.findall(row, METRICS, flags=re.MULTILINE)
    }
    source = (REPOSITORY / "dask_mlsched" / "extension" / "plugin_events.py").read_text()
    told: dict[str, list[str]] = {}
    for call in re.findall(r'_tell\(\s*("[a-z-]+"|action),\s+([^)]+)\)+', source):
        action, figures = call
        # Beginning and end of managing are one line of the code.
        names = ("managing-began", "managing-ended") if action == "action" else (action.strip('"'),)
        for name in names:
            told[name] = re.findall(r"(\w+)=", figures)
    assert set(told) == set(get_args(Action))
    assert listed == told


PAGES = [
    "README.md",
    "ci/GPU.md",
    *(
        f"docs/{name}.md"
        for name in (
            *("theory", "configuration", "spilling", "models", "training", "report", "metrics"),
            *("ways_in", "dashboard"),
        )
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
