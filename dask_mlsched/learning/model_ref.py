"""What versions of models are called: `name/v0007`, or `baseline`, which is Dask's own order."""

from __future__ import annotations

import re
from typing import Final, NewType

#: The name of a version, as `parse_ref` accepts it.
ModelRef = NewType("ModelRef", str)

#: Dask's order: always there, without a network, and never changed.
BASELINE: Final = ModelRef("baseline")

#: What is used by itself in a scheduler, and where it came from.
CHAMPION: Final = "champion"
PREVIOUS: Final = "previous"
CHALLENGER: Final = "challenger"

ALIASES_FILE: Final = "aliases.json"
EVENTS_FILE: Final = "events.jsonl"

#: Names that mean something else.
_TAKEN: Final = frozenset({BASELINE, CHAMPION, PREVIOUS, CHALLENGER, ALIASES_FILE, EVENTS_FILE})
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_ALIAS: Final = re.compile(r"[a-z0-9][a-z0-9._:-]{0,127}")
_VERSION: Final = re.compile(r"v(?!0000)(\d{4}|[1-9]\d{4,8})")


class LibraryError(ValueError):
    """What cannot be done with a library: one line with what was found, expected, and the cure."""


def check_name(name: str) -> None:
    """Raise unless a model may be called so.

    Raises
    ------
    LibraryError
        If it may not.
    """
    if not _NAME.fullmatch(name) or name in _TAKEN:
        raise LibraryError(
            f"name of a model {name[:80]!r}; expected a-z, 0-9, '.', '_' and '-', 64 at most, "
            f"a letter or digit first, and none of {', '.join(sorted(_TAKEN))}; choose another"
        )


def check_alias(alias: str) -> None:
    """Raise unless an alias may be called so.

    Raises
    ------
    LibraryError
        If it may not.
    """
    if not _ALIAS.fullmatch(alias) or alias == BASELINE:
        raise LibraryError(
            f"alias {alias[:140]!r}; expected a-z, 0-9, '.', '_', '-' and ':', 128 at most, "
            f"a letter or digit first, and not {BASELINE!r}; choose another"
        )


def make_ref(name: str, number: int) -> ModelRef:
    """Name a version.

    Examples
    --------
    >>> make_ref("gemm", 7)
    'gemm/v0007'

    Raises
    ------
    LibraryError
        If there can be no version of that name and number.
    """
    return parse_ref(f"{name}/v{number:04d}")


def parse_ref(text: str) -> ModelRef:
    """Take text for the name of a version.

    Raises
    ------
    LibraryError
        If it is none.
    """
    if text == BASELINE:
        return BASELINE
    name, slash, version = text.partition("/")
    if not slash or not _VERSION.fullmatch(version):
        raise LibraryError(
            f"version {text[:140]!r}; expected a name, a slash and a number of four digits or "
            f"more, such as gemm/v0007, or {BASELINE!r}; `list` shows those that there are"
        )
    check_name(name)
    return ModelRef(text)


def parts_of(ref: ModelRef) -> tuple[str, int]:
    """Return the name and the number of a version that is not `baseline`.

    Examples
    --------
    >>> parts_of(ModelRef("gemm/v0007"))
    ('gemm', 7)
    """
    name, _, version = ref.partition("/")
    return name, int(version[1:])


def number_of(folder: str) -> int | None:
    """Return the number of the version in a folder; None if no version is called so.

    Examples
    --------
    >>> number_of("v0012"), number_of("v12"), number_of("v0000")
    (12, None, None)
    """
    return int(folder[1:]) if _VERSION.fullmatch(folder) else None
