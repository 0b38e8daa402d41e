"""A compiled run in a process of its own: what compiling takes, and how much memory a run needs.

Run as a program, it does one such run and prints what it took; see `run`.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from dask_mlsched.benchmarks import rollout_speed
from dask_mlsched.benchmarks.rollout_speed import Family, Timed


@dataclass(frozen=True)
class FreshRun:
    """One DAG built and run twice in a fresh process, on one worker."""

    family: str
    tasks: int
    #: Processor seconds: to build the DAG, of the first run, which compiles or reads what is
    #: kept on disk, and of the next one.
    build_seconds: float
    first_seconds: float
    again_seconds: float
    #: Most bytes in memory so far: before the DAG was built, after that, and at the end.
    empty_peak: int
    built_peak: int
    peak: int

    @property
    def compile_seconds(self) -> float:
        """What the first run took beyond the next one."""
        return self.first_seconds - self.again_seconds

    @property
    def timed(self) -> Timed:
        """The second run, which compiles nothing."""
        return Timed(self.family, self.tasks, 1, (self.again_seconds,))


def run(family: Family, tasks: int, *, cache: str | None = None) -> FreshRun:
    """Run a DAG of about so many tasks in a fresh process.

    Parameters
    ----------
    cache
        The folder in which compiled code is kept; None for the usual one.

    Raises
    ------
    subprocess.CalledProcessError
        If the process fails; what it said is on standard error.
    """
    environment = dict(os.environ)
    if cache is not None:
        environment["NUMBA_CACHE_DIR"] = cache
    command = [sys.executable, "-m", __name__, family, str(tasks)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return FreshRun(**json.loads(done.stdout))


def time_compiling(tasks: int = 1_000) -> tuple[FreshRun, FreshRun]:
    """Run with nothing compiled, and once more with what the first process has kept."""
    with tempfile.TemporaryDirectory() as cache:
        return run("gemm", tasks, cache=cache), run("gemm", tasks, cache=cache)


def _peak_bytes() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    # Where a parent was larger, Linux counts that as well; others have nothing else.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _measure(family: Family, tasks: int) -> FreshRun:
    empty = _peak_bytes()
    started = time.thread_time()
    dag = rollout_speed.build(family, tasks)
    build_seconds = time.thread_time() - started
    built = _peak_bytes()
    first = rollout_speed.run_compiled(dag, 1)
    again = rollout_speed.run_compiled(dag, 1)
    count = rollout_speed.count_tasks(dag)
    return FreshRun(family, count, build_seconds, first, again, empty, built, _peak_bytes())


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(_measure(cast("Family", sys.argv[1]), int(sys.argv[2])))))
