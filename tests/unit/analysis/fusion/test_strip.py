"""The strip of an inference, against plain SQL and against the ledger."""

from __future__ import annotations

import lzma
import sqlite3
from pathlib import Path

import pytest

from profiler.analysis.fusion.ledger import Ledger, fusion
from profiler.analysis.fusion.strip import strip
from profiler.analysis.run.run import Run
from profiler.charts.strip import caption, description, extents, for_browser, strip_figure
from profiler.trace import open_trace
from tests.support.ledgers import engine, framework
from tests.support.make_trace import simple
from tests.support.traces import bundled


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    before, after = (Run(open_trace(bundled(run))) for run in ("torch-fp16-eager-b8", "trt86-fp16-stream-b8"))
    return fusion(before, after)


@pytest.mark.parametrize("side", ["before", "after"])
def test_it_holds_every_kernel_of_the_median_inference_in_order(ledger: Ledger, side: str, tmp_path: Path) -> None:
    run: Run = getattr(ledger, side)
    made = strip(run, ledger, side)
    assert made is not None
    ranges = run.inferences.ranges.iloc[run.inferences.median_inference()]
    unpacked = tmp_path / "trace.sqlite"
    unpacked.write_bytes(lzma.decompress(run.trace.path.read_bytes()))
    with sqlite3.connect(unpacked) as plain:
        expected = plain.execute(
            "SELECT k.end - k.start, s.value FROM CUPTI_ACTIVITY_KIND_KERNEL k JOIN CUPTI_ACTIVITY_KIND_RUNTIME r "
            "ON r.correlationId = k.correlationId AND (r.globalTid >> 24) = (k.globalPid >> 24) "
            "JOIN StringIds s ON s.id = k.demangledName WHERE r.start BETWEEN ? AND ? ORDER BY k.start",
            (int(ranges["start_ns"]), int(ranges["end_ns"])),
        ).fetchall()
    assert list(zip(made.kernels["duration_ns"].tolist(), made.kernels["name"])) == expected
    assert made.time_ns == sum(duration for duration, _ in expected)
    plain.close()


def test_blocks_are_those_of_the_ledger(ledger: Ledger) -> None:
    for side in ("before", "after"):
        made = strip(getattr(ledger, side), ledger, side)
        assert made is not None
        n = getattr(ledger, f"{side}_placement").inferences
        counts = dict(zip(made.by_block["block"], made.by_block["kernels"]))
        for block in made.blocks:
            rows = [r for r in ledger.rows if r.block == block]
            expected = sum(getattr(r, side).kernels for r in rows if getattr(r, side) is not None) / n
            assert counts[block] == expected
    assert "layer1.0" in counts and counts["layer1.0"] < 20


def test_without_modules_no_block_is_claimed(tmp_path: Path) -> None:
    model = [("", "sm80_xmma_fprop_implicit_gemm_f16", 500), ("", "elementwise_kernel", 100)]
    before = Run(open_trace(framework(model).write(tmp_path / "before.sqlite")))
    after = Run(open_trace(framework(model[:1]).write(tmp_path / "after.sqlite")))
    ledger = fusion(before, after)
    strips = {"before": strip(before, ledger, "before"), "after": strip(after, ledger, "after")}
    known = {name: made for name, made in strips.items() if made is not None}
    assert [made.blocks for made in known.values()] == [(), ()]
    assert [len(made.kernels) for made in known.values()] == [2, 1]
    assert "not known" in caption(known) and "Bands" not in caption(known)
    assert not strip_figure(known).layout["annotations"][0]["text"].startswith("layer")
    alone = strip(before)
    assert alone is not None and alone.blocks == () and "no fusion ledger" in alone.basis


def test_work_placed_by_order_says_so(tmp_path: Path) -> None:
    layers = [("/layer1/layer1.0/conv1/Conv", [("sm80_xmma_fprop_implicit_gemm_f16", 400)])]
    before = framework([("layer1.0.conv1", "sm80_xmma_fprop_implicit_gemm_f16", 500)])
    first = Run(open_trace(before.write(tmp_path / "before.sqlite")))
    second = Run(open_trace(engine(layers).write(tmp_path / "after.sqlite")))
    ledger = fusion(first, second)
    made = strip(second, ledger, "after")
    assert made is not None and made.blocks == ("layer1.0",) and "TensorRT's layer ranges" in made.basis


def test_a_trace_without_inferences_has_no_strip(tmp_path: Path) -> None:
    run = Run(open_trace(simple(inferences=0).write(tmp_path / "none.sqlite")))
    assert strip(run) is None


def test_the_picture_holds_every_kernel_once_and_says_what_it_shows(ledger: Ledger) -> None:
    strips = {side: strip(getattr(ledger, side), ledger, side) for side in ("before", "after")}
    known = {name: made for name, made in strips.items() if made is not None}
    counts = {name: len(made.kernels) for name, made in known.items()}
    bars = [trace for trace in strip_figure(known, "layer1.0").data if trace["type"] == "bar"]
    assert sum(len(bar["x"]) for bar in bars) == sum(counts.values())
    assert sum(sum(bar["x"]) for bar in bars) == pytest.approx(sum(made.time_ns for made in known.values()) / 1e3)
    said = description(known)
    assert all(f"{name}: {n} kernels" in said for name, n in counts.items())
    sent = for_browser(known)
    assert [len(side["duration"]) for side in sent["sides"]] == list(counts.values())
    assert {b["label"] for b in sent["blocks"]} == {b for made in known.values() for b in made.blocks}
    for made in known.values():
        for extent in extents(made).values():
            assert 0 <= extent.low_ns < extent.high_ns <= made.time_ns
