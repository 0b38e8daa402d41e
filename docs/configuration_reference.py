"""Write the tables of configuration.md from the schema and the defaults.

Run it after a change of either: python docs/configuration_reference.py
With ``--check`` it writes nothing, and fails if the page is not what it would write.
"""

from __future__ import annotations

import difflib
import importlib.resources
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from dask_mlsched.config import _KEYS

PAGE = Path(__file__).with_name("configuration.md")
#: Ends the part of the page that people write.
MARK = "<!-- From here on made by docs/configuration_reference.py"


def load(name: str) -> dict[str, Any]:
    """Read one of the package's YAML files."""
    text = importlib.resources.files("dask_mlsched").joinpath(name).read_text()
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def settings(schema: dict[str, Any], above: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the dotted name and the schema of each setting, in the schema's order."""
    for name, part in schema["properties"].items():
        if "properties" in part:
            yield from settings(part, f"{above}{name}.")
        else:
            yield f"{above}{name}", part


def values(schema: dict[str, Any]) -> str:
    """Say in words which values a setting takes."""
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    names = {"boolean": "`true`, `false`", "integer": "whole number", "null": "`null`"}
    names |= {"string": "text", "object": "mapping"}
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    said = " or ".join(names.get(kind) or str(kind) for kind in kinds)
    if "minimum" in schema and "maximum" in schema:
        return f"{said}, {schema['minimum']} to {schema['maximum']}"
    if "minimum" in schema:
        return f"{said}, at least {schema['minimum']}"
    return said


def keyword(key: str) -> str:
    """Name the keyword of `install` for a setting; thresholds share one, a dictionary."""
    for name, setting in _KEYS.items():
        if setting == key:
            return f"`{name}`"
    above, _, last = key.rpartition(".")
    if above not in _KEYS.values():
        msg = f"mlsched.{key} is in the schema and no keyword of config.py; add it there"
        raise ValueError(msg)
    return f"`{above}={{{json.dumps(last)}: …}}`"


def rows(schema: dict[str, Any], defaults: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of the table, one for each setting."""
    yield "| setting | default | values | keyword | meaning |"
    yield "|---|---|---|---|---|"
    for key, part in settings(schema):
        default: Any = defaults
        for name in key.split("."):
            default = default[name]
        shown = default if isinstance(default, str) else json.dumps(default)
        meaning = " ".join(part["description"].split()).replace("|", "\\|")
        yield f"| `{key}` | `{shown}` | {values(part)} | {keyword(key)} | {meaning} |"


def page(present: str) -> str:
    """Return the page with new tables under what people wrote."""
    head, mark, rest = present.partition(MARK)
    if not mark:
        msg = (
            f"{PAGE} lacks the line that begins with {MARK!r}; put it back at the end of the prose"
        )
        raise ValueError(msg)
    line = rest.partition("\n")[0]
    table = "\n".join(rows(load("mlsched-schema.yaml"), load("mlsched.yaml")["mlsched"]))
    return f"{head}{mark}{line}\n\n{table}\n"


def main() -> None:
    """Write the page, or compare it."""
    present = PAGE.read_text()
    wanted = page(present)
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(wanted)
    elif wanted != present:
        difference = difflib.unified_diff(
            present.splitlines(), wanted.splitlines(), lineterm="", n=0
        )
        print(*difference, sep="\n", file=sys.stderr)
        sys.exit(f"error: {PAGE.name} is out of date; run: python docs/configuration_reference.py")


if __name__ == "__main__":
    main()
