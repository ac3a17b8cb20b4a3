"""Auto-tuning per layer: what was chosen, against the median and the slowest candidate that ran."""

from __future__ import annotations

import lzma
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.analysis.run.autotuning import autotuning, layer_labels
from profiler.trace.build_log import parse_build_log, read_build_log

LOGS = Path(__file__).parents[3] / "data" / "build_logs"


@pytest.mark.parametrize("name", ["trt-8.5.3-int8.build.log.xz", "trt-8.6.0-int8.build.log.xz"])
def test_times_against_the_lines_of_the_log(name: str) -> None:
    found = autotuning(read_build_log(LOGS / name))
    layer = ""
    times: dict[str, list[float]] = {}
    for line in lzma.decompress((LOGS / name).read_bytes()).decode().splitlines():
        timing = re.search(r"Timing Runner: (.*) \((\w+)", line)
        if timing:
            layer = "" if timing[2] == "Reformat" else timing[1]
        timed = re.search(r"(?<!Fastest )Tactic: 0x[0-9a-f]+ Time: ([0-9.]+)$", line)
        if layer and timed:
            times.setdefault(layer, []).append(float(timed[1]))
    assert len(found.layers)
    for row in found.layers.to_dict("records"):
        mine = times[row["layer"]]
        assert row["candidates"] == len(mine) and row["failed"] == 0
        assert row["median_ms"] == pytest.approx(statistics.median(mine))
        assert (row["slowest_ms"], row["fastest_ms"]) == (max(mine), min(mine))
        assert row["chosen_ms"] in mine and row["saved_ms"] == pytest.approx(row["median_ms"] - row["chosen_ms"])
    assert found.chosen_ms == pytest.approx(found.layers["chosen_ms"].sum())
    assert f"{len(found.layers)} layers whose candidates were timed" in found.in_words()


LINES = """\
*************** Autotuning format combination: Float(9,3,1) -> Float(4,2,1) ***************
--------------- Timing Runner: a (CaskConvolution[0x80000009])
Tactic Name: k1 Tactic: 0x0000000000000001 Time: inf
Tactic Name: k2 Tactic: 0x0000000000000002 Time: 0.3
Tactic Name: k3 Tactic: 0x0000000000000003 Time: 0.1
Tactic Name: k4 Tactic: 0x0000000000000004 Time: 0.9
""".splitlines()


def test_failed_candidates_do_not_count() -> None:
    end = ["Layer(CaskConvolution): a, Tactic: 0x0000000000000003, x (Float[1]) -> y (Float[1])"]
    row = autotuning(parse_build_log([*LINES, *end])).layers.iloc[0]
    assert (row["candidates"], row["failed"], row["chosen_kernel"]) == (3, 1, "k3")
    assert (row["chosen_ms"], row["median_ms"], row["slowest_ms"]) == (0.1, 0.3, 0.9)


def test_what_was_chosen_may_be_unknown() -> None:
    found = autotuning(parse_build_log(LINES))
    row = found.layers.iloc[0]
    assert found.chosen_ms is None and row[["chosen_ms", "saved_ms"]].isna().all() and row["median_ms"] == 0.3
    assert "the log does not say" in found.in_words()


def test_labels_are_short_and_different() -> None:
    names = [
        "features.2.conv.0.0.weight + features.2.conv.0.0.weight_QuantizeLinear + /features/features.2/conv/conv.0/conv.0.0/Conv"
        " + /features/features.2/conv/conv.0/conv.0.2/Clip",
        "/layer1/layer1.0/conv1/Conv",
        "/layer1/layer1.0/conv1/Conv",
        "Conv_12 + Relu_13",
    ]
    assert layer_labels(names) == [
        "features.2.conv.0.0 Conv+Clip",
        "layer1.0.conv1 Conv",
        "layer1.0.conv1 Conv (2)",
        "Conv_12 + Relu_13",
    ]


@given(st.lists(st.text(alphabet="/ab.+ {(2)", max_size=12), max_size=6))
def test_any_names_get_labels_of_their_own(names: list[str]) -> None:
    assert len(layer_labels(names)) == len(set(layer_labels(names))) == len(names)


def tactics(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "profiler", "tactics", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_the_command() -> None:
    found = tactics(LOGS / "trt-10-detailed.log")
    assert found.returncode == 0 and "features.0 Conv+Relu" in found.stdout and "19.5 µs" in found.stdout
    of_layer = tactics(LOGS / "trt-10-detailed.log", "--layer", "features.0 Conv+Relu")
    assert of_layer.returncode == 0 and of_layer.stdout.count("_nhwckrsc_") == 2
    missing = tactics(LOGS / "trt-10-detailed.log", "--layer", "nothing")
    assert missing.returncode != 0 and "no candidates of a layer 'nothing'" in missing.stderr
    silent = tactics(LOGS / "rtx-1.6.1-fp16.log")
    assert silent.returncode == 1 and "no tactic timing" in silent.stderr and not silent.stdout
