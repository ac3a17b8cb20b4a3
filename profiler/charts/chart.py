"""A figure as plotly.js reads it: plain dictionaries.

Plotly's own figures check every property and copy whole figures at every change. That took more than half of a report's time, and finds
nothing that the tests, which hold every chart against Plotly's checks, have not found.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any


class Chart:
    """Traces and layout, as in Plotly's JSON; values may be arrays and series.

    Properties are nested as in Plotly's reference; None leaves a property as it is, and a title may be a plain text.
    """

    def __init__(self, data: Sequence[dict[str, Any]] = (), layout: Mapping[str, Any] | None = None) -> None:
        self.data = list(data)
        self.layout: dict[str, Any] = {}
        self.update_layout(**(layout or {}))

    @property
    def title(self) -> str:
        return str(self.layout.get("title", {}).get("text", ""))

    def add(self, kind: str, row: int = 1, **properties: Any) -> Chart:
        """Add a trace ("bar", "scatter", …), of panels to one of them."""
        trace: dict[str, Any] = {"type": kind}
        if "xaxis" in self.layout:
            trace |= {"xaxis": f"x{_number(row)}", "yaxis": f"y{_number(row)}"}
        self.data.append(_merged(trace, properties))
        return self

    def add_polygons(self, polygons: Sequence[Sequence[tuple[float, float]]], **properties: Any) -> Chart:
        """Add filled polygons (x, y), closed ones, as one trace: plotly.js takes longer for many traces than for many points."""
        points: list[tuple[float | None, float | None]] = []
        for polygon in polygons:
            points += [(None, None)] if points else []
            points += polygon
        x, y = ([point[axis] for point in points] for axis in (0, 1))
        return self.add(
            "scatter", x=x, y=y, mode="lines", line={"width": 0}, fill="toself", hoverinfo="skip", **properties
        )

    def annotate(self, **properties: Any) -> None:
        self.layout.setdefault("annotations", []).append(_merged({}, properties))

    def add_shape(self, **properties: Any) -> None:
        self.layout.setdefault("shapes", []).append(_merged({}, properties))

    def vertical_line(self, x: float, line: Mapping[str, Any]) -> None:
        """A line over the whole height."""
        self.add_shape(type="line", x0=x, x1=x, xref="x", y0=0, y1=1, yref="y domain", line=line)

    def update_layout(self, **properties: Any) -> Chart:
        _merged(self.layout, properties)
        return self

    def with_defaults(self, layout: Mapping[str, Any], xaxes: Mapping[str, Any], yaxes: Mapping[str, Any]) -> Chart:
        """A copy with these properties of the layout and of every axis, where the chart has none of its own."""
        made = Chart()
        made.data = self.data
        axes = {"xaxis": xaxes, "yaxis": yaxes}
        names = {"xaxis", "yaxis", *(name for name in self.layout if name[:5] in axes)}
        made.update_layout(**_copied({**layout, **{name: dict(axes[name[:5]]) for name in sorted(names)}}))
        return made.update_layout(**self.layout)

    def update_xaxes(self, row: int | None = None, **properties: Any) -> Chart:
        """Change the x axis of a panel, or of all."""
        return self._update_axes("xaxis", row, properties)

    def update_yaxes(self, row: int | None = None, **properties: Any) -> Chart:
        return self._update_axes("yaxis", row, properties)

    def _update_axes(self, name: str, row: int | None, properties: dict[str, Any]) -> Chart:
        names = [name + _number(row)] if row else [name, *(k for k in self.layout if re.fullmatch(rf"{name}\d+", k))]
        return self.update_layout(**dict.fromkeys(names, properties))

    def copy(self) -> Chart:
        """A copy that shares only values with this one."""
        made = Chart()
        made.data, made.layout = _copied(self.data), _copied(self.layout)
        return made

    def to_dict(self) -> dict[str, Any]:
        return {"data": self.data, "layout": self.layout}

    def to_json(self) -> str:
        """What ``JSON.parse`` reads: values that are no finite numbers are null."""
        return json.dumps(_plain(self.to_dict()), separators=(",", ":"), allow_nan=False)


def panels(rows: int, gap: float, titles: Sequence[str], heights: Sequence[float] | None = None) -> Chart:
    """Panels one above the other, each with a title at its upper left; with ``heights``, in any unit, on one time axis.

    Args:
        gap: between two panels, as a part of the height of all.
    """
    free = 1.0 - gap * (rows - 1)
    upwards = [free * (h / sum(heights)) for h in reversed(heights)] if heights else [free / rows] * rows
    lows = [sum(upwards[:n]) + n * gap for n in range(rows)]
    domains = [(low, min(low + height, 1.0)) for low, height in zip(lows, upwards)][::-1]
    chart = Chart()
    for row, (low, high) in enumerate(domains, 1):
        x: dict[str, Any] = {"anchor": f"y{_number(row)}", "domain": [0.0, 1.0]}
        if heights and row < rows:
            x |= {"matches": f"x{_number(rows)}", "showticklabels": False}
        y = {"anchor": f"x{_number(row)}", "domain": [low, high]}
        chart.update_layout(**{f"xaxis{_number(row)}": x, f"yaxis{_number(row)}": y})
    for (_, high), title in zip(domains, titles, strict=True):
        chart.annotate(
            text=title, x=0, xanchor="left", xref="paper", y=high, yanchor="bottom", yref="paper", align="left", showarrow=False,
            font={"size": 15},
        )  # fmt: skip
    return chart


def _number(row: int) -> str:
    return "" if row == 1 else str(row)


def _merged(into: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Put changes into a dictionary, nested ones into nested ones."""
    for key, value in changes.items():
        given = {"text": value} if key == "title" and isinstance(value, str) else value
        if isinstance(given, Mapping):
            _merged(into.setdefault(key, {}), given)
        elif given is not None:
            into[key] = given
    return into


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [_copied(inner) for inner in value]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return _plain(value.tolist()) if hasattr(value, "tolist") else value
