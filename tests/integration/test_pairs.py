"""Whether two traces are a pair, and what is made of them where they are not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import profiler
from profiler.analysis.pair import check_pair
from profiler.cli.main import main
from profiler.errors import NotComparableError
from tests.support.traces import bundled, case


def _codes(before: Path, after: Path) -> frozenset[str]:
    with profiler.open_run(before) as b, profiler.open_run(after) as a:
        return check_pair(b, a).codes


def test_a_pair_of_one_model_is_one() -> None:
    with (
        profiler.open_run(bundled("mobilenet_v2-torch-fp32-eager-b8")) as before,
        profiler.open_run(bundled("mobilenet_v2-trt-fp16-stream-b8")) as after,
    ):
        pair = check_pair(before, after)
    assert pair.is_comparable and pair.codes == {"different_precision"} and pair.latency_basis == "without_profiler"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            bundled("mobilenet_v2-torch-fp32-eager-b8"),
            bundled("trt-fp16-stream-b8"),
            "mobilenet_v2 before and resnet50",
        ),
        (bundled("torch-fp32-b8"), case("real/resnet18_trt_execute"), "by the names of their modules and layers"),
    ],
)
def test_different_models_have_no_ratio_and_no_ledger(
    before: Path, after: Path, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(before), str(after), "--format", "json"]) == 1
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert not document["pair"]["is_comparable"] and said in document["pair"]["refusal"] and said in printed.err
    assert all(m["ratio"] is None for m in document["metrics"])
    assert any(m["before"] is not None and m["after"] is not None for m in document["metrics"])
    for verb in ("fusion", "decompose"):
        assert main([verb, str(before), str(after)]) == 1
        printed = capsys.readouterr()
        assert said in printed.err and not printed.out
    with profiler.open_run(before) as b, profiler.open_run(after) as a, pytest.raises(NotComparableError, match=said):
        profiler.fusion(b, a)


def test_a_gate_on_a_ratio_of_different_models_is_undecided(capsys: pytest.CaptureFixture[str]) -> None:
    pair = [str(bundled("mobilenet_v2-torch-fp32-eager-b8")), str(bundled("trt-fp16-stream-b8"))]
    assert main(["report", *pair, "--format", "json", "--fail-if", "speedup<2"]) == 4
    document = json.loads(capsys.readouterr().out)
    assert document["fusion"] is None and "different models" in document["no_fusion_reason"]
    assert document["gates"][0]["outcome"] == "unknown" and "different models" in document["gates"][0]["sentence"]


def test_the_reversed_order_is_said() -> None:
    assert "reversed" in _codes(bundled("trt-fp16-stream-b8"), bundled("torch-fp16-eager-b8"))
    assert "reversed" not in _codes(bundled("torch-fp16-eager-b8"), bundled("trt-fp16-stream-b8"))


def test_one_file_twice_is_said_also_as_a_copy(tmp_path: Path) -> None:
    trace = bundled("torch-fp32-b8")
    copy = shutil.copy(trace, tmp_path / "other.sqlite.xz")
    assert "same_file" in _codes(trace, trace)
    assert "same_file" in _codes(trace, Path(copy))


def test_one_latency_without_nsys_is_no_pair_of_them() -> None:
    with profiler.open_run(bundled("torch-fp16-eager-b8")) as b, profiler.open_run(bundled("torch-fp16-b8")) as a:
        pair = check_pair(b, a)
    assert "one_clean_latency" in pair.codes and pair.latency_basis == "nsys"


def test_an_unknown_model_is_said_and_the_report_of_two_models_tells_no_story(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "unknown_model" in _codes(case("02-emit-nvtx/opsonly"), case("01-pytorch-no-module-ranges/trt"))
    pair = [str(bundled("mobilenet_v2-torch-fp32-eager-b8")), str(bundled("trt-fp16-stream-b8"))]
    assert main(["report", *pair, "--format", "markdown"]) == 0
    first = capsys.readouterr().out.splitlines()[2]
    assert "different models" in first and "went from" not in first


def test_kernels_of_an_engine_on_the_dla_have_no_ratio() -> None:
    with (
        profiler.open_run(case("13-layers-json/torch")) as before,
        profiler.open_run(case("13-layers-json/trt_dla")) as after,
    ):
        result = profiler.compare(before, after)
    metric = result.metric("kernel_time")
    assert (metric.before, metric.after, metric.ratio) == (pytest.approx(0.204), pytest.approx(0.044), None)
    assert "DLA" in (metric.reason or "") and "dla" in result.pair.codes
    assert result.metric("latency").ratio is not None


def test_two_groups_of_inferences_have_no_median(capsys: pytest.CaptureFixture[str]) -> None:
    one, two = (str(case(f"10-triton/{name}")) for name in ("one_instance", "two_instances"))
    assert main(["compare", one, two, "--format", "json"]) == 0
    metrics = {m["id"]: m for m in json.loads(capsys.readouterr().out)["metrics"]}
    for name, low, high in (("kernel_time", 0.068, 0.408), ("latency", 0.0855, 0.4255)):
        metric = metrics[name]
        assert metric["after"] is None and metric["ratio"] is None
        assert [n for n, _ in metric["after_modes"]] == [10, 10]
        assert [value for _, value in metric["after_modes"]] == pytest.approx([low, high])
        assert "10 around" in metric["reason"] and "neither" in metric["reason"]
    assert metrics["time.convolution"]["after"] is None


def test_medians_everywhere_so_that_no_kind_takes_longer_than_all_kernels() -> None:
    with (
        profiler.open_run(case("16-warmup-inside/torch")) as before,
        profiler.open_run(case("16-warmup-inside/trt")) as after,
    ):
        result = profiler.compare(before, after)
    assert result.metric("kernel_time").before == pytest.approx(0.204)
    assert result.metric("time.convolution").before == pytest.approx(0.1)
    kinds = [m.before for m in result.metrics if m.id.startswith("time.")]
    assert sum(k or 0.0 for k in kinds) == pytest.approx(0.204)


def test_whole_traces_are_compared_without_inferences(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["compare", str(case("real/nvfuser")), str(case("01-pytorch-no-module-ranges/trt")), "--format", "json"])
        == 0
    )
    metrics = {m["id"]: m for m in json.loads(capsys.readouterr().out)["metrics"]}
    whole = metrics["trace.kernels"]
    assert (whole["before"], whole["after"], whole["ratio"]) == (19, 18, None)
    assert metrics["trace.kernel_time"]["after"] == pytest.approx(0.204)
    assert metrics["trace.memcpys"]["before"] == 1
    assert metrics["trace.share.convolution"]["after"] == pytest.approx(100 * 171 / 204)
    assert metrics["trace.gpu_busy"]["ratio"] is not None
    assert metrics["tensor_cores_yes"]["ratio"] is None, "one is of inferences, the other of a whole trace"
    assert metrics["kernels_per_inference"]["before"] is None


def test_a_trace_without_ranges_is_compared_per_inferred_inference() -> None:
    name = "01-pytorch-no-module-ranges"
    with profiler.open_run(case(f"{name}/torch_none")) as before, profiler.open_run(case(f"{name}/trt")) as after:
        result = profiler.compare(before, after)
    assert result.metric("kernels_per_inference").ratio == 3
    assert "different_marks" in result.pair.codes
