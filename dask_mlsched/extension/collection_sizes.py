"""How many bytes a list, tuple, set or dict of arrays holds.

Dask measures ten members of a larger collection, chosen by chance, and takes the others to be like
them. That serves for millions of numbers. Of a list of some arrays, one of which is large, it makes
either far too little or far too much, and another figure each time: a store then spills too late,
or at once. Here, collections of arrays are counted in full. All others are left to Dask.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from sys import getsizeof
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dask.utils import Dispatch

#: Dask counts every member of collections up to this size.
_FEW = 10
#: Beyond so many members, counting takes longer than it is worth, and chance evens out.
_MANY = 10_000


def register_collections(sizeof: Dispatch) -> None:
    """Count collections of arrays in full in a ``dask.sizeof`` registry.

    Dictionaries, too: Dask counts them by the lists of their keys and values. May be called again.
    """
    for kind in (list, tuple, set, frozenset):
        estimate = sizeof.dispatch(kind)
        if not isinstance(estimate, _CollectionSize):
            sizeof.register(kind, _CollectionSize(sizeof, estimate))


class _CollectionSize:
    """The entry of a registry for one kind of collection."""

    def __init__(self, sizeof: Dispatch, estimate: Callable[[Any], int]) -> None:
        self._sizeof = sizeof
        self._estimate = estimate

    def __call__(self, members: Collection[Any]) -> int:
        """Return the bytes of a collection: some 0.1 us for each member where none is an array."""
        if not _FEW < len(members) <= _MANY or not _holds_arrays(members):
            return self._estimate(members)
        nbytes: int = sum(map(self._sizeof, members))
        return getsizeof(members) + nbytes


def _holds_arrays(members: Collection[Any]) -> bool:
    # One of each type: those of a type are alike.
    return any(map(_is_array, {type(member): member for member in members}.values()))


def _is_array(value: Any) -> bool:
    if isinstance(value, list | tuple | set | frozenset):
        return _holds_arrays(value)
    if isinstance(value, dict):
        return _holds_arrays(value.values())
    # Scalars of array libraries have a type and dimensions, too: none.
    return hasattr(value, "dtype") and getattr(value, "ndim", 0) > 0
