"""Charts of auto-tuning: the candidates that TensorRT timed, and the ones that it chose."""

from __future__ import annotations

from collections.abc import Sequence

from profiler.analysis.run.autotuning import Autotuning
from profiler.charts.chart import Chart
from profiler.charts.layout import PLAIN, paired_bars
from profiler.charts.palette import AFTER, NVTX_COLOUR


def tuned_layers(tuned: Autotuning, count: int = 12) -> Chart:
    """Median and chosen candidate of the layers for which auto-tuning saved most."""
    best = tuned.layers.nlargest(count, "saved_ms")
    median, chosen = (best["median_ms"] * 1e3).tolist(), (best["chosen_ms"] * 1e3).tolist()
    title = "Auto-tuning: median candidate and chosen one"
    return paired_bars(
        best["label"].tolist(), median, chosen, "µs", title, ("median candidate", "chosen"), horizontal=True
    )


def candidate_times(times_ms: Sequence[float], chosen_ms: float, title: str) -> Chart:
    """Histogram of the candidates' times, and a line at the chosen one."""
    figure = Chart().add(
        "histogram", x=[t * 1e3 for t in times_ms], marker={"color": NVTX_COLOUR}, nbinsx=50, name="candidates"
    )
    figure.vertical_line(x=chosen_ms * 1e3, line={"color": AFTER, "width": 3})
    figure.annotate(
        x=chosen_ms * 1e3, y=1.0, yref="paper", text="chosen", showarrow=False, xanchor="left", yanchor="bottom"
    )
    figure.update_layout(**PLAIN, title=title, height=300)
    figure.update_xaxes(title="time that TensorRT measured, µs")
    figure.update_yaxes(title="candidates")
    return figure
