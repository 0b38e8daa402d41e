"""Install by configuration alone.

`distributed.scheduler.preload: [dask_mlsched.extension.preload]`, or the same
through the environment, puts the plugin on a scheduler that somebody else
starts.
"""

from __future__ import annotations

from distributed.scheduler import Scheduler

from dask_mlsched.extension.scheduler_plugin import MLSchedulerPlugin


async def dask_setup(scheduler: Scheduler) -> None:
    """Install the plugin as the scheduler starts."""
    await scheduler.register_scheduler_plugin(MLSchedulerPlugin(), idempotent=False)
