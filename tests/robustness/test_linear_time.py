"""Lines and names that were made to take for ever: each is done in a moment, and the watch only ends what would never end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import FrameType

import pytest

from profiler.analysis.fusion.layer_names import parse_layer_name
from profiler.analysis.fusion.layers import align
from profiler.analysis.fusion.operators import operation_of
from profiler.analysis.names.classify import classify
from profiler.analysis.run.candidates import normalised
from profiler.trace.build_log import parse_build_log
from profiler.trace.engine_file import EngineLayer

HANG_S = 60
PIECES = (
    " ", "\t", "*", "-", ">", "=", "(", "<", "[", "{", "1", "a", "_", "::", "a, ", ", ", "0, ", " Time: 1", "Tactic: ", "Tactic Name: ",
    "_Z", "_Z1a", "[ONNX Layer: ", "PWN(", " + ", " || ", "squeeze_before_", "copied_", "/", "_1", " -> ", "Half(1:2", "Autotuning op ",
    "(key: 0x1)", "[profile 1]", "BinaryFunctor<", "sm80_", "\u00b2",
)  # fmt: skip
HEADS = (
    "", "Tactic Name: ", "Tactic: 1 ", "Layer(x): ", "Skipping tactic ", "Skipping x: No valid tactics ", "-----  Timing Runner: ",
    "***** Autotuning format combination: ", "===== Computing costs for ", "Autotuning op ", "0, 1, ",
)  # fmt: skip
TAILS = ("", "!", " Tactic", ")]")
RUNNER = "[V] [TRT] --------------- Timing Runner: x (CaskConvolution)"


@pytest.fixture(autouse=True)
def watch() -> Iterator[None]:
    def hangs(number: int, frame: FrameType | None) -> None:
        pytest.fail(f"not done in {HANG_S} s")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(HANG_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("piece", PIECES)
def test_lines_of_a_log(piece: str) -> None:
    for head in HEADS:
        for tail in TAILS:
            line = head + piece * (20_000 // len(piece)) + tail
            assert parse_build_log([RUNNER, line, "Autotuning op x(key: 0x1)", line]).lines == 4


@pytest.mark.parametrize("piece", PIECES)
def test_names(piece: str) -> None:
    for tail in TAILS:
        name = piece * (60_000 // len(piece)) + tail
        parse_layer_name(name)
        parse_layer_name(f"PWN({name})", name)
        assert classify(name).tensor_cores in ("yes", "no", "unknown")
        assert operation_of(name)
        assert normalised(name)


def test_numbers_at_the_end_of_names() -> None:
    for text, found in (
        ("iter12", "iter#"),
        ("iter 3)", "iter #)"),
        ("iter", "iter"),
        ("", ""),
        ("7", "#"),
        ("1a2", "1a#"),
        ("9ab", "9ab"),
    ):
        assert normalised(text) == found


def test_one_log_line_that_names_ten_thousand_candidates() -> None:
    lines = [RUNNER]
    for n in range(10_000):
        lines += [
            f"Tactic: 0x{n:x} Time: {n}",
            f"Fastest Tactic: 0x{n:x} Time: {n}",
            f">>>>> Chose Runner Type: CaskConvolution Tactic: 0x{n:x}",
        ]
    lines += ["Layer(CaskConvolution): x, Tactic: 0x1, a -> b"] * 10_000
    table = parse_build_log(lines)
    assert len(table.rows) == 10_000 and table.rows["fastest_of_formats"].all() and table.rows["chosen"].sum() == 1


def _layer(tactic: str | None) -> EngineLayer:
    return EngineLayer(f"layer {tactic}", None, (), (), None, tactic, None, None, None, {})


def test_alignment_of_as_many_kernels_and_layers_as_are_aligned() -> None:
    names = [f"kernel_{i % 50}_x" for i in range(4_000)]
    layers = [_layer(f"kernel_{i % 50}_") for i in range(4_000)]
    assert align(names, ["gemm"] * len(names), layers) == list(range(4_000))


def test_alignment_finds_the_longest_common_subsequence() -> None:
    layers = [_layer(t) for t in ("b", "a", "c", None, "a")]
    # by hand: a1 and c are fixed; x goes to the layer that names no tactic; the last a to the last layer
    assert align(["a1", "c1", "x", "a2"], ["gemm"] * 4, layers) == [1, 2, 3, 4]
