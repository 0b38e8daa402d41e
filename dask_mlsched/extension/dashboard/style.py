"""How the pages look: colours, figures, tables and text, the same everywhere.

Whatever comes from outside (keys, addresses, reasons) is escaped here or by Bokeh, which escapes
what stands in tables, tooltips and titles; a `Div` takes HTML, so nothing gets there but by `text`.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any, Final

from bokeh.models import (
    ColumnDataSource,
    CustomJSTickFormatter,
    DataRange1d,
    DatetimeTicker,
    DatetimeTickFormatter,
    FactorRange,
    HoverTool,
)
from bokeh.models.annotations import Title
from bokeh.models.renderers import GlyphRenderer
from bokeh.models.widgets import DataTable, Div, TableColumn
from bokeh.plotting import figure

#: Of Okabe and Ito, which colour-blind people can tell apart.
BLUE: Final = "#0072b2"
SKY: Final = "#56b4e9"
ORANGE: Final = "#e69f00"
RED: Final = "#d55e00"
GREEN: Final = "#009e73"
PURPLE: Final = "#cc79a7"
GREY: Final = "#9a9a9a"

#: In the browser: a tick as bytes, in the unit of its size.
_BYTES: Final = """
const size = Math.abs(tick);
for (const [unit, name] of [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]])
    if (size >= unit) return `${parseFloat((size / unit).toFixed(1))} ${name}`;
return size === 0 ? "0" : `${size.toFixed(0)} B`;
"""

#: Dask's tables lie over its menu without this.
_TABLE_STYLE: Final = ":host { z-index: 0; } .slick-cell { font-size: 13px; }"
_TEXT_STYLE: Final = (
    ":host { font-family: sans-serif; font-size: 14px; color: #333; line-height: 1.45; }"
    " b { font-weight: 600; } .note { color: #666; font-size: 13px; }"
    " table { border-collapse: collapse; } td, th { padding: 2px 14px 2px 0; text-align: left; }"
    " nav a, nav b { margin-right: 18px; } nav a { color: #0072b2; }"
    " h3 { margin: 0.2em 0; font-size: 16px; }"
)


def escaped(value: object) -> str:
    """Return text that is safe inside HTML, on one line and not too long."""
    text = " ".join(str(value).split())
    return html.escape(text if len(text) <= 200 else text[:199] + "…")


def text(content: str = "", **options: Any) -> Div:
    """Make a block of HTML; whoever fills it has escaped what is not ours."""
    return Div(text=content, sizing_mode="stretch_width", stylesheets=[_TEXT_STYLE], **options)


def over_time(title: Title | str, height: int = 220, *, from_zero: bool = True) -> figure:
    """Make a figure whose x axis is the time of day, and whose y axis begins at 0 if it is to."""
    made = figure(
        title=title,
        height=height,
        sizing_mode="stretch_width",
        x_axis_type="datetime",
        y_range=DataRange1d(start=0) if from_zero else DataRange1d(),
        tools="xpan,xwheel_zoom,box_zoom,reset,save",
    )
    made.xaxis.formatter = DatetimeTickFormatter(
        seconds="%H:%M:%S", minsec="%H:%M:%S", minutes="%H:%M", hourmin="%H:%M", hours="%H:%M"
    )
    made.xaxis.ticker = DatetimeTicker(desired_num_ticks=5)
    return _plain(made)


def by_name(title: str, names: FactorRange, height: int = 260) -> figure:
    """Make a figure of bars, one for each name, from 0 on."""
    made = figure(
        title=title,
        height=height,
        sizing_mode="stretch_width",
        x_range=names,
        y_range=DataRange1d(start=0),
        tools="reset,save",
        visible=False,
    )
    made.xgrid.visible = False
    return _plain(made)


def _plain(made: figure) -> figure:
    """Leave out what distracts."""
    made.toolbar.logo = None
    made.toolbar.autohide = True
    made.grid.grid_line_alpha = 0.4
    made.outline_line_color = None
    made.axis.axis_line_color = GREY
    made.axis.minor_tick_line_color = None
    return made


def bytes_axis(made: figure) -> None:
    """Have the y axis say bytes; what goes the other way stands below 0, without a sign."""
    made.yaxis.formatter = CustomJSTickFormatter(code=_BYTES)


def tell(made: figure, shown: GlyphRenderer[Any], rows: Sequence[tuple[str, str]]) -> None:
    """Say what stands where the pointer is: rows of what it is, and a field as Bokeh writes it."""
    made.add_tools(HoverTool(renderers=[shown], tooltips=list(rows), mode="vline"))


def legend_above(made: figure, columns: int | str = "auto") -> None:
    """Put the legend out of the way of what it explains."""
    legend = made.legend[0]
    legend.update(
        orientation="horizontal",
        background_fill_alpha=0.0,
        border_line_alpha=0.0,
        label_text_font_size="12px",
        label_height=14,
        glyph_height=14,
        padding=0,
        margin=0,
        spacing=12,
        ncols=columns,
    )
    made.add_layout(legend, "above")


def table(
    source: ColumnDataSource, columns: Sequence[tuple[str, str, int]], height: int
) -> DataTable:
    """Make a table of (field, title, width)."""
    return DataTable(
        source=source,
        columns=[
            TableColumn(field=field, title=title, width=width) for field, title, width in columns
        ],
        height=height,
        sizing_mode="stretch_width",
        index_position=None,
        sortable=False,
        selectable=False,
        reorderable=False,
        stylesheets=[_TABLE_STYLE],
    )
