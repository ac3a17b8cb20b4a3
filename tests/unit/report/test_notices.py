"""Warnings as people read them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from profiler.analysis.compare import compare
from profiler.analysis.run.run import Run
from profiler.report.notices import notices
from profiler.trace import open_trace
from tests.support.traces import bundled


def test_a_message_of_many_lines_is_one_and_our_own_come_first() -> None:
    log = [
        "after: onnx2trt_utils.cpp:374: Your ONNX model has been generated with INT64 weights, while TensorRT does not natively support "
        "INT64. Attempting to cast down to INT32.",
        "after: TensorRT encountered issues when converting weights between types and that could affect accuracy.",
        "after: If this is not the desired behavior, please modify the weights or retrain with regularization.",
        "after: Check verbose logs for the list of affected weights.",
        "after: - 54 weights are affected by this issue: Detected subnormal FP16 values.",
        "after: - 1 weights are affected by this issue: Detected values less than smallest positive FP16 subnormal value.",
        "before: files were being copied to the machine during the latency run",
        "after: files were being copied to the machine during the latency run",
    ]
    found = notices(log)
    assert [n.sentence for n in found] == [
        "before and after: files were being copied to the machine during the latency run",
        "after: TensorRT's log: INT64 weights of the ONNX model were cast to INT32",
        "after: TensorRT's log: 54 weights subnormal in FP16, 1 weight too small for FP16",
    ]
    assert found[0].details == "" and "Check verbose logs" in found[2].details
    assert [n.of_tensorrt for n in found] == [False, True, True]


def test_warnings_of_a_real_pair_are_one_line_each() -> None:
    with open_trace(bundled("torch-fp16-eager-b8")) as before, open_trace(bundled("trt86-fp16-stream-b8")) as after:
        warnings = compare(Run(before), Run(after)).warnings
    found = notices(warnings)
    assert 0 < len(found) < len(warnings)
    assert all("\n" not in n.sentence and len(n.sentence) < 200 for n in found)


@given(st.lists(st.text() | st.text().map(lambda t: f"after: {t}") | st.text().map(lambda t: f"before: - {t}")))
def test_nothing_is_lost(warnings: list[str]) -> None:
    found = notices(warnings)
    assert len({n.sentence for n in found}) <= len(found) <= len(warnings)
    shown = "\n".join(f"{n.sentence}\n{n.details}" for n in found)
    for warning in warnings:
        text = warning.removeprefix("after: ").removeprefix("before: ")
        assert text in shown or len(text.split()) == 0 or " ".join(text.split()) in shown or text.strip() in shown
