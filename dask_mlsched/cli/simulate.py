"""`dask mlsched simulate`: any DAG on a virtual cluster, under any policy."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from dask_mlsched.benchmarks import graph_formats
from dask_mlsched.benchmarks.simulation import (
    as_json,
    schedules_as_json,
    simulate_policies,
    table,
)
from dask_mlsched.benchmarks.working_set import working_set
from dask_mlsched.benchmarks.workloads import WORKLOADS, find
from dask_mlsched.cli import traces
from dask_mlsched.cli.options import (
    BANDWIDTH,
    COUNT,
    JSON,
    LATENCY,
    SIZE,
    Checked,
    Command,
    complain,
    missing_packages_are_mistakes,
    names,
    refuse_two_limits,
)
from dask_mlsched.cli.output import advance, console, progress_bars, write_json
from dask_mlsched.core import policies
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.costs import CopyCost, Costs
from dask_mlsched.core.dag import Dag, InvalidDagError
from dask_mlsched.core.eviction import RULES
from dask_mlsched.core.machine import Machine, SimulationError
from dask_mlsched.extension.quantities import parse_bandwidth, parse_duration


def _check_policy(name: str) -> None:
    if name not in policies.LEARNED and name != "stock":
        policies.make(name, random.Random(0))


_COPY = CopyCost(bandwidth=10e9, latency=1e-5)
#: What is assumed where neither options nor a trace say otherwise.
_MACHINE = Machine(limit=None, costs=Costs(_COPY, _COPY, CopyCost(1e9)))

_POLICIES = Checked("names", names(_check_policy))
_NETWORK = Checked("bytes/s", lambda text: parse_bandwidth("--network-bandwidth", text))
_MESSAGE = Checked("duration", lambda text: parse_duration("--message", text))


@click.command(cls=Command)
@click.option(
    "--graph",
    "graph_file",
    type=click.Path(path_type=Path),
    help="File with a DAG: mlsched-graph, WfCommons or estee JSON.",
)
@click.option("--workload", help=f"Instead of --graph: {', '.join(WORKLOADS)}.")
@click.option(
    "--trace",
    "trace_file",
    type=click.Path(path_type=Path),
    help="Instead of --graph: a recorded run, on its own machine. Other options override that.",
)
@click.option("--quick", is_flag=True, help="A small instance of the workload.")
@click.option(
    "--policy",
    "names_",
    type=_POLICIES,
    default="stock,greedy-hold,learned",
    show_default=True,
    help=f"One or more, separated by commas: {', '.join((*policies.LEARNED, *policies.NAMES))}.",
)
@click.option("--eviction", type=click.Choice(RULES), help="Default: lru, or the trace's.")
@click.option("--device-memory", type=SIZE, help="Of each worker, such as 40MB.")
@click.option(
    "--memory-ratio",
    type=click.FloatRange(min=0, min_open=True),
    help="Instead: what the DAG keeps alive at most over the device memory of all workers.",
)
@click.option("--bandwidth", type=BANDWIDTH, help="Default: 10GB/s, or as fitted to the trace.")
@click.option(
    "--latency", type=LATENCY, help="Of each copy. Default: 10us, or as fitted to the trace."
)
@click.option(
    "--network-bandwidth",
    type=_NETWORK,
    help="From one worker to another. Default: 1GB/s, or as fitted to the trace.",
)
@click.option("--workers", type=COUNT, help="Default: 1, or the trace's.")
@click.option("--threads", type=COUNT, help="Of each worker. Default: 1, or the trace's.")
@click.option("--lookahead", type=click.IntRange(min=0), help="Default: 1, or the trace's.")
@click.option(
    "--message",
    type=_MESSAGE,
    help="Time from a worker to the scheduler. Default: none, or as fitted to the trace.",
)
@click.option(
    "--noise",
    type=click.FloatRange(min=0),
    help="Of compute times: standard deviation of their logarithm. Default: none.",
)
@click.option("--keep-clean", is_flag=True, help="Evicting what did not change moves nothing.")
@click.option("--overlap", is_flag=True, help="Loads ahead run beside compute.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--save-graph", type=JSON, help="Write the DAG here as an mlsched-graph.")
@click.option("--save-schedule", type=JSON, help="Write what ran where and when here.")
@click.option("--json", "json_file", type=JSON, help="Write the figures here; - is stdout.")
def simulate(
    graph_file: Path | None,
    workload: str | None,
    trace_file: Path | None,
    names_: tuple[str, ...],
    eviction: str | None,
    device_memory: int | None,
    memory_ratio: float | None,
    lookahead: int | None,
    seed: int,
    save_graph: str | None,
    save_schedule: str | None,
    json_file: str | None,
    *,
    quick: bool,
    **changes: Any,
) -> None:
    """Run a DAG on a virtual cluster under each policy, in a moment instead of minutes.

    With --trace, the decisions that the recorded run took come first, named "taken", beside what
    was measured in it.
    """
    with _one_line():
        _check_one_source(graph_file, workload, trace_file)
        calibration = None if trace_file is None else traces.calibrated(trace_file)
        if calibration is None:
            dag, machine = _dag(graph_file, workload, quick=quick, seed=seed), _MACHINE
        else:
            dag, machine = calibration.taken.dag, calibration.machine
        settings = Settings() if calibration is None else calibration.settings
        machine = changed(machine, **changes)
        limit = _limit(dag, device_memory, memory_ratio, machine.workers)
        machine = replace(machine, limit=machine.limit if limit is None else limit)
        with progress_bars() as progress:
            bar = progress.add_task(dag.name, total=len(names_))
            simulation = simulate_policies(
                dag,
                machine,
                names_,
                lookahead=settings.lookahead if lookahead is None else lookahead,
                eviction=eviction or settings.eviction,
                seed=seed,
                # The DAG of a trace stands in the order that Dask gave it.
                order=None if calibration is None else np.arange(len(dag)),
                on_policy=partial(advance, progress, bar),
            )
        if calibration is not None:
            simulation = traces.with_taken(simulation, calibration)
    if save_graph is not None:
        graph_formats.save(dag, Path(save_graph))
    if save_schedule is not None:
        write_json(save_schedule, schedules_as_json(simulation))
    if json_file is not None:
        write_json(json_file, as_json(simulation))
    if json_file != "-":
        console().print(table(simulation))


def changed(
    machine: Machine,
    *,
    bandwidth: float | None,
    latency: float | None,
    network_bandwidth: float | None,
    message: float | None,
    noise: float | None,
    workers: int | None,
    threads: int | None,
    keep_clean: bool,
    overlap: bool,
) -> Machine:
    """Change a machine where the user says so; None leaves what it has."""
    costs = machine.costs
    return replace(
        machine,
        workers=workers or machine.workers,
        threads=threads or machine.threads,
        keep_clean=machine.keep_clean or keep_clean,
        overlap=machine.overlap or overlap,
        costs=replace(
            costs,
            load=_copy_cost(costs.load, bandwidth, latency),
            evict=_copy_cost(costs.evict, bandwidth, latency),
            send=_copy_cost(costs.send, network_bandwidth, None),
            message=costs.message if message is None else message,
            noise=costs.noise if noise is None else noise,
        ),
    )


def _copy_cost(cost: CopyCost, bandwidth: float | None, latency: float | None) -> CopyCost:
    return CopyCost(
        cost.bandwidth if bandwidth is None else bandwidth,
        cost.latency if latency is None else latency,
    )


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        with missing_packages_are_mistakes():
            yield
    except (InvalidDagError, SimulationError) as error:
        complain(str(error))


def _check_one_source(*sources: Path | str | None) -> None:
    if sum(source is not None for source in sources) != 1:
        complain("what is to run? give one of --graph, --workload and --trace")


def _dag(graph_file: Path | None, workload: str | None, *, quick: bool, seed: int) -> Dag:
    if graph_file is not None:
        try:
            return graph_formats.load(graph_file)
        except OSError as error:
            complain(f"--graph={str(graph_file)!r} cannot be read ({error.strerror}); name a file")
    assert workload is not None
    try:
        found = find(workload)
    except ValueError as error:
        complain(str(error))
    with tempfile.TemporaryDirectory(prefix="mlsched-") as folder:
        return found.dag(Path(folder), seed, "quick" if quick else "full")


def _limit(
    dag: Dag, device_memory: int | None, memory_ratio: float | None, workers: int
) -> int | None:
    refuse_two_limits(memory_ratio, device_memory)
    if memory_ratio is None:
        return device_memory
    return max(1, round(working_set(dag) / memory_ratio / workers))
