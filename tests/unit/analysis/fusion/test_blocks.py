"""A block before and after: every kernel is drawn once, and the sentence counts what the rows of the ledger hold."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from profiler import fusion, open_run
from profiler.analysis.fusion.blocks import MAX_BOXES, Block, block, blocks, most_collapsed, sentence
from profiler.analysis.fusion.ledger import Group, Ledger
from profiler.analysis.run.run import Run
from profiler.charts import collapse
from profiler.text import listed, ordinal
from profiler.trace import Trace
from tests.support.ledgers import engine, framework
from tests.support.make_trace import TraceMaker
from tests.support.traces import bundled

CONV, BN, RELU = "conv_implicit_gemm", "void cudnn::bn_fw_inf<float>(float)", "void relu_kernel<float>(float *)"


def bundled_ledger(before: str, after: str) -> Ledger:
    with open_run(bundled(before)) as first, open_run(bundled(after)) as second:
        return fusion(first, second)


@pytest.fixture(scope="module")
def fp16() -> Ledger:
    return bundled_ledger("torch-fp16-eager-b8", "trt86-fp16-stream-b8")


def of(ledger: Ledger, label: str) -> Block:
    return block(ledger, next(g for g in blocks(ledger) if g.label == label))


def test_the_sentence_accounts_for_every_kernel_of_the_block(fp16: Ledger) -> None:
    group = most_collapsed(blocks(fp16))
    assert group.label == "layer1.0"
    assert sentence(fp16, group) == (
        "20 kernels became 4: 4 batch norms (12 kernels) are folded into the weights of conv1, conv2, conv3 and downsample.0; 3 calls of "
        "relu and add (4 kernels) are computed inside the kernels of conv1, conv2 and downsample.0; conv1, conv2, conv3 and downsample.0 "
        "keep their own kernels (4 before, 4 after)."
    )
    for other in blocks(fp16):  # the parts sum to the whole in every block
        said = sentence(fp16, other)
        gone = sum(int(n) for n in re.findall(r"\((\d+) kernels?\)", said))
        kept = sum(int(n) for n in re.findall(r"\((\d+) before, \d+ after\)", said))
        assert gone + kept == other.before_kernels / 10, said


def test_every_kernel_of_the_block_is_a_tick_once(fp16: Ledger) -> None:
    shown = of(fp16, "layer1.0")
    assert [box.label for box in shown.before][:6] == ["conv1", "bn1", "relu", "conv2", "bn2", "relu (2nd call)"]
    assert len(shown.own("before")) == 20 and len(shown.own("after")) == 4 and not shown.left_out
    rows = [w.row for w in shown.own("before")]
    assert len(set(rows)) == 20
    picture = collapse.figure(shown)
    assert picture is not None
    assert sum(len(t["x"]) for t in picture.data if t["type"] == "bar") == 24
    widths = {side: sum(p.high - p.low for p in found) for side, found in collapse.places(shown).items()}
    times = {side: sum(w.duration_ns for w in shown.own(side)) for side in widths}
    assert widths["after"] / widths["before"] == pytest.approx(times["after"] / times["before"])  # one scale


def test_copies_are_no_kernels(fp16: Ledger) -> None:
    shown = of(fp16, "conv1")
    assert [w.kind for w in shown.own("before")].count("kernel") == 3
    assert collapse.heading(shown, "before").startswith("before: 3 kernels and 2 copies and sets, ")
    assert "memory copies and sets: 2 before, 0 after" in shown.sentence
    picture = collapse.figure(shown)
    assert picture is not None
    (copies,) = (t for t in picture.data if t.get("name") == "memory copy or set")
    assert len(copies["x"]) == 2 and set(copies["y"]) == {0.15}


def test_a_unit_that_another_block_computes_is_drawn_beside_it_and_not_counted(fp16: Ledger) -> None:
    shown = of(fp16, "bn1")
    (box,) = shown.after
    assert box.label == "conv1" and box.is_foreign and not shown.own("after")
    assert shown.sentence == "3 kernels became none: 1 batch norm (3 kernels) is folded into the weights of conv1."


def test_what_is_placed_by_order_or_unexplained_is_said() -> None:
    graph = bundled_ledger("torch-fp32-eager-b8", "trt-int8-graph-b8")
    assert sentence(graph, most_collapsed(blocks(graph))).endswith(
        "4 units got kernels by order of execution, not by a range."
    )
    vit = bundled_ledger("vit_b_16-torch-fp16-eager-b8", "vit_b_16-rtx-fp16-stream-b8")
    assert "unexplained: 0 before, 1 after" in of(vit, "(outside the model)").sentence
    encoder = of(vit, "encoder")
    assert len(encoder.before) == MAX_BOXES and encoder.left_out > 0
    assert not [g for g in blocks(vit) if not (g.before_kernels or g.after_kernels)]


def test_modules_hold_every_box_once(fp16: Ledger) -> None:
    for group in blocks(fp16):
        shown = block(fp16, group)
        held = [box for module in shown.modules for box in (*module.before, *([module.after] if module.after else []))]
        assert sorted(map(id, held)) == sorted(map(id, (*shown.before, *shown.after)))
    assert [m.label for m in of(fp16, "layer1.0").modules] == [
        "conv1, with bn1 and relu",
        "conv2, with bn2 and relu (2nd call)",
        "conv3, with bn3",
        "downsample.0, with downsample.1, add and relu (3rd call)",
    ]


def test_another_inference_can_be_shown(opened: Callable[[TraceMaker], Trace]) -> None:
    before = framework([("a.conv", CONV, 100), ("a.bn", BN, 20), ("a.relu", RELU, 10)])
    after = engine([("/a/a.conv/Conv + /a/a.relu/Relu", [(CONV, 30)])])
    ledger = fusion(Run(opened(before)), Run(opened(after)))
    group = next(g for g in blocks(ledger) if g.label == "a")
    starts = [[w.start_ns for w in block(ledger, group, {"before": k, "after": k}).own("before")] for k in (0, 1)]
    assert [b - a for a, b in zip(*starts)] == [1_000_000] * 3
    empty = block(ledger, Group("nothing", ()))
    assert collapse.figure(empty) is None and not empty.modules
    assert empty.sentence == "No kernels on either side."


def test_words() -> None:
    assert [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 102, 1011)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "1,011th",
    ]  # fmt: skip
    assert [listed(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
