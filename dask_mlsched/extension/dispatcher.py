"""Carries the controller's instructions out: tasks to workers, and what users must know of it."""

from __future__ import annotations

import logging
import time
from collections import Counter, OrderedDict, deque
from typing import TYPE_CHECKING, Final

from dask.typing import Key

from dask_mlsched.core import events as ev
from dask_mlsched.core.controller import Controller
from dask_mlsched.extension import hints, parking
from dask_mlsched.extension.translator import Translator

if TYPE_CHECKING:
    from distributed.scheduler import Scheduler, TaskState

logger = logging.getLogger("dask_mlsched")

#: Holds that are kept, for people.
_HOLDS: Final = 200


class Dispatcher:
    """Sends parked tasks off as the controller decides, and keeps what it decided.

    Parameters
    ----------
    scheduler
        Where the tasks are.
    length
        So many decisions are kept for explanations.
    load_ahead
        Whether workers load what a task misses while it waits for a thread.
    """

    #: key -> how it was last decided, for which worker, by which policy and model, the newest last.
    decided: OrderedDict[Key, tuple[ev.Run, str, str, str | None]]
    #: The last holds, the newest last, and for which worker each was.
    held: deque[tuple[ev.Hold, str]]
    #: Tasks left to Dask, by reason.
    unmanaged: Counter[str]

    def __init__(self, scheduler: Scheduler, length: int, *, load_ahead: bool) -> None:
        self._scheduler = scheduler
        self._length = length
        self._load_ahead = load_ahead
        self._warned: set[str] = set()
        self.decided = OrderedDict()
        self.held = deque(maxlen=_HOLDS)
        self.unmanaged = Counter()

    def decide(
        self, controller: Controller, translator: Translator, policy: str, model: str | None = None
    ) -> list[ev.Hold]:
        """Ask for decisions and send off what is to run; return the holds that began.

        Parameters
        ----------
        policy, model
            What decides, for explanations; no model if none was chosen.
        """
        instructions = controller.handle(ev.Decide(time.monotonic()))
        runs = [each for each in instructions if isinstance(each, ev.Run)]
        if runs:
            self._dispatch(runs, controller, translator, (policy, model))
        self._warn(controller)
        holds = [each for each in instructions if isinstance(each, ev.Hold)]
        self.held += [(hold, translator.workers.key(hold.worker)) for hold in holds]
        return holds

    def _dispatch(
        self,
        runs: list[ev.Run],
        controller: Controller,
        translator: Translator,
        decider: tuple[str, str | None],
    ) -> None:
        tasks = self._scheduler.tasks
        choices: list[tuple[TaskState, str]] = []
        not_ours: list[TaskState] = []
        numbers: dict[TaskState, int] = {}
        sent_along: dict[TaskState, hints.Hints] = {}
        for run in runs:
            ts = tasks[translator.tasks.key(run.task)]
            numbers[ts] = run.task
            address = translator.workers.key(run.worker)
            if not parking.is_ours(ts) or parking.restricted_besides(ts):
                not_ours.append(ts)
                continue
            choices.append((ts, address))
            load_ahead = self._load_ahead and run.missing_bytes > 0
            if run.evict or load_ahead:
                victims = [translator.tasks.key(array) for array in run.evict]
                sent_along[ts] = hints.Hints(victims, load_ahead)
            self._remember(ts.key, run, address, decider)
        with hints.travelling(sent_along):
            refused = parking.dispatch(self._scheduler, choices, stimulus())
        for ts in (*refused, *not_ours):
            controller.handle(ev.TaskRefused(time.monotonic(), numbers[ts]))
        for ts in not_ours:
            # Somebody gave the task a restriction of their own while it was parked: theirs wins.
            if parking.is_ours(ts):
                ts.worker_restrictions = None
            controller.handle(ev.TaskWithdrawn(time.monotonic(), numbers[ts]))
            self.unmanaged["restricted"] += 1
        if not_ours:
            self._scheduler.transitions({ts.key: "processing" for ts in not_ours}, stimulus())

    def _remember(
        self, key: Key, run: ev.Run, address: str, decider: tuple[str, str | None]
    ) -> None:
        self.decided.pop(key, None)
        self.decided[key] = (run, address, *decider)
        while len(self.decided) > self._length:
            self.decided.popitem(last=False)

    def _warn(self, controller: Controller) -> None:
        """Say once, loudly, what a user must know."""
        guard = controller.chooser.guard
        if guard is not None and guard.off:
            self._warn_once(
                f"off {guard.policy.name}",
                f"{guard.last_failure}; after {guard.failures} failures it is not asked any more, "
                "and tasks run in Dask's order",
            )
        if controller.oversized:
            self._warn_once(
                "oversized",
                "the inputs and output of a task are larger than the device memory limit; "
                "it runs all the same, but its inputs push each other out: use smaller chunks "
                "or a higher limit",
            )

    def _warn_once(self, what: str, message: str) -> None:
        if what not in self._warned:
            self._warned.add(what)
            logger.warning("mlsched: %s", message)


def stimulus() -> str:
    """Name a cause for Dask's logs."""
    return f"mlsched-{time.time()}"
