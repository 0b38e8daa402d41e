"""Ablations for a terminal and for a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich import box
from rich.table import Table

from dask_mlsched.benchmarks.ablations import ARMS, MODEL, NEVER_HOLD, Ablation, geomeans

HOLD_HEAD: Final = (
    "instance",
    "tasks",
    "offered",
    "held",
    "rate",
    "time held",
    "with HOLD",
    "without",
    "saved",
    "bytes saved",
)


def tables(ablations: Sequence[Ablation]) -> list[Table]:
    """Lay out what holding does, and what every part is worth, for a terminal."""
    return [
        _table("HOLD: makespan over Dask alone, with and without", HOLD_HEAD, holding(ablations)),
        _table("Makespan / bytes moved over Dask alone", ("instance", *ARMS), parts(ablations)),
    ]


def markdown(ablations: Sequence[Ablation]) -> str:
    """Return the same as a page."""
    return "\n".join(
        [
            "## What holding saves and costs",
            "",
            *_lines(HOLD_HEAD, holding(ablations)),
            "",
            "## What the parts are worth: makespan / bytes moved over Dask alone",
            "",
            *_lines(("instance", *ARMS), parts(ablations)),
            "",
        ]
    )


def holding(ablations: Sequence[Ablation]) -> list[tuple[str, ...]]:
    """Return the rows of the first table."""
    rows: list[tuple[str, ...]] = []
    for each in ablations:
        model = each.arms[MODEL]
        rows.append(
            (
                each.name,
                f"{each.tasks}",
                f"{model.offered}",
                f"{model.chosen}",
                f"{model.hold_rate:.0%}",
                f"{model.held_share:.1%}",
                f"{model.makespan:.3f}",
                f"{each.arms[NEVER_HOLD].makespan:.3f}",
                f"{each.saved_by_holding:+.1%}",
                f"{each.bytes_saved_by_holding:+.1%}",
            )
        )
    return rows


def parts(ablations: Sequence[Ablation]) -> list[tuple[str, ...]]:
    """Return the rows of the second; the last has geometric means."""
    rows: list[tuple[str, ...]] = [
        (
            each.name,
            *(_pair(each.arms[name].makespan, each.arms[name].bytes_moved) for name in ARMS),
        )
        for each in ablations
    ]
    means = geomeans(ablations)
    rows.append(("geomean", *(_pair(*means[name]) for name in ARMS)))
    return rows


def _pair(makespan: float, moved: float) -> str:
    return f"{makespan:.2f} / {moved:.2f}"


def _table(title: str, head: Sequence[str], rows: Sequence[tuple[str, ...]]) -> Table:
    laid = Table(title=title, box=box.SIMPLE_HEAD, padding=0)
    for number, name in enumerate(head):
        laid.add_column(name, justify="right" if number else "left")
    for row in rows:
        laid.add_row(*row)
    return laid


def _lines(head: Sequence[str], rows: Sequence[tuple[str, ...]]) -> list[str]:
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return [f"| {' | '.join(row)} |" for row in (head, rule, *rows)]
