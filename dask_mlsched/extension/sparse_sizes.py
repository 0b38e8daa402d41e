"""How many bytes a sparse array holds.

Dask counts ``scipy.sparse`` matrices by their attributes, and falls back to the 56 bytes of a
Python object for everything else: ``scipy.sparse`` arrays, ``sparse.GCXS``, ``sparse.DOK`` and
all of ``cupyx.scipy.sparse``. Such chunks are never spilled. Here an array counts as

- the sum of its buffers, exactly, where it has buffers;
- the Python objects it keeps, estimated, where it has none (dictionaries of keys, lists of lists).

Not counted: the Python object around the buffers (about 300 bytes), what ``COO.enable_caching``
keeps (at most three results of each operation, which are not sent or spilled either), and that two
arrays may share a buffer.

Dask imports this module when it is imported itself, so it imports nothing but the standard
library.
"""

from __future__ import annotations

from itertools import islice
from sys import getsizeof
from typing import Any

#: Entries of a dictionary of keys that are measured; they are all alike.
_ENTRIES = 16

#: Rows of a list of lists that are measured, evenly spaced; they differ in length.
_ROWS = 256


def sizeof_buffers(array: Any) -> int:
    """Bytes in the buffers of an array: those in its attributes, and in tuples of buffers.

    Exact, for every format that is made of buffers and for subclasses that keep further ones. A
    buffer broadcast along an axis counts once, as it does in Dask. A few microseconds.
    """
    from dask.sizeof import sizeof

    nbytes = 0
    for attribute in vars(array).values():
        for value in attribute if type(attribute) is tuple else (attribute,):
            # Scalars (the fill value) and data types have an `ndim` too: zero.
            if getattr(value, "ndim", 0):
                nbytes += sizeof(value)
    return nbytes


def sizeof_keys(entries: dict[Any, Any]) -> int:
    """Bytes of a dictionary from coordinates to values: an estimate that errs upwards.

    The table is exact. Keys and values are as large as the first few, on average: they are tuples
    of one length and scalars of one type. The integers up to 256, which CPython keeps once, count
    each time. A few microseconds, whatever the number of entries.
    """
    sample = list(islice(entries.items(), _ENTRIES))
    if not sample:
        return getsizeof(entries)
    measured = sum(getsizeof(key) + getsizeof(value) for key, value in sample)
    measured += sum(sum(map(getsizeof, key)) for key, _ in sample if type(key) is tuple)
    return getsizeof(entries) + measured * len(entries) // len(sample)


def sizeof_sparse_dok(array: Any) -> int:
    """Bytes of a ``sparse.DOK``; see `sizeof_keys`."""
    return sizeof_keys(array.data)


def sizeof_scipy_dok(array: Any) -> int:
    """Bytes of a ``scipy.sparse`` dictionary of keys; see `sizeof_keys`."""
    # The dictionary is an attribute since scipy 1.12; the array's own, inherited one is empty.
    return sum(sizeof_keys(value) for value in vars(array).values() if type(value) is dict)


def sizeof_lil(array: Any) -> int:
    """Bytes of a ``scipy.sparse`` list of lists: an estimate that errs upwards.

    Exact in the lengths of up to 256 rows, and a sample of 256 evenly spaced ones beyond. Elements
    are as large as the first one found. The integers up to 256, which CPython keeps once, count
    each time. At most some 50 microseconds, whatever the number of rows.
    """
    return _sizeof_lists(array.rows) + _sizeof_lists(array.data)


def _sizeof_lists(lists: Any) -> int:
    """Bytes of a one-dimensional numpy array of lists (of scalars of one type)."""
    sample = lists[:: -(-len(lists) // _ROWS) or 1].tolist()
    if not sample:
        return 0
    n_items = sum(map(len, sample))
    measured = sum(map(getsizeof, sample))
    measured += n_items * next((getsizeof(row[0]) for row in sample if row), 0)
    return int(lists.nbytes) + measured * len(lists) // len(sample)
