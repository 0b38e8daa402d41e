"""What we use of Dask beyond its documented interface, and where its versions differ.

Everything that may be missing in an older or a newer Dask is named here, and
checked once when the plugin starts, so that a mismatch is one clear line
instead of an error in the middle of a run.
"""

from __future__ import annotations

from typing import Any, Final

import distributed
from distributed.http.scheduler.prometheus.core import PrometheusHandler
from distributed.scheduler import Scheduler, TaskState
from packaging.version import InvalidVersion, Version

try:
    from distributed.shuffle import _core as shuffle
except ImportError:  # a Dask that is too new; `check` says so
    shuffle = None  # type: ignore[assignment]  # a module, or its absence

#: The run spec of a shuffle's barrier; None if this Dask has none.
P2P_BARRIER: type | None = getattr(shuffle, "P2PBarrierTask", None)

#: The installed version.
VERSION: Final[str] = distributed.__version__  # type: ignore[attr-defined]  # not in its __all__

#: The oldest version that the tests run on.
OLDEST: Final = "2026.3.0"

#: Attributes of the scheduler, and of its tasks, that parking needs.
_OF_SCHEDULER: Final = (
    "add_plugin",
    "get_events",
    "handlers",
    "no_workers_timeout",
    "register_worker_plugin",
    "remove_plugin",
    "running",
    "transitions",
    "unregister_worker_plugin",
    "unrunnable",
)
_OF_TASKS: Final = (
    "host_restrictions",
    "loose_restrictions",
    "resource_restrictions",
    "worker_restrictions",
)


class UnsupportedDaskError(RuntimeError):
    """The installed Dask is too old or too new: one line with the version and the cure."""


def check(scheduler: Scheduler, version: str = VERSION) -> None:
    """Check that the scheduler's Dask has what we use.

    Raises
    ------
    UnsupportedDaskError
        If it is too old, or lacks something that we use.
    """
    if _too_old(version):
        msg = (
            f"the scheduler runs distributed {version}; dask_mlsched needs {OLDEST} or newer: "
            "pip install --upgrade 'dask[distributed]' there"
        )
        raise UnsupportedDaskError(msg)
    missing = [f"Scheduler.{name}" for name in _OF_SCHEDULER if not hasattr(scheduler, name)]
    missing += [f"TaskState.{name}" for name in _OF_TASKS if not hasattr(TaskState, name)]
    if P2P_BARRIER is None:
        missing.append("distributed.shuffle's P2PBarrierTask")
    if missing:
        msg = (
            f"distributed {version} on the scheduler has no {', '.join(missing)}, which "
            "dask_mlsched uses: it is too new; install a newer dask_mlsched or an older distributed"
        )
        raise UnsupportedDaskError(msg)


def _too_old(version: str) -> bool:
    try:
        return Version(version) < Version(OLDEST)
    except InvalidVersion:
        # A source tree that was never installed calls itself "unknown": what it has will tell.
        return False


def is_p2p_barrier(run_spec: Any) -> bool:
    """Tell whether a task is the barrier of a P2P shuffle or rechunk."""
    return P2P_BARRIER is not None and isinstance(run_spec, P2P_BARRIER)


def scraped_scheduler() -> Scheduler | None:
    """Return the scheduler that Dask's own metrics are of just now; None before its first page.

    Dask's collectors are the process's, and its handler hands them each page's scheduler.
    """
    collectors = getattr(PrometheusHandler, "_collectors", None)
    return collectors[0].server if collectors else None
