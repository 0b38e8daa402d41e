"""What a scheduler looked like over the last minutes: samples, as many and no more."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from dask_mlsched.core.controller import Controller
    from dask_mlsched.extension.management import Management

#: Samples that are kept: ten minutes at one a second.
LENGTH: Final = 600

#: Where there are many devices, fewer samples are kept: so many rows of one device at one time, of
#: some 300 bytes each.
MOST_ROWS: Final = 30_000

#: However many devices there are, so many samples are kept.
_LEAST: Final = 30

#: Parked tasks whose inputs are added up for one sample, all devices together.
_TASKS_LOOKED_AT: Final = 400

#: Recent decisions whose times count in a sample.
_DECISIONS_LOOKED_AT: Final = 500


@dataclass(frozen=True, slots=True)
class DeviceSample:
    """One device at one time; all in bytes."""

    #: None without a limit.
    limit: int | None
    #: As the worker told last; and how much of it could go out without being copied, as predicted.
    resident: int
    clean: int
    #: What the next parked tasks that are at home there read and do not find resident.
    demand: int
    #: Copied between the tiers so far.
    loaded: int
    evicted: int


@dataclass(frozen=True, slots=True)
class Sample:
    """The cluster at one time."""

    #: Counts samples, from 1 on.
    number: int
    #: Seconds since 1970.
    time: float
    parked: int
    #: How many decisions had which reason, and holds that began, so far.
    reasons: Mapping[str, int]
    holds: int
    #: Seconds of recent decisions, 50th and 99th percentile; NaN without any.
    p50: float
    p99: float
    #: Copied so far on all devices, those of workers that are gone as well.
    loaded: int
    evicted: int
    devices: Mapping[str, DeviceSample] = field(default_factory=dict)


class History:
    """Takes samples of a plugin's state, and keeps the last ones.

    Parameters
    ----------
    length, most_rows
        So many samples are kept, and devices in them, all together.
    """

    #: The newest last.
    samples: deque[Sample]

    def __init__(self, length: int = LENGTH, most_rows: int = MOST_ROWS) -> None:
        self.samples = deque(maxlen=length)
        self._most_rows = most_rows
        self._number = 0
        self._copied: dict[str, tuple[int, int]] = {}
        self._loaded = 0
        self._evicted = 0

    def since(self, number: int) -> list[Sample]:
        """List the samples after the one with a number, the oldest first."""
        newest = self.samples[-1].number if self.samples else 0
        skipped = max(0, len(self.samples) - max(0, newest - number))
        return list(itertools.islice(self.samples, skipped, None))

    def steps(self, number: int) -> list[tuple[Sample, Sample]]:
        """List samples after the one with a number, each with the one before it.

        Without those between which the clock stood still, or was set back.
        """
        samples = self.since(max(0, number - 1))
        return [
            (before, after)
            for before, after in itertools.pairwise(samples)
            if after.number > number and after.time > before.time
        ]

    def take(self, plugin: Management, now: float) -> None:
        """Take a sample.

        Parameters
        ----------
        now
            Seconds since 1970.
        """
        controller = plugin.controller
        counted = plugin.counted
        devices = _devices(plugin)
        self._count_copies(devices)
        p50, p99 = _decision_seconds(controller)
        self._number += 1
        self.samples.append(
            Sample(
                self._number,
                now,
                controller.parked if controller else 0,
                # Not by `Controller.counts`, which copies the times of ten thousand decisions.
                dict(controller.chooser.reasons if controller else counted.reasons),
                controller.holds if controller else counted.holds,
                p50,
                p99,
                self._loaded,
                self._evicted,
                devices,
            )
        )
        keep = max(_LEAST, self._most_rows // max(1, len(devices)))
        while len(self.samples) > keep:
            self.samples.popleft()

    def _count_copies(self, devices: Mapping[str, DeviceSample]) -> None:
        for address, device in devices.items():
            loaded, evicted = self._copied.get(address, (0, 0))
            # A worker that came again under its old address counts from 0.
            self._loaded += max(0, device.loaded - loaded)
            self._evicted += max(0, device.evicted - evicted)
        self._copied = {
            address: (device.loaded, device.evicted) for address, device in devices.items()
        }


def _devices(plugin: Management) -> dict[str, DeviceSample]:
    reports = plugin.reports
    controller, translator = plugin.controller, plugin.translator
    addresses = [each for each in plugin.scheduler.workers if reports.limits.get(each) is not None]
    samples = {}
    for address in addresses:
        clean = demand = 0
        number = translator.workers.get(address) if translator is not None else None
        if controller is not None and number is not None:
            clean = controller.devices[number].residency.clean_bytes
            demand = parked_demand(controller, number, _TASKS_LOOKED_AT // len(addresses) + 1)
        totals = reports.totals.get(address, {})
        samples[address] = DeviceSample(
            reports.limits[address],
            reports.resident_bytes.get(address, 0),
            min(clean, reports.resident_bytes.get(address, 0)),
            demand,
            int(totals.get("bytes_loaded", 0)),
            int(totals.get("bytes_evicted", 0)),
        )
    return samples


def parked_demand(controller: Controller, worker: int, most: int) -> int:
    """Sum the arrays that the next tasks at home on a worker read, and that are not resident.

    Parameters
    ----------
    most
        So many tasks are looked at, the first in Dask's order.
    """
    graph, device = controller.graph, controller.devices[worker]
    arrays: set[int] = set()
    for level in controller.levels.values():
        for task in level.at_home_in_order(worker, most):
            arrays.update(graph.dependencies[task])
    return device.residency.missing_bytes((array, graph.nbytes[array]) for array in arrays)


def _decision_seconds(controller: Controller | None) -> tuple[float, float]:
    if controller is None or not controller.chooser.recent_seconds:
        return float("nan"), float("nan")
    recent = itertools.islice(reversed(controller.chooser.recent_seconds), _DECISIONS_LOOKED_AT)
    p50, p99 = np.percentile(np.fromiter(recent, np.float64), [50, 99]).tolist()
    return p50, p99
