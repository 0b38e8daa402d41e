"""What the experiment tells: a line for each run, tables, and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean, geometric_mean
from typing import Any, Final

from rich import box
from rich.table import Table

from dask_mlsched.benchmarks.lifelong import Experiment
from dask_mlsched.benchmarks.lifelong_goals import Run, mean_gap
from dask_mlsched.benchmarks.lifelong_ours import BAD_REASON
from dask_mlsched.benchmarks.lifelong_stream import PHASES
from dask_mlsched.learning.outcome import REFUSED, Outcome

#: Contenders, in the order of tables, and what they are.
CONTENDERS: Final = {
    "ours": "ours: a library of models",
    "generalist": "the generalist that ships",
    "per program": "one model for each program",
    "baseline": "Dask alone",
    "specialist": "specialists, beforehand",
}

_LONGEST: Final = 90


def line(run: Run) -> str:
    """Tell of a run: number, workload, model, share of Dask's time, closed gap; then events."""
    played = run.played
    gap = f"{run.gap('ours'):6.2f}" if run.has_headroom else "     –"
    told = (
        f"{run.number + 1:3} {run.workload:18} {played.model:30} {played.kind:10} "
        f"{played.taken:.3f} {gap}"
    )
    return "\n".join([told, *(f"      {each}" for each in _events(run))])


HEADER: Final = f"run {'':18} {'model':30} {'kind':10}  time    gap"


def _events(run: Run) -> Iterator[str]:
    for event in run.played.happened:
        if event.event == REFUSED:
            continue
        named = [event.model, event.family and f"for {event.family}"]
        what = " ".join(filter(None, named)) if event.model else event.family or ""
        yield f"{event.event}: {what}: {_cut(event.reason)}"


def _cut(text: str) -> str:
    # The reason of the bad champion is said in full: nobody should take it for one of ours.
    if text == BAD_REASON or len(text) <= _LONGEST:
        return text
    return text[: _LONGEST - 1] + "…"


def tables(found: Experiment) -> list[Table]:
    """Lay out for a terminal: contenders by phase, and goals."""
    return [_phases(found), _models(found), _goals(found)]


def _phases(found: Experiment) -> Table:
    table = Table(title="Mean closed gap, and share of Dask's time", box=box.SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for phase in PHASES:
        table.add_column(PHASES[phase], justify="right")
    table.add_column("all", justify="right")
    for name, text in CONTENDERS.items():
        cells = [_cell(runs, name) for runs in (*_by_phase(found.runs).values(), found.runs)]
        table.add_row(text, *cells)
    return table


def _cell(runs: Sequence[Run], contender: str) -> str:
    return f"{mean_gap(runs, contender):.2f}  {time_of(runs, contender):.3f}"


def time_of(runs: Sequence[Run], contender: str) -> float:
    """Return the mean share of Dask's time that a contender takes."""
    return geometric_mean(run.makespans[contender] for run in runs)


def _by_phase(runs: Sequence[Run]) -> dict[str, list[Run]]:
    return {phase: [run for run in runs if run.phase == phase] for phase in PHASES}


def _models(found: Experiment) -> Table:
    table = Table(title="What served, and what happened to models", box=box.SIMPLE_HEAD)
    for name in ("workload", "runs", "served by", "gap", "specialist's"):
        table.add_column(name, justify="left" if name in ("workload", "served by") else "right")
    for workload in dict.fromkeys(run.workload for run in found.runs):
        runs = [run for run in found.runs if run.workload == workload]
        kinds = [run.played.kind for run in runs]
        served = ", ".join(f"{kind} {kinds.count(kind)}" for kind in dict.fromkeys(kinds))
        gaps = [f"{mean_gap(runs, name):.2f}" for name in ("ours", "specialist")]
        table.add_row(workload, str(len(runs)), served, *gaps)
    counts = counted(found.runs)
    table.caption = ", ".join(f"{count} {event}" for event, count in counts.items())
    return table


def counted(runs: Sequence[Run]) -> dict[str, int]:
    """Count the events of a stream."""
    events = [event.event for run in runs for event in run.played.happened]
    return {event: events.count(event) for event in dict.fromkeys(events)}


def _goals(found: Experiment) -> Table:
    table = Table(title="Goals", box=box.SIMPLE_HEAD)
    for name in ("", "wanted", "reached", ""):
        table.add_column(name)
    for goal in found.goals:
        table.add_row(goal.name, goal.wanted, f"{goal.figure:.3f}", "met" if goal.met else "MISSED")
    return table


def as_json(found: Experiment) -> dict[str, Any]:
    """Return all of it for machines."""
    phases = _by_phase(found.runs)
    return {
        "format": "mlsched-lifelong",
        "version": 1,
        "seed": found.seed,
        "runs": [_run_as_json(run) for run in found.runs],
        "phases": {
            phase: {
                name: {"gap": mean_gap(runs, name), "time": time_of(runs, name)}
                for name in CONTENDERS
            }
            for phase, runs in phases.items()
        },
        "events": counted(found.runs),
        "goals": [
            {"goal": each.name, "wanted": each.wanted, "figure": each.figure, "met": each.met}
            for each in found.goals
        ],
        "bad_champion": {"run": found.scale.plan.bad_champion, "why": BAD_REASON},
    }


def _run_as_json(run: Run) -> dict[str, Any]:
    played = run.played
    return {
        "number": run.number,
        "phase": run.phase,
        "workload": run.workload,
        "family": played.family,
        "model": played.model,
        "kind": played.kind,
        "why": played.why,
        "time": played.taken,
        "best": run.best,
        "times": dict(run.makespans),
        "gaps": {name: run.gap(name) for name in CONTENDERS} if run.has_headroom else None,
        "events": [_event_as_json(event) for event in played.happened],
    }


def _event_as_json(event: Outcome) -> dict[str, Any]:
    return {
        "event": event.event,
        "model": event.model,
        "family": event.family,
        "reason": event.reason,
        "figures": dict(event.figures),
    }


def moving_gaps(runs: Sequence[Run], contender: str, window: int) -> list[tuple[int, float]]:
    """Return a contender's mean gap over the latest runs, after each run.

    Parameters
    ----------
    window
        So many runs, less at first; those without headroom do not count.
    """
    counting = [run for run in runs if run.has_headroom]
    return [
        (
            run.number,
            fmean(each.gap(contender) for each in counting[max(0, n + 1 - window) : n + 1]),
        )
        for n, run in enumerate(counting)
    ]
