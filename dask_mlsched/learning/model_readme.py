"""The page beside a version, for people: what its card says."""

from __future__ import annotations

from typing import Final

from dask_mlsched.learning.model_card import Card

_WHAT: Final = (
    "A network for dask_mlsched: it scores what may run next. This folder never changes; "
    "`card.json` has the same for programs."
)


def readme(card: Card) -> str:
    """Write the page, in Markdown."""
    families = ", ".join(card.families) or "none in particular"
    facts = {
        "why": card.reason,
        "made by": card.made_by,
        "made of": ", ".join(card.parents) or "nothing before it",
        "date": card.date,
        "families covered": families,
        "digest of the network": f"`{card.digest}`",
    }
    parts = [
        f"# {card.ref}",
        _WHAT,
        "\n".join(f"- {name}: {value}" for name, value in facts.items()),
    ]
    if card.figures:
        rows = "\n".join(f"| {_cell(name)} | {value:.6g} |" for name, value in card.figures.items())
        parts.append(f"| figure | |\n|---|---:|\n{rows}")
    parts += [f"## {name}\n\n{text}" for name, text in card.extra.items()]
    return "\n\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
