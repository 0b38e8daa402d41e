"""A memory-aware scheduler extension for Dask clusters whose arrays do not fit on the device.

The public names are loaded when they are first used: Dask imports this package
early, to register the sizes of sparse arrays, and must not wait for the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dask_mlsched.extension.cluster import LocalDeviceCluster
    from dask_mlsched.extension.device_store import DeviceStore
    from dask_mlsched.extension.handle import Handle, install
    from dask_mlsched.extension.scheduler_plugin import MLSchedulerPlugin

__version__ = "0.1.0"

__all__ = [
    "DeviceStore",
    "Handle",
    "LocalDeviceCluster",
    "MLSchedulerPlugin",
    "__version__",
    "install",
]

_HOME = {
    "DeviceStore": "dask_mlsched.extension.device_store",
    "Handle": "dask_mlsched.extension.handle",
    "LocalDeviceCluster": "dask_mlsched.extension.cluster",
    "MLSchedulerPlugin": "dask_mlsched.extension.scheduler_plugin",
    "install": "dask_mlsched.extension.handle",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    import importlib

    return getattr(importlib.import_module(_HOME[name]), name)
