"""What sending arrays from one worker to another takes, fitted to what workers fetched.

More than half of all answers wait until the event loop of their sender is free, and a simulation
finds by itself how long. So the line goes below most of them, through the quick ones: it is the one
from which they deviate least if what is above counts a third of what is below (quantile regression;
Koenker and Bassett, 1978).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from dask_mlsched.core import events as ev
from dask_mlsched.core.costs import CopyCost, CopyFit
from dask_mlsched.core.trace import Copy, Fetch, Trace

#: This share of the answers is quicker than the line.
_QUICK: Final = 0.25

#: Reports are collected for some milliseconds, each worker's by itself: a load for an answer is
#: heard of so much before the answer was asked for, or after it has come, at most. In seconds.
_SLACK: Final = 0.01

#: More answers than these are thinned out: the time that is needed grows with their third power.
_SAMPLES: Final = 100


def fit_sends(fetches: Sequence[Fetch], copies: Sequence[Copy]) -> CopyFit | None:
    """Fit latency and bandwidth to whole answers; None if there is none to go by.

    What the sender loaded for an answer is taken off: it is a cost of its own. The error is that
    over all answers, those that waited as well.
    """
    samples = list(_samples(fetches, copies))
    if not samples:
        return None
    x, y = np.asarray(samples, np.float64).T
    kept = np.linspace(0, len(x) - 1, min(len(x), _SAMPLES)).astype(np.int64)
    slope, latency = _line(x[kept], y[kept])
    error = float(np.median(np.abs(latency + slope * x - y) / y))
    return CopyFit(CopyCost(bandwidth=1 / slope, latency=latency), error, len(x))


def bytes_sent_again(trace: Trace) -> int:
    """Sum what workers fetched although they had made or fetched it before.

    It was dropped in between: Dask's Active Memory Manager thins out, every other second, what
    several workers hold and no task on its way needs. A trace tells of that only so.
    """
    holders: dict[int, set[int]] = {}
    where: dict[int, int] = {}
    again = 0
    for event in trace.events():
        match event:
            case ev.TaskStarted(task=task, worker=worker):
                where[task] = worker
            case ev.TaskFinished(task=task) if task in where:
                holders[task] = {where[task]}
            case ev.ArrayReleased(task=task):
                holders.pop(task, None)
            case ev.ArraysMoved(worker=worker, fetches=fetches):
                for array, nbytes in (pair for _, _, arrays in fetches for pair in arrays):
                    if worker in holders.setdefault(array, set()) and array >= 0:
                        again += nbytes
                    holders[array].add(worker)
    return again


def _samples(fetches: Sequence[Fetch], copies: Sequence[Copy]) -> Iterator[tuple[int, float]]:
    loads: dict[tuple[int, int], list[Copy]] = {}
    for copy in copies:
        if copy.loaded and copy.array >= 0:
            loads.setdefault((copy.worker, copy.array), []).append(copy)
    for fetch in fetches:
        begun = fetch.time - fetch.seconds - _SLACK
        loading = sum(
            load.seconds
            for array, _ in fetch.arrays
            for load in loads.get((fetch.source, array), ())
            if begun <= load.time <= fetch.time + _SLACK
        )
        if fetch.nbytes > 0 and fetch.seconds > loading:
            yield fetch.nbytes, fetch.seconds - loading


def _line(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return slope and intercept, above 0 and not below, of the line through the quick ones.

    The best line runs through two samples, or through one and the origin.
    """
    i, j = np.triu_indices(len(x), 1)
    i, j = i[x[i] != x[j]], j[x[i] != x[j]]
    slopes = np.concatenate([y / x, (y[i] - y[j]) / (x[i] - x[j])])
    latencies = np.concatenate([np.zeros(len(x)), y[i] - slopes[len(x) :] * x[i]])
    legal = (slopes > 0) & (latencies >= 0)
    slopes, latencies = slopes[legal], latencies[legal]
    over = y - latencies[:, None] - slopes[:, None] * x
    best = np.argmin(np.where(over > 0, _QUICK * over, (_QUICK - 1) * over).sum(axis=1))
    return float(slopes[best]), float(latencies[best])
