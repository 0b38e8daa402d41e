"""What the dashboard's pages cost the scheduler: no-op tasks with them over the same without.

The plugin is installed in both runs of a pair, with every task managed; only the pages differ. Both
runs use one cluster, one right after the other, and every other pair takes them in the other order.
Two figures are told. Samples and pages count their own processor time, and with it what Bokeh takes
to make messages of it, but for writing them to the socket: that is what is held against the limit.
Beside it stands the processor time of the scheduler's process, in which the client is as well, over
that without pages: it has everything in it, and scatters by far more than the limit.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from distributed import Client, LocalCluster
from rich import box
from rich.table import Table

from dask_mlsched.benchmarks.overhead import OnPair, run_problem
from dask_mlsched.benchmarks.problem import Problem
from dask_mlsched.benchmarks.workloads import find
from dask_mlsched.extension.dashboard.paths import PAGE
from dask_mlsched.extension.handle import Handle, install

#: The pages may cost this share of the scheduler's processor time.
LIMIT: Final = 0.01

#: Somebody who looks: keeps a page open until its input ends.
_LOOKER: Final = """
import sys, threading
from bokeh.client import pull_session
session = pull_session(url=sys.argv[1])
print("open", flush=True)
gone = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), gone.set())).start()
while not gone.wait(0.1):
    session.force_roundtrip()  # takes in what came
"""

#: Settings of the runs that are compared with: the same, without pages.
_WITHOUT: Final[dict[str, Any]] = {"mode": "manage", "scope": "all", "dashboard": False}


@dataclass(frozen=True)
class Pair:
    """Two runs on one cluster: seconds of the processor, and on the clock."""

    cpu_on: float
    cpu_off: float
    #: Of `cpu_on`, what samples and pages took by their own account.
    observing: float
    seconds_on: float
    seconds_off: float
    on_first: bool

    @property
    def cpu_ratio(self) -> float:
        """Processor time with the pages over that without."""
        return self.cpu_on / self.cpu_off

    @property
    def ratio(self) -> float:
        """Time with the pages over that without."""
        return self.seconds_on / self.seconds_off


@dataclass(frozen=True)
class DashboardCost:
    """All pairs of one case."""

    name: str
    tasks: int
    workers: int
    pairs: Sequence[Pair]

    @property
    def cpu_ratio(self) -> float:
        """The median of the pairs' ratios."""
        return median(pair.cpu_ratio for pair in self.pairs)

    @property
    def share(self) -> float:
        """The median of what samples and pages say that they took, of all processor time."""
        return median(pair.observing / pair.cpu_on for pair in self.pairs)

    @property
    def ratio(self) -> float:
        """The median of the pairs' ratios of time."""
        return median(pair.ratio for pair in self.pairs)


def measure(
    *,
    looked_at: bool,
    tasks: int = 10_000,
    pairs: int = 5,
    workers: int = 2,
    on_pair: OnPair | None = None,
) -> DashboardCost:
    """Measure pairs, with one person who looks at a page or with nobody."""
    done = []
    with tempfile.TemporaryDirectory() as folder:
        problem = find("noop").build(Path(folder), tasks=tasks)
        warm_up = find("noop").build(Path(folder), tasks=min(tasks, 500))
    for number in range(pairs):
        if on_pair is not None:
            on_pair(number)
        on_first = number % 2 == 1
        done.append(_pair(problem, warm_up, workers, looked_at=looked_at, on_first=on_first))
    if on_pair is not None:
        on_pair(pairs)
    name = "one person looks" if looked_at else "nobody looks"
    return DashboardCost(name, tasks, workers, tuple(done))


def _pair(
    problem: Problem, warm_up: Problem, workers: int, *, looked_at: bool, on_first: bool
) -> Pair:
    cpu: dict[bool, float] = {}
    seconds: dict[bool, float] = {}
    observing = 0.0
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address=":0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        for on in (on_first, not on_first):
            handle = install(client, **_WITHOUT | {"dashboard": on})
            with _looker(client) if on and looked_at else _nobody():
                run_problem(client, warm_up)
                before = _observing(handle) if on else 0.0
                started = time.process_time()
                seconds[on] = run_problem(client, problem)
                cpu[on] = time.process_time() - started
                if on:
                    observing = _observing(handle) - before
            handle.uninstall()
    return Pair(cpu[True], cpu[False], observing, seconds[True], seconds[False], on_first)


def _observing(handle: Handle) -> float:
    """Return the seconds that samples and pages have taken so far."""
    seconds: float = handle.status()["dashboard"]["seconds"]
    return seconds


@contextmanager
def _nobody() -> Iterator[None]:
    yield


@contextmanager
def _looker(client: Client) -> Iterator[None]:
    """Have a page open, in another process."""
    url = client.dashboard_link.rsplit("/", 1)[0] + f"/{PAGE}"
    with subprocess.Popen(
        [sys.executable, "-c", _LOOKER, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline().strip() != "open":
            process.kill()
            msg = f"{url} cannot be opened; is the scheduler's dashboard reachable from here?"
            raise RuntimeError(msg)
        try:
            yield
        finally:
            process.stdin.close()


def table(results: Sequence[DashboardCost]) -> Table:
    """Lay the results out for a terminal."""
    first = results[0]
    layout = Table(
        title=f"With pages over without: {first.tasks:,} no-op tasks on {first.workers} workers",
        box=box.SIMPLE_HEAD,
        padding=0,
    )
    layout.add_column("case", no_wrap=True)
    layout.add_column("pair", no_wrap=True)
    for heading in ("CPU on", "CPU off", "own account", "CPU ratio", "time ratio"):
        layout.add_column(heading, justify="right", no_wrap=True)
    layout.add_column("own, at most", no_wrap=True)
    for result in results:
        for number, pair in enumerate(result.pairs):
            layout.add_row(
                result.name if number == 0 else "",
                f"{number + 1}, {'on' if pair.on_first else 'off'} first",
                f"{pair.cpu_on:.2f} s",
                f"{pair.cpu_off:.2f} s",
                f"{pair.observing / pair.cpu_on:.2%}",
                f"{pair.cpu_ratio:.3f}",
                f"{pair.ratio:.3f}",
            )
        ratios = [pair.cpu_ratio for pair in result.pairs]
        verdict = "[green]met[/]" if result.share <= LIMIT else "[bold red]missed[/]"
        layout.add_row(
            "",
            "median",
            "",
            "",
            f"[bold]{result.share:.2%}[/]",
            f"{result.cpu_ratio:.3f} ({min(ratios):.2f}–{max(ratios):.2f})",
            f"{result.ratio:.3f}",
            f"{LIMIT:.0%}: {verdict}",
        )
        layout.add_section()
    return layout


def as_json(results: Sequence[DashboardCost]) -> dict[str, Any]:
    """Return the same for machines; times are seconds."""
    return {
        "format": "mlsched-dashboard-cost",
        "version": 1,
        "results": [
            {
                "case": result.name,
                "tasks": result.tasks,
                "workers": result.workers,
                "limit": LIMIT,
                "cpu_ratio": result.cpu_ratio,
                "share": result.share,
                "ratio": result.ratio,
                "pairs": [
                    {
                        "cpu_on": pair.cpu_on,
                        "cpu_off": pair.cpu_off,
                        "observing": pair.observing,
                        "seconds_on": pair.seconds_on,
                        "seconds_off": pair.seconds_off,
                        "on_first": pair.on_first,
                    }
                    for pair in result.pairs
                ],
            }
            for result in results
        ],
    }
