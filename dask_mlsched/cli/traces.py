"""What commands do with a trace: its machine, its decisions, what was measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from dask_mlsched.benchmarks.simulation import Result, Simulation
from dask_mlsched.cli.options import complain
from dask_mlsched.core.calibration import Calibration, calibrate, repeat
from dask_mlsched.core.trace import Trace, TraceError
from dask_mlsched.core.trace_codec import decode

#: The option of commands that are about one recorded run.
TRACE: Callable[[Any], Any] = click.option(
    "--trace",
    "trace_file",
    required=True,
    type=click.Path(path_type=Path),
    help="The recorded run, as handle.save_trace writes it.",
)


def read(file: Path) -> Trace:
    """Read a trace; what is missing in it is said on standard error."""
    try:
        trace = decode(file.read_bytes())
    except OSError as error:
        complain(f"--trace={str(file)!r} cannot be read ({error.strerror}); name a file")
    except TraceError as error:
        complain(f"--trace={str(file)!r}: {error}")
    if not trace.complete:
        why = trace.problem or trace.truncated
        click.echo(f"{file} ends before its run did ({why}); what is there counts", err=True)
    return trace


def calibrated(file: Path) -> Calibration:
    """Read a trace and fit a machine to it."""
    return calibrate(read(file), file.name)


def with_taken(simulation: Simulation, calibration: Calibration) -> Simulation:
    """Add what was measured live, and first among the results the decisions of the trace.

    Not where there are other workers than there were: the decisions are about those.
    """
    simulation = replace(simulation, live=calibration.live)
    then, now = calibration.machine.workers, simulation.machine.workers
    if then != now:
        click.echo(f"the trace's decisions are about {then} workers, not {now}: left out", err=True)
        return simulation
    started = time.perf_counter()
    repetition = repeat(calibration, simulation.machine)
    wall_seconds = time.perf_counter() - started
    taken = Result("taken", calibration.settings.eviction, repetition.run, wall_seconds)
    return replace(simulation, results=[taken, *simulation.results])
