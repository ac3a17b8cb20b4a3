"""Which ranges are taken as inferences, on made traces of kinds that nobody has handed us."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.analysis.run import range_kinds
from profiler.analysis.run.candidates import normalised
from profiler.analysis.run.finding import find_inferences
from profiler.analysis.run.range_kinds import WARM_UP, RangeKind, family, is_a_loop, kind_of, names_an_inference
from profiler.trace import Trace
from tests.support.make_trace import TID, TraceMaker

Open = Callable[[TraceMaker], Trace]
OTHER = TID + 20


def _pass(maker: TraceMaker, begin: int, kernels: int = 6, took: int = 100, tid: int = TID, first: int = 0) -> None:
    """One forward pass of different kernels."""
    for k in range(kernels):
        at = begin + 10 + 150 * k
        maker.kernel(at + 20, took, name=f"void op{first + k}<float>(float *)", launched=at, tid=tid)


@pytest.mark.parametrize(
    ("text", "domain", "kind"),
    [
        ("aten::conv2d, op_id = 12", "", RangeKind.PART),
        ("autograd::engine::evaluate_function: AddmmBackward0", "", RangeKind.PART),
        ("ConvolutionBackward0, seq = 77", "", RangeKind.PART),
        ("MyFunction, seq = 3, sizes = [[1, 2]]", "", RangeKind.PART),
        ("Optimizer.step#Adam.step", "", RangeKind.PART),
        ("ncclAllReduce", "NCCL", RangeKind.PART),
        ("cudnnConvolutionForward", "", RangeKind.PART),
        ("cublasGemmEx", "cuBLAS", RangeKind.PART),
        ("myelinGraphExecute", "myelin-exec", RangeKind.PART),
        ("/conv1/Conv + /relu/Relu", "TensorRT", RangeKind.PART),
        ("{'Module': 'top.conv1'}", "", RangeKind.PART),
        ('{"op": "conv2d", "mod": "torch.nn.functional"}', "", RangeKind.PART),
        ("Thunk:#hlo_op=fusion.3#", "TSL", RangeKind.PART),
        ("ExecutionContext::enqueue", "TensorRT", RangeKind.CALL),
        ("ExecutionContext::execute", "TensorRT", RangeKind.CALL),
        ("XlaModule:#hlo_module=jit_f#", "TSL", RangeKind.CALL),
        ("iter 3", "", RangeKind.USER),
        ("session.run 4", "app", RangeKind.USER),
        ("layer1.0.conv1", "", RangeKind.USER),
    ],
)
def test_whose_range_it_is(text: str, domain: str, kind: RangeKind) -> None:
    assert kind_of(text, domain) == kind


def test_words_of_a_name() -> None:
    assert all(map(names_an_inference, ("iter#", "runInference", "decode step #", "Batch #", "train_step", "forward")))
    assert not any(
        map(names_an_inference, ("BatchNorm2d", "batch_norm", "Epoch #", "layer #", "optimizer step", "test"))
    )
    assert is_a_loop("Epoch 1") and is_a_loop("benchmark") and not is_a_loop("train step 3")


def test_a_number_of_kernels_is_not_a_share_of_the_time(opened: Open) -> None:
    """Half of the kernels lie in “tensor_creation”, and hardly any of the time."""
    maker = TraceMaker()
    for i in range(4):
        begin = 10_000 * i
        maker.range("tensor_creation", begin, begin + 900)
        _pass(maker, begin, took=1)
        maker.range("run_model", begin + 1_000, begin + 3_000)
        _pass(maker, begin + 1_000, first=10)
    found = find_inferences(opened(maker))
    assert found.label != "tensor_creation"
    assert found.count == 4 and found.outside.share_pct < 10


def test_of_nested_user_ranges_the_batch_is_taken(opened: Open) -> None:
    maker = TraceMaker()
    for epoch in range(2):
        maker.range(f"Epoch {epoch}", epoch * 100_000, epoch * 100_000 + 90_000)
        for batch in range(3):
            begin = epoch * 100_000 + batch * 10_000
            maker.range(f"batch {batch}", begin, begin + 9_000)
            maker.range("forward", begin + 100, begin + 4_000)
            _pass(maker, begin + 100)
            maker.range("backward", begin + 4_100, begin + 8_000)
            _pass(maker, begin + 4_100, first=20)
    found = find_inferences(opened(maker))
    assert (found.label, found.count, found.kernels_per_inference[0]) == ("batch #", 6, 12.0)


def test_layers_without_an_outer_range_are_no_inferences(opened: Open) -> None:
    """Module ranges alone: “Conv2d” covers most of the time, and there are three in each pass."""
    maker = TraceMaker()
    for i in range(4):
        for k, name in enumerate(("Conv2d", "ReLU", "Conv2d", "Conv2d", "Linear")):
            begin = i * 50_000 + k * 1_000
            maker.range(name, begin, begin + 900)
            _pass(maker, begin, kernels=2, took=100 if name == "Conv2d" else 10, first=2 * k)
    found = find_inferences(opened(maker))
    assert (found.origin, found.count, found.kernels_per_inference[0]) == ("kernel sequence", 4, 10.0)
    assert "inferred" in found.statement


def test_equal_layers_of_one_pass_are_not_many_inferences(opened: Open) -> None:
    """One pass of a transformer: twelve equal blocks between an embedding and a head, without a pause."""
    maker = TraceMaker()
    names = ["embed", *(f"block{k}" for _ in range(12) for k in range(5)), "head"]
    for k, name in enumerate(names):
        maker.kernel(100 * k + 50, 80, name=f"void {name}<float>(float *)", launched=100 * k)
    found = find_inferences(opened(maker))
    assert found.count == 0 and "--inferences N" in found.statement


def test_ranges_with_a_payload_in_their_text(opened: Open) -> None:
    maker = TraceMaker()
    for i in range(5):
        maker.range(f"request 12{i} user=u{i * 7} tokens={i}", i * 10_000, i * 10_000 + 9_000)
        _pass(maker, i * 10_000)
    found = find_inferences(opened(maker))
    assert (found.label, found.count, found.kernels_per_inference[0]) == ("request…", 5, 6.0)


def test_ranges_that_never_closed_end_where_the_next_begins(opened: Open) -> None:
    maker = TraceMaker()
    for i in range(4):
        maker.range(f"iter {i}", i * 10_000, None)
        _pass(maker, i * 10_000)
    found = find_inferences(opened(maker))
    assert (found.count, found.kernels_per_inference) == (4, (6.0, None))


def test_work_of_a_helper_thread_counts_by_time(opened: Open) -> None:
    maker = TraceMaker()
    for i in range(3):
        maker.range(f"step {i}", i * 10_000, i * 10_000 + 9_000)
        _pass(maker, i * 10_000, kernels=2)
        maker.range("autograd::engine::evaluate_function: X", i * 10_000 + 1_000, i * 10_000 + 8_000, tid=OTHER)
        _pass(maker, i * 10_000 + 1_000, kernels=4, tid=OTHER, first=10)
    found = find_inferences(opened(maker))
    assert (found.count, found.kernels_per_inference[0]) == (3, 6.0)
    assert "12 kernels (66.7 % of their GPU time) launched by other threads" in found.statement


def test_another_model_on_another_thread_is_not_counted_and_said(opened: Open) -> None:
    maker = TraceMaker()
    for i in range(3):
        maker.range(f"detect infer {i}", i * 10_000, i * 10_000 + 9_000)
        _pass(maker, i * 10_000, kernels=4)
        maker.range(f"classify infer {i}", i * 10_000 + 500, i * 10_000 + 8_000, tid=OTHER)
        _pass(maker, i * 10_000 + 1_000, kernels=2, tid=OTHER, first=10)
    found = find_inferences(opened(maker))
    assert (found.label, found.count, found.kernels_per_inference[0]) == ("detect infer #", 3, 4.0)
    assert any("lies outside of them" in note for note in found.notes)
    assert found.outside.kernels == 6


def test_a_long_warm_up_without_ranges_does_not_hide_the_inferences(opened: Open) -> None:
    maker = TraceMaker()
    for i in range(30):
        if i >= 20:
            maker.range(f"iter{i}", i * 10_000, i * 10_000 + 9_000)
        _pass(maker, i * 10_000)
    found = find_inferences(opened(maker))
    assert (found.label, found.count, found.outside.kernels) == ("iter#", 10, 120)


def test_inferences_inside_a_warm_up_are_set_aside(opened: Open) -> None:
    maker = TraceMaker()
    maker.range("warm-up", 0, 19_500)
    for i in range(5):
        maker.range("infer", i * 10_000, i * 10_000 + 9_000)
        _pass(maker, i * 10_000)
    found = find_inferences(opened(maker))
    assert (found.count, len(found.set_aside)) == (3, 2)
    assert "inside the range “warm-up”" in found.notes[0]


def test_of_two_the_warm_up_is_named(opened: Open) -> None:
    maker = TraceMaker()
    for i, kernels in enumerate((9, 6)):
        maker.range(f"iter{i}", i * 10_000, i * 10_000 + 9_000)
        _pass(maker, i * 10_000, kernels=kernels)
    found = find_inferences(opened(maker))
    assert found.count == 1 and "n = 1" in found.statement
    assert "“iter0” was set aside: a warm-up by its looks: 9 kernels" in found.notes[0]


def test_several_processes_are_one_set_of_inferences(opened: Open) -> None:
    maker = TraceMaker()
    there = TID + (5 << 24)
    for i in range(3):
        for tid in (TID, there):
            maker.range(f"iter{i}", i * 10_000, i * 10_000 + 9_000, tid=tid)
            _pass(maker, i * 10_000, tid=tid)
    found = find_inferences(opened(maker))
    assert (found.count, found.kernels_per_inference) == (6, (6.0, None))
    assert found.overlap and any("overlap in time" in note for note in found.notes)


def test_marks_alone_are_no_ranges(opened: Open) -> None:
    maker = TraceMaker()
    for i in range(4):
        maker.range("iter", i * 50_000, None, kind=34)
        _pass(maker, i * 50_000)
    found = find_inferences(opened(maker))
    assert (found.origin, found.count) == ("kernel sequence", 4)


def test_decode_steps_of_growing_length_are_all_kept(opened: Open) -> None:
    maker = TraceMaker()
    for i in range(8):
        maker.range(f"decode step {i}", i * 50_000, i * 50_000 + 40_000)
        _pass(maker, i * 50_000, took=100 + 100 * i)
    found = find_inferences(opened(maker))
    assert (found.count, found.set_aside) == (8, ())


@given(
    st.one_of(
        st.text(max_size=30),
        st.sampled_from(
            (
                "aten::add",
                "cudaLaunch",
                "AddBackward",
                "warm up ",
                "dry run",
                "c10",
                "step, seq = ",
                "nccl",
                "ProfilerStep#",
            )
        ),
    ),
    st.integers(0, 10**12),
    st.sampled_from(("", "NCCL", "TSL", "mine1")),
)
def test_a_number_at_the_end_of_a_text_decides_nothing(text: str, number: int, domain: str) -> None:
    numbered = f"{text}{number}"
    assert kind_of(numbered, domain) == range_kinds._kind_of.__wrapped__(numbered, domain)
    assert normalised(numbered) == normalised(family(numbered))
    assert bool(WARM_UP.search(numbered)) == bool(WARM_UP.search(family(numbered)))
