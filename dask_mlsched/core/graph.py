"""The DAG: one row per task in parallel arrays, indexed by the task's number.

Rows are plain Python lists, because a single element is read and written far
more often than a whole column: at this size a list beats numpy several times.
Rows of forgotten tasks are used again, so memory follows the tasks that are
alive and not those that ever were.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Final

from dask_mlsched.core.events import Priority, TaskSpec

#: An array with more dependents than this is as good as everywhere: following its comings and
#: goings would touch every parked task each time, and would tell none of them apart.
WIDE: Final = 1024


class TaskState(IntEnum):
    """Where a task stands, seen from the controller."""

    #: The number is not in use.
    UNKNOWN = 0
    #: Known, without an array, and not ours to send off.
    WAITING = 1
    #: Ready, and held back at the scheduler.
    PARKED = 2
    #: The controller said `Run`; the driver has not answered yet.
    SENT = 3
    #: On a worker.
    RUNNING = 4
    #: Its array exists.
    COMPUTED = 5


class PrefixStatistics:
    """Running means of what the tasks of one prefix made and how long they took."""

    __slots__ = ("finished", "nbytes", "seconds", "unfinished")

    def __init__(self) -> None:
        #: Tasks of this prefix that have finished, and those that have not.
        self.finished = 0
        self.unfinished = 0
        #: Mean bytes of an output; mean seconds of computing.
        self.nbytes = 0.0
        self.seconds = 0.0

    def add(self, nbytes: int, seconds: float) -> None:
        """Count one finished task."""
        self.finished += 1
        # An ordinary mean while there are few, then one that forgets: sizes drift with the data.
        weight = max(1.0 / self.finished, 0.02)
        self.nbytes += weight * (nbytes - self.nbytes)
        self.seconds += weight * (seconds - self.seconds)


class TaskGraph:
    """Tasks, the edges between them in both directions, and what is known of their arrays."""

    #: Per task: its `TaskState`.
    state: list[TaskState]
    #: Per task: the tasks whose arrays it reads, and those that read its array.
    dependencies: list[tuple[int, ...]]
    dependents: list[set[int]]
    #: Per task: how many of its dependencies have no array yet.
    unfinished: list[int]
    #: Per task: how many PARKED tasks read its array.
    parked_readers: list[int]
    #: Per task: Dask's priority.
    priority: list[Priority]
    #: Per task: where it stands among ready tasks of the same priority, lower first.
    turn: list[int]
    #: Per task: index into `prefixes`.
    prefix: list[int]
    #: Per task: bytes of its array; meaningful when COMPUTED.
    nbytes: list[int]
    #: Per task: whether its array was there and is gone; false again once it is to be made anew.
    released: list[bool]
    #: Per task: the workers that hold its array, in either tier.
    holders: list[set[int]]
    #: Per prefix: sizes and times.
    prefixes: dict[int, PrefixStatistics]
    #: Bytes of all arrays that exist.
    computed_bytes: int

    def __init__(self) -> None:
        self.state = []
        self.dependencies = []
        self.dependents = []
        self.unfinished = []
        self.parked_readers = []
        self.priority = []
        self.turn = []
        self._turns = 0
        self.prefix = []
        self.nbytes = []
        self.released = []
        self.holders = []
        self.prefixes = {}
        self.computed_bytes = 0

    def __len__(self) -> int:
        """Count the rows, in use or not."""
        return len(self.state)

    def known(self, task: int) -> bool:
        """Tell whether the number belongs to a task."""
        return 0 <= task < len(self.state) and self.state[task] != TaskState.UNKNOWN

    def add(self, spec: TaskSpec) -> None:
        """Add a task in WAITING; its number must be free and its dependencies known."""
        task = spec.task
        assert not self.known(task), task
        while len(self.state) <= task:
            self._add_row()
        self.state[task] = TaskState.WAITING
        self.priority[task] = spec.priority
        self.prefix[task] = spec.prefix
        statistics = self.prefixes.get(spec.prefix)
        if statistics is None:
            statistics = self.prefixes[spec.prefix] = PrefixStatistics()
        statistics.unfinished += 1
        self._add_edges(task, tuple(dict.fromkeys(spec.dependencies)))

    def add_dependencies(self, task: int, dependencies: Iterable[int], priority: Priority) -> None:
        """Add edges to a known task, as when a later graph says how to compute it again."""
        new = dict.fromkeys(dep for dep in dependencies if dep not in self.dependencies[task])
        self.priority[task] = priority
        self._add_edges(task, tuple(new))

    def _add_row(self) -> None:
        self.state.append(TaskState.UNKNOWN)
        self.dependencies.append(())
        self.dependents.append(set())
        self.unfinished.append(0)
        self.parked_readers.append(0)
        self.priority.append(())
        self.turn.append(0)
        self.prefix.append(0)
        self.nbytes.append(0)
        self.released.append(False)
        self.holders.append(set())

    def _add_edges(self, task: int, dependencies: tuple[int, ...]) -> None:
        self.dependencies[task] += dependencies
        for dep in dependencies:
            self.dependents[dep].add(task)
            if self.state[dep] != TaskState.COMPUTED:
                self.unfinished[task] += 1

    def parked(self, task: int) -> None:
        """Note that the task is held back."""
        self.state[task] = TaskState.PARKED
        self.released[task] = False
        for dep in self.dependencies[task]:
            self.parked_readers[dep] += 1

    def unparked(self, task: int) -> None:
        """Note that the task is not held back any more; it is WAITING until more is known."""
        self.state[task] = TaskState.WAITING
        for dep in self.dependencies[task]:
            self.parked_readers[dep] -= 1

    def will_read(self, task: int) -> bool:
        """Tell whether the task has its inputs to read yet, as far as is known.

        One whose array was released has read them; it does so again only if the array is needed
        anew, and then it gets parked.
        """
        state = self.state[task]
        return state == TaskState.PARKED or (state == TaskState.WAITING and not self.released[task])

    def take_turn(self, task: int) -> None:
        """Have a task that became ready stand in line with the others of its priority.

        Tasks submitted one by one share a priority. Among them, one that reads something goes
        before one that reads nothing, the last to become ready first, so that chains end before
        others begin; those that read nothing keep their order.
        """
        self._turns += 1
        self.turn[task] = -self._turns if self.dependencies[task] else self._turns

    def order(self, task: int) -> Priority:
        """Return what ready tasks are sorted by."""
        return (*self.priority[task], self.turn[task])

    def array_made(self, task: int, nbytes: int) -> None:
        """Note that the task's array exists now."""
        self.state[task] = TaskState.COMPUTED
        self.released[task] = False
        self.nbytes[task] = nbytes
        self.computed_bytes += nbytes
        self.prefixes[self.prefix[task]].unfinished -= 1
        for dependent in self.dependents[task]:
            self.unfinished[dependent] -= 1

    def array_released(self, task: int) -> None:
        """Note that the task's array is gone; the task is WAITING again."""
        self.state[task] = TaskState.WAITING
        self.released[task] = True
        self.computed_bytes -= self.nbytes[task]
        self.prefixes[self.prefix[task]].unfinished += 1
        self.holders[task].clear()
        for dependent in self.dependents[task]:
            self.unfinished[dependent] += 1

    def forget(self, task: int) -> None:
        """Take a WAITING task out; dependents that are still known lose the edge."""
        for dep in self.dependencies[task]:
            self.dependents[dep].discard(task)
        for dependent in self.dependents[task]:
            self.dependencies[dependent] = tuple(
                dep for dep in self.dependencies[dependent] if dep != task
            )
            self.unfinished[dependent] -= 1
        statistics = self.prefixes[self.prefix[task]]
        statistics.unfinished -= 1
        self.released[task] = False
        self.state[task] = TaskState.UNKNOWN
        self.dependencies[task] = ()
        self.dependents[task] = set()
        self.unfinished[task] = 0
        self.parked_readers[task] = 0
        self.priority[task] = ()

    def expected_nbytes(self, task: int) -> int:
        """Bytes of the task's array, or what its prefix made on average so far."""
        if self.state[task] == TaskState.COMPUTED:
            return self.nbytes[task]
        return round(self.prefixes[self.prefix[task]].nbytes)

    def expected_seconds(self, task: int) -> float:
        """Seconds that the task's prefix computed on average so far; 0 before the first."""
        return self.prefixes[self.prefix[task]].seconds

    def expected_total_bytes(self) -> float | None:
        """Bytes of all arrays once every known task is done, if nothing more is released.

        A prefix of which nothing has finished counts with the largest mean of any other: this
        sum tells whether everything fits, and there the cautious answer is that it does not.
        None before anything has finished.
        """
        total = float(self.computed_bytes)
        means = [s.nbytes for s in self.prefixes.values() if s.finished]
        if not means:
            return None
        largest = max(means)
        for statistics in self.prefixes.values():
            if statistics.unfinished:
                mean = statistics.nbytes if statistics.finished else largest
                total += statistics.unfinished * mean
        return total
