"""From the latency before to the latency after, part by part."""

from __future__ import annotations

from collections.abc import Sequence

from profiler.analysis.fusion.decompose import Decomposition
from profiler.charts.chart import Chart
from profiler.charts.layout import PLAIN, category_ticks
from profiler.charts.palette import AFTER, BEFORE, STATUS_COLOURS, VERDICT_COLOURS
from profiler.text import duration, number, plotly_text, signed

_RIGHT = 92  # pixels for the longest label beside a bar, on a phone, too


def waterfall(
    labels: Sequence[str],
    saved_us: Sequence[float],
    before_us: float,
    after_us: float,
    title: str,
    start: str = "before",
) -> Chart:
    """From the latency before, part by part and downwards, to the latency after; all in µs.

    Args:
        start: what the latency before is of.
    """
    level, bases, colours = before_us, [0.0], [BEFORE]
    for saved in saved_us:
        bases.append(min(level, level - saved))
        colours.append(VERDICT_COLOURS["yes"] if saved >= 0 else STATUS_COLOURS["unexplained"])
        level -= saved
    bases.append(0.0)
    values = [before_us, *[abs(s) for s in saved_us], after_us]
    shown = [number(before_us), *[_change(s) for s in saved_us], number(after_us)]
    ticks = category_ticks([start, *labels, "after"], 60, 24)
    figure = Chart().add(
        "bar",
        y=ticks["tickvals"],
        x=values,
        base=bases,
        orientation="h",
        marker={"color": [*colours, AFTER]},
        text=shown,
        textposition="outside",
        cliponaxis=False,
        hovertext=ticks["ticktext"],
        hovertemplate="%{hovertext}: %{text}, in µs<extra></extra>",
    )
    layout = {**PLAIN, "margin": {**PLAIN["margin"], "r": _RIGHT}}
    figure.update_layout(**layout, title=title, height=110 + 42 * len(values))
    ends = [b + v for b, v in zip(bases, values, strict=True)]
    figure.update_xaxes(title="latency, µs (nsys attached)", range=[min(0.0, *bases), 1.02 * max(ends)])
    figure.update_yaxes(autorange="reversed", automargin=True, **ticks)
    return figure


def _change(saved_us: float) -> str:
    """“−215 faster”, “+60.5 slower”: what a part adds to the latency."""
    return f"{signed(-saved_us)} {'faster' if saved_us > 0 else 'slower'}" if saved_us else "0"


def split_waterfall(split: Decomposition) -> Chart:
    """The exact split of a latency difference as a waterfall; parts that are 0 on both sides are left out."""
    parts = [p for p in split.parts if p.before_ns or p.after_ns]
    title = f"Latency {duration(split.before_latency_ns)} → {duration(split.after_latency_ns)}, nsys attached"
    figure = waterfall(
        [p.label for p in parts],
        [p.saved_ns / 1e3 for p in parts],
        split.before_latency_ns / 1e3,
        split.after_latency_ns / 1e3,
        plotly_text(title, 160),
    )
    inferences = plotly_text(f"{split.before_inference} and {split.after_inference}", 60)
    return figure.update_xaxes(title=f"latency of {inferences}, µs")
