"""Traces as others record them: what is taken as an inference, and what is said of it. The figures were counted by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import profiler
from profiler.cli.main import main
from profiler.errors import UsageError
from tests.support.traces import case

EXPECTED = [
    # (case, inferences, kernels in each, what the statement says)
    ("00-baseline/torch", 3, 18, "NVTX ranges “iter#”"),
    ("00-baseline/trt", 3, 6, "NVTX ranges “iter#”"),
    ("01-pytorch-no-module-ranges/torch_none", 3, 18, "inferred, as no NVTX range marks the inferences"),
    ("02-emit-nvtx/opsonly", 5, 81, "same sequence of 81 kernels, inferred"),
    ("02-emit-nvtx/opsonly_shapes", 5, 81, "same sequence of 81 kernels, inferred"),
    ("06-module-range-dialects/b_classnames", 3, 18, "“iter#”"),
    ("07-myelin-startend/iter", 10, 41, "“inference_iteration_#”"),
    ("07-myelin-startend/outer_enqueue", 10, 41, "“ExecutionContext::enqueue”"),
    ("08-trtexec/trtexec", 12, 6, "“ExecutionContext::enqueue”"),
    ("08-trtexec/trtexec_graph", 20, 6, "20 launches of the same CUDA graph of 6 kernels, inferred"),
    ("09-ort-trt-ep/ort_ranges", 10, 11, "“session.run #”"),
    ("09-ort-trt-ep/ort", 10, 11, "same sequence of 11 kernels, inferred"),
    ("10-triton/two_instances", 20, 6, "“ExecutionContext::enqueue”"),
    ("16-warmup-inside/torch", 4, 18, "4 of the 5 NVTX ranges “iter#”"),
    ("real/training_autograd_thread", 59, 155, "2,360 kernels (63.5 % of their GPU time) launched by other threads"),
    ("real/resnet18_trt_execute", 1, 36, "“ExecutionContext::execute” of TensorRT: n = 1"),
]


@pytest.mark.parametrize(("name", "count", "kernels", "said"), EXPECTED)
def test_the_inferences_of_a_case(name: str, count: int, kernels: int, said: str) -> None:
    with profiler.open_run(case(name)) as run:
        assert (run.inferences.count, run.inferences.kernels_per_inference[0]) == (count, kernels)
        assert said in run.inferences.statement
        inside = int((run.inferences.of_kernel >= 0).sum())
        assert inside + run.inferences.outside.kernels == run.trace.kernel_count


def test_a_fusers_own_ranges_are_no_inferences_and_candidates_are_listed() -> None:
    with profiler.open_run(case("real/nvfuser")) as run:
        assert run.inferences.count == 0
        assert re.search(r"Candidates: “.+”: 1 range, 1 kernel, 32.6 % of the GPU time", run.inferences.statement)
        assert "--inferences N" in run.inferences.statement


def test_copies_outside_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kernels", str(case("08-trtexec/trtexec"))]) == 0
    assert (
        "outside of them: 0 kernels of 0 ns (0 % of the kernel time), 24 copies of 58.2 MB" in capsys.readouterr().out
    )


def test_a_warm_up_is_set_aside_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kernels", str(case("16-warmup-inside/torch")), "--format", "json"]) == 0
    printed = capsys.readouterr()
    assert "“iter0” was set aside: 42 kernels, and most of the others have 18" in printed.err
    document = json.loads(printed.out)
    assert document["inferences_set_aside"][0]["text"] == "iter0"
    assert document["outside_inferences"]["kernels"] == 42
    assert document["per_inference"] == 18


def test_a_number_of_inferences_can_be_given(tmp_path: Path) -> None:
    with profiler.open_run(case("01-pytorch-no-module-ranges/torch_none"), inferences=3) as run:
        assert (run.inferences.count, run.inferences.kernels_per_inference[0]) == (3, 18)
    with profiler.open_run(case("02-emit-nvtx/opsonly"), inferences=1) as run:
        assert (run.inferences.count, run.inferences.kernels_per_inference[0]) == (1, 405)
    with (
        profiler.open_run(case("02-emit-nvtx/opsonly"), inferences=7) as run,
        pytest.raises(UsageError, match="do not divide into 7 runs") as caught,
    ):
        _ = run.inferences
    assert "5 repetitions of the same sequence of 81 kernels" in caught.value.message
