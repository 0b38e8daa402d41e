"""What runs on a scheduler to begin with: it makes our plugin there, or refuses in one line.

This text travels to schedulers, also to those without the package (`by_value`): as it is loaded,
it may import nothing but Dask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distributed.diagnostics.plugin import SchedulerPlugin

if TYPE_CHECKING:
    from distributed import Scheduler


class Refused(SchedulerPlugin):
    """Stands in for our plugin until it is to start; then its client hears why there is none."""

    name = "mlsched"
    idempotent = False

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def start(self, scheduler: Scheduler) -> None:
        """Refuse; nothing is changed."""
        raise self.error


def make(settings: dict[str, Any], protocol: int, version: str) -> SchedulerPlugin:
    """Make the plugin, with the settings of a client whose package is of this version."""
    try:
        from dask_mlsched.extension.scheduler_plugin import MLSchedulerPlugin
        from dask_mlsched.extension.versions import PROTOCOL, VERSION
    except ModuleNotFoundError as error:
        if error.name == "dask_mlsched":
            what = "is not installed on the scheduler"
        else:
            what = f"cannot be used on the scheduler ({error})"
        cure = f"pip install 'dask-mlsched=={version}' there, and start it again"
        return Refused(RuntimeError(f"mlsched: dask_mlsched {what}: {cure}"))
    if protocol != PROTOCOL:
        return Refused(
            RuntimeError(
                f"mlsched: dask_mlsched is {VERSION} with protocol {PROTOCOL} on the scheduler, "
                f"{version} with protocol {protocol} here: install the same version on both"
            )
        )
    try:
        return MLSchedulerPlugin(**settings)
    except ValueError as error:  # a ConfigError is one
        if version == VERSION:
            return Refused(error)
        where = f"the scheduler runs dask_mlsched {VERSION}, this client {version}"
        return Refused(type(error)(f"{error} ({where})"))
