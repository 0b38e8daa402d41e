"""How the pictures of the report look: colours, axes, letters."""

from __future__ import annotations

from typing import Final, Literal

from bokeh.models import BoxZoomTool, PanTool, Range1d, ResetTool, WheelZoomTool
from bokeh.models.annotations import Title
from bokeh.plotting import figure

from dask_mlsched.benchmarks.run_report.wording import byte_unit
from dask_mlsched.core.timeline import Activity

#: They differ in lightness as well as in hue, so that people who confuse red and green tell them
#: apart, and so does paper without colours.
COLOURS: Final[dict[Activity, str]] = {
    "compute": "#2f6fa8",
    "load": "#e3a72f",
    "evict": "#b8481b",
    "hold": "#1d7f64",
    "idle": "#e4e7ea",
}
#: What is written, what stands back, and lines behind.
INK: Final = "#22272e"
MUTED: Final = "#5b6570"
_GRID: Final = "#e9ecef"
_AXIS: Final = "#b8c0c8"

_FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
_SIZE: Final = "12px"


def over_time(title: str, height: int, end: float) -> figure:
    """Make an empty picture over so many seconds, in which people can zoom.

    Parameters
    ----------
    height
        In pixels; as wide as there is room.
    """
    end = max(end, 1e-9)
    drag = BoxZoomTool(dimensions="width")
    made = figure(
        height=height,
        sizing_mode="stretch_width",
        x_range=Range1d(start=0, end=end, bounds=(0, end)),
        tools=[drag, PanTool(dimensions="width"), WheelZoomTool(dimensions="width"), ResetTool()],
        active_drag=drag,
        # Else a page that is scrolled stops at the first picture.
        active_scroll=None,
        toolbar_location="above",
        outline_line_color=None,
    )
    made.add_layout(
        Title(text=title, text_font=_FONT, text_font_size="14px", text_color=INK), "above"
    )
    made.toolbar.logo = None
    made.xaxis.axis_label = "seconds since the first task was sent"
    for axis in (*made.xaxis, *made.yaxis):
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font = axis.major_label_text_font = _FONT
        axis.axis_label_text_font_size = axis.major_label_text_font_size = _SIZE
        axis.axis_label_text_color = axis.major_label_text_color = MUTED
        axis.axis_line_color = axis.major_tick_line_color = _AXIS
        axis.minor_tick_line_color = None
    made.grid.grid_line_color = _GRID
    return made


def byte_axis(made: figure, most: float) -> float:
    """Let the axis go up to so many bytes; return the unit that it is in."""
    unit, name = byte_unit(most)
    made.y_range = Range1d(start=0, end=1.06 * max(most, 1) / unit)
    made.yaxis.axis_label = name
    return unit


def legend(made: figure, location: Literal["top_left", "bottom_right"]) -> None:
    """Show which line is which."""
    for shown in made.legend:
        shown.update(
            location=location,
            background_fill_alpha=0.85,
            border_line_color=None,
            label_text_font=_FONT,
            label_text_font_size=_SIZE,
            label_text_color=INK,
            padding=4,
        )
