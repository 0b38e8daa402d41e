"""What the plugin costs: no-op tasks with it over the same without it.

Each pair has a cluster of its own, and both its runs use that cluster, one right after the other:
two clusters differ by more than the plugin costs. Every other pair takes the runs in the other
order. Before and between the runs, the scheduler has forgotten every task.
"""

from __future__ import annotations

import gc
import logging
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from distributed import Client, LocalCluster, Scheduler, futures_of, wait
from rich import box
from rich.table import Table

from dask_mlsched.benchmarks.problem import Problem
from dask_mlsched.benchmarks.workloads import find
from dask_mlsched.extension.handle import install

#: Called with the number of pairs that are done.
OnPair = Callable[[int], None]

_WARM_UP_TASKS = 500


@dataclass(frozen=True)
class Case:
    """A way of being installed, and what it may cost."""

    name: str
    settings: Mapping[str, Any]
    #: The highest ratio that is good enough.
    limit: float


CASES: tuple[Case, ...] = (
    Case("every task managed", {"mode": "manage", "scope": "all"}, 1.05),
    Case("no tiered workers", {}, 1.02),
)


@dataclass(frozen=True)
class Pair:
    """Two runs on one cluster."""

    #: Seconds with the plugin, and without.
    on: float
    off: float
    on_first: bool

    @property
    def ratio(self) -> float:
        """Seconds with the plugin over seconds without."""
        return self.on / self.off


@dataclass(frozen=True)
class Overhead:
    """All pairs of one case."""

    case: Case
    tasks: int
    workers: int
    pairs: Sequence[Pair]

    @property
    def ratio(self) -> float:
        """The median of the pairs' ratios."""
        return median(pair.ratio for pair in self.pairs)

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest of them."""
        ratios = [pair.ratio for pair in self.pairs]
        return min(ratios), max(ratios)

    @property
    def within_limit(self) -> bool:
        """Whether the plugin costs no more than it may."""
        return self.ratio <= self.case.limit


def measure(
    case: Case,
    *,
    tasks: int = 20_000,
    pairs: int = 5,
    workers: int = 2,
    on_pair: OnPair | None = None,
) -> Overhead:
    """Measure one case, on a plain ``LocalCluster`` of workers with one thread each."""
    done = []
    with tempfile.TemporaryDirectory() as folder:
        problem = find("noop").build(Path(folder), tasks=tasks)
        warm_up = find("noop").build(Path(folder), tasks=min(tasks, _WARM_UP_TASKS))
    for number in range(pairs):
        if on_pair is not None:
            on_pair(number)
        done.append(_pair(case, problem, warm_up, workers, on_first=number % 2 == 1))
    if on_pair is not None:
        on_pair(pairs)
    return Overhead(case, tasks, workers, tuple(done))


def _pair(case: Case, problem: Problem, warm_up: Problem, workers: int, *, on_first: bool) -> Pair:
    seconds: dict[bool, float] = {}
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": ":0"},
            silence_logs=logging.CRITICAL,  # as in the runner
        ) as cluster,
        Client(cluster) as client,
    ):
        for on in (on_first, not on_first):
            handle = install(client, **case.settings) if on else None
            # With the plugin in place, so that its first decision, too, is behind it.
            run_problem(client, warm_up)
            seconds[on] = run_problem(client, problem)
            if handle is not None:
                handle.uninstall()
    return Pair(on=seconds[True], off=seconds[False], on_first=on_first)


def run_problem(client: Client, problem: Problem) -> float:
    """Return the seconds that a problem takes; end when the scheduler has forgotten it."""
    gc.collect()
    start = time.perf_counter()
    persisted = client.persist(problem.collections)
    wait(futures_of(persisted))
    seconds = time.perf_counter() - start
    del persisted
    while client.run_on_scheduler(_known_tasks):
        time.sleep(0.05)
    return seconds


def _known_tasks(dask_scheduler: Scheduler) -> int:
    return len(dask_scheduler.tasks)


def table(results: Sequence[Overhead]) -> Table:
    """Lay the results out for a terminal."""
    first = results[0]
    layout = Table(
        title=f"Plugin on over plugin off: {first.tasks:,} no-op tasks on {first.workers} workers",
        box=box.SIMPLE_HEAD,
        # 80 columns are enough for all of it.
        padding=0,
    )
    layout.add_column("case", no_wrap=True)
    layout.add_column("pair", no_wrap=True)
    for heading in ("seconds on", "seconds off", "ratio"):
        layout.add_column(heading, justify="right", no_wrap=True)
    layout.add_column("at most", no_wrap=True)
    for result in results:
        for number, pair in enumerate(result.pairs):
            layout.add_row(
                result.case.name if number == 0 else "",
                f"{number + 1}, {'on' if pair.on_first else 'off'} first",
                f"{pair.on:.2f}",
                f"{pair.off:.2f}",
                f"{pair.ratio:.3f}",
            )
        lowest, highest = result.spread
        verdict = "[green]met[/]" if result.within_limit else "[bold red]missed[/]"
        layout.add_row(
            "",
            "median",
            "",
            f"({lowest:.3f}–{highest:.3f})",
            f"[bold]{result.ratio:.3f}[/]",
            f"{result.case.limit:.2f}: {verdict}",
        )
        layout.add_section()
    return layout


def as_json(results: Sequence[Overhead]) -> dict[str, Any]:
    """Return the same for machines; ``on`` and ``off`` are seconds."""
    return {
        "format": "mlsched-overhead",
        "version": 1,
        "results": [
            {
                "case": result.case.name,
                "settings": dict(result.case.settings),
                "tasks": result.tasks,
                "workers": result.workers,
                "limit": result.case.limit,
                "ratio": result.ratio,
                "lowest": result.spread[0],
                "highest": result.spread[1],
                "within_limit": result.within_limit,
                "pairs": [
                    {
                        "on": pair.on,
                        "off": pair.off,
                        "ratio": pair.ratio,
                        "on_first": pair.on_first,
                    }
                    for pair in result.pairs
                ],
            }
            for result in results
        ],
    }
