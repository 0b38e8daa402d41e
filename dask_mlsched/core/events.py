"""What can happen, and what the controller answers.

Every event is frozen and carries its time in seconds, on a clock of the
driver's choice that never goes backwards. Tasks, workers and prefixes are
small integers that the driver hands out; a task's output, its array, has the
task's number. The driver may use a number again once its task is forgotten.

Only `Decide` brings instructions back. All other events change the
controller's picture and nothing else, so a driver may deliver as many as it
likes before it asks for decisions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

#: Dask's priority: (minus the user's priority, generation, Dask's own order). Lower runs first.
Priority: TypeAlias = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A task as its graph describes it."""

    task: int
    dependencies: tuple[int, ...]
    priority: Priority
    #: Tasks of one prefix run the same code; sizes and times are estimated per prefix.
    prefix: int = 0


@dataclass(frozen=True, slots=True)
class GraphArrived:
    """Tasks became known. A dependency is known already or stands earlier in `tasks`."""

    time: float
    tasks: tuple[TaskSpec, ...]


@dataclass(frozen=True, slots=True)
class DependenciesAdded:
    """A task that was known without all of its dependencies gets more of them."""

    time: float
    task: int
    dependencies: tuple[int, ...]
    priority: Priority


@dataclass(frozen=True, slots=True)
class TaskReady:
    """All inputs are computed and the task is parked: it is ours to send off."""

    time: float
    task: int


@dataclass(frozen=True, slots=True)
class TaskWithdrawn:
    """A parked task is not ours any more: cancelled, released, or lost an input."""

    time: float
    task: int


@dataclass(frozen=True, slots=True)
class TaskStarted:
    """A task is on its way to a worker, by our instruction or by Dask's own choice."""

    time: float
    task: int
    worker: int


@dataclass(frozen=True, slots=True)
class TaskRefused:
    """A `Run` could not be carried out; the task is still parked."""

    time: float
    task: int


@dataclass(frozen=True, slots=True)
class TaskSeceded:
    """A running task left its worker's thread pool: it takes no slot any more."""

    time: float
    task: int


@dataclass(frozen=True, slots=True)
class TaskFinished:
    """A running task has made its array of `nbytes` after computing for `seconds`."""

    time: float
    task: int
    nbytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class TaskStopped:
    """A running task ended without an array: failed, rescheduled, cancelled, or its worker died."""

    time: float
    task: int


@dataclass(frozen=True, slots=True)
class ArrayAppeared:
    """An array exists that no running task made: scattered data, or a run that was joined late."""

    time: float
    task: int
    nbytes: int
    workers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ArrayReleased:
    """No worker holds the array any more."""

    time: float
    task: int


@dataclass(frozen=True, slots=True)
class TaskForgotten:
    """The task is gone from the graph; it has no dependents left."""

    time: float
    task: int


@dataclass(frozen=True, slots=True)
class WorkerJoined:
    """A worker offers `threads` slots and a fast tier of `limit` bytes (None: without limit)."""

    time: float
    worker: int
    threads: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class LimitSeen:
    """A worker has told the capacity of its fast tier (None: without limit)."""

    time: float
    worker: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class WorkerPaused:
    """A worker takes no new tasks for now: paused, or on its way out."""

    time: float
    worker: int


@dataclass(frozen=True, slots=True)
class WorkerResumed:
    """A paused worker takes tasks again."""

    time: float
    worker: int


@dataclass(frozen=True, slots=True)
class WorkerLeft:
    """A worker is gone, with all that it held. Its tasks are stopped by events of their own."""

    time: float
    worker: int


@dataclass(frozen=True, slots=True)
class ArraysMoved:
    """A worker's report of copies between its tiers, in the order in which they happened.

    `nbytes` and `seconds` are the sum over all of them, in both directions. What came from other
    workers meanwhile is beside them.
    """

    time: float
    worker: int
    #: (array, True for a load into the fast tier, False for an eviction from it)
    moves: tuple[tuple[int, bool], ...]
    nbytes: int
    seconds: float
    #: Each copy by itself, for those who learn from it: (array, True for a load, bytes, seconds).
    #: An array that is not known any more is -1. The controller makes no use of it.
    copies: tuple[tuple[int, bool, int, float], ...] = ()
    #: Each answer of another worker to a request for arrays: (worker, or -1 if it is not known;
    #: seconds from the request to the last byte; (array, bytes) of each). No use is made of it.
    fetches: tuple[tuple[int, float, tuple[tuple[int, int], ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class ResidencySeen:
    """A worker's own list of what is resident, least recently used first."""

    time: float
    worker: int
    resident: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Decide:
    """Decide now for every free slot."""

    time: float


Event: TypeAlias = (
    GraphArrived
    | DependenciesAdded
    | TaskReady
    | TaskWithdrawn
    | TaskStarted
    | TaskRefused
    | TaskSeceded
    | TaskFinished
    | TaskStopped
    | ArrayAppeared
    | ArrayReleased
    | TaskForgotten
    | WorkerJoined
    | LimitSeen
    | WorkerPaused
    | WorkerResumed
    | WorkerLeft
    | ArraysMoved
    | ResidencySeen
    | Decide
)


@dataclass(frozen=True, slots=True)
class Run:
    """Send a parked task to a worker now.

    The fields after `worker` say why, for people: `handle.explain(key)` shows them.
    """

    time: float
    task: int
    worker: int
    #: `policy`, or which rule decided in its place (see `controller.Reason`).
    reason: str
    #: Bytes of inputs that were not resident on the worker when it was chosen.
    missing_bytes: int
    #: How many tasks the policy could choose from, and the chosen one's place in Dask's order.
    candidates: int
    rank: int
    #: How long the slot had been held before.
    held_seconds: float
    #: Resident arrays that the worker evicts before it makes room for the task, in this order.
    evict: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Hold:
    """Leave a worker's slot empty until the next event, or until `until` at the latest."""

    time: float
    worker: int
    until: float
    #: Seconds of copying that the expected successor saves over the best ready task.
    saved_seconds: float


Instruction: TypeAlias = Run | Hold
