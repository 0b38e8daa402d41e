"""What the documentation says is what the package has."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from dask_mlsched.extension.figures import FIGURES
from dask_mlsched.extension.plugin_events import Action

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


def test_links_lead_somewhere() -> None:
    done = subprocess.run(
        [sys.executable, REPOSITORY / "ci" / "check_links.py"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_pages_build_without_a_warning_and_every_link_in_them_leads_somewhere(
    tmp_path: Path,
) -> None:
    options = ("--builder", "html", "--fail-on-warning", "--keep-going", "--nitpicky", "--quiet")
    for command in (
        ("-m", "sphinx", *options, "-d", tmp_path / "doctrees", DOCS, tmp_path / "pages"),
        (REPOSITORY / "ci" / "check_links.py", "--built", tmp_path / "pages"),
    ):
        done = subprocess.run(
            [sys.executable, *command],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    for page in ("api.html", "commands.html", "configuration.html", "examples.html"):
        assert (tmp_path / "pages" / page).stat().st_size > 20_000, page
    commands = (tmp_path / "pages" / "commands.html").read_text()
    assert "dask mlsched models rollback" in commands


def test_every_example_has_its_place_on_the_page_of_examples() -> None:
    text = (DOCS / "examples.md").read_text()
    shown = set(re.findall(r"literalinclude\} \.\./examples/(\S+)", text))
    assert shown == {path.name for path in (REPOSITORY / "examples").glob("*.py")}


def test_every_page_is_in_the_table_of_contents() -> None:
    listed = set(re.findall(r"^([a-z-]+)$", (DOCS / "index.md").read_text(), flags=re.MULTILINE))
    assert listed == {path.stem for path in DOCS.glob("*.md")} - {"index"}


def test_scripts_named_in_the_readme_exist_and_can_be_run() -> None:
    scripts = set(re.findall(r"\bci/[a-z_]+\.sh\b", (REPOSITORY / "README.md").read_text()))
    assert scripts >= {"ci/demo.sh", "ci/test.sh"}
    assert [name for name in scripts if not (REPOSITORY / name).stat().st_mode & 0o100] == []
