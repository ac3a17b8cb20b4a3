"""Every page as Streamlit runs it, without a browser."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import streamlit as st

import profiler.analysis.fusion.ledger as ledger_module
from dashboard import data
from dashboard.sources import LADDER
from dashboard.views import PAGES
from dashboard.views.runs import _labels
from profiler.analysis.run.measured import latency_without_profiler
from profiler.analysis.run.run import Run
from profiler.text import number
from profiler.trace import excerpt, open_trace
from tests.support.hostile import ATTACKS
from tests.support.make_trace import TraceMaker, simple
from tests.support.pages import DEMO, GRAPH_LEVEL, app, check_charts, counts, kernels, text, unfolded
from tests.support.traces import bundled

URLS = [p.URL for p in PAGES]
APART = ("runs", "accuracy", "custom-layer", "fleet", "capture", "help")  # these are about all runs, or about none
INT8 = {"before": "torch-fp32-eager-b8", "after": "trt-int8-stream-b8"}
OF_A_PAIR = [u for u in URLS if u not in APART]


@pytest.mark.parametrize("page", URLS)
def test_default_pair_shows_on_every_page(page: str) -> None:
    test = app(page).run()
    assert not test.exception
    assert not test.error
    assert test.title
    check_charts(test)


def test_overview_begins_with_the_kernels_and_four_figures() -> None:
    test = app("overview").run()
    assert test.title[0].value.replace("\\", "") == f"{counts()} kernels per inference. Same model, same precision."
    labels = [m.label for m in test.metric]
    assert labels == [
        "Latency without profiler",
        "Kernel time in the trace",
        "Tensor Cores, by name",
        "DRAM traffic, sampled",
    ]
    assert all(m.help.startswith("How we know") and "→" in m.value for m in test.metric)
    with open_trace(bundled(DEMO[0])) as before, open_trace(bundled(DEMO[1])) as after:
        latencies = [latency_without_profiler(Run(side).facts) for side in (before, after)]
    first, second = (found.p50_ms for found in latencies if found is not None)
    assert test.metric[0].value == f"{number(first)} → {number(second)} ms"
    assert test.metric[0].delta == f"{number(first / second)}× faster"


def test_every_figure_is_in_the_trace_details() -> None:
    table = app("details").run().dataframe[0].value.set_index("figure")
    assert table.loc["Kernels", ["before", "after"]].tolist() == counts().split(" → ")
    assert all(table["how we know"])


@pytest.mark.parametrize(
    ("before", "after", "title"),
    [
        ("torch-fp16-eager-b8", "torch-fp16-compile-b8", "kernels per inference. Same model, same precision."),
        (
            "torch-fp32-eager-b8",
            "torch-fp16-compile-b8",
            "kernels per inference. Same model, FP32 before and FP16 after.",
        ),
        ("mobilenet_v2-torch-fp32-eager-b8", "trt-fp16-stream-b8", "Two traces side by side"),
        ("torch-fp16-eager-b8", "none", "One trace: 282 kernels per inference."),
        ("none", "none", "Overview"),
    ],
)
def test_the_title_says_only_what_the_traces_are(before: str, after: str, title: str) -> None:
    test = app("overview", before=before, after=after).run()
    shown = test.title[0].value.replace("\\", "")
    assert shown.endswith(title.replace("282", kernels("torch-fp16-eager-b8"))) and "TensorRT" not in shown


@pytest.mark.parametrize("page", URLS)
def test_pair_from_the_address(page: str) -> None:
    pair = ("torch-fp16-eager-b8", "trt-fp16-stream-b8")
    test = app(page, before=pair[0], after=pair[1]).run()
    assert not test.exception
    assert (test.selectbox(key="before").value, test.selectbox(key="after").value) == pair


@pytest.mark.parametrize("page", OF_A_PAIR)
def test_one_trace_alone(page: str) -> None:
    test = app(page, after="none").run()
    assert not test.exception
    assert "No trace is selected as “after”" in text(test)


@pytest.mark.parametrize("page", OF_A_PAIR)
def test_no_trace_at_all(page: str) -> None:
    test = app(page, before="none", after="none").run()
    assert not test.exception
    assert "No trace is selected as “before”" in text(test)


@pytest.mark.parametrize("page", OF_A_PAIR)
def test_a_broken_trace_explains_itself_beside_the_good_one(page: str, folder: Path) -> None:
    (folder / "broken.sqlite").write_bytes(b"nonsense" * 50)
    test = app(page, after="folder/broken.sqlite").run()
    assert not test.exception
    assert any("cannot be read" in e.value and "not an nsys trace" in e.value.replace("\\", "") for e in test.error)


@pytest.mark.parametrize("page", URLS)
def test_a_trace_without_kernels_says_why(page: str) -> None:
    test = app(page, after=GRAPH_LEVEL).run()
    assert not test.exception
    if page in ("overview", "kernels", "tensor-cores", "details"):
        assert "cuda-graph-trace=node" in text(test).replace("\\", "")


@pytest.mark.parametrize("page", URLS)
def test_traces_that_hold_little(page: str, folder: Path) -> None:
    bare = simple()
    bare.without_tables = {"NVTX_EVENTS", "TARGET_INFO_GPU", "CUPTI_ACTIVITY_KIND_RUNTIME"}
    bare.write(folder / "bare.sqlite")
    TraceMaker().write(folder / "nothing.sqlite")
    ranges = TraceMaker()
    ranges.range("forward", 0, 100)
    ranges.write(folder / "ranges.sqlite")
    for name in ("bare", "nothing", "ranges"):
        test = app(page, before=f"folder/{name}.sqlite").run()
        assert not test.exception, name


@pytest.mark.parametrize("page", URLS)
def test_names_in_a_trace_are_shown_and_never_run(page: str, folder: Path) -> None:
    maker = simple()
    for i, name in enumerate(ATTACKS):
        maker.range(name, 50_000 + i * 1000, 50_900 + i * 1000)
        maker.kernel(50_500 + i * 1000, 10_000, name, launched=50_100 + i * 1000)
    maker.write(folder / "hostile.sqlite")
    test = app(page, before="folder/hostile.sqlite").run()
    assert not test.exception
    for part in (*test.markdown, *test.caption):
        assert "<script" not in part.value and "](javascript" not in part.value and not part.allow_html


def test_link_to_a_trace_that_is_not_here() -> None:
    test = app("overview", before="folder/../../etc/passwd").run()
    assert not test.exception
    assert "The link refers to a trace that is not available" in text(test)
    assert test.selectbox(key="before").value == DEMO[0]


def test_swap_turns_the_pair_around() -> None:
    test = app("overview").run()
    next(b for b in test.button if b.label.startswith("Swap")).click().run()
    assert (test.selectbox(key="before").value, test.selectbox(key="after").value) == DEMO[::-1]
    assert "swap the two traces" in test.title[0].value


def test_a_broken_upload_is_named_as_its_reader_knows_it() -> None:
    test = app("overview").run()
    test.file_uploader[0].set_value([("broken.sqlite", b"SQLite format 3\0" + b"x" * 4000, "")]).run()
    assert not test.exception
    said = next(e.value for e in test.error if "cannot be read" in e.value).replace("\\", "")
    path = test.session_state["uploads"].sources["upload/broken.sqlite"].path
    assert "broken.sqlite: cut off" in said and str(path.parent) not in said


def test_uploads_are_opened_and_go_with_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    test = app("overview").run()
    files = [
        ("first.sqlite.xz", bundled("trt-fp32-b8").read_bytes(), ""),
        ("second.sqlite.xz", bundled("trt-fp16-b8").read_bytes(), ""),
    ]
    test.file_uploader[0].set_value(files).run()
    assert not test.exception
    assert (test.selectbox(key="before").value, test.selectbox(key="after").value) == (
        "upload/first.sqlite.xz",
        "upload/second.sqlite.xz",
    )
    assert test.title[0].value.replace("\\", "").startswith("57 → 58 kernels per inference.")
    uploads: data.Uploads = test.session_state["uploads"]
    path = next(iter(uploads.sources.values())).path
    assert path.exists()
    next(b for b in test.button if b.label.startswith("Remove first")).click().run()
    assert not path.exists() and not test.exception


def test_runs_show_measured_latencies_of_the_bundled_study() -> None:
    test = app("runs").run()
    assert (test.selectbox(key="runs_model").value, test.selectbox(key="runs_batch").value) == ("resnet50", 8)
    table = test.dataframe[0].value.set_index("run")
    assert table.loc["trt-int8-graph-b8", "p50, ms"] == pytest.approx(0.3965, abs=1e-3)
    assert "calibrated on random data" in table.loc["trt-int8-graph-b8", "notes"]
    assert GRAPH_LEVEL not in table.index  # its latency is only stated, not measured


def test_runs_draws_one_bar_a_run_even_if_two_engines_share_precision_and_mode() -> None:
    test = app("runs").run()
    figure = json.loads(test.get("plotly_chart")[0].proto.spec)
    names = [name.replace("<br>", " ") for name in figure["layout"]["yaxis"]["ticktext"]]
    assert len(set(names)) == len(names) == len(set(_numbers(figure["data"][0]["y"])))
    drawn = dict(zip(names, _numbers(figure["data"][0]["x"]), strict=True))
    table = test.dataframe[0].value.set_index("run")["p50, ms"]
    assert drawn["TensorRT INT8 graph (trt-int8-graph)"] == pytest.approx(table["trt-int8-graph-b8"])
    assert drawn["TensorRT INT8 graph (trt86-int8-badqdq-graph)"] == pytest.approx(table["trt86-int8-badqdq-graph-b8"])
    assert drawn["TensorRT FP16 graph (trt-fp16-graph)"] == pytest.approx(table["trt-fp16-graph-b8"])


def test_runs_tells_runs_of_two_folders_apart() -> None:
    run = {
        "framework": "TensorRT",
        "precision": "int8",
        "mode": "graph",
        "model": "m",
        "name": "a-b1",
        "batch": 1,
        "streams": 1,
    }
    runs = pd.DataFrame(
        [
            {**run, "folder": "one"},
            {**run, "folder": "two"},
            {**run, "name": "a-b8", "batch": 8, "folder": "one"},
            {**run, "precision": "fp16", "folder": "one"},
            {**run, "precision": "fp16", "folder": "one", "streams": 4},
        ]
    )
    assert _labels(runs).tolist() == [
        "TensorRT INT8 graph (a, one)",
        "TensorRT INT8 graph (a, two)",
        "TensorRT INT8 graph (a, one)",  # the same line of the throughput chart
        "TensorRT FP16 graph",
        "TensorRT FP16 graph, 4 streams",
    ]


def _numbers(values: Any) -> list[float]:
    """The numbers of a Plotly array, which may be packed."""
    if isinstance(values, dict):
        return np.frombuffer(base64.b64decode(values["bdata"]), dtype=np.dtype(values["dtype"])).astype(float).tolist()
    return [float(v) for v in values]


def test_engine_lists_layers_and_auto_tuning_their_candidates() -> None:
    layers = app("engine", **INT8).run().dataframe[0].value
    assert len(layers) == 57 and layers["kernels"].sum() == pytest.approx(float(kernels(INT8["after"])))
    test = app("auto-tuning", **INT8).run()
    assert test.selectbox(key="tuned_after").value in set(layers["layer"])
    candidates = test.dataframe[0].value
    assert candidates["chosen"].sum() == 1 and candidates["time, µs"].is_monotonic_increasing
    assert candidates["full name"].iloc[0] and " · " in candidates["kernel"].iloc[0]


def test_timeline_lists_launches_and_the_longest_gaps() -> None:
    test = unfolded(app("timeline", **INT8), "launches").run()
    calls = next(d.value for d in test.dataframe if "per_inference" in d.value)
    gaps = next(d.value for d in test.dataframe if "gap, µs" in d.value)
    assert calls["per_inference"].sum() == pytest.approx(float(kernels(INT8["before"])))
    assert len(gaps) == 100 and gaps["gap, µs"].is_monotonic_decreasing


def test_fusion_ledger_of_the_page() -> None:
    test = app("fusion", **INT8).run()
    assert {m.label: m.value for m in test.metric}["kept / fused"] == "55 / 66"
    table = test.dataframe[0].value.set_index("module")
    assert table.loc["maxpool", ["status", "into"]].tolist() == ["fused", "conv1"]
    test.text_input(key="fusion_search").input("bn_fw_inf").run()
    assert set(test.dataframe[0].value["status"]) == {"absorbed"}
    test.segmented_control(key="fusion_by").set_value("stage").run()
    assert not test.exception
    assert test.dataframe[0].value["kernels before"].sum() == pytest.approx(float(kernels(INT8["before"])))


def test_fusion_opens_as_its_address_says_and_keeps_it_there() -> None:
    pair = {"before": "torch-fp16-eager-b8", "after": "trt86-fp16-stream-b8"}
    test = app("fusion", **pair).run()
    assert [h.value.replace("\\", "") for h in test.header] == ["layer1.0: 20 kernels became 4"]
    test.selectbox(key="fusion_unit").set_value(1).run()  # bn1, by keyboard
    chosen = test.query_params["fusion_kernel"]
    assert sum("batch_norm" in c.value for c in test.code) == 2
    linked = app("fusion", **pair, fusion_block="layer2.0", fusion_row="layer2.0.bn1", fusion_kernel=chosen[0])
    linked.query_params["fusion_search"] = "layer2.0"
    linked.run()
    assert not linked.exception
    assert [h.value.replace("\\", "") for h in linked.header] == ["layer2.0: 20 kernels became 4"]
    assert linked.selectbox(key="fusion_unit").value is None  # that kernel is of another block
    assert set(linked.dataframe[0].value["module"].str.startswith("layer2.0")) == {True}
    assert "**layer2\\.0\\.bn1** is **absorbed** into **layer2\\.0\\.conv1**" in text(linked)


@pytest.mark.parametrize(
    "value", ["before.kernel.x", "x", "before.kernel.999999999", "a.b.-1", "..", "before.kernel.²"]
)
def test_fusion_ignores_a_kernel_that_is_not_there(value: str) -> None:
    test = app("fusion", fusion_kernel=value, fusion_row=value, fusion_block=value).run()
    assert not test.exception and test.selectbox(key="fusion_unit").value is None
    assert test.selectbox(key="fusion_block").value == "layer1.0"


def test_speedup_parts_sum_to_the_difference() -> None:
    test = unfolded(app("speedup"), "parts_pair", *(f"parts_{step}" for step in range(1, len(LADDER)))).run()
    table = test.dataframe[0].value.set_index("part")
    for column in ("before, ns", "after, ns", "saved, ns"):
        assert table[column].iloc[:-1].sum() == table.loc["latency", column]
    assert test.multiselect(key="steps").value == list(LADDER)
    assert len([d for d in test.dataframe if "part" in d.value]) == 1 + len(LADDER) - 1
    test.multiselect(key="steps").set_value([]).run()
    assert not test.exception and len([d for d in test.dataframe if "part" in d.value]) == 1


def test_speedup_fills_the_steps_only_for_bundled_runs_of_their_model(folder: Path) -> None:
    for name in ("one", "two"):
        simple().write(folder / f"{name}.sqlite")
    test = app("speedup", before="folder/one.sqlite", after="folder/two.sqlite").run()
    assert not test.exception and test.multiselect(key="steps").value == []
    other = app("speedup", before="mobilenet_v2-torch-fp32-eager-b8", after="mobilenet_v2-trt-fp16-stream-b8").run()
    assert not other.exception and other.multiselect(key="steps").value == []
    linked = app("speedup", steps=LADDER[1]).run()
    assert not linked.exception and linked.multiselect(key="steps").value == [LADDER[1]]


def test_speedup_builds_no_ledger_that_another_page_has_built(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[object] = []

    class Counted(ledger_module.Sides):  # one a ledger
        def __init__(self, *sides: Any) -> None:
            built.append(self)
            super().__init__(*sides)

    monkeypatch.setattr(ledger_module, "Sides", Counted)
    st.cache_resource.clear()
    app("fusion").run()
    test = app("speedup", steps="trt86-fp16-stream-b8").run()
    assert not test.exception and len(built) == 1
    test.multiselect(key="steps").set_value([DEMO[0], "trt86-fp32-stream-b8", DEMO[1]]).run()
    assert not test.exception and len(built) == 3
    st.cache_resource.clear()


def test_searching_kernels() -> None:
    test = app("kernels", **INT8).run()
    test.text_input(key="kernel_search").input("(float)relu[").run()
    assert not test.exception
    assert not len(test.dataframe[0].value)
    test.text_input(key="kernel_search").input("BN_FW").run()
    assert len(test.dataframe[0].value) == 1


def test_nvtx_pattern_of_the_sidebar() -> None:
    test = app("overview").run()
    test.text_input(key="nvtx_before").input("layer1.0.conv1").run()
    assert test.title[0].value.replace("\\", "").startswith(f"1 → {kernels(DEMO[1])} kernels")
    test.text_input(key="nvtx_before").input("nothing here").run()
    assert not test.exception and any("No NVTX range" in e.value.replace("\\", "") for e in test.error)


def test_folder_of_the_sidebar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    simple().write(tmp_path / "runs" / "mine.sqlite")
    test = app("overview").run()
    test.text_input(key="folder").input("runs").run()
    assert "mine.sqlite" in test.selectbox(key="before").options
    assert (test.selectbox(key="before").value, test.selectbox(key="after").value) == ("folder/mine.sqlite", "none")
    test.text_input(key="folder").input("runs/none").run()
    assert not test.exception and any("no such folder" in e.value for e in test.error)
    for outside in ("/", "..", str(tmp_path.parent), "runs/../..", "\0"):
        test.text_input(key="folder").input(outside).run()
        assert not test.exception and any("outside the folders" in e.value for e in test.error), outside


def test_runs_draw_the_best_throughput_of_each_precision_and_the_pareto_front() -> None:
    tests = [unfolded(app("runs"), runs_part=part).run() for part in ("Throughput", "Accuracy and latency")]
    table = tests[0].dataframe[0].value
    table = table[table["run"].str.startswith(("torch", "trt", "rtx"))]
    lines, front = (json.loads(test.get("plotly_chart")[0].proto.spec)["data"] for test in tests)
    int8 = next(line for line in lines if line["name"] == "TensorRT INT8")
    best = table[table["precision"] == "int8"].groupby("batch")["images/s"].max()
    assert dict(zip(_numbers(int8["x"]), _numbers(int8["y"]), strict=True)) == pytest.approx(best.to_dict())
    assert int8["text"][-1].startswith("TensorRT INT8 graph, 2 streams")
    quality = "top-1, %"
    shown = table[(table["batch"] == 8) & (table["streams"] == 1) & table[quality].notna()]
    named = sum(bool(text) for text in front[1]["text"])
    undominated = [
        not ((shown["p50, ms"] < run["p50, ms"]) & (shown[quality].round(1) >= round(run[quality], 1))).any()
        for _, run in shown.iterrows()
    ]
    assert len(front[1]["x"]) == len(shown) or len(_numbers(front[1]["x"])) == len(shown)
    assert named == sum(undominated) and 1 < named < len(shown)


@pytest.mark.parametrize("page", URLS)
def test_slides_open_from_every_page_by_the_address_and_can_be_left(page: str) -> None:
    test = app(page, present="1").run()
    assert not test.exception and not test.title
    (deck,) = (json.loads(c.proto.json) for c in test.get("bidi_component"))
    titles = [child["text"] for child in deck["slides"][0]["children"] if child["tag"] == "h1"]
    assert len(deck["slides"]) == 6 and titles[0].endswith("kernels per inference")
    assert test.query_params["present"] in ("1", ["1"])
    test.button(key="present_end").click().run()
    assert not test.exception
    assert "present" not in test.query_params
    assert not [b for b in test.button if b.key == "present_end"]
    test.button(key="present_begin").click().run()
    assert test.query_params["present"] in ("1", ["1"])


def test_overview_is_an_argument_whose_figures_open_their_evidence() -> None:
    test = app("overview", **INT8).run()
    assert [h.value for h in test.header][:6] == [
        "How much faster?",
        "Where does the difference come from?",
        "What became of the kernels?",
        "Are the Tensor Cores used?",
        "What happened to memory traffic?",
        "Does it still compute the same?",
    ]
    shown = text(test).replace("\\", "")
    for said in ("Minimum to p99", "CUPTI_ACTIVITY_KIND_KERNEL", "GPU_METRICS", "agreement, not accuracy"):
        assert said in shown
    links = [e.proto.page for e in test.get("page_link")]
    assert {"speedup", "fusion", "tensor-cores", "memory", "runs"} <= set(links)
    charts = [json.loads(c.proto.spec) for c in test.get("plotly_chart")]
    assert all("NVIDIA H200" in c["layout"]["title"]["subtitle"]["text"] for c in charts)


def test_overview_without_a_bench_says_that_nsys_was_attached(folder: Path) -> None:
    for name in ("one", "two"):
        simple().write(folder / f"{name}.sqlite")
    test = app("overview", before="folder/one.sqlite", after="folder/two.sqlite").run()
    assert not test.exception
    shown = text(test).replace("\\", "")
    assert "No latency without a profiler is recorded for before and after." in shown
    assert "Neither accuracy nor agreement is recorded for before and after." in shown


def test_a_very_large_trace_is_shown_by_an_excerpt_until_it_is_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(excerpt, "LARGE_ROWS", 1_000)
    monkeypatch.setattr(excerpt, "_WANTED_ROWS", 300)
    simple(inferences=200).write(folder / "before.sqlite")
    simple(inferences=10).write(folder / "after.sqlite")
    test = app("overview", before="folder/before.sqlite", after="folder/after.sqlite").run()
    assert not test.exception
    said = [m.value for m in test.markdown if "Excerpt" in m.value and "**before**" in m.value]
    assert len(said) == 1 and "of 800 kernels" in said[0] and not any("**after**" in m.value for m in test.markdown)
    assert any("excerpt" in str(e.value) for e in [*test.markdown, *test.caption])

    next(b for b in test.button if b.label == "Read the whole traces").click().run()
    assert not test.exception and not any("Excerpt" in m.value for m in test.markdown)
    assert test.query_params["whole"] == "1"

    next(b for b in test.button if b.label == "Show excerpts of the large traces").click().run()
    assert any("Excerpt" in m.value for m in test.markdown) and "whole" not in test.query_params

    linked = app("kernels", before="folder/before.sqlite", after="folder/after.sqlite", whole="1").run()
    assert not linked.exception and not any("Excerpt" in m.value for m in linked.markdown)


def test_a_range_that_no_excerpt_holds_is_looked_for_in_the_whole_trace(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(excerpt, "LARGE_ROWS", 1_000)
    monkeypatch.setattr(excerpt, "_WANTED_ROWS", 300)
    maker = simple(inferences=200)
    maker.range("epoch", 0, 3_000_000)
    maker.write(folder / "before.sqlite")
    test = app("kernels", before="folder/before.sqlite", after="none", nvtx_before="epoch").run()
    assert not test.exception and not test.error
    assert not any("Excerpt" in m.value for m in test.markdown) and any("“epoch”" in c.value for c in test.caption)
    test = app("kernels", before="folder/before.sqlite", after="none", nvtx_before="nowhere").run()
    assert not test.exception and any("nowhere" in e.value for e in test.error)


def test_an_inference_of_very_many_is_chosen_by_its_number(folder: Path) -> None:
    simple(inferences=600, kernels=1).write(folder / "before.sqlite")
    test = app("timeline", before="folder/before.sqlite", after="none").run()
    assert not test.exception
    chosen = next(n for n in test.number_input if n.label == "Inference, before: 1 to 600")
    chosen.set_value(7).run()
    assert not test.exception and any("iter6" in c.value for c in test.caption)


def test_fusion_names_the_evidence_of_each_side() -> None:
    test = app("fusion", before="torch-fp16-eager-b8", after="vit_b_16-rtx-fp16-stream-b8").run()
    assert not test.exception
    test = app("fusion", before="vit_b_16-torch-fp16-eager-b8", after="vit_b_16-rtx-fp16-stream-b8").run()
    said = " ".join(c.value for c in test.caption).replace("\\", "")
    assert (
        "before from module ranges, after from TensorRT" in said and "unexplained after: " in said and "gather" in said
    )
