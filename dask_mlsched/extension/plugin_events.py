"""Says what becomes of the plugin itself, in Dask's structured events.

Its state is looked at whenever it may have changed, and what is different from what was last told
is told: so nothing is told twice, and one place knows all events. What changes for ever, such as a
mode that somebody switches in a loop, is told of a few times a minute.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from dask_mlsched.extension.versions import VERSION

if TYPE_CHECKING:
    from dask_mlsched.extension.scheduler_plugin import MLSchedulerPlugin

logger = logging.getLogger("dask_mlsched")

#: Of the structured events: `Client.get_events(TOPIC)`.
TOPIC: Final = "mlsched-plugin"

Action: TypeAlias = Literal[
    "installed",
    "uninstalled",
    "mode-changed",
    "policy-changed",
    "managing-began",
    "managing-ended",
    "policy-switched-off",
    "error",
    "switched-off",
    "recording-stopped",
    "workers-unserved",
]

#: At most so many events in so many seconds; of the rest, how many were left out.
MOST: Final = 12
SECONDS: Final = 60.0

#: Workers that come within so many seconds of the first are told of with it, so many by name; and
#: so many reasons are told of, as texts that workers send.
_COLLECT_SECONDS: Final = 1.0
_MOST_NAMED: Final = 20
_MOST_REASONS: Final = 5

#: These come once each, whatever else there was.
_ALWAYS: Final = frozenset({"installed", "uninstalled", "switched-off"})


class PluginEvents:
    """Tells of one plugin, from its installation to its end.

    Parameters
    ----------
    plugin
        Its scheduler takes the events.
    """

    def __init__(self, plugin: MLSchedulerPlugin) -> None:
        self._plugin = plugin
        #: When the latest events were told.
        self._told: deque[float] = deque()
        self._left_out = 0
        self._began = False
        #: What was last told.
        self._mode = self._policy = ""
        self._managing = self._errors = self._gave_up = False
        self._policy_off: str | None = None
        self._stopped: str | None = None
        #: Why workers are not served, as far as it was told; since when there is more to tell.
        self._reasons: set[str] = set()
        self._untold_since: float | None = None

    def begin(self) -> None:
        """Tell that the plugin is there."""
        plugin = self._plugin
        self._began = True
        self._mode, self._policy = plugin.mode, plugin.policy_name
        self._tell("installed", version=VERSION, mode=self._mode, policy=self._policy)
        self.look()

    def end(self, given_back: int, *, replaced: bool) -> None:
        """Tell that the plugin is gone, and whether another one has taken its place."""
        if self._began:
            self._look_at_management()
            self._tell("uninstalled", tasks_given_back=given_back, replaced=replaced)
        self._began = False

    def look(self) -> None:
        """Tell what is different; costs next to nothing if nothing is."""
        if self._began:
            self._look_at_errors()
            self._look_at_settings()
            self._look_at_management()
            self._look_at_recording()
            self._look_at_workers()

    def _look_at_errors(self) -> None:
        plugin = self._plugin
        if plugin.errors and not self._errors:
            self._errors = True
            self._tell("error", error=plugin.last_error)
        if plugin.gave_up and not self._gave_up:
            self._gave_up = True
            total = plugin.errors.total()
            self._tell("switched-off", errors=total, last_error=plugin.last_error)

    def _look_at_settings(self) -> None:
        plugin = self._plugin
        if plugin.mode != self._mode:
            before, self._mode = self._mode, plugin.mode
            self._tell("mode-changed", before=before, now=self._mode)
        if plugin.policy_name != self._policy:
            before, self._policy = self._policy, plugin.policy_name
            self._tell("policy-changed", before=before, now=self._policy)

    def _look_at_management(self) -> None:
        plugin = self._plugin
        guard = None if plugin.controller is None else plugin.controller.chooser.guard
        off = None
        if guard is not None and guard.off:
            off = guard.last_failure or "it failed"
            if off != self._policy_off:
                self._tell("policy-switched-off", failures=guard.failures, last_failure=off)
        if plugin.controller is not None:
            self._policy_off = off
        if plugin.manages != self._managing:
            self._managing = plugin.manages
            action: Action = "managing-began" if self._managing else "managing-ended"
            workers = len(plugin.scheduler.workers)
            self._tell(action, workers=workers, tasks=len(plugin.scheduler.tasks))

    def _look_at_recording(self) -> None:
        stopped = self._plugin.recording.stopped
        if stopped != self._stopped:
            self._stopped = stopped
            if stopped is not None:
                self._tell("recording-stopped", reason=stopped)

    def _look_at_workers(self) -> None:
        """Say once for each reason which workers work without us, as far as they are there."""
        absent = self._plugin.reports.absent
        new = set(absent.values()) - self._reasons
        if not new or len(self._reasons) >= _MOST_REASONS:
            return
        now = time.monotonic()
        if self._untold_since is None:
            self._untold_since = now
        if now - self._untold_since < _COLLECT_SECONDS:
            return
        self._untold_since = None
        for reason in sorted(new)[: _MOST_REASONS - len(self._reasons)]:
            self._reasons.add(reason)
            workers = [address for address, why in absent.items() if why == reason]
            named = ", ".join(workers[:_MOST_NAMED])
            rest = len(workers) - _MOST_NAMED
            logger.warning(
                "mlsched: %d worker%s as without the extension, as %s there: %s%s; to change that, "
                "pip install 'dask-mlsched==%s' there and start them again",
                len(workers),
                " works" if len(workers) == 1 else "s work",
                reason,
                named,
                f" and {rest} more" if rest > 0 else "",
                VERSION,
            )
            named_workers = workers[:_MOST_NAMED]
            self._tell(
                "workers-unserved",
                reason=reason,
                workers=named_workers,
                count=len(workers),
            )

    def _tell(self, action: Action, **figures: Any) -> None:
        now = time.monotonic()
        while self._told and now - self._told[0] > SECONDS:
            self._told.popleft()
        if len(self._told) >= MOST and action not in _ALWAYS:
            self._left_out += 1
            return
        self._told.append(now)
        message = {"action": action, **figures, "left_out": self._left_out}
        self._left_out = 0
        self._plugin.scheduler.log_event(TOPIC, message)
