"""Adds pages to the dashboard of a scheduler that runs already, and takes them away again.

Dask gathers its pages when the scheduler starts. Later ones are a Bokeh application of their own.
Three places have to hear of them: the menu, which all of Dask's pages share; the list that
JupyterLab's extension reads, which knows the first Bokeh application alone; and the site map, which
looks at all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from distributed.core import Status

from dask_mlsched.extension.dashboard.paths import PAGE, PART

if TYPE_CHECKING:
    from bokeh.server.contexts import ApplicationContext
    from bokeh.server.tornado import BokehTornado

    from dask_mlsched.extension.management import Management

#: Seconds between two looks whether somebody still has a page open that is taken away.
_PATIENCE: Final = 5.0


class Pages:
    """The pages of one plugin, in the dashboard of its scheduler.

    Parameters
    ----------
    plugin
        What they show; it has an observation.
    """

    #: Why there are none; None if there are.
    why_none: str | None

    def __init__(self, plugin: Management) -> None:
        self._plugin = plugin
        self._scheduler = plugin.scheduler
        self._own: BokehTornado | None = None
        self._dasks: BokehTornado | None = None
        self._paths: list[str] = []
        self._plots: list[dict[str, str]] = []
        self.why_none = "not added yet"

    def add(self) -> None:
        """Add them, if the scheduler has a dashboard."""
        try:
            from bokeh.server.tornado import BokehTornado
            from distributed.dashboard.core import BokehApplication
            from distributed.dashboard.scheduler import template_variables

            from dask_mlsched.extension.dashboard import documents
        except ImportError as error:
            self.why_none = f"the scheduler has no dashboard ({error})"
            return
        http = getattr(self._scheduler, "http_application", None)
        found = [] if http is None else http.applications
        dasks = next((each for each in found if isinstance(each, BokehTornado)), None)
        if http is None or dasks is None:
            self.why_none = "the scheduler has no dashboard: it was started without one"
            return
        variables = template_variables(self._scheduler)
        own = BokehApplication(
            documents.applications(self._plugin),
            self._scheduler,
            prefix=dasks.prefix,
            template_variables=variables,
        )
        http.add_application(own)
        own.initialize(self._scheduler.io_loop)
        own.start()
        self._own, self._dasks = own, dasks
        self._list(dasks, own)
        self._put_into_menu(variables)
        self.why_none = None

    def _list(self, dasks: BokehTornado, own: BokehTornado) -> None:
        """Let those that look for single plots find ours: they ask Dask's application alone."""
        for path, context in _contexts(own).items():
            if path.strip("/").startswith(PART):
                _contexts(dasks)[path] = context
                self._paths.append(path)

    def _put_into_menu(self, variables: dict[str, Any]) -> None:
        """Change the lists that all of Dask's pages share."""
        variables["pages"].append(PAGE)
        self._plots = [
            {"url": path, "name": f"Mlsched {path.removeprefix(PART).title()}"}
            for path in (each.strip("/") for each in self._paths)
        ]
        variables["plots"].extend(self._plots)
        variables["plots"].sort(key=lambda plot: plot["name"])

    def remove(self) -> None:
        """Take them away; doing it again does nothing."""
        own, dasks = self._own, self._dasks
        if own is None or dasks is None:
            return
        from distributed.dashboard.scheduler import template_variables

        self._own = self._dasks = None
        self.why_none = "the plugin is gone"
        variables = template_variables(self._scheduler)
        if PAGE in variables["pages"]:
            variables["pages"].remove(PAGE)
        variables["plots"][:] = [plot for plot in variables["plots"] if plot not in self._plots]
        for path in self._paths:
            _contexts(dasks).pop(path, None)
        applications = self._scheduler.http_application.applications
        if own in applications:
            applications.remove(own)
        self._stop_when_left(own)

    def _stop_when_left(self, own: BokehTornado) -> None:
        """Stop once nobody looks any more: pages that are open say that the plugin is gone."""
        looked_at = any(context.sessions for context in _contexts(own).values())
        if looked_at and self._scheduler.status not in (Status.closing, Status.closed):
            self._scheduler.io_loop.call_later(_PATIENCE, self._stop_when_left, own)
        else:
            own.stop()


def _contexts(application: BokehTornado) -> dict[str, ApplicationContext]:
    """Return what is served at each path; there is no public way to add to it."""
    return application._applications  # type: ignore[return-value]  # noqa: SLF001 - a dict in truth
