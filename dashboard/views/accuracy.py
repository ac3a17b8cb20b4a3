"""Accuracy: what each precision and each way to quantise costs in right answers, from runs on labelled images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import data, settings, sources
from dashboard.data import Selection
from dashboard.labelled import accuracy_study
from dashboard.show import card, cards, chart, how_we_know, tabs
from dashboard.tables import show_table
from profiler.charts import accuracy as charts
from profiler.report.accuracy import (
    TOLERANCE_POINTS,
    AccuracyStudy,
    LabelledRun,
    Sensitivity,
    layer_table,
    points,
    sentences,
    table,
)
from profiler.text import markdown, number, plotly_text, plural

TITLE = "Accuracy"
ICON = ":material/target:"
URL = "accuracy"

_MOST_IMAGES = 24
_MOST_BYTES = 8 << 20
_SIDE = 96
_METHOD = (
    "Top-1: share of the test images whose largest output is the label's; the interval is Wilson's, at 95 %.",
    "Differences are of the same images in both runs, so their interval (Agresti and Min 2005) is narrower than the runs' own.",
    "Reference: PyTorch FP32 eager with TF32 off, in the same study.",
    "Calibration images are in no other set. Latency is measured without a profiler, one batch at a time.",
)


def render(selection: Selection) -> None:
    del selection  # this page is about labelled images, which a trace has none of
    st.title("Accuracy")
    found = _studies()
    if not found:
        st.info(
            "No run here was given labelled images. `python -m profiler study --images DIR --weights FILE` measures accuracy; name its "
            "folder in the sidebar under “Open your own traces”.",
            icon=":material/info:",
        )
        return
    name = st.selectbox("Study", list(found), key="accuracy_study") if len(found) > 1 else next(iter(found))
    study = found[name]
    for sentence in sentences(study):
        st.markdown(markdown(sentence))
    st.caption(markdown(" ".join(filter(None, (study.trained, _gpus(study))))))
    how_we_know(_METHOD, "accuracy_method")
    known = {f"{run.model}, batch {run.batch}": (run.model, run.batch) for run in study.runs}
    group = st.selectbox("Model and batch", list(known), key="accuracy_group") if len(known) > 1 else next(iter(known))
    runs = study.at(*known[group])
    about = [group, plural(runs[0].images, "test image")]
    _cards(runs)
    figure = charts.accuracy_front(runs, "Accuracy beside latency")
    if figure is not None:
        chart(figure, "accuracy_front", about=about)
        st.caption(
            "Lines through the points: 95 % intervals; what differs by less is not proven. Dotted: the Pareto front; no run is both faster "
            "and more accurate than one on it, as measured."
        )
    figure = charts.differences(runs, "Against PyTorch FP32, on the same images")
    if figure is not None:
        chart(figure, "accuracy_differences", about=about)
        st.caption(f"Dashed: {TOLERANCE_POINTS} points lower. A line that crosses 0 is no proven difference.")
    two = st.column_config.NumberColumn
    config: dict[str, Any] = {name: two(format="%.2f") for name in ("top-1, %", "95 %, from", "to")}
    config |= {name: two(format="%+.2f") for name in ("against FP32, points", "95 %, from (points)", "to (points)")}
    config["run"] = st.column_config.TextColumn(width=165)
    shown = table(runs)
    first = [
        name for name in ("run", "top-1, %", "against FP32, points", "p50, ms") if name in shown
    ]  # in view on a phone
    shown = shown[[*first, *(name for name in shown if name not in first)]]
    show_table(st, shown, hide_index=True, key="accuracy_runs", placeholder="", column_config=config)
    st.caption(
        "What INT8 costs depends on the network, its training and the task: these figures hold for these weights and images."
    )
    parts: dict[str, Callable[[], None]] = {}
    reference = next((run for run in runs if run.is_reference), None)
    others = [run for run in runs if run.difference is not None and not run.is_reference]
    if reference is not None and others:
        parts["Where the answers differ"] = partial(_answers, study, reference, others, about)
    if study.sensitivity is not None:
        parts["Layers whose quantisation costs most"] = partial(_layers, study.sensitivity)
    if study.memory:
        parts["Memory"] = partial(_memory, study)
    if parts:
        tabs(parts, "accuracy_part")


def _studies() -> dict[str, AccuracyStudy]:
    folder = data.chosen_folder()
    places = {"yours": folder, "bundled": sources.BUNDLED_ACCURACY}
    found = {name: accuracy_study(str(place)) for name, place in places.items() if place is not None}
    return {name: study for name, study in found.items() if study is not None}


def _gpus(study: AccuracyStudy) -> str:
    return f"GPU: {', '.join(sorted({run.gpu for run in study.runs}))}."


def _cards(runs: tuple[LabelledRun, ...]) -> None:
    reference = next((run for run in runs if run.is_reference), None)
    int8 = next((run for run in runs if run.precision == "int8" and "(" not in run.title), None)
    row = cards("accuracy")
    for label, run in (("PyTorch FP32", reference), ("TensorRT INT8", int8)):
        if run is not None:
            card(row, f"Top-1, {label}", f"{run.top1_pct:.2f} %", f"{run.low_pct:.2f} to {run.high_pct:.2f} % (95 %)")
    if int8 is None or reference is None:
        return
    d = int8.difference
    if d is not None:
        note = f"{points(d.low)} to {points(d.high)} (95 %)"
        card(row, "INT8 against FP32", f"{points(d.points)} points", note, f"{d.verdict}.".capitalize())
    if reference.p50_ms and int8.p50_ms:
        value = f"{number(reference.p50_ms)} → {number(int8.p50_ms)} ms"
        card(row, "Latency without profiler", value, f"{number(reference.p50_ms / int8.p50_ms)}× faster")
    before, after = (r.weights_mib for r in (reference, int8))
    if before and after:
        card(row, "Weights", f"{number(before)} → {number(after)} MiB", f"{number(before / after)}× smaller")


def _answers(study: AccuracyStudy, reference: LabelledRun, others: list[LabelledRun], about: list[str]) -> None:
    """Class by class, and the images on which a run and the reference differ."""
    titles = {run.title: run for run in others}
    first = next((i for i, run in enumerate(titles.values()) if run.precision == "int8" and "(" not in run.title), 0)
    run = titles[st.selectbox("Run", list(titles), index=first, key="accuracy_run")]
    figure = charts.wrong_answers(reference, run, "Wrong answers by class")
    if figure is not None:
        chart(figure, "accuracy_classes", about=about)
    d = run.difference
    if d is None or not d.disagree:
        st.markdown("Both runs give the same answer on every image.")
        return
    st.markdown(
        f"The two give different answers on {plural(d.disagree, 'image')}: {d.lost} that only PyTorch FP32 answers correctly, {d.won} that "
        f"only this run does, and {d.disagree - d.lost - d.won} that neither does."
    )
    rows = [dict(zip(("image", "label", "PyTorch FP32", "this run"), image, strict=True)) for image in d.images]
    folder = _images_folder(study)
    shown = [(row, found) for row in rows[:_MOST_IMAGES] if (found := _thumbnail(folder, row["image"])) is not None]
    if shown:
        with st.container(horizontal=True, key="accuracy_images"):
            for row, pixels in shown:
                caption = f"{row['label']}: FP32 {row['PyTorch FP32']}, this run {row['this run']}"
                st.image(pixels, caption=markdown(caption), width=_SIDE)
    elif rows:
        st.caption("Give the folder of the test images to see them.")
    show_table(st, pd.DataFrame(rows), hide_index=True, key="accuracy_disagreements")


def _images_folder(study: AccuracyStudy) -> Path | None:
    """Where the test images are: in the study's folder, or where the reader says."""
    if study.images_folder.is_dir():
        return study.images_folder
    given = st.text_input("Folder of the test images", key="accuracy_images_folder", placeholder="trained/images/test")
    folder = Path(given) if given else None
    try:
        if folder is None or not settings.is_readable_from(folder) or not folder.is_dir():
            return None
    except (OSError, ValueError):
        return None
    return folder


def _thumbnail(folder: Path | None, name: str) -> Any:
    """A small picture of an image that a document names, only from inside the folder; None if it cannot be shown."""
    if folder is None:
        return None
    from PIL import Image  # noqa: PLC0415 - only where there are images

    try:
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return None
        with Image.open(path) as opened:
            opened.thumbnail((2 * _SIDE, 2 * _SIDE))
            return opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _layers(found: Sensitivity) -> None:
    figure = charts.costly_layers(found.layers, "Noise of quantising one layer alone")
    if figure is not None:
        chart(figure, "accuracy_layers", about=[plural(found.images, "test image"), "simulated in PyTorch, float32"])
    whole = "unknown" if found.whole_db is None else f"{found.whole_db:.1f} dB"
    st.caption(
        f"Each layer that reads INT8 tensors is quantised alone with the engine's own scales; with all of them quantised the outputs' SQNR "
        f"is {whole}. The parts do not add up to 100 %, as layers pass "
        f"noise on. Simulated: what rounding costs, not what an engine that fuses layers does on top of it."
    )
    config = {"layer": st.column_config.TextColumn(width=170), "operator": st.column_config.TextColumn(width=70)}
    show_table(st, layer_table(found), hide_index=True, key="accuracy_layers_table", height=320, column_config=config)


def _memory(study: AccuracyStudy) -> None:
    figure = charts.memory_bars(study.memory, plotly_text("GPU memory of weights and activations"))
    if figure is None:
        return
    chart(figure, "accuracy_memory", about=[_gpus(study)])
    st.caption(
        "Weights: parameters and buffers of the PyTorch module; the size of TensorRT's plan, which holds weights and kernels. Activations: "
        "the peak of PyTorch's allocator above weights and input, with the libraries' workspaces; what TensorRT's engine asks for one "
        "execution context, scratch memory included. The CUDA context and the libraries' code are in neither; the table's process figure "
        "(NVML) has them."
    )
