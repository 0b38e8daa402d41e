"""How functions are compiled: once for a machine, and kept on disk.

What numba keeps on disk it takes for good as long as the function's own file has not changed, also
where a function that is called from it has. So the kept code is stamped with what it was made from:
the function, the constants it names and, through their own stamps, the functions it calls.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from types import CodeType, ModuleType
from typing import Any, Final, ParamSpec, TypeVar, cast

import numba as nb

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class _Stamp:
    """What a function was made from, as a digest.

    Worked out when numba first asks, for a function may call others that are defined below it.
    """

    def __init__(self, function: Any) -> None:
        self._function = function
        self._digest: str | None = None

    @property
    def digest(self) -> str:
        """The digest, as text."""
        if self._digest is None:
            self._digest = ""  # for a function that calls itself
            parts = repr(list(_made_from(self._function)))
            self._digest = hashlib.sha256(parts.encode()).hexdigest()
        return self._digest

    def __eq__(self, other: object) -> bool:
        """Compare with what is kept on disk."""
        return self.digest == other

    def __hash__(self) -> int:
        """Stand for the digest."""
        return hash(self.digest)

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        """Go to disk as text."""
        return str, (self.digest,)


#: Compiled function -> its stamp.
_stamps: Final[dict[object, _Stamp]] = {}


def compiled(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Compile a function with numba at its first call; a type for what numba leaves untyped."""
    made: Any = nb.njit(cache=True, error_model="numpy", nogil=True)(function)
    _stamps[made] = _Stamp(function)
    # numba has no public way to say what its copy on disk depends on.
    made._cache._cache_file._source_stamp = _stamps[made]  # noqa: SLF001 - as said above
    return cast("Callable[Parameters, Result]", made)


def _made_from(function: Any) -> Iterator[object]:
    code: CodeType = function.__code__
    yield nb.__version__
    yield code.co_code
    yield tuple(each for each in code.co_consts if not isinstance(each, CodeType))
    yield code.co_names
    for name in code.co_names:
        value = function.__globals__.get(name)
        if isinstance(value, ModuleType):
            for attribute in code.co_names:
                yield name, attribute, _described(getattr(value, attribute, None))
        else:
            yield name, _described(value)


def _described(value: Any) -> object:
    if isinstance(value, int | float | str | bytes | tuple):
        return value
    if hasattr(value, "py_func"):  # compiled, here or elsewhere, such as the network
        return _stamps[value].digest if value in _stamps else list(_made_from(value.py_func))
    # Tables know their fields by their layout; functions and classes of libraries by name.
    return type(value).__name__
