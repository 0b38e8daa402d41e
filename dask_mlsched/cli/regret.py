"""`dask mlsched regret`: the decisions of a recorded run that cost most, in hindsight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.table import Table

from dask_mlsched.cli import traces
from dask_mlsched.cli.networks import MODEL, network_in
from dask_mlsched.cli.options import COUNT, JSON, Command, complain
from dask_mlsched.cli.output import console, progress_bars, write_json
from dask_mlsched.core.judgement import Judgement, Survey, costliest, judge, survey
from dask_mlsched.core.machine import SimulationError


@dataclass(frozen=True)
class Regrets:
    """What was found in a recorded run."""

    #: The trace, and its tasks.
    name: str
    keys: Sequence[str]
    survey: Survey
    #: Those that were looked at, the costliest first; none if the gate failed.
    judgements: Sequence[Judgement]

    @property
    def total(self) -> float:
        """Seconds of all regrets; each is worked out as if the others could not be helped."""
        return float(sum(each.regret for each in self.judgements))

    def name_of(self, judgement: Judgement, action: int) -> str:
        """Return the key of what an action runs, or HOLD."""
        return judgement.action_name(action, self.keys)


@click.command(cls=Command)
@traces.TRACE
@click.option(
    "--decisions",
    type=COUNT,
    default=200,
    show_default=True,
    help="Look at so many, evenly spread over the run.",
)
@click.option("--top", type=COUNT, default=10, show_default=True, help="List so many.")
@MODEL
@click.option("--json", "json_file", type=JSON, help="Write the figures here; - is stdout.")
def regret(
    trace_file: Path, decisions: int, top: int, model: Path | None, json_file: str | None
) -> None:
    """Say which decisions of a recorded run cost most, and what would have been right.

    Every action of a decision is tried in a simulation of the rest of the run, in which the model
    decides. That is trusted only if the run itself, simulated, takes as long as was measured: if
    not, the command says so and ends with status 1.
    """
    network = network_in(model)
    try:
        calibration = traces.calibrated(trace_file)
        found = survey(calibration, network)
    except SimulationError as error:
        complain(f"--trace={str(trace_file)!r}: {error}")
    judgements: list[Judgement] = []
    if found.gate.passed:
        numbers = found.sample(decisions)
        with progress_bars() as progress:
            bar = progress.add_task(trace_file.name, total=max(1, len(numbers)))
            for judgement in judge(calibration, network, numbers):
                judgements.append(judgement)
                progress.update(bar, advance=1)
    judgements.sort(key=lambda each: -each.regret)
    regrets = Regrets(trace_file.name, calibration.taken.dag.keys, found, judgements)
    if json_file is not None:
        write_json(json_file, as_json(regrets, top))
    if json_file != "-" and found.gate.passed:
        console().print(table(regrets, top))
        click.echo(summary(regrets))
    if not found.gate.passed:
        click.echo(f"{trace_file} cannot be judged: {found.gate.verdict}", err=True)
        raise SystemExit(1)


def as_json(regrets: Regrets, top: int) -> dict[str, Any]:
    """Return what was found for machines: times are seconds."""
    gate, courses = regrets.survey.gate, regrets.survey.courses
    return {
        "trace": regrets.name,
        "gate": {
            "passed": gate.passed,
            "live": gate.live,
            "simulated": gate.simulated,
            "compiled": gate.walked,
            "error": gate.error,
        },
        "decisions": {
            "recorded": courses["recorded"],
            "beside": courses["beside"],
            "astray": courses["astray"],
            "judged": len(regrets.judgements),
            "regretted": sum(each.regret > 0 for each in regrets.judgements),
        },
        "makespan": gate.live,
        "total_regret": regrets.total,
        "costliest": [
            {
                "time": each.decision.time,
                "worker": each.decision.worker,
                "chosen": regrets.name_of(each, each.taken),
                "right": regrets.name_of(each, each.best),
                "regret": each.regret,
                "share": each.regret / gate.walked,
                "actions": len(each.costs),
            }
            for each in costliest(regrets.judgements, top)
        ],
    }


def table(regrets: Regrets, top: int) -> Table:
    """Lay out the costliest decisions for a terminal."""
    laid = Table(title=f"{regrets.name}: what cost most", box=box.SIMPLE_HEAD, padding=0)
    for name in ("at", "worker"):
        laid.add_column(name, justify="right")
    for name in ("chosen", "right"):
        laid.add_column(name, overflow="fold")
    for name in ("regret", "of makespan"):
        laid.add_column(name, justify="right")
    for each in costliest(regrets.judgements, top):
        laid.add_row(
            f"{each.decision.time:.3f} s",
            f"{each.decision.worker}",
            regrets.name_of(each, each.taken),
            regrets.name_of(each, each.best),
            f"{each.regret * 1e3:,.1f} ms",
            f"{each.regret / regrets.survey.gate.walked:.1%}",
        )
    return laid


def summary(regrets: Regrets) -> str:
    """Tell people how much it was in all, and how far that can be trusted."""
    judgements, courses = regrets.judgements, regrets.survey.courses
    regretted = sum(each.regret > 0 for each in judgements)
    others = courses["beside"] + courses["astray"]
    told = (
        f"{regretted} of {len(judgements)} decisions cost something, {regrets.total:.3f} s in all, "
        f"each taken by itself; {courses['recorded']} were recorded.\n"
        f"The run again: {regrets.survey.gate.verdict}."
    )
    return f"{told}\n{others} decisions could not be taken again: left out." if others else told
