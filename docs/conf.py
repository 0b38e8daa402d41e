"""Sphinx builds the documentation from these pages, the docstrings and the examples: ci/docs.sh."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import dask_mlsched

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from command_reference import command_reference  # noqa: E402 - it is beside this file

project = "dask_mlsched"
author = "The dask_mlsched developers"
version = release = dask_mlsched.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_title = f"dask_mlsched {release}"

# Links lead to headings; no page of ours is looked up on the network.
myst_heading_anchors = 4
myst_enable_extensions = ["fieldlist"]
# Options keep their two hyphens.
smartquotes = False
# What docstrings have in backticks are names and code.
default_role = "code"
highlight_language = "python"

autodoc_typehints = "none"  # numpydoc sections have the types that matter
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False

#: Links from pages to files that are no pages, and the page that shows them.
_SHOWN_BY = {"../dask_mlsched/models/default.md": "default-model.md", "../ci/GPU.md": "gpu.md"}


def _lead_to_pages(_app: Sphinx, _name: str, content: list[str]) -> None:
    """Turn links that work in the repository into links that work on the pages."""
    for path, page in _SHOWN_BY.items():
        content[0] = content[0].replace(f"]({path}", f"]({page}")


def _insert_commands(_app: Sphinx, name: str, content: list[str]) -> None:
    """Put what click knows of the commands under the prose of their page."""
    if name == "commands":
        content[0] += "\n" + command_reference()


def setup(app: Sphinx) -> None:
    """Connect both to Sphinx."""
    app.connect("source-read", _lead_to_pages)
    app.connect("source-read", _insert_commands)
