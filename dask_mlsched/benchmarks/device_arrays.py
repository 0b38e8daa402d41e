"""Programs whose arrays live on a device: what their first tasks make is made there, or put there.

A program computes with the arrays that it gets. So it is enough that its roots, the tasks that
read no other's array, return arrays of the device's library; ``a @ b``, `numpy.linalg.cholesky`
or a product of `dask.array` then run on the device, as they would in a user's program.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Any, Final, TypeAlias

import numpy as np
import scipy.sparse
from dask.base import collections_to_expr
from dask.highlevelgraph import HighLevelGraph
from dask.typing import Key

from dask_mlsched.benchmarks.optional import MissingDependencyError
from dask_mlsched.benchmarks.problem import Collection

#: A task of Dask's, which is called to run it, or a value in its place.
Node: TypeAlias = Any

#: The library of arrays in host memory.
HOST: Final = "numpy"
#: That of arrays on NVIDIA's GPUs.
CUPY: Final = "cupy"


class MissingDeviceError(RuntimeError):
    """There is no device for the arrays of a library: one line with the cure."""


def require_device(library: str) -> None:
    """Complain if arrays of a library cannot be made here.

    Raises
    ------
    MissingDependencyError
        If CuPy is wanted and cannot be imported.
    MissingDeviceError
        If it finds no GPU.
    """
    if library != CUPY:
        return
    try:
        cupy = importlib.import_module(CUPY)
    except ImportError as error:
        msg = f'cupy cannot be imported ({error}); install: pip install "dask-mlsched[cuda13]"'
        raise MissingDependencyError(msg) from error
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        msg = f"no NVIDIA GPU can be used here ({error}); run it on a machine with one"
        raise MissingDeviceError(msg) from error
    if not count:
        raise MissingDeviceError("there is no NVIDIA GPU here; run it on a machine with one")


def on_device(collections: Sequence[Collection], library: str) -> tuple[Collection, ...]:
    """Return the same programs with their arrays on the device of `library`.

    They are optimized as `Client.persist` would, so that what Dask fuses stays one task. A root
    that has a keyword ``library`` makes its array there; what the others return is copied.
    """
    expression = collections_to_expr(list(collections)).optimize()
    graph = {
        key: node if node.dependencies else (partial(made_on_device, node, library),)
        for key, node in expression.__dask_graph__().items()
    }
    return tuple(_rebuilt(each, graph) for each in collections)


def _rebuilt(collection: Collection, graph: Mapping[Key, Node]) -> Collection:
    rebuild, arguments = collection.__dask_postpersist__()
    # A layer of the name that the collection looks for, which may be the same for all of them.
    (layer,) = collection.__dask_layers__()
    return rebuild(HighLevelGraph({layer: graph}, {layer: set()}), *arguments)


def made_on_device(node: Node, library: str) -> Any:
    """Run a task that reads no other's array and have its result on the device of `library`."""
    make = getattr(node, "func", None)
    if make is not None and _knows_libraries(make):
        return make(*node.args, library=library, **node.kwargs)
    return to_device(node(), library)


def _knows_libraries(make: Callable[..., Any]) -> bool:
    try:
        return "library" in inspect.signature(make).parameters
    except ValueError:  # built into Python, without a signature
        return False


def to_device(value: Any, library: str) -> Any:
    """Copy an array, sparse or not, to the device; tuples and lists by member; the rest stays."""
    if library == HOST:
        return value
    if isinstance(value, np.ndarray):
        return value if value.dtype.hasobject else _import(library).asarray(value)
    if scipy.sparse.issparse(value):
        classes = _import(f"{library}x.scipy.sparse")
        return getattr(classes, type(value).__name__)(value)
    if type(value) in {list, tuple}:
        return type(value)(to_device(member, library) for member in value)
    return value


def to_host(value: Any) -> Any:
    """Copy what `to_device` or a task made to the host, as arrays of numpy and scipy."""
    if type(value).__module__.partition(".")[0] in {"cupy", "cupyx"}:
        return value.get()
    if isinstance(value, np.ndarray):
        return np.asarray(value)
    if type(value) in {list, tuple}:
        return type(value)(map(to_host, value))
    return value


def synchronize(library: str) -> None:
    """Wait until the device has done all that it was told: kernels run beside their task."""
    if library == CUPY:
        _import(CUPY).cuda.Device().synchronize()


def _import(module: str) -> ModuleType:
    return importlib.import_module(module)
