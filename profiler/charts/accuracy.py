"""Charts of measured accuracy: beside latency, against PyTorch FP32, by class, by layer, and the memory that goes with it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from profiler.charts.chart import Chart
from profiler.charts.latency import quality_front
from profiler.charts.layout import LAYOUT, PLAIN, category_ticks, paired_bars
from profiler.charts.palette import AFTER, BEFORE, NEUTRAL
from profiler.report.accuracy import TOLERANCE_POINTS, LabelledRun, LayerCost, points
from profiler.text import plotly_text

_MOST_LAYERS = 24


def accuracy_front(runs: Sequence[LabelledRun], title: str) -> Chart | None:
    """Top-1 with its 95 % interval against median latency, and the Pareto front; None where no latency is known."""
    shown = [run for run in runs if run.p50_ms is not None]
    if not shown:
        return None
    return quality_front(
        pd.Series([run.p50_ms for run in shown]),
        pd.Series([run.top1_pct for run in shown]),
        [run.title.rpartition(", batch")[0] or run.title for run in shown],
        "top-1 accuracy, %",
        title,
        [(run.low_pct, run.high_pct) for run in shown],
    )


def differences(runs: Sequence[LabelledRun], title: str) -> Chart | None:
    """Top-1 against PyTorch FP32 in percentage points, with the 95 % interval of paired images; None where nothing was held against it."""
    shown = [(run, run.difference) for run in runs if run.difference is not None and not run.is_reference]
    if not shown:
        return None
    shown.reverse()  # the first at the top
    ticks = category_ticks([run.title.rpartition(", batch")[0] or run.title for run, _ in shown], 60, 34)
    figure = Chart().add(
        "scatter",
        x=[d.points for _, d in shown],
        y=ticks["tickvals"],
        mode="markers",
        marker={"size": 10, "color": [AFTER if run.framework == "TensorRT" else BEFORE for run, _ in shown]},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [d.high - d.points for _, d in shown],
            "arrayminus": [d.points - d.low for _, d in shown],
            "color": NEUTRAL,
        },
        text=[
            f"{plotly_text(run.title)}: {points(d.points)} points ({points(d.low)} to {points(d.high)})<br>{d.verdict}; "
            f"{d.lost} lost, {d.won} won"
            for run, d in shown
        ],
        hovertemplate="%{text}<extra></extra>",
    )
    figure.vertical_line(x=0, line={"color": NEUTRAL, "width": 1})
    figure.vertical_line(x=-TOLERANCE_POINTS, line={"color": NEUTRAL, "width": 1, "dash": "dash"})
    figure.update_layout(**PLAIN, title=title, height=130 + 34 * len(shown))
    figure.update_xaxes(title="top-1, points against FP32")
    figure.update_yaxes(**ticks)
    return figure


def wrong_answers(before: LabelledRun, after: LabelledRun, title: str) -> Chart | None:
    """Wrong answers in each class, of two runs; None where they have no class in common."""
    first = {name: images - right for name, images, right in before.classes}
    second = {name: images - right for name, images, right in after.classes}
    names = [name for name in first if name in second]
    if not names:
        return None
    if len(names) > _MOST_LAYERS:  # the classes that changed most
        names = sorted(names, key=lambda name: -abs(first[name] - second[name]))[:_MOST_LAYERS]
    return paired_bars(
        names,
        [first[name] for name in names],
        [second[name] for name in names],
        "wrong answers",
        title,
        (_short(before), _short(after)),
    )


def costly_layers(layers: Sequence[LayerCost], title: str) -> Chart | None:
    """The layers whose quantisation alone adds most noise to the outputs, at most 24; None where none is known."""
    known = sorted(
        (layer for layer in layers if layer.noise_pct is not None), key=lambda layer: -(layer.noise_pct or 0)
    )
    shown = known[:_MOST_LAYERS][::-1]
    if not shown:
        return None
    ticks = category_ticks([layer.layer for layer in shown], 44)
    figure = Chart().add(
        "bar",
        x=[layer.noise_pct for layer in shown],
        y=ticks["tickvals"],
        orientation="h",
        marker={"color": AFTER},
        text=[
            f"{plotly_text(layer.layer)} ({plotly_text(layer.operator)})<br>alone: SQNR {_db(layer.alone_db)}; "
            f"all others quantised: {_db(layer.all_but_db)}"
            for layer in shown
        ],
        textposition="none",
        hovertemplate="%{text}<extra></extra>",
    )
    figure.update_layout(**PLAIN, title=title, height=130 + 22 * len(shown))
    figure.update_xaxes(title="noise, % of that of all layers", rangemode="tozero")
    figure.update_yaxes(automargin=True, **ticks)
    return figure


def memory_bars(runs: Sequence[LabelledRun], title: str) -> Chart | None:
    """Weights and activations of each run, in MiB; None where none is known."""
    shown = list(runs)[::-1]
    if not shown:
        return None
    ticks = category_ticks([run.title for run in shown], 60, 40)
    figure = Chart()
    for name, values, colour in (
        ("weights", [run.weights_mib for run in shown], AFTER),
        ("activations and workspace", [run.activations_mib for run in shown], BEFORE),
    ):
        figure.add(
            "bar",
            x=values,
            y=ticks["tickvals"],
            orientation="h",
            name=name,
            marker={"color": colour},
            hovertext=[plotly_text(run.title) for run in shown],
            hovertemplate=f"%{{hovertext}}, {name}: %{{x:,.4~g}} MiB<extra></extra>",
        )
    figure.update_layout(**LAYOUT, title=title, barmode="stack", height=170 + 28 * len(shown))
    figure.update_xaxes(title="MiB", rangemode="tozero")
    figure.update_yaxes(automargin=True, **ticks)
    return figure


def _short(run: LabelledRun) -> str:
    return run.title.rpartition(", batch")[0] or run.title


def _db(value: float | None) -> str:
    return "identical or unknown" if value is None else f"{value:.1f} dB"
