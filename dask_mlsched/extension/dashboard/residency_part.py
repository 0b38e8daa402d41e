"""What is resident on each device over time, what could leave for free, and what is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bokeh.layouts import column, grid
from bokeh.models import ColumnDataSource
from bokeh.models.annotations import Title
from bokeh.models.widgets import Select

from dask_mlsched.extension.dashboard import style
from dask_mlsched.extension.history import LENGTH, History
from dask_mlsched.extension.in_words import bytes_text

if TYPE_CHECKING:
    from bokeh.models import LayoutDOM

    from dask_mlsched.extension.observation import Observation

#: Devices that are shown at once; more would take too long to draw, and to look at.
SHOWN: Final = 8

_COLUMNS: Final = ("time", "resident", "clean", "demand", "limit")


class _DevicePanel:
    """The picture of one device."""

    def __init__(self) -> None:
        self._address: str | None = None
        self._number = 0
        self._source = ColumnDataSource({name: [] for name in _COLUMNS})
        self._title = Title(text="")
        panel = style.over_time(self._title, height=200)
        times: dict[str, Any] = {"x": "time", "source": self._source}
        panel.varea(
            y1="resident", y2=0, color=style.BLUE, alpha=0.35, legend_label="resident", **times
        )
        panel.varea(y1="clean", y2=0, color=style.SKY, alpha=0.7, legend_label="clean", **times)
        shown = panel.line(y="resident", color=style.BLUE, line_width=1.5, **times)
        panel.line(y="demand", color=style.ORANGE, line_width=2, legend_label="missing", **times)
        panel.line(
            y="limit",
            color=style.RED,
            line_dash="dashed",
            line_width=2,
            legend_label="limit",
            **times,
        )
        style.bytes_axis(panel)
        style.legend_above(panel)
        style.tell(panel, shown, [(name, f"@{name}{{0.0 bd}}") for name in _COLUMNS[1:]])
        self.root = panel

    def show(self, address: str | None, history: History) -> None:
        """Follow a device, or none."""
        self.root.visible = address is not None
        if address != self._address:
            self._address, self._number = address, 0
            self._source.data = {name: [] for name in _COLUMNS}
            self._title.text = f"Device of {address}"
        if address is None:
            return
        new = [each for each in history.since(self._number) if address in each.devices]
        if not new:
            return
        self._number = new[-1].number
        found = [each.devices[address] for each in new]
        self._source.stream(
            {
                "time": [each.time * 1000 for each in new],
                "resident": [each.resident for each in found],
                "clean": [each.clean for each in found],
                "demand": [each.demand for each in found],
                "limit": [each.limit for each in found],
            },
            rollover=LENGTH,
        )


class ResidencyPart:
    """Devices, eight at a time.

    Parameters
    ----------
    observation
        Where samples come from.
    """

    title = "Residency"

    def __init__(self, observation: Observation) -> None:
        self._observation = observation
        self._heading = style.text()
        self._panels = [_DevicePanel() for _ in range(SHOWN)]
        self._select = Select(title="Devices", options=[], visible=False, width=200)
        self.root: LayoutDOM = column(
            self._heading,
            self._select,
            grid([each.root for each in self._panels], ncols=2, sizing_mode="stretch_width"),
            sizing_mode="stretch_width",
        )

    def update(self) -> None:
        """Show what has come since the last time."""
        samples = self._observation.history.samples
        newest = samples[-1] if samples else None
        addresses = sorted(newest.devices) if newest is not None else []
        if newest is None or not addresses:
            self._heading.text = (
                "No device yet: workers with a fast and a slow tier are shown here once one has "
                "joined and tasks run."
            )
        else:
            resident = sum(each.resident for each in newest.devices.values())
            limits = sum(each.limit or 0 for each in newest.devices.values())
            self._heading.text = (
                f"<b>{bytes_text(resident)}</b> resident of "
                f"<b>{bytes_text(limits)}</b> on {len(addresses)} devices; "
                f"<b>{newest.parked:,}</b> tasks are parked. "
                "<span class=note>Clean is what the host has a copy of, as predicted. Missing is "
                "what the next parked tasks that are at home on the device read and do not find "
                "there.</span>"
            )
        shown = self._shown(addresses)
        for place, panel in enumerate(self._panels):
            panel.show(shown[place] if place < len(shown) else None, self._observation.history)

    def _shown(self, addresses: list[str]) -> list[str]:
        groups = [addresses[at : at + SHOWN] for at in range(0, len(addresses), SHOWN)]
        options: list[Any] = [
            f"{at * SHOWN + 1} to {at * SHOWN + len(each)} of {len(addresses)}"
            for at, each in enumerate(groups)
        ]
        self._select.visible = len(groups) > 1
        if self._select.options != options:
            self._select.options = options
        if not groups:
            return []
        if self._select.value not in options:
            self._select.value = options[0]
        return groups[options.index(self._select.value)]
