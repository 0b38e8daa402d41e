"""What is decided, why, and how long that takes."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from bokeh.layouts import column, row
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure

from dask_mlsched.extension.dashboard import style
from dask_mlsched.extension.explanation import REASONS
from dask_mlsched.extension.history import LENGTH, Sample
from dask_mlsched.extension.in_words import bytes_text, short_key

if TYPE_CHECKING:
    from bokeh.models import LayoutDOM

    from dask_mlsched.extension.management import Management

#: Of each way in which a decision can go: which reasons are of it, and its colour.
KINDS: Final[Mapping[str, tuple[tuple[str, ...], str]]] = {
    "RUN, as the policy chose": (("policy",), style.BLUE),
    "RUN, the only choice": (("only choice",), style.SKY),
    "RUN, everything fits": (("fits",), style.GREEN),
    "RUN, forced": (("no policy", "policy failed", "nothing planned"), style.RED),
    "HOLD": ((), style.PURPLE),
}

#: Decisions in the table.
_ROWS: Final = 25
_TABLE: Final = (
    ("when", "when", 90),
    ("what", "decision", 70),
    ("task", "task", 260),
    ("worker", "worker", 170),
    ("why", "why", 250),
    ("missing", "missing bytes", 90),
    ("among", "among", 60),
    ("place", "Dask's place", 80),
    ("held", "held before", 80),
)


class DecisionsPart:
    """Decisions a second by how they went, their times, and the last of them.

    Parameters
    ----------
    plugin
        Whose decisions.
    """

    title = "Decisions"

    def __init__(self, plugin: Management) -> None:
        assert plugin.observation is not None
        self._plugin = plugin
        self._history = plugin.observation.history
        self._number = 0
        self._heading = style.text()
        # One for all, since each change of a source is a message of its own.
        names = ("time", "all", "p50", "p99", *KINDS)
        self._figures = ColumnDataSource({name: [] for name in names})
        self._rows = ColumnDataSource({name: [] for name, _, _ in _TABLE})
        self.root: LayoutDOM = column(
            self._heading,
            row(
                _rates_figure(self._figures),
                _times_figure(self._figures),
                sizing_mode="stretch_width",
            ),
            style.table(self._rows, _TABLE, height=420),
            sizing_mode="stretch_width",
        )

    def update(self) -> None:
        """Show what has come since the last time."""
        self._heading.text = self._words()
        steps = self._history.steps(self._number)
        if steps:
            self._number = steps[-1][1].number
            rates = {
                name: [_rate(name, before, after) for before, after in steps] for name in KINDS
            }
            self._figures.stream(
                {
                    "time": [after.time * 1000 for _, after in steps],
                    "all": [sum(each) for each in zip(*rates.values(), strict=True)],
                    "p50": [after.p50 * 1000 for _, after in steps],
                    "p99": [after.p99 * 1000 for _, after in steps],
                    **rates,
                },
                rollover=LENGTH,
            )
        rows = _recent(self._plugin, time.time() - time.monotonic())
        data = {name: [each[name] for each in rows] for name, _, _ in _TABLE}
        if data != self._rows.data:
            self._rows.data = data

    def _words(self) -> str:
        plugin, controller = self._plugin, self._plugin.controller
        if controller is None:
            return "Nothing is managed now, so nothing is decided."
        chooser = controller.chooser
        words = (
            f"<b>{chooser.reasons.total():,}</b> decisions to run a task, <b>{controller.holds:,}"
            f"</b> to hold a place ({controller.hold_seconds:.2f} s in all). They took "
            f"{chooser.total_seconds:.2f} s; a decision that takes more than "
            f"{plugin.config.time_budget * 1000:g} ms counts as a failure of the policy."
        )
        lines = [words]
        if chooser.reasons:
            rows = "".join(
                f"<tr><td>{count:,}</td><td>{style.escaped(REASONS.get(reason, reason))}</td></tr>"
                for reason, count in chooser.reasons.most_common()
            )
            lines.append(f"<table>{rows}</table>")
        if chooser.policy_failures:
            off = "; it is switched off" if chooser.guard is not None and chooser.guard.off else ""
            lines.append(
                f"<b>Failures of the policy: {chooser.policy_failures}{off}.</b> The last: "
                f"{style.escaped(chooser.last_policy_failure)}"
            )
        return "".join(f"<div>{line}</div>" for line in lines)


def _rates_figure(source: ColumnDataSource) -> figure:
    made = style.over_time("Decisions a second")
    made.varea_stack(
        list(KINDS),
        x="time",
        source=source,
        color=[color for _, color in KINDS.values()],
        alpha=0.8,
        legend_label=list(KINDS),
    )
    shown = made.line("time", "all", source=source, alpha=0)
    style.legend_above(made, columns=3)
    style.tell(made, shown, [(name, f"@{{{name}}}{{0.0}}") for name in KINDS])
    return made


def _times_figure(source: ColumnDataSource) -> figure:
    made = style.over_time("Milliseconds that a decision takes")
    times: dict[str, Any] = {"x": "time", "source": source, "line_width": 2}
    made.line(y="p50", color=style.BLUE, legend_label="median", **times)
    shown = made.line(y="p99", color=style.ORANGE, legend_label="99 of 100 take less", **times)
    style.legend_above(made)
    style.tell(made, shown, [("median", "@p50{0.000} ms"), ("99 %", "@p99{0.000} ms")])
    return made


def _rate(name: str, before: Sample, after: Sample) -> float:
    reasons, _ = KINDS[name]
    if name == "HOLD":
        more = after.holds - before.holds
    else:
        more = sum(after.reasons.get(each, 0) - before.reasons.get(each, 0) for each in reasons)
    # What a new controller begins to count is less than what the one before had.
    return max(0, more) / (after.time - before.time)


def _recent(plugin: Management, zero: float) -> list[dict[str, Any]]:
    """List the last decisions, the newest first.

    Parameters
    ----------
    zero
        When the events' clock showed 0, in seconds since 1970.
    """
    dispatcher = plugin.dispatcher
    runs = itertools.islice(reversed(dispatcher.decided.items()), _ROWS)
    of_runs = (
        (
            run.time,
            {
                "what": "RUN",
                "task": short_key(key),
                "worker": address,
                "why": REASONS.get(run.reason, run.reason) + (f" ({model})" if model else ""),
                "missing": bytes_text(run.missing_bytes),
                "among": str(run.candidates),
                "place": str(run.rank + 1),
                "held": f"{run.held_seconds * 1000:.0f} ms" if run.held_seconds else "",
            },
        )
        for key, (run, address, _, model) in runs
    )
    of_holds = (
        (
            hold.time,
            {
                "what": "HOLD",
                "task": "",
                "worker": address,
                "why": f"a successor would save {hold.saved_seconds * 1000:.1f} ms of copying",
                **dict.fromkeys(("missing", "among", "place"), ""),
                "held": f"≤ {(hold.until - hold.time) * 1000:.0f} ms",
            },
        )
        for hold, address in itertools.islice(reversed(dispatcher.held), _ROWS)
    )
    newest = heapq.nlargest(_ROWS, [*of_runs, *of_holds], key=lambda each: each[0])
    return [{"when": _time_of_day(zero + when), **fields} for when, fields in newest]


def _time_of_day(seconds: float) -> str:
    tenths = round(seconds * 10)
    return f"{time.strftime('%H:%M:%S', time.gmtime(tenths // 10))}.{tenths % 10}"
