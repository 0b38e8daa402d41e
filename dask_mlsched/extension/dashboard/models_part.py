"""Which model decides, where it comes from, and how much each run could have been better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from bokeh.layouts import column, row
from bokeh.models import ColumnDataSource, FactorRange
from bokeh.plotting import figure

from dask_mlsched.core.model_choice import BASELINE, Belief, Catalogue
from dask_mlsched.extension.dashboard import style
from dask_mlsched.extension.model_events import TOPIC

if TYPE_CHECKING:
    from bokeh.models import LayoutDOM

    from dask_mlsched.extension.management import Management

_BELIEFS: Final = (
    ("family", "family", 130),
    ("model", "model", 170),
    ("gain", "of Dask's time", 110),
    ("runs", "real runs", 70),
    ("note", "", 220),
)
_LINEAGE: Final = (
    ("model", "model", 170),
    ("made_by", "made by", 120),
    ("parents", "from", 240),
    ("date", "when", 160),
    ("reason", "why", 380),
)
_EVENTS: Final = (
    ("event", "event", 120),
    ("model", "model", 170),
    ("family", "family", 130),
    ("reason", "why", 520),
)
#: Events in the table.
_EVENT_ROWS: Final = 12


class ModelsPart:
    """The choice for the run at hand, beliefs, lineage, regret of each run, and what happened.

    Parameters
    ----------
    plugin
        Whose models.
    """

    title = "Models"

    def __init__(self, plugin: Management) -> None:
        assert plugin.observation is not None
        self._plugin = plugin
        self._runs = plugin.observation.runs
        self._heading = style.text()
        names = ("x", "regret", "color", "policy", "best", "share")
        self._bars = ColumnDataSource({name: [] for name in names})
        self._beliefs = ColumnDataSource({name: [] for name, _, _ in _BELIEFS})
        self._lineage = ColumnDataSource({name: [] for name, _, _ in _LINEAGE})
        self._events = ColumnDataSource({name: [] for name, _, _ in _EVENTS})
        self._names = FactorRange()
        self._regret = _regret_figure(self._bars, self._names)
        self._library = column(
            row(
                column(
                    style.text("<h3>What models are believed to be worth</h3>"),
                    style.table(self._beliefs, _BELIEFS, height=220),
                    sizing_mode="stretch_width",
                ),
                column(
                    style.text("<h3>Where they come from</h3>"),
                    style.table(self._lineage, _LINEAGE, height=220),
                    sizing_mode="stretch_width",
                ),
                sizing_mode="stretch_width",
            ),
            style.text("<h3>What happened to them</h3>"),
            style.table(self._events, _EVENTS, height=220),
            sizing_mode="stretch_width",
        )
        self.root: LayoutDOM = column(
            self._heading,
            self._regret,
            style.text(
                "<span class=note>Regret is what the run's decisions cost beyond the best of Dask "
                "alone, greedy-hold, darts-luf and themselves, all simulated for the same tasks "
                "once the run was over. 0 means that none of them would have been "
                "quicker.</span>"
            ),
            self._library,
            sizing_mode="stretch_width",
        )

    def update(self) -> None:
        """Show how it is now."""
        models = self._plugin.networks.models
        self._heading.text = _words(self._plugin)
        self._draw_regret()
        catalogue = None if models is None else models.catalogue
        self._library.visible = models is not None
        _fill(self._beliefs, [] if catalogue is None else _beliefs(catalogue))
        _fill(self._lineage, [] if catalogue is None else _lineage(catalogue))
        _fill(self._events, _events(self._plugin) if models is not None else [])

    def _draw_regret(self) -> None:
        bars: list[dict[str, Any]] = []
        for run in self._runs.runs:
            found = run.comparison
            if found is None:
                continue
            policy = run.policy if run.model is None else f"{run.policy}, {run.model}"
            bars.append(
                {
                    "x": f"run {run.number}",
                    "regret": found.regret,
                    "share": found.regret / found.taken.seconds if found.taken.seconds else 0.0,
                    "color": style.GREY if run.policy == "stock" else style.BLUE,
                    "policy": policy,
                    "best": found.best[0],
                }
            )
        self._regret.visible = bool(bars)
        factors: list[str] = [bar["x"] for bar in bars]
        if factors != self._names.factors:
            self._regret.max_width = 200 + 110 * len(factors)
            self._names.factors = factors
            _fill(self._bars, bars)


def _regret_figure(source: ColumnDataSource, names: FactorRange) -> figure:
    made = style.by_name("Regret of each run, in seconds (simulated)", names, height=240)
    shown = made.vbar("x", top="regret", width=0.6, source=source, color="color")
    rows = [
        ("decided by", "@policy"),
        ("regret", "@regret{0.00} s, @share{0 %} of the run"),
        ("best", "@best"),
    ]
    style.tell(made, shown, rows)
    return made


def _fill(source: ColumnDataSource, rows: list[dict[str, Any]]) -> None:
    data = {name: [each[name] for each in rows] for name in source.data}
    if data != source.data:
        source.data = data


def _words(plugin: Management) -> str:
    escaped = style.escaped
    words = (
        f"Mode <b>{escaped(plugin.mode)}</b>, policy <b>{escaped(plugin.policy_name)}</b>; tasks "
        f"are {'managed' if plugin.manages else 'left to Dask'} now."
    )
    lines = [words]
    models = plugin.networks.models
    if not plugin.manages and (models is None or models.choice is None):
        lines.append("No model decides now.")
    elif models is None:
        what = {
            "learned": "The network that ships decides; nothing is learned here "
            "(mlsched.training.mode is off).",
            "specialised": "The network that ships decides, fitted to the graph at hand by a "
            "process beside the scheduler.",
        }
        lines.append(what.get(plugin.policy_name, "A hand-written policy decides: no model."))
    elif models.choice is None:
        lines.append("No model is chosen yet: the process beside the scheduler is still starting.")
    else:
        choice = models.choice
        model = "Dask alone" if choice.model == BASELINE else choice.model
        family = "a family not known so far" if choice.family is None else f"family {choice.family}"
        lines.append(
            f"<b>{escaped(model)}</b> decides for the run at hand, which is of {escaped(family)}: "
            f"{escaped(choice.why)}."
        )
    specialising = plugin.specialising
    if specialising is not None:
        lines.append(_specialist_words(specialising.snapshot()))
    return "".join(f"<div>{line}</div>" for line in lines)


def _specialist_words(told: Mapping[str, Any]) -> str:
    """Say what the process that fits the policy to the graph at hand has found."""
    if not told["ready"]:
        return "The process that specialises is still starting."
    if told["arm"] is None:
        return "No graph has been specialised for yet."
    foretold = told["foretold_makespan"]
    worth = "" if foretold is None else f", foretold to take {foretold:.2f} of Dask's time"
    return (
        f"For the graph at hand, <b>{style.escaped(told['arm'])}</b> was the best of "
        f"{told['evaluations']:,} simulated runs{worth}."
    )


def _beliefs(catalogue: Catalogue) -> list[dict[str, Any]]:
    rows = [_belief("not known so far", each, "") for each in catalogue.unknown]
    for family in catalogue.families:
        sent_back = "" if family.sent_back is None else f"left to Dask: {family.sent_back}"
        rows += [_belief(family.name, arm, sent_back) for arm in family.arms]
    return rows


def _belief(family: str, belief: Belief, note: str) -> dict[str, Any]:
    ratio, low, high = (
        math.exp(-belief.mean + sign * belief.deviation) for sign in (0.0, -1.0, 1.0)
    )
    return {
        "family": family,
        "model": "Dask alone" if belief.model == BASELINE else belief.model,
        "gain": f"{ratio:.2f} ({low:.2f}–{high:.2f})" if belief.deviation else f"{ratio:.2f}",
        "runs": str(belief.runs),
        "note": note,
    }


def _lineage(catalogue: Catalogue) -> list[dict[str, Any]]:
    return [
        {
            "model": ref,
            "made_by": origin.made_by,
            "parents": ", ".join(origin.parents) or "nothing",
            "date": origin.date.replace("T", " ")[:19],
            "reason": origin.reason,
        }
        for ref, origin in catalogue.lineage.items()
    ]


def _events(plugin: Management) -> list[dict[str, Any]]:
    found = plugin.scheduler.get_events(TOPIC)
    return [_event(message) for _, message in reversed(found[-_EVENT_ROWS:])]


def _event(message: Any) -> dict[str, Any]:
    fields: Mapping[str, Any] = message if isinstance(message, dict) else {}
    return {
        "event": str(fields.get("event", "")),
        "model": str(fields.get("model") or ""),
        "family": str(fields.get("family") or ""),
        "reason": str(fields.get("reason", fields.get("why", ""))),
    }
