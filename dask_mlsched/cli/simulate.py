"""`dask mlsched simulate`: any DAG on a virtual cluster, under any policy."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click

from dask_mlsched.benchmarks import graph_formats
from dask_mlsched.benchmarks.simulation import (
    as_json,
    schedules_as_json,
    simulate_policies,
    table,
)
from dask_mlsched.benchmarks.working_set import working_set
from dask_mlsched.benchmarks.workloads import WORKLOADS, find
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
)
from dask_mlsched.cli.output import advance, console, progress_bars, write_json
from dask_mlsched.core import policies
from dask_mlsched.core.costs import CopyCost, Costs
from dask_mlsched.core.dag import Dag, InvalidDagError
from dask_mlsched.core.eviction import RULES
from dask_mlsched.core.machine import Machine, SimulationError
from dask_mlsched.extension.quantities import parse_bandwidth, parse_duration


def _check_policy(name: str) -> None:
    if name != "stock":
        policies.make(name, random.Random(0))


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
@click.option("--quick", is_flag=True, help="A small instance of the workload.")
@click.option(
    "--policy",
    "names_",
    type=_POLICIES,
    default="stock,greedy-hold",
    show_default=True,
    help=f"One or more, separated by commas: {', '.join(policies.NAMES)}.",
)
@click.option("--eviction", type=click.Choice(RULES), default="lru", show_default=True)
@click.option("--device-memory", type=SIZE, help="Of each worker, such as 40MB.")
@click.option(
    "--memory-ratio",
    type=click.FloatRange(min=0, min_open=True),
    help="Instead: what the DAG keeps alive at most over the device memory of all workers.",
)
@click.option("--bandwidth", type=BANDWIDTH, default="10GB/s", show_default=True)
@click.option("--latency", type=LATENCY, default="10us", show_default=True, help="Of each copy.")
@click.option(
    "--network-bandwidth",
    type=_NETWORK,
    default="1GB/s",
    show_default=True,
    help="From one worker to another.",
)
@click.option("--workers", type=COUNT, default=1, show_default=True)
@click.option("--threads", type=COUNT, default=1, show_default=True, help="Of each worker.")
@click.option("--lookahead", type=click.IntRange(min=0), default=1, show_default=True)
@click.option(
    "--message", type=_MESSAGE, help="Time from a worker to the scheduler. Default: none."
)
@click.option(
    "--noise",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Of compute times: standard deviation of their logarithm.",
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
    names_: tuple[str, ...],
    eviction: str,
    device_memory: int | None,
    memory_ratio: float | None,
    bandwidth: float,
    latency: float,
    network_bandwidth: float,
    workers: int,
    threads: int,
    lookahead: int,
    message: float | None,
    noise: float,
    seed: int,
    save_graph: str | None,
    save_schedule: str | None,
    json_file: str | None,
    *,
    quick: bool,
    keep_clean: bool,
    overlap: bool,
) -> None:
    """Run a DAG on a virtual cluster under each policy, in a moment instead of minutes."""
    with _one_line():
        dag = _dag(graph_file, workload, quick=quick, seed=seed)
        copy = CopyCost(bandwidth, latency)
        machine = Machine(
            limit=_limit(dag, device_memory, memory_ratio, workers),
            workers=workers,
            threads=threads,
            costs=Costs(copy, copy, CopyCost(network_bandwidth), message or 0.0, noise=noise),
            keep_clean=keep_clean,
            overlap=overlap,
        )
        with progress_bars() as progress:
            bar = progress.add_task(dag.name, total=len(names_))
            simulation = simulate_policies(
                dag,
                machine,
                names_,
                lookahead=lookahead,
                eviction=eviction,
                seed=seed,
                on_policy=partial(advance, progress, bar),
            )
    if save_graph is not None:
        graph_formats.save(dag, Path(save_graph))
    if save_schedule is not None:
        write_json(save_schedule, schedules_as_json(simulation))
    if json_file is not None:
        write_json(json_file, as_json(simulation))
    if json_file != "-":
        console().print(table(simulation))


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        with missing_packages_are_mistakes():
            yield
    except (InvalidDagError, SimulationError) as error:
        complain(str(error))


def _dag(graph_file: Path | None, workload: str | None, *, quick: bool, seed: int) -> Dag:
    if (graph_file is None) == (workload is None):
        complain("what is to run? give either --graph or --workload")
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
    if device_memory is not None and memory_ratio is not None:
        complain(
            f"--memory-ratio={memory_ratio:g} and --device-memory={device_memory} "
            "both set the device memory; give one of them"
        )
    if memory_ratio is None:
        return device_memory
    return max(1, round(working_set(dag) / memory_ratio / workers))
