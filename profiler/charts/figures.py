"""Every figure of a hand-over, in order: for the report, for PDF and PNG files, and for the Export page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import pandas as pd

from profiler.analysis.fusion.blocks import block, blocks, most_collapsed
from profiler.analysis.fusion.decompose import Decomposition
from profiler.analysis.fusion.traffic import by_stage
from profiler.analysis.run.dram import SampledBytes
from profiler.analysis.run.run import Run
from profiler.analysis.run.tensor_cores import median_inference_samples
from profiler.analysis.run.timeline import Bars, Timeline
from profiler.charts import accuracy, collapse, labels, strip
from profiler.charts.chart import Chart
from profiler.charts.kernels import category_bars
from profiler.charts.tactics import tuned_layers
from profiler.charts.tensor_cores import metric_over_time, verdict_bars
from profiler.charts.timeline import for_figure, timeline_figure
from profiler.charts.traffic import traffic_by_stage
from profiler.charts.waterfall import split_waterfall
from profiler.report.accuracy import APART, TOLERANCE_POINTS
from profiler.report.evidence import Evidence
from profiler.report.html import Figure
from profiler.text import number_of_bytes, plural


@dataclass(frozen=True)
class Drawn:
    """A figure and what stands under it: how we know.

    Attributes:
        id: its file name without the ending.
        title: what it shows, in the words of the table of contents.
        about: what stands under its title instead of the two runs.
    """

    id: str
    title: str
    caption: str
    figure: Chart
    about: tuple[str, ...] = ()

    def for_html(self) -> Figure:
        """For the report, which sets colours by the reader's theme and shows the title itself."""
        figure = self.figure.copy()
        figure.update_layout(title={"x": 0, "xanchor": "left", "font": {"size": 15}})
        figure.update_xaxes(automargin=True).update_yaxes(automargin=True)  # what Streamlit's template sets
        return Figure(self.id, self.title, self.caption, figure.to_json())


def figures(evidence: Evidence) -> list[Drawn]:
    """All figures that these traces give."""
    sides = {name: side.facts for name, side in evidence.sides.items()}
    runs = labels.runs(sides)
    return [replace(d, figure=labels.labelled(d.figure, d.about or runs)) for d in _figures(evidence)]


def _figures(evidence: Evidence) -> Iterator[Drawn]:
    comparison = evidence.comparison
    if evidence.strips:
        figure = strip.strip_figure(evidence.strips)
        yield Drawn("strip", "The kernels of one inference", strip.caption(evidence.strips), figure)
    if isinstance(evidence.split, Decomposition):
        caption = (
            "The inferences of median latency. Latency is host time, GPU idle time and GPU work, so the parts sum to the "
            "difference to the nanosecond. nsys was recording, which makes launches slower."
        )
        yield Drawn("speedup", "Where the difference of the latencies is", caption, split_waterfall(evidence.split))
    if not comparison.refusals and all(side.inferences.count for side in evidence.sides.values()):
        caption = (
            "Kinds are inferred from kernel names; the table of kernels has the verdicts. Means over the inferences."
        )
        tables = {name: side.categories for name, side in evidence.sides.items()}
        yield Drawn("kinds", "Kernel time and kernels by kind", caption, category_bars(tables))
    ledger = evidence.ledger
    if ledger is not None and (groups := blocks(ledger)):
        shown = block(ledger, most_collapsed(groups))
        collapsed = collapse.figure(shown)
        if collapsed is not None:
            caption = f"{shown.sentence} {collapse.CAPTION} {shown.label} is the block in which most kernels vanish."
            yield Drawn("fusion", f"What became of the block {shown.label}", caption, collapsed)
    with_kernels = {name: side for name, side in evidence.sides.items() if side.trace.kernel_count}
    if with_kernels:
        shares = {
            label: {
                str(v): float(p)
                for v, p in zip(side.tensor_cores.by_verdict["tensor_cores"], side.tensor_cores.by_verdict["share_pct"])
            }
            for label, side in with_kernels.items()
        }
        caption = "By name: the share of kernel time of kernels whose names say yes, say no, or leave it undetermined."
        yield Drawn("tensor_cores", "Tensor Cores, by name", caption, verdict_bars(shares, "Tensor Cores, by name"))
    series = {
        name: found
        for name, side in evidence.sides.items()
        if (found := median_inference_samples(side.trace, side.inferences)) is not None
    }
    if series:
        figure = metric_over_time(series, "Tensor Active over the inference of median GPU span", "% of peak")
        caption = (
            "Sampled: each step is the average since the sample before, in whole percents, as nsys stores them. Kernels shorter "
            "than a step cannot be distinguished."
        )
        yield Drawn("tensor_active", "Tensor Cores, sampled", caption, figure)
    if evidence.traffic is not None:
        traffic = evidence.traffic
        unknown = traffic.before_unknown + traffic.after_unknown
        caption = (
            "Computed minimum from tensor shapes and types: inputs, weights and outputs once each"
            + (f"; without {plural(unknown, 'row')} of unknown shapes" if unknown else "")
            + f". DRAM traffic as sampled, another figure: {_dram(traffic.before_sampled)} before, "
            f"{_dram(traffic.after_sampled)} after, per inference."
        )
        yield Drawn("memory", "Memory traffic", caption, traffic_by_stage(by_stage(traffic)))
    yield from _timeline(evidence)
    yield from _accuracy(evidence)
    for name, tuned in evidence.tuning.items():
        if len(tuned.layers):
            caption = "From the engine's build log: the layers for which choosing the fastest candidate saved most."
            yield Drawn(f"autotuning_{name}", f"Auto-tuning, {name}", caption, tuned_layers(tuned))


def _accuracy(evidence: Evidence) -> Iterator[Drawn]:
    study = evidence.accuracy
    if study is None:
        return
    reference = study.reference or study.runs[0]
    runs, images = study.at(reference.model, reference.batch), plural(reference.images, "test image")
    about = (f"{reference.model}, batch {reference.batch}, {reference.gpu}", images)
    title, differ = "Accuracy beside latency", "Accuracy against PyTorch FP32"
    caption = f"{study.trained or ''} {images.capitalize()}, 95 % intervals. {APART}".strip()
    if (figure := accuracy.accuracy_front(runs, title)) is not None:
        yield Drawn("accuracy", title, caption, figure, about)
    caption = f"On the same {images}, with the 95 % interval of paired images. Dashed: {TOLERANCE_POINTS} points lower."
    if (figure := accuracy.differences(runs, differ)) is not None:
        yield Drawn("accuracy_differences", differ, caption, figure, about)
    if study.sensitivity is not None:
        title, caption = "Which layer's quantisation costs most", "One layer at a time, simulated in float32."
        if (figure := accuracy.costly_layers(study.sensitivity.layers, title)) is not None:
            about = (reference.model, plural(study.sensitivity.images, "test image"))
            yield Drawn("sensitivity", title, caption, figure, about)


def _dram(sampled: SampledBytes) -> str:
    if sampled.read_bytes is None or sampled.written_bytes is None:
        return f"unknown ({sampled.reason})"
    return number_of_bytes(sampled.read_bytes + sampled.written_bytes)


_timelines: WeakKeyDictionary[Run, tuple[pd.DataFrame, Bars, str]] = WeakKeyDictionary()


def read_timeline(run: Run) -> tuple[pd.DataFrame, Bars, str]:
    """The inference of median latency as the timeline draws it: its bars, what they stand for, and its name. Read once."""
    if run not in _timelines:
        timeline = Timeline(run)
        part = timeline.inference(run.inferences.median_inference())
        _timelines[run] = (*for_figure(timeline, part), part.label)
    return _timelines[run]


def _timeline(evidence: Evidence) -> Iterator[Drawn]:
    frames, lanes, titles, notes = {}, {}, {}, []
    for name, side in evidence.sides.items():
        if not side.inferences.count:
            continue
        frames[name], bars, label = read_timeline(side)
        lanes[name] = bars.lanes
        titles[name] = f"{name}: {side.facts.title}, {label}"
        notes.append(f"{name}: {bars.statement}")
    if frames:
        caption = (
            "The inferences of median latency, aligned at the moment in which the host enters them. NVTX ranges are host time, "
            f"kernels GPU time; hatched kernels use Tensor Cores, by name. Drag to pan, use the buttons to zoom. {' '.join(notes)}"
        )
        yield Drawn("timeline", "Timeline", caption, timeline_figure(frames, lanes, titles))
