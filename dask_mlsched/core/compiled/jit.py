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

#: Compiled function -> what it was made from.
_stamps: Final[dict[object, str]] = {}


def compiled(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Compile a function with numba at its first call; a type for what numba leaves untyped."""
    made: Any = nb.njit(cache=True, error_model="numpy", nogil=True)(function)
    stamp = hashlib.sha256(repr(list(_made_from(function))).encode()).hexdigest()
    _stamps[made] = stamp
    # numba has no public way to say what its copy on disk depends on.
    made._cache._cache_file._source_stamp = stamp  # noqa: SLF001 - as said above
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
    try:
        return _stamps[value]
    except (KeyError, TypeError):  # not compiled here; or cannot be a key
        pass
    if hasattr(value, "py_func"):  # compiled elsewhere, such as the network
        return list(_made_from(value.py_func))
    # Tables know their fields by their layout; functions and classes of libraries by name.
    return value if isinstance(value, int | float | str | bytes | tuple) else type(value).__name__
