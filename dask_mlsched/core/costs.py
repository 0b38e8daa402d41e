"""The math model: how long copies, messages and decisions take, and what no schedule can beat.

A copy takes ``latency + nbytes / bandwidth``. Costs are fitted from what workers report, by a line
that outliers do not move: the slope is the median over pairs of samples (Theil, 1950; Sen, 1968),
the latency the median of what the slope leaves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from dask_mlsched.core.dag import Dag

#: So many pairs of samples are enough for a slope; more samples than this are thinned out.
_SAMPLES = 1_000


@dataclass(frozen=True, slots=True)
class CopyCost:
    """What a copy from one place to another takes."""

    #: Bytes per second.
    bandwidth: float = math.inf
    #: Seconds for each copy, however small.
    latency: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no bus has."""
        if not self.bandwidth > 0:
            msg = f"a bandwidth of {self.bandwidth!r}; expected more than 0 bytes per second"
            raise ValueError(msg)
        if not 0 <= self.latency < math.inf:
            msg = f"a latency of {self.latency!r}; expected a finite number of seconds, 0 or more"
            raise ValueError(msg)

    def seconds(self, nbytes: float) -> float:
        """Tell how long a copy of so many bytes takes."""
        return self.latency + nbytes / self.bandwidth


@dataclass(frozen=True, slots=True)
class Costs:
    """What everything but computing takes."""

    #: Slow to fast tier, fast to slow tier, and from one worker to another.
    load: CopyCost = CopyCost()
    evict: CopyCost = CopyCost()
    send: CopyCost = CopyCost()
    #: Seconds from a worker to the scheduler, and as many back.
    message: float = 0.0
    #: Seconds that the scheduler takes for one decision.
    decision: float = 0.0
    #: Seconds that a worker's event loop takes for each task besides copying.
    task: float = 0.0
    #: Standard deviation of the logarithm of compute times; their median is the task's own.
    noise: float = 0.0

    def __post_init__(self) -> None:
        """Refuse negative and infinite times."""
        for name in ("message", "decision", "task", "noise"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                msg = f"{name} is {value!r}; expected a finite number, 0 or more"
                raise ValueError(msg)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Make costs of what `dataclasses.asdict` made of others.

        Raises
        ------
        AttributeError, TypeError, ValueError
            If they are none.
        """
        costs: dict[str, Any] = {
            name: CopyCost(**value) if isinstance(value, dict) else float(value)
            for name, value in values.items()
        }
        return cls(**costs)


@dataclass(frozen=True, slots=True)
class CopyFit:
    """A copy cost from measurements."""

    cost: CopyCost
    #: Median of ``|predicted - measured| / measured``.
    error: float
    samples: int


def fit_copies(nbytes: Sequence[float], seconds: Sequence[float]) -> CopyFit:
    """Fit latency and bandwidth to copies of `nbytes` [S] that took `seconds` [S].

    Where all copies have nearly the same size, latency and bandwidth cannot be told apart: the
    latency is then 0.

    Raises
    ------
    ValueError
        If there is no sample, or a sample is not above zero.
    """
    x, y = np.asarray(nbytes, np.float64), np.asarray(seconds, np.float64)
    if not len(x) or len(x) != len(y) or not (np.all(x > 0) and np.all(y > 0)):
        msg = (
            f"{len(x)} sizes and {len(y)} times to fit copies to; "
            "expected as many of both, at least one, all above 0"
        )
        raise ValueError(msg)
    slope, latency = _line(*_thinned(x, y))
    if slope is None or slope <= 0 or latency < 0:
        # A cost per byte below zero is noise on sizes that hardly differ; through the origin, then.
        slope, latency = float(np.median(y / x)), 0.0
    cost = CopyCost(bandwidth=1 / slope, latency=latency)
    return CopyFit(cost, _error(latency + slope * x, y), len(seconds))


@dataclass(frozen=True, slots=True)
class ComputeFit:
    """What computing takes, from measurements of tasks of one prefix."""

    #: Seconds for each task, and for each byte that it reads or makes.
    latency: float
    seconds_per_byte: float
    #: Median of ``|predicted - measured| / measured``, over those that took any time.
    error: float
    samples: int

    def seconds(self, nbytes: float) -> float:
        """Estimate how long a task computes that reads and makes so many bytes."""
        return self.latency + nbytes * self.seconds_per_byte


def fit_compute(nbytes: Sequence[float], seconds: Sequence[float]) -> ComputeFit:
    """Fit the times [S] of tasks of one prefix to the bytes [S] that they read and make.

    Where sizes hardly differ, or larger ones take no longer, every task takes the median time.

    Raises
    ------
    ValueError
        If there is no sample, or a sample is below zero.
    """
    x, y = np.asarray(nbytes, np.float64), np.asarray(seconds, np.float64)
    if not len(x) or len(x) != len(y) or np.any(x < 0) or np.any(y < 0):
        msg = (
            f"{len(x)} sizes and {len(y)} times to fit computing to; "
            "expected as many of both, at least one, none below 0"
        )
        raise ValueError(msg)
    slope, latency = _line(*_thinned(x, y))
    if slope is None or slope <= 0:
        slope, latency = 0.0, float(np.median(y))
    elif latency < 0:
        slope, latency = float(np.median(y[x > 0] / x[x > 0])), 0.0
    return ComputeFit(latency, slope, _error(latency + slope * x, y), len(seconds))


def _thinned(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    if len(x) <= _SAMPLES:
        return x, y
    chosen = np.linspace(0, len(x) - 1, _SAMPLES).astype(np.int64)
    return x[chosen], y[chosen]


def _line(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> tuple[float | None, float]:
    """Return slope and intercept; the slope is None where sizes hardly differ."""
    slope = _median_slope(x, y)
    return slope, float(np.median(y - (slope or 0.0) * x))


def _error(predicted: npt.NDArray[np.float64], measured: npt.NDArray[np.float64]) -> float:
    took = measured > 0
    if not np.any(took):
        return 0.0
    return float(np.median(np.abs(predicted[took] - measured[took]) / measured[took]))


def _median_slope(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float | None:
    """Return the median slope over pairs of samples whose sizes differ by a tenth, if any do."""
    i, j = np.triu_indices(len(x), 1)
    differ = np.abs(x[i] - x[j]) > 0.1 * np.maximum(x[i], x[j])
    if not np.any(differ):
        return None
    i, j = i[differ], j[differ]
    return float(np.median((y[i] - y[j]) / (x[i] - x[j])))


@dataclass(frozen=True, slots=True)
class Bounds:
    """What no schedule of a DAG can beat."""

    #: Bytes.
    bytes_loaded: int
    bytes_moved: int
    #: Seconds.
    makespan: float


def bounds(
    dag: Dag,
    limit: int | None,
    costs: Costs,
    *,
    workers: int,
    threads: int,
    given_resident: bool = False,
) -> Bounds:
    """Work out the bounds that hold for any graph.

    Loaded are at least the arrays that are given in the slow tier and read. Moved are, besides,
    those of the wanted arrays that cannot all stay in the fast tiers. The makespan is at least the
    computing shared evenly by all threads, the copying shared evenly by all workers, and the
    longest chain of tasks.

    Tighter bounds on bytes need the structure of the graph, as `product_bound` does.

    Parameters
    ----------
    given_resident
        Whether given arrays may have been in the fast tiers already: no load is sure then.
    """
    loaded = 0 if given_resident else int(dag.nbytes[dag.given_inputs].sum())
    evicted = 0
    if limit is not None:
        kept = dag.wanted & ~dag.given
        evicted = max(0, int(dag.nbytes[kept].sum()) - workers * limit)
    copying = loaded / costs.load.bandwidth + evicted / costs.evict.bandwidth
    makespan = max(
        float(dag.seconds.sum()) / (workers * threads), copying / workers, critical_path(dag)
    )
    return Bounds(loaded, loaded + evicted, makespan)


def product_bound(products: int, tiles: int) -> float:
    """Tiles that a dense product loads at least, with `tiles` tiles of fast memory.

    For F multiply-adds of whole tiles and S tiles of memory, 2F / sqrt(S) - 2S (Smith, Lowery,
    Langou and van de Geijn, 2019), of a product whose operands begin in slow memory.
    """
    return max(0.0, 2 * products / math.sqrt(tiles) - 2 * tiles)


def critical_path(dag: Dag) -> float:
    """Sum the seconds along the longest chain of tasks."""
    ends = np.zeros(len(dag))
    for task in range(len(dag)):
        dependencies = dag.dependencies(task)
        ready = float(ends[dependencies].max()) if len(dependencies) else 0.0
        ends[task] = ready + dag.seconds[task]
    return float(ends.max(initial=0.0))
