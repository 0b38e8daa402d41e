"""What is served at each path: a document of Bokeh's, made anew for everybody who opens it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from bokeh.layouts import column
from bokeh.models import LayoutDOM, TabPanel, Tabs
from distributed.dashboard.components.scheduler import BOKEH_THEME, env

from dask_mlsched.extension.dashboard import style
from dask_mlsched.extension.dashboard.decisions_part import DecisionsPart
from dask_mlsched.extension.dashboard.models_part import ModelsPart
from dask_mlsched.extension.dashboard.residency_part import ResidencyPart
from dask_mlsched.extension.dashboard.transfers_part import TransfersPart

if TYPE_CHECKING:
    from bokeh.document import Document
    from distributed.scheduler import Scheduler

    from dask_mlsched.extension.management import Management


class Part(Protocol):
    """A part of a page."""

    title: str
    root: LayoutDOM

    def update(self) -> None:
        """Show how it is now."""
        ...


#: As Dask calls what it serves: with the scheduler, the template's variables, and the document.
Application = Callable[["Scheduler", Mapping[str, Any], "Document"], None]

_GONE: Final = "<b>The plugin was uninstalled.</b> Reload the page once it is there again."


def parts(plugin: Management) -> dict[str, Callable[[], Part]]:
    """Return how each part is made, by the name that its path ends with."""
    observation = plugin.observation
    assert observation is not None
    return {
        "residency": lambda: ResidencyPart(observation),
        "transfers": lambda: TransfersPart(observation),
        "decisions": lambda: DecisionsPart(plugin),
        "models": lambda: ModelsPart(plugin),
    }


def single(plugin: Management, name: str) -> Application:
    """Serve one part by itself, as JupyterLab's extension wants it."""

    def application(_: Scheduler, __: Mapping[str, Any], doc: Document) -> None:
        part = parts(plugin)[name]()
        doc.title = f"Dask: mlsched {part.title}"
        page = _Page(plugin, doc, [part])
        doc.add_root(column(page.notice, part.root, sizing_mode="stretch_width"))
        doc.theme = BOKEH_THEME

    return application


def all_of_them(plugin: Management) -> Application:
    """Serve all parts, as tabs under Dask's menu."""

    def application(_: Scheduler, extra: Mapping[str, Any], doc: Document) -> None:
        made = [make() for make in parts(plugin).values()]
        doc.title = "Dask: mlsched"
        page = _Page(plugin, doc, made)
        page.tabs = Tabs(
            tabs=[TabPanel(child=part.root, title=part.title) for part in made],
            sizing_mode="stretch_width",
        )
        doc.add_root(column(page.notice, page.tabs, sizing_mode="stretch_width"))
        doc.template = env.get_template("simple.html")
        doc.template_variables.update(extra)
        doc.theme = BOKEH_THEME

    return application


class _Page:
    """One open page: updated while it is open and the plugin is there, and counted."""

    def __init__(self, plugin: Management, doc: Document, shown: list[Part]) -> None:
        assert plugin.observation is not None
        self._plugin = plugin
        self._observation = plugin.observation
        self._parts = shown
        self._failed: set[str] = set()
        self._open = True
        #: Of several parts, only the one that is looked at follows.
        self.tabs: Tabs | None = None
        self.notice = style.text(visible=False)
        self._observation.runs.lookers += 1
        doc.on_session_destroyed(self._closed)
        self.update()
        milliseconds = max(100, round(1000 * self._observation.interval))
        doc.add_periodic_callback(self.update, milliseconds)

    def _closed(self, session_context: Any) -> None:
        if self._open:
            self._open = False
            runs = self._observation.runs
            runs.lookers = max(0, runs.lookers - 1)

    def update(self) -> None:
        """Bring what is looked at up to date; what fails says so, and the rest goes on."""
        if self._plugin.observation is not self._observation:
            if not self.notice.visible:
                self.notice.text, self.notice.visible = _GONE, True
            return
        looked_at = self._parts if self.tabs is None else [self._parts[self.tabs.active]]
        for part in looked_at:
            try:
                part.update()
            except Exception as error:  # noqa: BLE001 - counted, shown here and in status()
                self._observation.failed(f"the page {part.title}", error)
                self._say_failed(part, error)

    def _say_failed(self, part: Part, error: Exception) -> None:
        self._failed.add(f"{part.title}: {type(error).__name__}: {error}")
        listed = "<br>".join(map(style.escaped, sorted(self._failed)[:4]))
        self.notice.text = f"<b>This cannot be shown now:</b> {listed}"
        self.notice.visible = True
