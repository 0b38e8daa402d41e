"""A planner's own compiled tables, kept in step with the controller by what planners are told.

The controller keeps its tables in plain lists and dicts, which serve every policy; a network wants
the arrays of `compiled.tables`, where a decision takes microseconds. Both follow the same events by
the same rules, so that a network decides live as it does in a compiled run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import numpy as np

from dask_mlsched.core import features
from dask_mlsched.core.compiled import books, live, shelves
from dask_mlsched.core.compiled.layouts import FAR, NETWORK, STEP
from dask_mlsched.core.compiled.tables import Tables, empty
from dask_mlsched.core.dag import Integers
from dask_mlsched.core.events import Priority
from dask_mlsched.core.graph import TaskState
from dask_mlsched.core.network import Network
from dask_mlsched.core.planners.picture import Picture

_WAITING: Final = int(TaskState.WAITING)
_COMPUTED: Final = int(TaskState.COMPUTED)

#: Tasks submitted one by one share a place in Dask's order, and stand by turn around its middle.
_TURNS: Final = STEP // 2

#: Dask numbers submissions, and the tasks of each.
_PLACES: Final = 2**20

#: Levels are measured anew when such a part of all tasks is new: one in so many.
_MEASURED: Final = 16

_NOTHING: Final = np.zeros(0, np.int64)

_POOLS: Final = np.dtype([("sources", np.int64), ("readers", np.int64)])


class Mirror:
    """The tables of the tasks of one user priority; those of others count as they are.

    Parameters
    ----------
    picture
        The controller's tables, from which these are made, and made anew when they are too small.
    level
        The user priority.
    shortlist
        The longest list of tasks that a network is asked about.
    guide
        Tasks -> their places in the order that a network is shown, from 0 on. Others stand where
        Dask has them, beside the first of these.
    """

    def __init__(
        self, picture: Picture, level: float, shortlist: int, guide: Mapping[int, int] | None = None
    ) -> None:
        self._picture = picture
        self._level = level
        self._shortlist = shortlist
        self._guide = guide or {}
        #: Where the guide's first task stands in Dask's order.
        self._guide_from = 0
        #: worker -> its row.
        self._slots: dict[int, int] = {}
        #: The task whose coming and going is being told, its worker and that one's row.
        self._sent: tuple[int, int, int] | None = None
        self._ranking = np.zeros(64, np.int64)
        #: Tasks added since levels were measured.
        self._added = 0
        #: Of each row of a worker: how many tasks are in flight.
        self._in_flight: list[int] = []
        self.rebuild()

    # Made from the controller's tables

    def rebuild(self) -> None:
        """Make all tables anew, with room for twice as much as there is."""
        graph = self._picture.graph
        known = [task for task in range(len(graph)) if graph.known(task)]
        self._guide_from = min(
            (self._order(graph.priority[task], 0) for task in self._guide if graph.known(task)),
            default=0,
        )
        rows = 2 * len(graph) + 64
        edges = sum(len(graph.dependencies[task]) for task in known)
        devices = self._picture.devices
        workers = max(1, len(devices))
        threads = max((device.threads for device in devices.values()), default=1)
        self.arrays = empty(
            rows,
            workers,
            prefixes=2 * max(graph.prefixes, default=0) + 16,
            sources=2 * edges + 256,
            readers=6 * edges + 4 * len(known) + 256,
            most=threads + 64,
            columns=features.COUNT,
        )
        self._pools = np.zeros(1, _POOLS)
        rules = self.arrays["rules"]
        rules["tasks"], rules["workers"] = rows, workers
        rules["policy"], rules["shortlist"], rules["may_hold"] = NETWORK, self._shortlist, True
        self._tables = Tables(self.arrays)
        self._slots = {worker: slot for slot, worker in enumerate(devices)}
        self._sent = None
        self._in_flight = [0] * workers
        order = _readable(graph.dependencies, known)
        self._add(order)
        self._measure_levels(order)
        for task in known:
            if graph.state[task] == TaskState.COMPUTED:
                self._make(task)
        for worker, slot in self._slots.items():
            self._fill_shelf(worker, slot)
        for task, worker in self._picture.on_workers.items():
            if worker in self._slots:
                live.send(self._tables, task, self._slots[worker])
        for worker, slot in self._slots.items():
            self._follow(worker, slot)
        for task in self._picture.parked(self._level).tasks():
            self.ready(task)

    def _fill_shelf(self, worker: int, slot: int) -> None:
        residency = self._picture.devices[worker].residency
        shelf = self.arrays["shelves"][slot]
        tasks = self.arrays["tasks"]
        for array, nbytes in residency.sizes():
            tasks["size"][array] = nbytes
            shelves.touch(self._tables, slot, array)
            self.arrays["places"][slot, array]["clean"] = residency.is_clean(array)
        for array in residency.slow():
            shelves.store_slow(self._tables, slot, array)
        # Only now: what is there is there, and what goes will be told.
        shelf["limit"] = -1 if residency.limit is None else residency.limit
        self.arrays["clock"]["came"] = self.arrays["clock"]["gone"] = 0

    # Told

    def graph_changed(self, tasks: Sequence[int]) -> None:
        """Add new tasks; give known ones the inputs that are new."""
        self._flush()
        graph = self._picture.graph
        states = self.arrays["tasks"]["state"]
        if len(graph) > len(states) or max(graph.prefixes) >= len(self.arrays["prefixes"]):
            self.rebuild()
            return
        new = [task for task in tasks if states[task] == TaskState.UNKNOWN]
        done = not new or self._add(new)
        for task in tasks:
            row = self.arrays["sources"][self.arrays["starts"][task] : self.arrays["ends"][task]]
            for array in set(graph.dependencies[task]).difference(row.tolist()):
                done = done and live.add_edge(self._tables, self._pools, task, array)
            self._place(task, self._order(graph.priority[task], 0))
        if not done:
            self.rebuild()
            return
        self._added += len(new)
        # Not for every task that is submitted: this goes over all that are known.
        if self._added * _MEASURED >= len(graph):
            known = (task for task in range(len(graph)) if graph.known(task))
            self._measure_levels(_readable(graph.dependencies, known))

    def _add(self, tasks: Sequence[int]) -> bool:
        graph = self._picture.graph
        reads = [graph.dependencies[task] for task in tasks]
        counts = np.fromiter(map(len, reads), np.int64, len(tasks))
        orders = [self._order(graph.priority[task], 0) for task in tasks]
        added = live.add(
            self._tables,
            self._pools,
            np.array(tasks, np.int64),
            counts,
            np.fromiter(chain.from_iterable(reads), np.int64, counts.sum()),
            np.array(orders, np.int64),
            np.array(list(map(self._guided, tasks, orders)), np.int64),
            np.array([graph.prefix[task] for task in tasks], np.int64),
        )
        return bool(added)

    def _measure_levels(self, order: Sequence[int]) -> None:
        """Work out how far each task, in an order that can be run, is from the first and last."""
        self._added = 0
        features.measure_levels_of(self._tables, np.array(order, np.int64))

    def _order(self, priority: Priority, turn: int) -> int:
        """Make one number of a priority, which sorts as it does."""
        if priority[0] > self._level:
            return FAR
        place = 0
        for part in priority[1:]:
            place = place * _PLACES + int(part)
        return place * STEP + min(max(turn, -_TURNS), _TURNS - 1)

    def _guided(self, task: int, order: int) -> int:
        place = self._guide.get(task)
        return order if place is None or order == FAR else self._guide_from + place * STEP

    def _place(self, task: int, order: int) -> None:
        self.arrays["order"][task] = order
        self.arrays["guide"][task] = self._guided(task, order)

    def forget(self, task: int) -> None:
        """Take a task out whose number may be used again."""
        self._flush()
        live.forget(self._tables, task)

    def released(self, array: int) -> None:
        """Hear that no worker holds an array any more."""
        self._flush()
        live.release(self._tables, array)

    def ready(self, task: int) -> None:
        """Park a task."""
        self._flush()
        graph = self._picture.graph
        states = self.arrays["tasks"]["state"]
        for array in graph.dependencies[task]:
            # A task that has just been given another input may have to wait for it.
            if states[array] != _COMPUTED and graph.state[array] == TaskState.COMPUTED:
                self._make(array)
        if states[task] != _WAITING:
            return
        self._place(task, self._order(graph.priority[task], graph.turn[task]))
        live.park(self._tables, task)

    def _make(self, array: int) -> None:
        graph = self._picture.graph
        live.make(self._tables, array, graph.nbytes[array])
        for worker in graph.holders[array]:
            slot = self._slots.get(worker)
            if slot is not None:
                books.set_bit(self.arrays["expected_on"], array, slot)
                shelves.store_slow(self._tables, slot, array)

    def withdrawn(self, task: int) -> None:
        """Take a task out that is parked no more."""
        self._flush()
        live.withdraw(self._tables, task)

    def sent(self, task: int, worker: int) -> None:
        """Hear that a task is on its way; what it brings in comes next."""
        self._flush()
        slot = self._slots.get(worker)
        if slot is None:
            return
        live.send(self._tables, task, slot)
        self._follow(worker, slot)
        self._sent = task, worker, slot

    def _flush(self) -> None:
        """Count what the task sent last uses, once all that moved for it has been told."""
        if self._sent is not None:
            task, worker, slot = self._sent
            self._sent = None
            device = self._picture.devices.get(worker)
            if device is not None:
                first, last = self.arrays["starts"][task], self.arrays["ends"][task]
                inputs = self.arrays["sources"][first:last].tolist()
                clean = np.fromiter(map(device.residency.is_clean, inputs), np.bool_, len(inputs))
                live.use(self._tables, task, slot, clean)

    def moved(self, worker: int, came: Sequence[int], gone: Sequence[int]) -> None:
        """Hear what is resident now and was not before, and vice versa."""
        slot = self._slots.get(worker)
        if slot is None:
            return
        uses = self.arrays["shelves"]["clock"]
        before = uses[slot]
        live.move(self._tables, slot, _integers(came), _integers(gone))
        if self._sent is not None and self._sent[2] == slot:
            uses[slot] = before  # they are counted when the task uses them

    def ended(self, task: int, worker: int) -> None:
        """Hear that a task is not on its worker any more; its array exists if it is COMPUTED."""
        self._flush()
        graph = self._picture.graph
        if graph.state[task] == TaskState.COMPUTED:
            self._make(task)
            self._learn(graph.prefix[task])
        slot = self._slots.get(worker, -1)
        live.end(self._tables, task, slot)
        if slot >= 0 and worker in self._picture.devices:
            self._follow(worker, slot)

    def _learn(self, prefix: int) -> None:
        statistics = self._picture.graph.prefixes[prefix]
        row = self.arrays["prefixes"][prefix]
        row["finished"], row["nbytes"] = statistics.finished, statistics.nbytes
        row["seconds"] = statistics.seconds

    # Asked

    def decide(self, network: Network, worker: int, now: float) -> list[int]:
        """List tasks for a free slot of a worker, the best first; `prefers_hold` says the rest."""
        self._flush()
        slot = self._slots[worker]
        picture = self._picture
        device = picture.devices[worker]
        if len(device.in_flight) != self._in_flight[slot]:
            self._follow(worker, slot)  # a task has seceded, of which nobody tells
        live.look_at(
            self._tables,
            slot,
            device.threads,
            device.bandwidth,
            math.nan if device.held_since is None else device.held_since,
            math.nan if device.hold_until is None else device.hold_until,
            picture.network_bandwidth,
            picture.hold_limit,
        )
        count = live.decide(self._tables, network, slot, now, self._ranking)
        return self._ranking[:count].tolist() if count > 0 else []

    def _follow(self, worker: int, slot: int) -> None:
        """Take over the tasks in flight on a worker."""
        device = self._picture.devices[worker]
        in_flight = device.in_flight
        self._in_flight[slot] = count = len(in_flight)
        tasks = np.fromiter(in_flight, np.int64, count)
        times = np.fromiter(in_flight.values(), np.float64, count)
        live.follow(self._tables, slot, tasks, times, device.last_end)

    @property
    def prefers_hold(self) -> bool:
        """Whether HOLD is better than all tasks of the last decision."""
        return bool(self.arrays["clock"]["prefers_hold"][0])

    @property
    def hold(self) -> Any:
        """The clock's row, with what HOLD promises."""
        return self.arrays["clock"][0]


def _integers(numbers: Sequence[int]) -> Integers:
    return np.array(numbers, np.int64) if len(numbers) else _NOTHING


def _readable(dependencies: Sequence[Iterable[int]], tasks: Iterable[int]) -> list[int]:
    """Sort tasks so that each stands behind what it reads."""
    done: set[int] = set()
    order: list[int] = []
    for first in tasks:
        stack = [first]
        while stack:
            task = stack[-1]
            if task in done:
                stack.pop()
                continue
            waiting = [dep for dep in dependencies[task] if dep not in done]
            if waiting:
                stack.extend(waiting)
            else:
                done.add(task)
                order.append(task)
                stack.pop()
    return order
