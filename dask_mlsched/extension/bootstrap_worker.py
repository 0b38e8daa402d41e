"""What runs on a worker to begin with: it makes our plugin there, or says why it cannot.

This text travels to workers, also to those without the package (`by_value`): as it is loaded, it
may import nothing but Dask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distributed.diagnostics.plugin import WorkerPlugin

if TYPE_CHECKING:
    from distributed import Worker


class Unserved(WorkerPlugin):
    """Stands in for our plugin, and says once why: the worker goes on as without it."""

    name = "mlsched-worker"
    idempotent = False

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def setup(self, worker: Worker) -> None:
        """Tell the scheduler's half."""
        message = {"op": "absent", "worker": worker.address, "reason": self.reason}
        worker.log_event("mlsched", message)


def make(settings: dict[str, Any], protocol: int, version: str) -> WorkerPlugin:
    """Make the plugin, with the settings of a scheduler whose package is of this version."""
    try:
        from dask_mlsched.extension.versions import PROTOCOL, VERSION
        from dask_mlsched.extension.worker_plugin import MLWorkerPlugin

        if protocol == PROTOCOL:
            return MLWorkerPlugin(**settings)
    except Exception as error:  # noqa: BLE001 - an old version, a broken one: the worker works on
        if isinstance(error, ModuleNotFoundError) and error.name == "dask_mlsched":
            return Unserved("dask_mlsched is not installed")
        return Unserved(f"dask_mlsched cannot be used ({type(error).__name__}: {error})")
    return Unserved(
        f"dask_mlsched is {VERSION} with protocol {PROTOCOL}, "
        f"on the scheduler {version} with protocol {protocol}"
    )
