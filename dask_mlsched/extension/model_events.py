"""Says what happens to models and which are chosen: in Dask's structured events and the log."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from dask_mlsched.core.model_choice import BASELINE, Choice
from dask_mlsched.core.training_message import Happened

logger = logging.getLogger("dask_mlsched")

#: Of the structured events: `Client.get_events(TOPIC)`.
TOPIC: Final = "mlsched-models"

#: What a user should look at.
_WARNED: Final = frozenset({"sent back", "rolled back"})

#: As `distributed.Scheduler.log_event` has it: topic and message.
LogEvent: TypeAlias = Callable[[str, Any], None]


class ModelEvents:
    """Counts what happened, and passes it on.

    Parameters
    ----------
    log_event
        Takes structured events.
    """

    #: How often which event happened, and the last one.
    counts: Counter[str]
    last: dict[str, Any] | None

    def __init__(self, log_event: LogEvent) -> None:
        self._log_event = log_event
        self.counts = Counter()
        self.last = None

    def happened(self, what: Happened) -> None:
        """Tell what became of a model or a family."""
        self.counts[what.event] += 1
        self.last = {
            "event": what.event,
            "model": what.model,
            "family": what.family,
            "reason": what.reason,
            "figures": dict(what.figures),
        }
        self._log_event(TOPIC, self.last)
        level = logging.WARNING if what.event in _WARNED else logging.INFO
        _log(level, what.event, what.model, what.family, what.reason)

    def chosen(self, choice: Choice, tasks: int) -> None:
        """Tell which model decides for a graph of so many tasks."""
        self._log_event(TOPIC, {"event": "chosen", "tasks": tasks, **choice.as_dict()})
        _log(logging.INFO, "chosen", choice.model, choice.family, choice.why)

    def switched_off(self, model: str, family: str | None, reason: str) -> None:
        """Tell that a model is not asked any more."""
        message = {"event": "switched off", "model": model, "family": family, "reason": reason}
        self._log_event(TOPIC, message)
        _log(logging.WARNING, "switched off", model, family, reason)

    def snapshot(self) -> dict[str, Any]:
        """Describe them for `status()`."""
        return {"events": dict(self.counts), "last_event": self.last}


def _log(level: int, event: str, model: str | None, family: str | None, reason: str) -> None:
    who = "Dask alone" if model == BASELINE else model or "no model"
    of = "" if family is None else f", family {family}"
    # One line, whatever a reason has in it.
    logger.log(level, "mlsched: %s: %s%s: %s", event, who, of, " ".join(reason.split()))
