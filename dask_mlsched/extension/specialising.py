"""Has the policy specialised to the graph at hand while it runs, by a process beside the scheduler.

Every look, some ten a second, sees whether there is a reason to ask: a graph has arrived and no
more came with it for a moment, or it has grown by half; sizes turn out to be others than those that
were asked with; the speed of copies is known at last. An answer changes the network of the policy
between two decisions; where it is that Dask alone does best, Dask gets the tasks back. Until there
is one, and whatever goes wrong, the generalist decides.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from dask_mlsched.config import Config
from dask_mlsched.core.controller import Controller
from dask_mlsched.core.graph_message import ANSWER, FAILED, READY, Answer
from dask_mlsched.core.message_frame import Frame, FrameError
from dask_mlsched.core.network import Network
from dask_mlsched.core.planners.learned import Learned
from dask_mlsched.extension.graph_request import Estimates, Pressed, collect
from dask_mlsched.extension.problems import Problems
from dask_mlsched.extension.side_process import SideProcess
from dask_mlsched.extension.translator import Translator

if TYPE_CHECKING:
    from distributed.scheduler import Scheduler

#: By the module's name: this layer does not import that one.
COMMAND: Final = (sys.executable, "-m", "dask_mlsched.learning.specialist")

Why: TypeAlias = Literal["graph", "sizes", "bandwidth"]

#: Sizes that differ by more than this share are worth another search.
DIFFERENT: Final = 0.2

#: A graph that has grown by this share is asked about again: at once, and after a quiet moment.
GROWN: Final = 1.5
GROWN_QUIETLY: Final = 1.1

#: Dask alone must be better than its order under our controller by this share to get tasks back.
CLEAR: Final = 0.02

#: Seconds between two requests, so that candidates are always answered.
GAP: Final = 0.5

#: More tasks than this are not collected: the event loop would have to wait too long for it.
MOST_TASKS: Final = 100_000

#: A process that ends by itself is started again so often.
RESTARTS: Final = 3


@dataclass(frozen=True)
class Budget:
    """Seconds that one search may take."""

    per_task: float
    least: float
    most: float

    @classmethod
    def of(cls, config: Config) -> Budget:
        """Take it from the configuration."""
        return cls(
            config.seconds_per_thousand_tasks / 1000, config.least_seconds, config.most_seconds
        )


@dataclass
class _Asked:
    """What the last request was about."""

    number: int
    at: float
    #: Tasks that had arrived by then.
    arrived: int
    estimates: Estimates
    bandwidth_known: bool
    #: Numbers of its tasks in the controller's graph.
    tasks: Sequence[int]
    #: Whether it has been answered, if only with the best candidate.
    answered: bool = False


class Specialising:
    """Asks for specialists, and hands them over to the policy that decides.

    Made in the scheduler's event loop, where all of it runs. Gives back its process by `close`.

    Parameters
    ----------
    budget
        Of a search.
    give_back
        Hands all tasks that are parked or wait back to Dask: where Dask alone is foretold to be
        better than anything that our controller can do, its order included.
    command
        What the process runs.
    """

    #: Requests and answers; how often the network in use was changed.
    requests: int
    answers: int
    #: The answer in use; None while the generalist decides. And the latest, in use or not.
    answer: Answer | None
    latest: Answer | None
    #: What went wrong.
    problems: Problems

    def __init__(
        self, budget: Budget, give_back: Callable[[], object], command: Sequence[str] = COMMAND
    ) -> None:
        self._budget = budget
        self._give_back = give_back
        self._command = command
        self.requests = self.answers = 0
        self.problems = Problems()
        self.answer = self.latest = None
        self._policy: Learned | None = None
        self._generalist: Network | None = None
        self._ready = False
        #: Set once the process is ready for the first time, or has ended.
        self._settled = asyncio.Event()
        self._restarts = 0
        self._arrived = 0
        #: Tasks that had arrived at the last look.
        self._seen = 0
        self._asked: _Asked | None = None
        self._process: SideProcess | None = None
        self._start()

    # The process

    def _start(self) -> None:
        self._ready = False
        try:
            self._process = SideProcess("specialist", self._command, self._hear, self._ended)
        except OSError as error:
            self._settled.set()
            self.problems.add(f"the specialist's process cannot be started: {error}")

    async def settled(self, seconds: float) -> None:
        """Wait until the process is ready or has failed, or so many seconds have passed."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._settled.wait(), seconds)

    def _ended(self, how: str) -> None:
        self._settled.set()
        self._process = None
        self._asked = None
        self.problems.add(f"the specialist's process: {how}")
        if self._restarts < RESTARTS:
            self._restarts += 1
            self._start()

    @property
    def pid(self) -> int | None:
        """The number of the process; None if there is none."""
        return None if self._process is None else self._process.pid

    def close(self) -> None:
        """End the process; calling it again does nothing."""
        if self._process is not None:
            self._process.close()
            self._process = None

    # What it is told

    def serve(self, policy: Learned) -> None:
        """Change the network of this policy from now on; it begins as the last one was."""
        self._policy = policy
        self._generalist = policy.network
        # The controller may be another one, with other numbers for tasks: ask it anew.
        self._asked = None
        if self.answer is not None and self.answer.guide is None:
            policy.serve(self.answer.network, may_hold=self.answer.may_hold)
        else:
            self.answer = None

    def graph_arrived(self, tasks: int) -> None:
        """Count tasks that have arrived."""
        self._arrived += tasks

    def look(
        self, scheduler: Scheduler, controller: Controller, translator: Translator, now: float
    ) -> None:
        """Ask for a specialist, if there is a reason to.

        Parameters
        ----------
        scheduler, controller, translator
            What there is to collect.
        now
            Seconds, on any clock.
        """
        quiet, self._seen = self._arrived == self._seen, self._arrived
        if not controller.parked and not any(d.in_flight for d in controller.devices.values()):
            self.forget()
        elif (
            self._process is not None
            and self._ready
            and self._reason(controller, quiet=quiet, now=now) is not None
            and len(controller.graph) <= MOST_TASKS
            and (pressed := Pressed.of(controller)) is not None
        ):
            self._ask(self._process, scheduler, controller, translator, pressed, now)

    def forget(self) -> None:
        """Let the generalist decide again: the next graph may be quite another one."""
        if self._asked is None and self.answer is None:
            return
        self._asked = self.answer = None
        self._arrived = self._seen = 0
        if self._policy is not None and self._generalist is not None:
            self._policy.serve(self._generalist, may_hold=True)

    def _reason(self, controller: Controller, *, quiet: bool, now: float) -> Why | None:
        asked = self._asked
        if asked is None:
            return "graph" if quiet else None
        if not asked.answered or now - asked.at < GAP:
            return None
        if self._arrived > asked.arrived * (GROWN_QUIETLY if quiet else GROWN):
            return "graph"
        if asked.estimates.differ(controller.graph, DIFFERENT):
            return "sizes"
        measured = any(device.measured for device in controller.devices.values())
        return "bandwidth" if measured and not asked.bandwidth_known else None

    def _ask(
        self,
        process: SideProcess,
        scheduler: Scheduler,
        controller: Controller,
        translator: Translator,
        pressed: Pressed,
        now: float,
    ) -> None:
        collected = collect(
            scheduler,
            controller,
            translator,
            pressed,
            number=self.requests,
            seconds_per_task=self._budget.per_task,
            least_seconds=self._budget.least,
            most_seconds=self._budget.most,
        )
        if collected is None:
            return
        request, estimates = collected
        known = pressed.bandwidth is not None
        tasks = [int(key) for key in request.dag.keys]
        self._asked = _Asked(self.requests, now, self._arrived, estimates, known, tasks)
        self.requests += 1
        process.ask(replace(request, start=self._generalist).frame())

    # What it hears

    def _hear(self, frame: Frame) -> None:
        if frame.kind == READY:
            self._ready = True
            self._settled.set()
        elif frame.kind == ANSWER:
            try:
                self._take(Answer.from_frame(frame))
            except FrameError as error:
                self.problems.add(f"an answer of the specialist's process: {error}")
        elif frame.kind == FAILED:
            if self._asked is not None and frame.fields.get("number") == self._asked.number:
                self._asked.answered = True
            self.problems.add(f"the specialist's process: {frame.fields.get('error')}")

    def _take(self, answer: Answer) -> None:
        self.answers += 1
        asked = self._asked
        if asked is None or answer.number != asked.number or self._policy is None:
            return  # it is about a graph that is not at hand any more
        asked.answered = True
        guide = None
        if answer.guide is not None:
            if len(answer.guide) != len(asked.tasks):
                found = f"a guide of {len(answer.guide)} tasks"
                self.problems.add(f"{found}; expected the {len(asked.tasks)} that were asked about")
                return
            guide = dict(zip(asked.tasks, answer.guide.tolist(), strict=True))
        self.answer = self.latest = answer
        self._policy.serve(answer.network, may_hold=answer.may_hold, guide=guide)
        if _belongs_to_dask(answer):
            self._give_back()

    def snapshot(self) -> dict[str, Any]:
        """Describe it for `status()`; what was foretold is over Dask alone, or Dask's order."""
        answer = self.latest
        told = None if answer is None else answer.foretold.get(answer.arm)
        base = None if answer is None else answer.foretold.get("stock", answer.foretold["order"])
        return {
            "running": self._process is not None,
            "ready": self._ready,
            "restarts": self._restarts,
            "requests": self.requests,
            "answers": self.answers,
            "deciding": self.answer is not None,
            "arm": None if answer is None else answer.arm,
            "evaluations": 0 if answer is None else answer.evaluations,
            "seconds": 0.0 if answer is None else answer.seconds,
            "foretold_makespan": _ratio(told, base, 0),
            "foretold_bytes": _ratio(told, base, 1),
            **self.problems.snapshot(),
        }


def _belongs_to_dask(answer: Answer) -> bool:
    """Tell whether Dask alone is better, and clearly so, than its order under our controller."""
    stock, order = answer.foretold.get("stock"), answer.foretold.get("order")
    if answer.arm != "stock" or stock is None or order is None:
        return False
    return any(ours > (1 + CLEAR) * theirs for ours, theirs in zip(order, stock, strict=True))


def _ratio(
    told: tuple[float, int] | None, base: tuple[float, int] | None, which: Literal[0, 1]
) -> float | None:
    if told is None or base is None or not base[which]:
        return None
    return told[which] / base[which]
