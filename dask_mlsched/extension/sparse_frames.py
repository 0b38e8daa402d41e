"""Frames for the sparse arrays that distributed sends wrongly or slowly.

What distributed does by itself, on every supported version:

=====================================  ==========  =============================================
class                                  family      what is wrong
=====================================  ==========  =============================================
``scipy.sparse`` matrices              ``dask``    nothing
``scipy.sparse`` arrays, but DOK       ``pickle``  nothing: out of band, buffers are not copied
``sparse.GCXS``                        ``pickle``  nothing: out of band, buffers are not copied
``sparse.COO``                         ``dask``    **the fill value is lost**; sorted once more
``sparse.DOK``, ``scipy`` DOK arrays   ``pickle``  scalars are pickled one by one: 10 us an entry
``cupyx.scipy.sparse`` matrices        both        nothing (``cuda`` and ``dask``)
``cupyx.scipy.sparse`` arrays          ``pickle``  no ``cuda`` family: not sent between devices
=====================================  ==========  =============================================

Only the faulty ones are registered. An array that is pickled can be read in any process, while one
in the ``dask`` or ``cuda`` family can be read only where its class is registered. So

- COO arrays stay as distributed writes them, and those that it writes wrongly are pickled: with
  this package in one process and not in the other, both directions work;
- DOK arrays and arrays on devices need this package on the other side. They are written so from
  `allow` to `forbid` and are pickled outside, also when they are of a subclass.

A serializer that raises ``NotImplementedError`` passes the array on to the next family.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
from distributed.protocol.cuda import cuda_deserialize, cuda_serialize
from distributed.protocol.serialize import (
    ObjectDictSerializer,
    dask_deserialize,
    dask_serialize,
    deserialize,
    serialize,
)

Header: TypeAlias = dict[str, Any]
Frames: TypeAlias = list[Any]

_allowed = False


def allow() -> None:
    """Write frames that need this package where they are read."""
    global _allowed  # noqa: PLW0603  one switch for the process, like distributed's registries
    _allowed = True


def forbid() -> None:
    """Write frames that can be read everywhere; keep reading the others."""
    global _allowed  # noqa: PLW0603  as above
    _allowed = False


def _require_allowed() -> None:
    if not _allowed:
        raise NotImplementedError


def register_sparse() -> None:
    """Register ``sparse``: COO and DOK."""
    import distributed.protocol.sparse as upstream
    import sparse

    dask_serialize.register(sparse.COO, _coo_serializer(upstream.serialize_sparse, sparse.COO))
    dask_deserialize.register(
        sparse.COO, _coo_deserializer(upstream.deserialize_sparse, sparse.COO)
    )
    dask_serialize.register(sparse.DOK, serialize_sparse_dok)
    dask_deserialize.register(sparse.DOK, deserialize_sparse_dok)


def register_scipy() -> None:
    """Register ``scipy.sparse``: DOK arrays."""
    import distributed.protocol.scipy  # noqa: F401  registers the matrices; our hook replaced its
    from scipy.sparse import dok_array

    dask_serialize.register(dok_array, serialize_scipy_dok)
    dask_deserialize.register(dok_array, deserialize_scipy_dok)


def register_cupyx() -> None:
    """Register ``cupyx.scipy.sparse``: arrays, between devices."""
    import cupyx.scipy.sparse
    import distributed.protocol.cupy  # noqa: F401  registers the matrices; our hook replaced its

    # CuPy has had sparse matrices for long, and has sparse arrays since version 14.
    arrays = getattr(cupyx.scipy.sparse, "sparray", None)
    if arrays is not None:
        generic = ObjectDictSerializer("cuda")

        def serialize_array(x: Any) -> tuple[Header, Frames]:
            _require_allowed()
            header, frames = generic.serialize(x)
            return header, frames

        cuda_serialize.register(arrays, serialize_array)
        cuda_deserialize.register(arrays, generic.deserialize)


def _coo_serializer(
    upstream: Callable[[Any], tuple[Header, Frames]], exact: Any
) -> Callable[[Any], tuple[Header, Frames]]:
    def serialize_coo(x: Any) -> tuple[Header, Frames]:
        """Write a COO array as distributed does, where that loses nothing."""
        # Bytes, because -0.0 and NaT are not the fill value that the other side assumes.
        if type(x) is not exact or any(np.asarray(x.fill_value, x.dtype).tobytes()):
            raise NotImplementedError
        return upstream(x)

    return serialize_coo


def _coo_deserializer(
    upstream: Callable[[Header, Frames], Any], exact: Any
) -> Callable[[Header, Frames], Any]:
    def deserialize_coo(header: Header, frames: Frames) -> Any:
        """Read a COO array without sorting and summing what is sorted and summed."""
        if header.keys() != {"coords-header", "data-header", "shape", "nframes"}:
            return upstream(header, frames)  # of a later distributed
        n_coords = header["nframes"][0]
        return exact(
            deserialize(header["coords-header"], frames[:n_coords]),
            deserialize(header["data-header"], frames[n_coords:]),
            shape=header["shape"],
            has_duplicates=False,
            sorted=True,
        )

    return deserialize_coo


def serialize_sparse_dok(x: Any) -> tuple[Header, Frames]:
    """Write a ``sparse.DOK`` as two arrays: coordinates ``[nnz, ndim]`` and values ``[nnz]``.

    Raises
    ------
    NotImplementedError
        For subclasses, values that are objects, and while it is not allowed: pickle it.
    """
    import sparse

    _require_allowed()
    if type(x) is not sparse.DOK or x.dtype.hasobject:
        raise NotImplementedError
    arrays = [*_arrays_of(x.data, x.ndim, x.dtype), np.asarray(x.fill_value, x.dtype)]
    header, frames = serialize(arrays, on_error="raise", iterate_collection=True)
    return {"arrays": header, "shape": tuple(map(int, x.shape))}, frames


def deserialize_sparse_dok(header: Header, frames: Frames) -> Any:
    """Read what `serialize_sparse_dok` wrote."""
    import sparse

    coordinates, values, fill_value = deserialize(header["arrays"], frames)
    x = sparse.DOK(tuple(header["shape"]), dtype=values.dtype, fill_value=fill_value[()])
    x.data = dict(zip(map(tuple, coordinates.tolist()), values, strict=True))
    return x


def serialize_scipy_dok(x: Any) -> tuple[Header, Frames]:
    """Write a ``scipy.sparse.dok_array`` as the arrays of the COO array of the same entries.

    Raises
    ------
    NotImplementedError
        For subclasses, and while it is not allowed: pickle it.
    """
    from scipy.sparse import dok_array

    _require_allowed()
    if type(x) is not dok_array:
        raise NotImplementedError
    coo = x.tocoo()
    header, frames = serialize([coo.data, *coo.coords], on_error="raise", iterate_collection=True)
    return {"arrays": header, "shape": tuple(map(int, x.shape))}, frames


def deserialize_scipy_dok(header: Header, frames: Frames) -> Any:
    """Read what `serialize_scipy_dok` wrote."""
    from scipy.sparse import coo_array

    values, *coordinates = deserialize(header["arrays"], frames)
    return coo_array((values, tuple(coordinates)), shape=tuple(header["shape"])).todok()


def _arrays_of(entries: dict[Any, Any], ndim: int, dtype: Any) -> tuple[Any, Any]:
    """Coordinates ``[nnz, ndim]`` and values ``[nnz]`` of a dictionary of keys."""
    n = len(entries)
    flat = np.fromiter(chain.from_iterable(entries), dtype=np.intp, count=n * ndim)
    values = np.fromiter(entries.values(), dtype=dtype, count=n)
    return flat.reshape(n, ndim), values
