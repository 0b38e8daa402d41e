"""How dictionaries of ours are shown to people: as text in a terminal, as HTML in a notebook."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table

#: Characters of a line in a terminal.
WIDTH: Final = 100

#: Dask names collections by a hash of 32 digits; six tell them apart for people.
_TOKEN: Final = re.compile(r"([0-9a-f]{6})[0-9a-f]{26}")

#: Bytes that are one of a unit, and its name, the largest first.
BYTE_UNITS: Final = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))

Rows = Sequence[Sequence[str]]


def short_key(key: object) -> str:
    """Write a key so that it can be read: one line, its hash cut."""
    return " ".join(_TOKEN.sub(r"\1", str(key)).split())


def bytes_text(nbytes: float) -> str:
    """Write bytes in the unit of their size.

    Examples
    --------
    >>> bytes_text(2_500_000)
    '2.5 MB'
    """
    for unit, name in BYTE_UNITS:
        if abs(nbytes) >= unit:
            return f"{nbytes / unit:,.1f} {name}"
    return f"{nbytes:.0f} bytes" if nbytes else "0"


def seconds_text(seconds: float) -> str:
    """Write seconds in the unit of their size.

    Examples
    --------
    >>> seconds_text(0.0042)
    '4.2 ms'
    """
    for unit, name in ((1.0, "s"), (1e-3, "ms")):
        if abs(seconds) >= unit:
            count = seconds / unit
            # Three digits would write more in powers of ten.
            return f"{count:.3g} {name}" if abs(count) < 999.5 else f"{count:,.0f} {name}"
    return f"{seconds * 1e6:.0f} µs" if seconds else "0 s"


def ordinal(number: int) -> str:
    """Write a place.

    Examples
    --------
    >>> [ordinal(n) for n in (1, 2, 3, 4, 11, 22)]
    ['1st', '2nd', '3rd', '4th', '11th', '22nd']
    """
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def text_table(columns: Sequence[str], rows: Rows) -> str:
    """Lay rows out for a terminal; the first column is text, the others are figures."""
    laid = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for place, name in enumerate(columns):
        laid.add_column(name, justify="right" if place else "left", no_wrap=not place)
    for row in rows:
        laid.add_row(*map(_plain, row))
    out = StringIO()
    Console(file=out, width=WIDTH, color_system=None, highlight=False).print(laid)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines() if line.strip())


def _plain(value: str) -> str:
    # Rich would take what stands in brackets for markup.
    return value.replace("[", r"\[")


def html_table(columns: Sequence[str], rows: Rows) -> str:
    """Lay rows out for a notebook; everything is escaped."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(value)}</td>' for value in row)}</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def html_lines(lines: Iterable[str]) -> str:
    """Put sentences under each other; everything is escaped."""
    return "".join(f"<div>{html.escape(line)}</div>" for line in lines)


class Shown(dict[str, Any]):
    """A dictionary that says what it says: its text is what a terminal and a notebook show."""

    def lines(self) -> list[str]:
        """Say it in sentences."""
        raise NotImplementedError

    def tables(self) -> list[tuple[Sequence[str], Rows]]:
        """Return figures: the names of columns, and rows."""
        raise NotImplementedError

    def __str__(self) -> str:
        """Return sentences, and tables below them."""
        tables = [text_table(columns, rows) for columns, rows in self.tables() if rows]
        return "\n".join([*self.lines(), *(f"\n{table}" for table in tables)])

    def __repr__(self) -> str:
        """Return the same: it is what an interactive session shows."""
        return str(self)

    def _repr_html_(self) -> str:
        """Return the same for a notebook."""
        tables = [html_table(columns, rows) for columns, rows in self.tables() if rows]
        return "".join([html_lines(self.lines()), *tables])
