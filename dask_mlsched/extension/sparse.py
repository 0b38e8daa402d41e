"""Sparse arrays as chunks: counted, spilled and sent like dense ones.

Three registries of other packages decide what becomes of a chunk: ``dask.sizeof`` says what it
weighs, distributed's families of serializers how it travels, and dask-cuda's ``is_device_object``
whether it belongs on the device. Each is asked by class. A class is registered when its package
is in use, and no package is imported for it.

`register_sizeof` is the target of the entry point ``dask.sizeof``: every process with this package
installed counts sparse arrays right. The rest waits for `register`, which the plugins call.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dask_mlsched.extension.collection_sizes import register_collections
from dask_mlsched.extension.sparse_sizes import (
    sizeof_buffers,
    sizeof_lil,
    sizeof_scipy_dok,
    sizeof_sparse_dok,
)

if TYPE_CHECKING:
    from dask.utils import Dispatch

__all__ = ["register", "register_serialization", "register_sizeof", "unregister"]


def register() -> None:
    """Have sparse arrays counted, sent and, on devices, spilled in this process.

    May be called again: it changes nothing, or takes in dask-cuda if that was imported since.
    """
    from dask.sizeof import sizeof

    register_sizeof(sizeof)
    register_collections(sizeof)
    register_serialization()
    _register_device_objects()


def unregister() -> None:
    """Stop sending what only processes with this package can read.

    For uninstalling: workers that join later have nothing registered. What is under way or spilled
    can still be read, sizes stay right, and so does the fill value of COO arrays.
    """
    from dask_mlsched.extension import sparse_frames

    sparse_frames.forbid()


def register_sizeof(sizeof: Dispatch) -> None:
    """Count ``sparse``, ``scipy.sparse`` and ``cupyx.scipy.sparse`` in a ``dask.sizeof`` registry.

    Dask calls it while it is being imported. Imports nothing.
    """

    def register_sparse() -> None:
        import sparse

        # Other back ends of that package than its first have other classes.
        for name, weigh in _SIZES_SPARSE.items():
            if hasattr(sparse, name):
                sizeof.register(getattr(sparse, name), weigh)

    def register_scipy() -> None:
        from scipy import sparse

        # Matrices too, which Dask counts well, so that matrix and array weigh the same.
        sizeof.register(_classes_of(sparse), sizeof_buffers)
        sizeof.register((sparse.dok_matrix, sparse.dok_array), sizeof_scipy_dok)
        sizeof.register((sparse.lil_matrix, sparse.lil_array), sizeof_lil)

    def register_cupyx() -> None:
        from cupyx.scipy import sparse

        sizeof.register(_classes_of(sparse), sizeof_buffers)

    _when_used(sizeof, "sparse", register_sparse)
    _when_used(sizeof, "scipy.sparse", register_scipy)
    _when_used(sizeof, "cupyx.scipy.sparse", register_cupyx)


def register_serialization() -> None:
    """Mend and speed up how distributed sends sparse arrays; see `sparse_frames` for which."""
    from distributed.protocol.cuda import cuda_deserialize, cuda_serialize
    from distributed.protocol.serialize import dask_deserialize, dask_serialize

    from dask_mlsched.extension import sparse_frames

    for dispatch in (dask_serialize, dask_deserialize):
        _when_used(dispatch, "sparse", sparse_frames.register_sparse)
        _when_used(dispatch, "scipy.sparse", sparse_frames.register_scipy)
    for dispatch in (cuda_serialize, cuda_deserialize):
        _when_used(dispatch, "cupyx.scipy.sparse", sparse_frames.register_cupyx)
    sparse_frames.allow()


def _register_device_objects() -> None:
    """Tell dask-cuda, where it is in use, that the arrays of cupyx live on the device.

    They have no ``__cuda_array_interface__``, by which it would know.
    """
    module = sys.modules.get("dask_cuda.is_device_object")
    if module is None:
        return
    dispatch: Dispatch = module.is_device_object

    def register_cupyx() -> None:
        from cupyx.scipy import sparse

        dispatch.register(_classes_of(sparse), lambda _: True)

    _when_used(dispatch, "cupyx.scipy.sparse", register_cupyx)


_SIZES_SPARSE = {"COO": sizeof_buffers, "GCXS": sizeof_buffers, "DOK": sizeof_sparse_dok}


_FORMATS = ("bsr", "coo", "csc", "csr", "dia", "dok", "lil")


def _classes_of(package: Any) -> tuple[type, ...]:
    """Return the classes of ``scipy.sparse``, or those of them that its likeness has.

    The base classes are not enough: a registry remembers what it once found for each class.
    CuPy has no bsr, dok and lil, and has arrays, beside matrices, since version 14.
    """
    names = ["spmatrix", "sparray"]
    names += [f"{layout}_{kind}" for layout in _FORMATS for kind in ("matrix", "array")]
    return tuple(getattr(package, name) for name in names if hasattr(package, name))


def _when_used(dispatch: Dispatch, module: str, register: Callable[[], None]) -> None:
    """Call ``register`` when ``dispatch`` first meets a class of the package of ``module``.

    Replaces the hook that Dask may have for that package: ``register`` covers what that does.
    """
    dispatch.register_lazy(module.partition(".")[0], register)
    # Met already, perhaps: then Dask's hook is spent, and what it found is remembered by class
    # (also for subclasses from elsewhere, which stay what they were: so Dask calls us early).
    if module in sys.modules:
        register()
