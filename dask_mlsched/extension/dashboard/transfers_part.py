"""What moves between the tiers in each direction, and what Dask alone would have moved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from bokeh.layouts import column
from bokeh.models import ColumnDataSource, FactorRange
from bokeh.plotting import figure

from dask_mlsched.extension.dashboard import style
from dask_mlsched.extension.history import LENGTH
from dask_mlsched.extension.in_words import bytes_text

if TYPE_CHECKING:
    from bokeh.models import LayoutDOM

    from dask_mlsched.extension.observation import Observation
    from dask_mlsched.extension.run_watch import WatchedRun

#: Runs in the picture and in the table.
RUNS: Final = 8

_BARS: Final = (("ours", style.BLUE), ("Dask alone", style.ORANGE), ("least", style.GREEN))
_TABLE: Final = (
    ("run", "run", 40),
    ("tasks", "tasks", 60),
    ("seconds", "seconds", 70),
    ("loaded", "loaded", 90),
    ("evicted", "evicted", 90),
    ("dask_seconds", "Dask alone: seconds", 130),
    ("dask_loaded", "Dask alone: loaded", 130),
    ("dask_evicted", "Dask alone: evicted", 130),
    ("error", "simulation is off by", 130),
    ("note", "", 260),
)


class TransfersPart:
    """Speed of copies over time, and bytes of each run beside what others would have moved.

    Parameters
    ----------
    observation
        Where samples and runs come from.
    """

    title = "Transfers"

    def __init__(self, observation: Observation) -> None:
        self._observation = observation
        self._number = 0
        self._heading = style.text()
        self._speeds = ColumnDataSource({name: [] for name in ("time", "loaded", "evicted")})
        self._bars = ColumnDataSource({name: [] for name in ("x", "nbytes", "color", "who")})
        self._rows = ColumnDataSource({name: [] for name, _, _ in _TABLE})
        self._names = FactorRange(range_padding=0.05)
        self._runs = _runs_figure(self._bars, self._names)
        self.root: LayoutDOM = column(
            self._heading,
            _speed_figure(self._speeds),
            self._runs,
            style.text(
                "<span class=note>Dask alone and the least are simulated for the same tasks, on "
                "workers as they were, once a run is over and while this page is open. The last "
                "column but one says how far the simulation of what really happened is off. The "
                "least is what any order has to move; mostly, no order can.</span>"
            ),
            style.table(self._rows, _TABLE, height=240),
            sizing_mode="stretch_width",
        )

    def update(self) -> None:
        """Show what has come since the last time."""
        history = self._observation.history
        self._stream_speeds()
        newest = history.samples[-1] if history.samples else None
        loaded, evicted = (0, 0) if newest is None else (newest.loaded, newest.evicted)
        runs = list(self._observation.runs.runs)[-RUNS:]
        self._heading.text = (
            f"<b>{bytes_text(loaded)}</b> loaded and <b>{bytes_text(evicted)}</b> "
            f"evicted since the plugin was installed. {_saved(runs)}"
        )
        rows = [self._row(run) for run in reversed(runs)]
        data = {name: [row[name] for row in rows] for name, _, _ in _TABLE}
        if data != self._rows.data:
            self._rows.data = data
            self._draw_runs(runs)

    def _stream_speeds(self) -> None:
        steps = self._observation.history.steps(self._number)
        if not steps:
            return
        self._number = steps[-1][1].number
        self._speeds.stream(
            {
                "time": [after.time * 1000 for _, after in steps],
                "loaded": [(b.loaded - a.loaded) / (b.time - a.time) for a, b in steps],
                "evicted": [-(b.evicted - a.evicted) / (b.time - a.time) for a, b in steps],
            },
            rollover=LENGTH,
        )

    def _row(self, run: WatchedRun) -> dict[str, str]:
        found = run.comparison
        row = {name: "" for name, _, _ in _TABLE} | {
            "run": str(run.number),
            "tasks": f"{run.tasks:,}",
        }
        if found is None:
            return row | {"note": run.problem or self._why_not_yet(run)}
        return row | {
            "seconds": f"{found.measured.seconds:.2f}",
            "loaded": bytes_text(found.measured.loaded),
            "evicted": bytes_text(found.measured.evicted),
            "dask_seconds": f"{found.dask.seconds:.2f}",
            "dask_loaded": bytes_text(found.dask.loaded),
            "dask_evicted": bytes_text(found.dask.evicted),
            "error": f"{found.error:+.0%}",
        }

    def _why_not_yet(self, run: WatchedRun) -> str:
        if self._observation.runs.is_simulated(run.number):
            return "being simulated"
        return "not simulated: nobody looked when it ended"

    def _draw_runs(self, runs: Sequence[WatchedRun]) -> None:
        bars = [bar for run in runs for bar in _bars(run)]
        self._runs.visible = bool(bars)
        self._runs.max_width = 200 + 220 * len({run.number for run in runs})
        self._names.factors = [bar["x"] for bar in bars]
        self._bars.data = {name: [bar[name] for bar in bars] for name in self._bars.data}


def _speed_figure(source: ColumnDataSource) -> figure:
    made = style.over_time(
        "Copied a second: loaded above, evicted below", height=240, from_zero=False
    )
    times: dict[str, Any] = {"x": "time", "source": source, "alpha": 0.6}
    made.varea(y1="loaded", y2=0, color=style.BLUE, legend_label="loaded", **times)
    made.varea(y1="evicted", y2=0, color=style.RED, legend_label="evicted", **times)
    shown = made.line("time", "loaded", source=source, color=style.BLUE)
    style.bytes_axis(made)
    style.legend_above(made)
    style.tell(made, shown, [("loaded", "@loaded{0.0 bd}/s"), ("evicted", "@evicted{0.0 bd}/s")])
    return made


def _runs_figure(source: ColumnDataSource, names: FactorRange) -> figure:
    made = style.by_name("Bytes of each run, loaded and evicted", names)
    shown = made.vbar(
        "x", top="nbytes", width=0.85, source=source, color="color", legend_field="who", alpha=0.85
    )
    made.xaxis.major_label_text_font_size = "0px"
    style.bytes_axis(made)
    style.legend_above(made)
    style.tell(made, shown, [("who", "@who"), ("bytes", "@nbytes{0.0 bd}")])
    return made


def _bars(run: WatchedRun) -> list[Mapping[str, Any]]:
    """Return a group of bars for each direction, one for each of those that are compared."""
    found = run.comparison
    if found is None:
        return []
    compared = (found.measured, found.dask, found.bound)
    return [
        {"x": (f"run {run.number}: {direction}", who), "nbytes": nbytes, "color": color, "who": who}
        for direction, pick in (("loaded", "loaded"), ("evicted", "evicted"))
        for (who, color), figures in zip(_BARS, compared, strict=True)
        for nbytes in [getattr(figures, pick)]
    ]


def _saved(runs: Iterable[WatchedRun]) -> str:
    """Say what the last run that was simulated has saved, in words."""
    for run in reversed(list(runs)):
        if run.comparison is None:
            continue
        ours, dask = run.comparison.measured, run.comparison.dask
        moved, alone = ours.loaded + ours.evicted, dask.loaded + dask.evicted
        if not alone:
            return f"In run {run.number}, neither we nor Dask alone would move anything."
        return (
            f"Run {run.number} moved <b>{moved / alone:.2f}</b> of what Dask alone would have "
            f"moved ({bytes_text(alone)}, simulated)."
        )
    return "What Dask alone would have moved is told once a run is over."
