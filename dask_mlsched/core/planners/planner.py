"""The Planner protocol: a policy that follows all that happens and keeps plans of its own.

A scoring policy is asked about a shortlist and remembers nothing. A planner is
told of every change and proposes tasks itself, so that it can do what the
published schedulers do: assign tasks to workers when they become ready, or plan
a batch of them. It plans the tasks of one user priority and never hears of
others; the rules of safety are not its business.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self, runtime_checkable

from dask_mlsched.core.planners.picture import Picture
from dask_mlsched.core.policies import HoldOption, Policy, Situation, View


@runtime_checkable
class Planner(Policy, Protocol):
    """A policy whose view is "planned".

    What it is told comes after the change, so that the picture agrees with it. All that a planner
    must know when it begins in the middle of a run reaches it by the same calls, after `attach`.
    """

    #: Whether it is asked even where everything fits in the fast tiers, because it decides where
    #: tasks run, and not only when.
    even_if_fits: bool
    #: The eviction rule that belongs to the algorithm; None leaves that to the settings.
    eviction: str | None
    #: Whether a worker for which nothing is proposed may take a task that is at home elsewhere, by
    #: the rules that hold without a policy.
    takes_from_others: bool
    #: Set by `propose` where it would rather leave the slot empty than run what it proposes.
    hold: HoldOption | None

    def fresh(self) -> Self:
        """Make another planner like this one, which knows nothing yet."""
        ...

    def attach(self, picture: Picture, level: float) -> None:
        """Begin, for the tasks of one user priority."""
        ...

    def propose(self, worker: int, now: float) -> Sequence[int]:
        """Name parked tasks for a free slot of a worker, the best one first; empty for none.

        The proposed task has not been sent until `task_sent` says so.
        """
        ...

    def graph_changed(self, tasks: Sequence[int]) -> None:
        """Hear of tasks that are new, or that have other inputs than before."""
        ...

    def task_forgotten(self, task: int) -> None:
        """Hear that a task is gone from the graph; its number may be used again."""
        ...

    def array_released(self, array: int) -> None:
        """Hear that no worker holds an array any more."""
        ...

    def task_ready(self, task: int) -> None:
        """Hear that a task is parked."""
        ...

    def task_withdrawn(self, task: int) -> None:
        """Hear that a parked task is not ours any more."""
        ...

    def task_sent(self, task: int, worker: int) -> None:
        """Hear that a task is on its way to a worker, parked before or not, proposed or not."""
        ...

    def task_ended(self, task: int, worker: int) -> None:
        """Hear that a task that was sent is not on the worker any more.

        Its array exists if its state is COMPUTED. The worker may have left before.
        """
        ...

    def residency_changed(self, worker: int, came: Sequence[int], gone: Sequence[int]) -> None:
        """Hear which arrays are predicted to be resident now and were not before, and vice versa.

        The output of a task comes when the task is sent.
        """
        ...

    def worker_joined(self, worker: int) -> None:
        """Hear of a worker that takes tasks: a new one, or one that was paused.

        What is resident there already, the picture shows.
        """
        ...

    def limit_seen(self, worker: int) -> None:
        """Hear that the device memory limit of a worker is another than before."""
        ...

    def worker_left(self, worker: int) -> None:
        """Hear that a worker takes no tasks any more: it is gone, or paused.

        Until it joins again, nothing is told of its residency.
        """
        ...


class BasePlanner:
    """The parts of a planner that do nothing."""

    view: View = "planned"
    shortlist = 1
    even_if_fits = False
    eviction: str | None = None
    takes_from_others = False
    hold: HoldOption | None = None

    #: What there is to see, and the user priority of the tasks that are planned.
    picture: Picture
    level: float

    def fresh(self) -> Self:
        """Make another planner like this one, which knows nothing yet."""
        return type(self)()

    def attach(self, picture: Picture, level: float) -> None:
        """Begin, for the tasks of one user priority."""
        self.picture = picture
        self.level = level

    def score(self, situation: Situation) -> Sequence[float]:
        """Leave the order as it is: nobody asks a planner this."""
        return [0.0] * (len(situation.candidates) + (situation.hold is not None))

    def graph_changed(self, tasks: Sequence[int]) -> None:
        """Make nothing of new tasks before they are ready."""

    def task_forgotten(self, task: int) -> None:
        """Know nothing of the task."""

    def array_released(self, array: int) -> None:
        """Make nothing of it."""

    def task_sent(self, task: int, worker: int) -> None:
        """Take the task out, if it was parked."""
        self.task_withdrawn(task)

    def task_withdrawn(self, task: int) -> None:
        """Know nothing of the task."""

    def task_ended(self, task: int, worker: int) -> None:
        """Make nothing of it."""

    def residency_changed(self, worker: int, came: Sequence[int], gone: Sequence[int]) -> None:
        """Make nothing of it."""

    def worker_joined(self, worker: int) -> None:
        """Make nothing of it."""

    def worker_left(self, worker: int) -> None:
        """Make nothing of it."""

    def limit_seen(self, worker: int) -> None:
        """Make nothing of it."""
