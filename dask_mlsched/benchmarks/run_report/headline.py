"""The first sentences of the report: what the run came to, and against what."""

from __future__ import annotations

from dask_mlsched.benchmarks.run_report.findings import Findings
from dask_mlsched.benchmarks.run_report.wording import share_text
from dask_mlsched.core.calibration import Figures
from dask_mlsched.extension.in_words import bytes_text, seconds_text


def headline(found: Findings) -> str:
    """Say in one sentence what was measured."""
    live, machine = found.calibration.live, found.calibration.machine
    workers = _count(len(found.timeline.workers) or machine.workers, "worker")
    tasks = _count(sum(not given for given in found.calibration.taken.dag.given), "task")
    said = (
        f"{tasks} on {workers} took {seconds_text(live.makespan)} and moved "
        f"{bytes_text(moved(live)) if moved(live) else 'nothing'} between the workers' tiers"
    )
    return f"{said}; Dask decided alone." if found.calibration.stock else f"{said}."


def against(found: Findings) -> str:
    """Say in one sentence what Dask alone would have taken, and whether to believe that."""
    live = found.calibration.live
    if found.refused is None and (found.left_over or found.released):
        return "Dask alone is left out here: nobody can tell what it would have had to move."
    if found.alone is None or found.survey is None:
        return f"What Dask alone would have taken cannot be simulated: {found.refused}."
    alone, gate = found.alone.figures, found.survey.gate
    if found.calibration.stock:
        begin, move = "Simulated, Dask alone comes to", "moves"
    else:
        begin, move = "Dask alone would have taken", "moved"
    longer = _times(alone.makespan, live.makespan, "long")
    more = _times(moved(alone), moved(live), "much")
    said = (
        f"{begin} {seconds_text(alone.makespan)}{longer} and {move} {bytes_text(moved(alone))}"
        f"{more}, as a simulation on the figures of this machine has it"
    )
    error = f"Simulated likewise, this run itself comes out {share_text(gate.error)} off"
    if gate.passed:
        return f"{said}. {error}."
    return f"{said}. {error}: too far to believe what is simulated here."


def least(found: Findings) -> str:
    """Say in one sentence what no schedule can beat, as far as that is known."""
    bound = found.bounds
    if bound is None:
        return "For the same reason no lower bound is told."
    if found.left_over or found.released:
        return (
            "Even a schedule that moves none of those arrays cannot take less than "
            f"{seconds_text(bound.makespan)} here."
        )
    return (
        f"No schedule of these tasks can take less than {seconds_text(bound.makespan)} here, or "
        f"move less than {bytes_text(bound.bytes_moved)}; what can be reached may be well above."
    )


def moved(figures: Figures) -> int:
    """Sum the bytes between the tiers, in both directions."""
    return figures.bytes_loaded + figures.bytes_evicted


def _times(other: float, this: float, how: str) -> str:
    return f" ({other / this:.2f} times as {how})" if this > 0 else ""


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
