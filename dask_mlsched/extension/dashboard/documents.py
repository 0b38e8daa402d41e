"""What is served at each path: a document of Bokeh's, made anew for everybody who opens it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from bokeh.layouts import column
from bokeh.models import LayoutDOM
from distributed.dashboard.components.scheduler import BOKEH_THEME, env

from dask_mlsched.extension.dashboard import style
from dask_mlsched.extension.dashboard.decisions_part import DecisionsPart
from dask_mlsched.extension.dashboard.models_part import ModelsPart
from dask_mlsched.extension.dashboard.paths import PART, path_of
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
    """Return how each part is made, by its name."""
    observation = plugin.observation
    assert observation is not None
    return {
        "residency": lambda: ResidencyPart(observation),
        "transfers": lambda: TransfersPart(observation),
        "decisions": lambda: DecisionsPart(plugin),
        "models": lambda: ModelsPart(plugin),
    }


def applications(plugin: Management) -> dict[str, Application]:
    """Return what is served, by path: each part under Dask's menu, and each by itself."""
    served: dict[str, Application] = {}
    for name, make in parts(plugin).items():
        served[f"/{path_of(name)}"] = _under_menu(plugin, name, make)
        served[f"/{PART}{name}"] = _by_itself(plugin, make)
    return served


def _by_itself(plugin: Management, make: Callable[[], Part]) -> Application:
    """Serve one part alone, as JupyterLab's extension wants it."""

    def application(_: Scheduler, __: Mapping[str, Any], doc: Document) -> None:
        page = _Page(plugin, doc, make())
        doc.add_root(column(page.notice, page.part.root, sizing_mode="stretch_width"))
        doc.theme = BOKEH_THEME

    return application


def _under_menu(plugin: Management, name: str, make: Callable[[], Part]) -> Application:
    """Serve one part as one of Dask's own pages, with links to the others."""

    def application(_: Scheduler, extra: Mapping[str, Any], doc: Document) -> None:
        page = _Page(plugin, doc, make())
        links = style.text(_links(list(parts(plugin)), name))
        doc.add_root(column(links, page.notice, page.part.root, sizing_mode="stretch_width"))
        doc.template = env.get_template("simple.html")
        doc.template_variables.update(extra)
        doc.theme = BOKEH_THEME

    return application


def _links(names: list[str], here: str) -> str:
    """Return links to all pages of ours; paths are relative, as Dask's may have a prefix."""
    links = (
        f"<b>{name.title()}</b>"
        if name == here
        else f'<a href="{path_of(name)}">{name.title()}</a>'
        for name in names
    )
    return f"<nav>{''.join(links)}</nav>"


class _Page:
    """One open page: updated while it is open and the plugin is there, and counted."""

    def __init__(self, plugin: Management, doc: Document, part: Part) -> None:
        assert plugin.observation is not None
        self._plugin = plugin
        self._observation = plugin.observation
        self._doc = doc
        self._open = True
        self._callback: Any = None
        self.part = part
        self.notice = style.text(visible=False)
        doc.title = f"Dask: mlsched {part.title}"
        self._observation.runs.lookers += 1
        doc.on_session_destroyed(self._closed)
        self.update()
        milliseconds = max(100, round(1000 * self._observation.interval))
        self._callback = doc.add_periodic_callback(self.update, milliseconds)

    def _closed(self, session_context: Any) -> None:
        if self._open:
            self._open = False
            runs = self._observation.runs
            runs.lookers = max(0, runs.lookers - 1)

    def update(self) -> None:
        """Bring the page up to date; what fails says so, and is tried again the next time."""
        if self._plugin.observation is not self._observation:
            self.notice.text, self.notice.visible = _GONE, True
            # Nobody ends the sessions of a scheduler that closes: they would look for ever.
            self._doc.remove_periodic_callback(self._callback)
            return
        try:
            with self._observation.timed():
                self.part.update()
            self.notice.visible = False
        except Exception as error:  # noqa: BLE001 - counted, shown here and in status()
            self._observation.failed(f"the page {self.part.title}", error)
            what = style.escaped(f"{type(error).__name__}: {error}")
            self.notice.text = f"<b>This cannot be shown now:</b> {what}"
            self.notice.visible = True
