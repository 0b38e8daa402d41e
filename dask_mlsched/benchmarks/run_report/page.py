"""The report as one HTML file that needs nothing else."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import jinja2
from bokeh.embed import components
from bokeh.resources import Resources
from markupsafe import Markup

from dask_mlsched.benchmarks.run_report import headline
from dask_mlsched.benchmarks.run_report.curves import moved_chart, resident_chart
from dask_mlsched.benchmarks.run_report.drawing import COLOURS
from dask_mlsched.benchmarks.run_report.findings import Findings
from dask_mlsched.benchmarks.run_report.settings import settings
from dask_mlsched.benchmarks.run_report.thinning import Thinned, thinned
from dask_mlsched.benchmarks.run_report.timeline_chart import timeline_chart, timeline_rows
from dask_mlsched.benchmarks.run_report.wording import key_text, share_text
from dask_mlsched.core.calibration import Figures
from dask_mlsched.core.timeline import ACTIVITIES, WorkerTimeline
from dask_mlsched.extension.explanation import REASONS
from dask_mlsched.extension.in_words import bytes_text, seconds_text

#: So many networks are listed; a specialised run may have been served many.
_NETWORKS = 12


@dataclass(frozen=True)
class Row:
    """A row of figures of a run."""

    name: str
    how: str
    makespan: float
    #: Bytes; None where they are not known.
    loaded: int | None
    evicted: int | None
    sent: int | None

    @property
    def moved(self) -> int | None:
        """Bytes in both directions."""
        if self.loaded is None or self.evicted is None:
            return None
        return self.loaded + self.evicted


def page(found: Findings, *, title: str, top: int) -> str:
    """Lay out the report.

    Parameters
    ----------
    title
        Stands at its top; any text.
    top
        So many decisions are listed at most.
    """
    bars = thinned(timeline_rows(found.timeline), found.timeline.makespan)
    script, pictures = components(_pictures(found, bars))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dask_mlsched.benchmarks.run_report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        bytes=bytes_text, seconds=seconds_text, share=share_text, short=key_text
    )
    resources = Resources(mode="inline", components=["bokeh"])
    return environment.get_template("report.html.j2").render(
        title=title,
        found=found,
        headline=headline,
        header=found.trace.header,
        recorded=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(found.trace.header.started)),
        rows=_rows(found),
        activities=ACTIVITIES,
        colours=COLOURS,
        workers=[_worker(each) for each in found.timeline.workers],
        bars=bars,
        cut=sum(each.cut_seconds for each in found.timeline.workers),
        stopped=sum(each.stopped for each in found.timeline.workers),
        costliest=found.costliest(top),
        reasons=REASONS,
        settings=list(settings(found.calibration)),
        networks=found.model.served[:_NETWORKS],
        # Made by bokeh of figures, which escapes what is in them: markup already.
        pictures={name: Markup(picture) for name, picture in pictures.items()},
        script=Markup(script),
        bokeh=Markup(resources.render_js()),
    )


def _pictures(found: Findings, bars: Thinned) -> dict[str, Any]:
    run, alone = found.run, found.alone
    loaded, evicted = found.least_loaded, found.least_evicted
    pictures = {
        "timeline": timeline_chart(found.timeline, bars),
        "loaded": moved_chart(
            "Loaded into the fast tiers",
            COLOURS["load"],
            run.loaded,
            alone.loaded if alone else None,
            loaded,
        ),
        "evicted": moved_chart(
            "Evicted from the fast tiers",
            COLOURS["evict"],
            run.evicted,
            alone.evicted if alone else None,
            evicted,
        ),
    }
    levels = [level for level in found.levels if level.limit is not None]
    if levels:
        pictures["resident"] = resident_chart(levels, found.begin, found.timeline.makespan)
    return pictures


def _rows(found: Findings) -> list[Row]:
    """List what stands side by side: this run, Dask alone, and the bound."""

    def row(name: str, how: str, figures: Figures) -> Row:
        return Row(
            name,
            how,
            figures.makespan,
            figures.bytes_loaded,
            figures.bytes_evicted,
            figures.bytes_sent,
        )

    rows = [row("This run", "measured", found.calibration.live)]
    if found.repeated is not None:
        rows.append(row("This run again", "simulated", found.repeated))
    if found.alone is not None:
        rows.append(row("Dask alone", "simulated", found.alone.figures))
    if found.bounds is not None:
        least = found.bounds.makespan, found.least_loaded, found.least_evicted
        rows.append(Row("Lower bound", "worked out", *least, None))
    return rows


def _worker(worker: WorkerTimeline) -> dict[str, Any]:
    seconds = worker.seconds()
    total = sum(seconds.values())
    return {
        "number": worker.number,
        "address": worker.address,
        "threads": len(worker.threads),
        "there": worker.end - worker.start,
        "copying": worker.copy_seconds(),
        "shares": {name: took / total if total else 0.0 for name, took in seconds.items()},
    }
