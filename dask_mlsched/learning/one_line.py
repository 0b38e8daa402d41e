"""Text from a file that nobody vouches for, made fit for one line of a message or a table."""

from __future__ import annotations

import unicodedata
from typing import Final

#: Controls, formats (which can turn a line around), halves of characters, and breaks of lines.
_UNFIT: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def is_one_line(text: str) -> bool:
    r"""Tell whether a terminal shows a text as it is, on one line.

    Examples
    --------
    >>> is_one_line("größer als 2 %"), is_one_line("a\nb"), is_one_line("\x1b[2J")
    (True, False, False)
    """
    return not any(unicodedata.category(letter) in _UNFIT for letter in text)


def one_line(text: str, limit: int = 400) -> str:
    r"""Write a text's control characters out, and cut it.

    Examples
    --------
    >>> one_line("a\nb"), one_line("abcdef", limit=4)
    ('a\\nb', 'abc…')
    """
    # Cut first: of a text of megabytes, only what is shown is looked at.
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    if is_one_line(cut):
        return cut
    return "".join(each if is_one_line(each) else ascii(each)[1:-1] for each in cut)
