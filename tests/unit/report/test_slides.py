"""What the slides say: figures of the evidence and nothing else, and short decks where there is little."""

from __future__ import annotations

from pathlib import Path

import pytest

from profiler.analysis.fusion.blocks import Block
from profiler.analysis.run.run import Run
from profiler.report.evidence import Evidence, gather
from profiler.report.slides import Bars, Slide, slides, slides_of_one
from profiler.report.story import claims_from, median_latencies
from profiler.report.story_facts import story_facts
from profiler.text import number
from profiler.trace import open_trace
from tests.support.make_trace import simple
from tests.support.traces import bundled


def evidence(before: str, after: str) -> Evidence:
    return gather(Run(open_trace(bundled(before))), Run(open_trace(bundled(after))))


@pytest.fixture(scope="module")
def pair() -> Evidence:
    return evidence("torch-fp16-eager-b8", "trt86-fp16-stream-b8")


@pytest.fixture(scope="module")
def deck(pair: Evidence) -> dict[str, Slide]:
    return {slide.id: slide for slide in slides(pair)}


def test_six_slides_in_order_each_with_its_sources(deck: dict[str, Slide]) -> None:
    assert list(deck) == ["count", "block", "time", "tensor_cores", "memory", "unknown"]
    for slide in deck.values():
        assert slide.title and slide.points
        for said in ("PyTorch FP16, eager", "TensorRT 8.6 FP16, stream", "NVIDIA H200", "nsys 2025."):
            assert said in slide.sources
    assert all(slide.notes for slide in deck.values() if slide.id != "unknown")


def test_the_figures_are_those_of_the_evidence(deck: dict[str, Slide], pair: Evidence) -> None:
    kernels = pair.comparison.metric("kernels_per_inference")
    assert deck["count"].title == f"{kernels.before:g} → {kernels.after:g} kernels per inference"
    assert "Same model, same precision" in deck["count"].points[0]
    latency, *_ = deck["count"].figures
    found = median_latencies(story_facts(pair))
    assert found is not None and found.without_profiler
    assert latency.value == f"{number(found.before_ms)} → {number(found.after_ms, 'ms')}"
    assert latency.label == f"latency: {found.verdict}" and "without a profiler" in latency.note
    assert isinstance(deck["count"].picture, dict)
    assert [len(strip.kernels) for strip in deck["count"].picture.values()] == [282, 58]
    assert deck["block"].title == "layer1.0: 20 kernels became 4" and isinstance(deck["block"].picture, Block)


def test_the_parts_of_the_time_lead_from_one_latency_to_the_other(deck: dict[str, Slide], pair: Evidence) -> None:
    picture = deck["time"].picture
    assert isinstance(picture, Bars)
    first, *parts, last = (bar.segments[0] for bar in picture.bars)
    saved = sum(s.value if s.key == "less" else -s.value for s in parts)
    assert first.value - saved == last.value and all(s.start >= 0 for s in parts)
    assert (
        "under nsys" in deck["time"].title
        and f"Without it: {deck['count'].figures[0].value}" in deck["time"].points[-1]
    )


def test_shares_are_whole_and_kept_apart_from_the_counter(deck: dict[str, Slide]) -> None:
    picture = deck["tensor_cores"].picture
    assert isinstance(picture, Bars)
    for bar in picture.bars:
        assert sum(s.value for s in bar.segments) == pytest.approx(100)
    assert "by name" in deck["tensor_cores"].title and "not which kernels used them" in deck["tensor_cores"].points[-1]


def test_what_is_unknown_is_said(deck: dict[str, Slide], pair: Evidence) -> None:
    (quality,) = (claim for claim in claims_from(story_facts(pair)) if claim.id == "quality")
    wanted = [s for s in quality.sentences if s.startswith(("Neither", "Weights"))]
    assert wanted and set(wanted) <= set(deck["unknown"].points)
    assert "these figures hold for NVIDIA H200, batch 8" in deck["unknown"].points[-1]


def test_two_precisions_are_not_called_the_same() -> None:
    first = slides(evidence("torch-fp32-eager-b8", "trt-int8-stream-b8"))[0]
    assert "same precision" not in " ".join(first.points).lower() and "INT8" in " ".join(first.points)


def test_kernels_that_a_graph_hides_are_not_counted() -> None:
    found = slides(evidence("torch-fp32-eager-b8", "trt-int8-badqdq-b8-graphlevel"))
    assert [slide.id for slide in found] == ["count", "memory", "unknown"]
    assert found[0].title == "Kernel counts are not compared" and found[0].picture is None
    (reason,) = (p for p in found[-1].points if "--cuda-graph-trace=node" in p)
    assert reason.startswith("What became of the modules, where the difference comes from and kernels per inference: ")


def test_runs_of_two_models_are_not_compared() -> None:
    found = slides(evidence("torch-fp16-eager-b8", "mobilenet_v2-trt-fp16-stream-b8"))
    assert [slide.id for slide in found] == ["count", "unknown"] and not found[0].figures
    assert found[0].title == "These two traces are not compared" and "different models" in found[0].points[0]
    assert "282 kernels per inference" in found[0].points[1] and "56 kernels per inference" in found[0].points[2]


def test_one_trace_alone_compares_nothing() -> None:
    found = slides_of_one("before", Run(open_trace(bundled("torch-fp16-eager-b8"))))
    assert [slide.id for slide in found] == ["count", "tensor_cores", "unknown"]
    assert found[0].title == "282 kernels per inference" and "→" not in "".join(slide.title for slide in found)
    assert "nothing is compared" in found[-1].points[0]


def test_no_slide_names_a_framework_that_did_not_run() -> None:
    for slide in slides(evidence("torch-fp16-eager-b8", "torch-fp16-compile-b8")):
        assert "TensorRT" not in " ".join((slide.title, *slide.points, slide.sources)), slide.id


def test_traces_that_say_little_have_a_deck_that_says_so(tmp_path: Path) -> None:
    for name in ("one", "two"):
        simple().write(tmp_path / f"{name}.sqlite")
    found = slides(gather(*(Run(open_trace(tmp_path / f"{name}.sqlite")) for name in ("one", "two"))))
    assert found[0].id == "count" and found[-1].id == "unknown" and 2 <= len(found) <= 6
    said = " ".join(found[-1].points)
    assert "python -m profiler bench" in said and "batch unknown" in said
