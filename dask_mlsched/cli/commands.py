"""The commands of `dask mlsched`.

What a user got wrong ends with one line on standard error and exit code 2, before anything runs;
a run that fails ends with one line and exit code 1. Progress goes to standard error, results to
standard output.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from dask_mlsched.benchmarks import overhead as plugin_overhead
from dask_mlsched.benchmarks.clusters import HOST_FILE, STORES, find_store
from dask_mlsched.benchmarks.contender import contender
from dask_mlsched.benchmarks.optional import require
from dask_mlsched.benchmarks.report import as_json, table
from dask_mlsched.benchmarks.suite import SUITES
from dask_mlsched.benchmarks.workloads import DEMO, WORKLOADS, find
from dask_mlsched.cli.live import check_results, refuse_options_of_other_stores, run_live
from dask_mlsched.cli.options import (
    BANDWIDTH,
    COUNT,
    JSON,
    LATENCY,
    SIZE,
    Checked,
    Command,
    complain,
    make_folder,
    missing_packages_are_mistakes,
    names,
    refuse_two_limits,
)
from dask_mlsched.cli.output import advance, console, progress_bars, write_json
from dask_mlsched.cli.suites import bench_simulated, default_policies
from dask_mlsched.core.eviction import RULES

#: The best policy so far.
BEST = "specialised"


#: Options that mean nothing without, and with, `--simulated`.
_SIMULATED_ONLY = ("suite", "eviction", "keep_clean", "out")
_LIVE_ONLY = (
    *("workloads", "repeats", "memory_ratio", "device_memory", "bandwidth", "latency"),
    *("workers", "threads", "store", "directory"),
)

_WORKLOADS = Checked("names", names(find))
_POLICIES = Checked("names", names(contender))
_STORES = "; ".join(f"{store.name}, {store.description}" for store in STORES.values())
_STORE = Checked("name", lambda text: find_store(text).name)


@click.command(cls=Command)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out"),
    show_default=True,
    help="Folder for the picture and the figures; made if need be.",
)
@click.option("--quick", is_flag=True, help="Small instances: does it work, in a minute.")
def demo(out: Path, *, quick: bool) -> None:
    """Run the main job: real input on emulated devices, Dask alone against ours.

    Two products of real sparse matrices and a block-sparse one, each on a device that is several
    times too small. Writes demo.png and demo.json.
    """
    with missing_packages_are_mistakes():
        require("matplotlib", "the picture")
    make_folder(out)
    contenders = [contender(policy) for policy in ("stock", BEST)]
    comparisons = run_live(DEMO, contenders, repeats=1, scale="quick" if quick else "full")

    from dask_mlsched.benchmarks.picture import draw

    draw(comparisons, out / "demo.png")
    write_json(str(out / "demo.json"), as_json(comparisons))
    terminal = console()
    terminal.print(table(comparisons))
    terminal.print(f"Picture: {out / 'demo.png'}   Figures: {out / 'demo.json'}", soft_wrap=True)
    check_results(comparisons)


@click.command(cls=Command)
@click.option(
    "--workload",
    "workloads",
    type=_WORKLOADS,
    default=",".join(DEMO),
    show_default=True,
    help=f"One or more, separated by commas: {', '.join(WORKLOADS)}.",
)
@click.option(
    "--policies",
    type=_POLICIES,
    default=f"stock,{BEST}",
    show_default=True,
    help="One or more, separated by commas; stock is Dask without the plugin. POLICY@STORE is for "
    "one on another store than --store.",
)
@click.option(
    "--store",
    type=_STORE,
    default=HOST_FILE,
    show_default=True,
    help=f"What workers keep data in: {_STORES}.",
)
@click.option(
    "--directory",
    type=click.Path(exists=True, file_okay=False, writable=True, path_type=Path),
    help="Where a store on disk has its files. Default: where temporary files go.",
)
@click.option("--repeats", type=COUNT, default=3, show_default=True, help="Runs of each policy.")
@click.option("--json", "json_file", type=JSON, help="Write the figures here; - is stdout.")
@click.option("--quick", is_flag=True, help="Small instances.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--memory-ratio",
    type=click.FloatRange(min=0, min_open=True),
    help="Working set over device memory. Default: the workload's.",
)
@click.option("--device-memory", type=SIZE, help="Instead of --memory-ratio, such as 64MB.")
@click.option(
    "--bandwidth",
    type=BANDWIDTH,
    help="Of an emulated device, such as 100MB/s. Default: the workload's.",
)
@click.option("--latency", type=LATENCY, default="10us", show_default=True, help="Likewise.")
@click.option("--workers", type=COUNT, default=1, show_default=True)
@click.option("--threads", type=COUNT, default=1, show_default=True, help="Of each worker.")
@click.option("--simulated", is_flag=True, help="A suite of instances on a virtual cluster.")
@click.option("--suite", type=click.Choice(tuple(SUITES)), default="core", show_default=True)
@click.option("--eviction", type=click.Choice(RULES), default="lru", show_default=True)
@click.option("--keep-clean", is_flag=True, help="Evicting what did not change moves nothing.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the suite's report: a heat map and a page of Markdown.",
)
@click.pass_context
def bench(
    context: click.Context,
    /,
    workloads: tuple[str, ...],
    policies: tuple[str, ...],
    repeats: int,
    json_file: str | None,
    *,
    quick: bool,
    seed: int,
    memory_ratio: float | None,
    device_memory: int | None,
    simulated: bool,
    suite: str,
    eviction: str,
    keep_clean: bool,
    out: Path | None,
    store: str,
    **conditions: Any,
) -> None:
    """Run workloads on real clusters, each policy in turn, each run on a fresh cluster.

    The workers' memory is too small by --memory-ratio. It is that of an emulated device, unless
    --store says otherwise; "disk" is the memory of plain workers, which spill to disk.

    With --simulated, run the many instances of a suite on a virtual cluster instead: minutes for
    what would take hours. --policies then is every hand-written one, unless given.
    """
    given = {
        name for name, source in _sources(context).items() if source is ParameterSource.COMMANDLINE
    }
    _complain_of_others(given, _LIVE_ONLY if simulated else _SIMULATED_ONLY, simulated=simulated)
    if simulated:
        on_stores = [name for name in policies if "@" in name]
        if on_stores:
            complain(f"--policies={on_stores[0]} names a store, for live runs; leave @… out")
        bench_simulated(
            suite,
            policies if "policies" in given else default_policies(),
            out,
            json_file,
            quick=quick,
            seed=seed,
            eviction=eviction,
            keep_clean=keep_clean,
        )
        return
    refuse_two_limits(memory_ratio, device_memory)
    contenders = tuple(dict.fromkeys(contender(text, store) for text in policies))
    refuse_options_of_other_stores(given, contenders)
    comparisons = run_live(
        workloads,
        contenders,
        repeats=repeats,
        scale="quick" if quick else "full",
        seed=seed,
        memory_ratio=memory_ratio,
        device_memory=device_memory,
        **conditions,
    )
    if json_file is not None:
        write_json(json_file, as_json(comparisons))
    if json_file != "-":
        console().print(table(comparisons))
    check_results(comparisons)


@click.command(cls=Command)
@click.option("--tasks", type=COUNT, default=20_000, show_default=True)
@click.option("--pairs", type=COUNT, default=5, show_default=True, help="Of runs, in each case.")
@click.option("--workers", type=COUNT, default=2, show_default=True)
@click.option("--dashboard", is_flag=True, help="Instead: what the dashboard's pages cost.")
@click.option("--json", "json_file", type=JSON, help="Write the figures here; - is stdout.")
def overhead(
    tasks: int, pairs: int, workers: int, json_file: str | None, *, dashboard: bool
) -> None:
    """Measure what the plugin costs where it cannot help: no-op tasks, with it and without."""
    if dashboard:
        _overhead_of_dashboard(tasks, pairs, workers, json_file)
        return
    results = []
    with progress_bars() as progress:
        for case in plugin_overhead.CASES:
            bar = progress.add_task(case.name, total=pairs)
            results.append(
                plugin_overhead.measure(
                    case,
                    tasks=tasks,
                    pairs=pairs,
                    workers=workers,
                    on_pair=partial(advance, progress, bar),
                )
            )
    if json_file is not None:
        write_json(json_file, plugin_overhead.as_json(results))
    if json_file != "-":
        console().print(plugin_overhead.table(results))


def _overhead_of_dashboard(tasks: int, pairs: int, workers: int, json_file: str | None) -> None:
    from dask_mlsched.benchmarks import dashboard_cost

    results = []
    with progress_bars() as progress:
        for looked_at in (False, True):
            bar = progress.add_task("one looks" if looked_at else "nobody looks", total=pairs)
            results.append(
                dashboard_cost.measure(
                    looked_at=looked_at,
                    tasks=tasks,
                    pairs=pairs,
                    workers=workers,
                    on_pair=partial(advance, progress, bar),
                )
            )
    if json_file is not None:
        write_json(json_file, dashboard_cost.as_json(results))
    if json_file != "-":
        console().print(dashboard_cost.table(results))


def _sources(context: click.Context) -> dict[str, ParameterSource | None]:
    return {name: context.get_parameter_source(name) for name in context.params}


def _complain_of_others(given: set[str], others: Sequence[str], *, simulated: bool) -> None:
    for name in others:
        if name in given:
            option = "--" + name.removesuffix("s" if name == "workloads" else "").replace("_", "-")
            cure = "leave it out" if simulated else "add --simulated"
            complain(f"{option} is for {'live' if simulated else 'simulated'} runs; {cure}")
