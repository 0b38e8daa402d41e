"""Checks a simulated schedule from outside: by the DAG, the machine and nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any, Literal

from dask_mlsched.core.dag import Dag
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.simulated_worker import SimulatedWorker, TaskRecord
from dask_mlsched.core.simulator import SimulatedRun


class CheckedWorker(SimulatedWorker):
    """A worker that asserts, copy by copy, that it does what it says."""

    #: When the last copy ended; array -> when its last load ended.
    _last_end = 0.0

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Begin without copies."""
        super().__init__(*arguments, **named)
        self._came_at: dict[int, float] = {}
        self._overlaps: bool = named["overlap"]

    def _copied(self, array: int, seconds: float, *, loaded: bool) -> None:
        asked = self.free_at
        super()._copied(array, seconds, loaded=loaded)
        end = self.copier_free_at if self._overlaps else self.free_at
        assert end - seconds >= max(asked, self._last_end) - 1e-9, "one copy after another"
        self._last_end = end
        if loaded:
            self._came_at[array] = end

    def begin(self, now: float, inputs: Sequence[int], victims: Collection[int]) -> TaskRecord:
        """See that all inputs are there before the task computes."""
        record = super().begin(now, inputs, victims)
        assert all(array in self.residency for array in inputs)
        assert all(self._came_at.get(array, 0.0) <= self.free_at for array in inputs)
        return record

    def load_ahead(
        self, now: float, task: int, inputs: Sequence[int], victims: Collection[int]
    ) -> bool:
        """See that what others use stays, and that the event loop goes on."""
        used = {array for arrays in self._users.values() for array in arrays}
        used &= set(self.residency)
        loaded = super().load_ahead(now, task, inputs, victims)
        assert used <= set(self.residency)
        assert not loaded or all(array in self.residency for array in inputs)
        return loaded


def check(dag: Dag, machine: Machine, run: SimulatedRun) -> None:
    """Assert that every task ran once, on what it needs, where there was room for it."""
    check_order(dag, machine, run.schedule)
    if machine.overlap:
        # What was loaded ahead came in between what other tasks' outputs pushed out: only sums.
        assert _nbytes(dag, run, "loaded") == run.bytes_loaded or machine.workers > 1
    elif machine.workers == 1 and machine.threads == 1:
        loaded, evicted = replay_store(dag, machine, run.schedule)
        assert (loaded, evicted) == (run.bytes_loaded, run.bytes_evicted)


def _nbytes(dag: Dag, run: SimulatedRun, moved: Literal["loaded", "evicted"]) -> int:
    return sum(int(dag.nbytes[getattr(record, moved)].sum()) for record in run.schedule)


def check_order(dag: Dag, machine: Machine, schedule: Sequence[TaskRecord]) -> None:
    """Assert that tasks begin after their inputs exist, and that threads are not shared."""
    tasks = [task for task in range(len(dag)) if not dag.given[task]]
    assert sorted(record.task for record in schedule) == tasks
    ends = {record.task: record.end for record in schedule}
    for record in schedule:
        assert record.start <= record.end
        for dep in dag.dependencies(record.task):
            if not dag.given[dep]:
                assert ends[int(dep)] <= record.start
    for worker in range(machine.workers):
        changes = sorted(
            [(record.start, 1) for record in schedule if record.worker == worker]
            + [(record.end, -1) for record in schedule if record.worker == worker],
        )
        busy = 0
        for _, change in changes:
            busy += change
            assert busy <= machine.threads


def replay_store(dag: Dag, machine: Machine, schedule: Sequence[TaskRecord]) -> tuple[int, int]:
    """Play loads and evictions of one worker; return the bytes loaded and evicted."""
    nbytes = dag.nbytes.tolist()
    resident: set[int] = set()
    slow = {task for task in range(len(dag)) if dag.given[task]}
    clean: set[int] = set()
    to_read: dict[int, int] = defaultdict(int)
    for task in range(len(dag)):
        to_read[task] = len(dag.dependents(task))
    loaded = evicted = 0
    for record in schedule:
        for array in record.loaded:
            assert array in slow
            assert array not in resident or array in record.evicted
            resident.add(array)
            loaded += nbytes[array]
            if machine.keep_clean:
                clean.add(array)
            else:
                slow.discard(array)
        resident.add(record.task)
        for array in record.evicted:
            assert array in resident
            resident.discard(array)
            if array not in clean:
                evicted += nbytes[array]
            clean.discard(array)
            slow.add(array)
        inputs = [int(dep) for dep in dag.dependencies(record.task)]
        assert resident.issuperset([*inputs, record.task])
        if machine.limit is not None:
            assert sum(nbytes[array] for array in resident) <= machine.limit
        for array in (*inputs, record.task):
            if array != record.task:
                to_read[array] -= 1
            if not to_read[array] and not dag.wanted[array]:
                resident.discard(array)
                slow.discard(array)
                clean.discard(array)
    return loaded, evicted
