"""What is resident on each device over time, what could leave for free, and what is asked for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from bokeh.layouts import column, grid
from bokeh.models import ColumnDataSource
from bokeh.models.annotations import Title
from bokeh.models.widgets import Select

from dask_mlsched.extension.dashboard import style
from dask_mlsched.extension.history import LENGTH, DeviceSample
from dask_mlsched.extension.in_words import bytes_text

if TYPE_CHECKING:
    from bokeh.models import LayoutDOM

    from dask_mlsched.extension.observation import Observation

#: Devices that are shown at once; more would take too long to draw, and to look at.
SHOWN: Final = 8

#: What is drawn of a device, in bytes.
_DRAWN: Final = ("resident", "clean", "demand", "limit")


def _column(name: str, place: int) -> str:
    """Name the column of a device in the source that all pictures share."""
    return f"{name} {place}"


class _DevicePanel:
    """The picture of the device at one place."""

    def __init__(self, source: ColumnDataSource, place: int) -> None:
        self._title = Title(text="")
        panel = style.over_time(self._title, height=200)
        panel.visible = False
        times: dict[str, Any] = {"x": "time", "source": source}
        resident, clean, demand, limit = (_column(name, place) for name in _DRAWN)
        panel.varea(
            y1=resident, y2=0, color=style.BLUE, alpha=0.35, legend_label="resident", **times
        )
        panel.varea(y1=clean, y2=0, color=style.SKY, alpha=0.7, legend_label="clean", **times)
        shown = panel.line(y=resident, color=style.BLUE, line_width=1.5, **times)
        panel.line(y=demand, color=style.ORANGE, line_width=2, legend_label="missing", **times)
        panel.line(
            y=limit,
            color=style.RED,
            line_dash="dashed",
            line_width=2,
            legend_label="limit",
            **times,
        )
        style.bytes_axis(panel)
        style.legend_above(panel)
        rows = [(name, f"@{{{_column(name, place)}}}{{0.0 bd}}") for name in _DRAWN]
        style.tell(panel, shown, rows)
        self.root = panel

    def name(self, address: str | None) -> None:
        """Say which device it is; none hides it."""
        self.root.visible = address is not None
        if address is not None:
            self._title.text = f"Device of {address}"


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
        # One for all, since each change of a source is a message of its own.
        self._source = ColumnDataSource(self._empty())
        self._panels = [_DevicePanel(self._source, place) for place in range(SHOWN)]
        self._addresses: list[str] = []
        self._number = 0
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
        self._follow(self._shown(addresses))

    def _follow(self, addresses: list[str]) -> None:
        """Send what is new of these devices; of others than before, all there is."""
        if addresses != self._addresses:
            self._addresses, self._number = addresses, 0
            self._source.data = self._empty()
            for place, panel in enumerate(self._panels):
                panel.name(addresses[place] if place < len(addresses) else None)
        samples = self._observation.history.since(self._number) if addresses else []
        if not samples:
            return
        self._number = samples[-1].number
        new: dict[str, Any] = {"time": [each.time * 1000 for each in samples]}
        for place in range(SHOWN):
            address = addresses[place] if place < len(addresses) else None
            devices = [None if address is None else each.devices.get(address) for each in samples]
            for name in _DRAWN:
                new[_column(name, place)] = [
                    math.nan if device is None else _bytes_of(device, name) for device in devices
                ]
        self._source.stream(new, rollover=LENGTH)

    @staticmethod
    def _empty() -> dict[str, list[float]]:
        columns = (_column(name, place) for name in _DRAWN for place in range(SHOWN))
        return {name: [] for name in ("time", *columns)}

    def _shown(self, addresses: list[str]) -> list[str]:
        """List the devices of the group that is chosen; groups keep their names as others join."""
        groups = [addresses[at : at + SHOWN] for at in range(0, len(addresses), SHOWN)]
        options: list[Any] = [f"from {at * SHOWN + 1} on" for at in range(len(groups))]
        self._select.visible = len(groups) > 1
        if self._select.options != options:
            self._select.options = options
        if not groups:
            return []
        if self._select.value not in options:
            self._select.value = options[0]
        return groups[options.index(self._select.value)]


def _bytes_of(device: DeviceSample, name: str) -> float:
    value = getattr(device, name)
    return math.nan if value is None else float(value)
