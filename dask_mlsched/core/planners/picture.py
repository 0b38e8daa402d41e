"""What a planner may look at: tasks, arrays, devices and costs, for reading only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from dask_mlsched.core.device import Device
from dask_mlsched.core.graph import WIDE, TaskGraph, TaskState
from dask_mlsched.core.parked import ParkedTasks

#: A task of a prefix that has not run yet counts as long as this, as it does in Dask.
UNKNOWN_SECONDS: Final = 0.5


class Picture:
    """The controller's tables, and estimates made of them.

    Whoever is handed a picture reads it and changes nothing.
    """

    #: The time of the latest event, in seconds.
    now: float
    #: The name of the eviction rule in force.
    eviction: str

    def __init__(
        self,
        graph: TaskGraph,
        devices: Mapping[int, Device],
        levels: Mapping[float, ParkedTasks],
        on_workers: Mapping[int, int],
        network_bandwidth: float,
        hold_limit: float = 1.0,
        shortlist: int = 32,
    ) -> None:
        self.graph = graph
        #: worker -> its slots and its predicted residency.
        self.devices = devices
        #: task -> worker, for tasks that are SENT or RUNNING.
        self.on_workers = on_workers
        self.now = 0.0
        self.eviction = "lru"
        self._levels = levels
        #: Bytes per second between workers, as assumed; seconds that a hold may last.
        self.network_bandwidth = network_bandwidth
        self.hold_limit = hold_limit
        #: So many candidates at most, as a user has set it.
        self.shortlist = shortlist

    def parked(self, level: float) -> ParkedTasks:
        """Return the parked tasks of a user priority."""
        return self._levels.get(level) or ParkedTasks()

    def inputs(self, task: int) -> list[int]:
        """List the arrays that a task reads, without those that are as good as everywhere."""
        dependents = self.graph.dependents
        return [dep for dep in self.graph.dependencies[task] if len(dependents[dep]) <= WIDE]

    def seconds(self, task: int) -> float:
        """Estimate how long a task computes."""
        finished = self.graph.prefixes[self.graph.prefix[task]].finished
        return self.graph.expected_seconds(task) if finished else UNKNOWN_SECONDS

    def load_seconds(self, array: int, worker: int) -> float:
        """Estimate how long an array takes into a worker's fast tier; 0 if it is there."""
        device = self.devices[worker]
        if array in device.residency:
            return 0.0
        nbytes = self.graph.expected_nbytes(array)
        seconds = device.copy_seconds(nbytes)
        if not device.residency.in_slow_tier(array):
            seconds += nbytes / self.network_bandwidth
        return seconds

    def transfer_seconds(self, task: int, worker: int) -> float:
        """Estimate how long all inputs of a task take into a worker's fast tier."""
        return sum(self.load_seconds(array, worker) for array in self.graph.dependencies[task])


def estimated_bytes(graph: TaskGraph, arrays: Iterable[int]) -> dict[int, int]:
    """Estimate sizes; while those of a prefix are unknown, they are like the others' on average.

    Where nothing is known, all count the same.
    """
    means = [each.nbytes for each in graph.prefixes.values() if each.finished]
    arrays = list(arrays)
    made = [graph.nbytes[array] for array in arrays if graph.state[array] == TaskState.COMPUTED]
    known = means or made
    unknown = round(sum(known) / len(known)) if known else 1
    return {
        array: graph.expected_nbytes(array)
        if graph.state[array] == TaskState.COMPUTED or graph.prefixes[graph.prefix[array]].finished
        else unknown
        for array in arrays
    }
