from __future__ import annotations

import lzma
import re
from pathlib import Path

import pandas as pd
import pytest

from profiler.errors import TraceError
from profiler.trace import build_log
from profiler.trace.build_log import parse_build_log, read_build_log

REPOSITORY = Path(__file__).parents[3]
EXCERPTS = sorted((REPOSITORY / "tests/data/build_logs").glob("*.build.log.xz"))
BUNDLED = sorted((REPOSITORY / "traces").glob("*/build.log.xz"))
WHOLE = [log for log in BUNDLED if "rtx-" not in log.parent.name]
OF_RTX = [log for log in BUNDLED if "rtx-" in log.parent.name]
INT8 = REPOSITORY / "tests/data/build_logs/trt-8.5.3-int8.build.log.xz"
FP16_FC = REPOSITORY / "tests/data/build_logs/trt-8.5.3-fp16-fc.build.log.xz"


def count(path: Path, pattern: str) -> int:
    with lzma.open(path, "rt", encoding="utf-8") as file:
        return sum(bool(re.search(pattern, line)) for line in file)


@pytest.mark.parametrize("path", [*EXCERPTS, *WHOLE], ids=lambda p: f"{p.parent.name}/{p.name}")
def test_nothing_is_lost(path: Path) -> None:
    table = read_build_log(path)
    assert len(table.rows) == count(path, r"(?<!Fastest )Tactic: 0x[0-9a-f]+ Time: ")
    assert len(table.layers) == count(path, r"^Layer\(")
    assert table.lines == count(path, "")
    # an excerpt may begin or end between a timing and its choice
    missing = count(path, "Chose Runner Type") - table.rows["fastest_of_formats"].sum()
    assert 0 <= missing <= (1 if path in EXCERPTS else 0)
    assert table.rows["time_ms"].gt(0).all() and table.warnings == ()


@pytest.mark.parametrize("path", WHOLE, ids=lambda p: p.parent.name)
def test_the_chosen_are_in_the_engine(path: Path) -> None:
    table = read_build_log(path)
    chosen = table.rows[table.rows["chosen"].fillna(False).astype(bool)]
    assert not chosen.duplicated("layer").any() or table.layers.duplicated("layer").any()
    engine = set(zip(table.layers["layer"], table.layers["tactic"], strict=True))
    assert set(zip(chosen["layer"], chosen["tactic"], strict=True)) <= engine
    timed = table.layers[table.layers["timed"] & ~table.layers["runner"].isin(["NoOp", "Constant"])]
    assert set(timed["layer"]) == set(chosen["layer"])
    # a layer that was not timed itself still has its kernel's name, from an equal layer that was
    convolutions = table.layers[table.layers["runner"].str.startswith("Cask")]
    assert convolutions["kernel"].notna().all()


def test_one_layer_of_8_5() -> None:
    table = read_build_log(INT8)
    layer = "onnx::Conv_497 + node_of_onnx::Conv_497_q + /conv1/Conv + /relu/Relu + /maxpool/MaxPool"
    found = table.candidates(layer)
    assert set(found["runner"]) == {"ConvActPool", "CaskConvActPool"}
    assert found["time_ms"].is_monotonic_increasing
    best = found.iloc[0]
    assert best["kernel"] == "sm80_trt_conv_act_pool_v3_tile_rows_8_tile_cols_116"
    assert best["tactic"] == "0xc5730a6ceacd8913" and best["time_ms"] == 0.0119131
    assert best["formats"] == "Int8(150528,50176,224,1) -> Int8(6272,3136:32,56,1)"
    assert best["fastest_of_formats"] and best["chosen"]
    assert found["chosen"].sum() == 1
    # this runner names its tactics on a line of their own
    assert "kIMMA_V2_TILE_16x240" in set(found["kernel"])


def test_split_k_tactics_keep_their_kernel() -> None:
    rows = read_build_log(FP16_FC).rows
    gemm = rows[rows["runner"] == "CaskGemmConvolution"]
    assert len(gemm) and gemm["kernel"].notna().all()


def test_reformats_are_told_apart() -> None:
    rows = read_build_log(INT8).rows
    assert set(rows["kind"]) == {"layer", "reformat"}
    assert set(rows.loc[rows["kind"] == "reformat", "runner"]) == {"Reformat"}


LAYER = "/features/0/Conv + /features/1/Relu"
RUNNER = "(CaskConvolution[0x80000009])"
TEN = [
    f"[11/01/2026-10:32:48] [{severity}] [TRT] {text}"
    for severity, text in (
        ("V", f"=============== Computing costs for {LAYER}"),
        ("V", "*************** Autotuning format combination: Float(9,3,1) -> Float(4,2,1) ***************"),
        ("V", f"--------------- Timing Runner: {LAYER} {RUNNER}"),
        ("V", "Tactic Name: sm80_a Tactic: 0xede36641840ce3d2 Time: 0.0533455"),
        ("V", "Tactic Name: sm80_b Tactic: 0x0000000000000fa6 Time: 0.0513463"),
        (
            "V",
            f"{LAYER} {RUNNER} profiling completed in 0.08 seconds. Fastest Tactic: 0x0000000000000fa6 Time: 0.0513463",
        ),
        ("V", f"Skipping CaskFlattenConvolution: No valid tactics for {LAYER}"),
        ("V", ">>>>>>>>>>>>>>> Chose Runner Type: CaskConvolution Tactic: 0x0000000000000fa6"),
        ("E", "Error[9]: Skipping tactic 0x0000000000000000 due to exception [x.cpp] NVRTC"),
        (
            "V",
            "{ForeignNode[/a.../b]} (Myelin[0x80000023]) profiling completed in 5.8 seconds. Fastest Tactic: 0xd15e Time: inf",
        ),
    )
]

MYELIN = """\
[V] Autotuning op node_linear(key: 0xe5c222cd6b9e29cbe66c8bec07cb6a07): [ONNX Layer: /fc/Gemm]
[V] Sorted table of all evaluated tactics:
[V] tactic_id, cost(in ms), cost/fastest_cost, prediction_correlation, kernel_name, tactic_hash, tunable_parameter
   4, 0.0126784, 1.00000, 0.84378, sm80_xmma_gemm_f32f32_tf32f32_f32_tn_n_tilesize32x32x64, 0x2c80ce2f5c4a6,
  34, 0.0130784, 1.03155, 0.92579, cutlass::device_kernel<int, 4>, 0x650de5b566787, a=1
The selected tactic is (tactic hash, cost(in ms)):0x2c80ce2f5c4a6, 0.0126784
[V] Writing the best tactic (0x2c80ce2f5c4a6) to cache
""".splitlines()


def test_the_form_of_10() -> None:
    table = parse_build_log(TEN)
    assert table.rows[["kernel", "time_ms", "fastest_of_formats"]].to_numpy().tolist() == [
        ["sm80_a", 0.0533455, False],
        ["sm80_b", 0.0513463, True],
    ]
    assert set(table.rows["layer"]) == {LAYER}
    assert set(table.rows["runner"]) == {"CaskConvolution"}
    assert table.rows["tactic"].tolist() == ["0xede36641840ce3d2", "0x0000000000000fa6"]
    assert table.rows["chosen"].isna().all() and "not known" in table.warnings[0]
    assert any("1 tactics failed" in text for text in table.warnings)


def test_myelins_tables() -> None:
    table = parse_build_log(MYELIN)
    rows = table.rows
    assert rows["layer"].tolist() == ["/fc/Gemm"] * 2 and set(rows["kind"]) == {"myelin"}
    assert rows["kernel"].tolist()[1] == "cutlass::device_kernel<int, 4>"
    assert rows["time_ms"].tolist() == [0.0126784, 0.0130784]
    assert rows["chosen"].tolist() == [True, False] and table.warnings == ()
    # TensorRT goes on after it, and its lines are read again
    assert len(parse_build_log([*MYELIN, *TEN]).rows) == 4
    assert len(parse_build_log([*TEN, *MYELIN]).rows) == 4


@pytest.mark.parametrize(
    "prefix", ["", "[V] ", "[TRT] [V] ", "Severity.VERBOSE: ", "[TensorRT] VERBOSE: ", "22:32:34 - DEBUG - "]
)
def test_prefixes_do_not_matter(prefix: str) -> None:
    lines = [prefix + line.split("[TRT] ")[-1] for line in TEN]
    assert len(parse_build_log(lines).rows) == 2


def test_numbers_of_old_versions() -> None:
    lines = [
        "[TensorRT] VERBOSE: *************** Autotuning format combination: Float(7,7) -> Float(7,7) ***************",
        "[TensorRT] VERBOSE: --------------- Timing Runner: LeakyRelu_144 (PointWiseV2)",
        "[TensorRT] VERBOSE: Tactic: -32 time 0.078624",
        "[TensorRT] VERBOSE: Tactic: 2 Time: inf",
        "[TensorRT] VERBOSE: Fastest Tactic: -32 Time: 0.078624",
    ]
    rows = parse_build_log(lines).rows
    assert rows["tactic"].tolist() == ["0xffffffffffffffe0", "0x0000000000000002"]
    assert pd.isna(rows["time_ms"].tolist()[1])


def test_a_log_that_was_cut_off(tmp_path: Path) -> None:
    whole = INT8.read_bytes()
    path = tmp_path / "cut.log.xz"
    path.write_bytes(whole[: len(whole) // 2])
    table = read_build_log(path)
    assert 0 < len(table.rows) < len(read_build_log(INT8).rows)
    assert "cut off or damaged" in table.warnings[0] and "not known" in table.warnings[1]
    assert table.rows["chosen"].isna().all()


def test_a_plain_file(tmp_path: Path) -> None:
    path = tmp_path / "plain.log"
    path.write_bytes(lzma.decompress(INT8.read_bytes()))
    pd.testing.assert_frame_equal(read_build_log(path).rows, read_build_log(INT8).rows)


LOGS = REPOSITORY / "tests/data/build_logs"


@pytest.mark.parametrize("name", ["trt-10-names-only.log", "trt-10-detailed.log"])
def test_both_lists_of_layers_of_10(name: str) -> None:
    table = read_build_log(LOGS / name)
    layer = "/features/features.0/Conv + /features/features.1/Relu"
    assert table.warnings == ()
    assert table.layers["layer"].tolist() == [f"Reformatting CopyNode for Input Tensor 0 to {layer}", layer]
    assert table.layers["runner"].tolist() == ["Reformat", "CaskConvolution"]
    assert table.layers["tactic"].tolist() == ["0x00000000000003e8", "0x280b0ad3c23d8442"]
    kernel = table.layers["kernel"].iloc[1]
    assert kernel.startswith("sm80_xmma_fprop_implicit_gemm_indexed") and kernel.endswith("aligna8_alignc8")
    assert table.rows["chosen"].tolist() == [False, False, True]
    assert table.layers["outputs"].iloc[1].startswith("/features/features.1/Relu_output_0 (Half[1,64")


def test_torch_tensorrts_myelin_layer() -> None:
    table = read_build_log(LOGS / "torch-tensorrt-myelin.log")
    assert table.rows["runner"].tolist() == ["Myelin"] and table.rows["chosen"].tolist() == [True]
    assert table.rows["time_ms"].tolist() == [0.0064407] and table.layers["timed"].tolist() == [True]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("trtexec-not-verbose.log", r"no tactic timing in 9 lines\."),
        ("rtx-1.6.1-fp16.log", r"no tactic timing in 7 lines; 4 layers of the finished engine are listed"),
    ],
)
def test_logs_without_timings_say_so(name: str, said: str) -> None:
    with pytest.raises(TraceError, match=said):
        read_build_log(LOGS / name)


def test_layers_of_tensorrt_rtx() -> None:
    layers = parse_build_log((LOGS / "rtx-1.6.1-fp16.log").read_text("utf-8").split("\n")).layers
    assert layers["runner"].tolist() == ["kgen", "correlation", "maxpool", "correlation"]
    assert layers["kernel"].iloc[0] == "__myl_CastConc_0x07870b57a4013e50ef4e12395645bd62"
    assert layers["inputs"].iloc[0] == "input (Float[8,3,224,224])"
    assert layers["outputs"].iloc[0] == "/relu/Relu_output_0.1_2_myl0 (Half[8,4,224,224])"


def test_formats_in_words() -> None:
    line = (
        "Name: a, LayerType: CaskConvolution, Inputs: [ { Name: x, Location: Device, Dimensions: [8,64,56,56], Format/Datatype: "
        "Thirty-two wide channel vectorized row major Int8 format }, { Name: r, Location: Device, Dimensions: [8,64], Format/Datatype: "
        "Row major linear FP32 }], Outputs: [ { Name: y, Location: Device, Dimensions: [8,64,56,56], Format/Datatype: Channel major "
        "FP16 format where channel % 8 == 0 }], TacticName: k<int, 4>, TacticValue: 0x1f, StreamId: 0, Metadata: "
    )
    layer = parse_build_log([f"[V] {line}"]).layers.iloc[0]
    assert (
        layer["inputs"] == "x (Int8[8,64:32,56,56]), r (Float[8,64])" and layer["outputs"] == "y (Half[8,64:8,56,56])"
    )
    assert (layer["kernel"], layer["tactic"]) == ("k<int, 4>", "0x000000000000001f")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig"])
@pytest.mark.parametrize("packed", [False, True])
def test_encodings(tmp_path: Path, encoding: str, packed: bool) -> None:
    """PowerShell's > writes UTF-16."""
    source = LOGS / "trt-10-detailed.log"
    content = source.read_text("utf-8").replace("\n", "\r\n").encode(encoding)
    path = tmp_path / "build.log"
    path.write_bytes(lzma.compress(content) if packed else content)
    pd.testing.assert_frame_equal(read_build_log(path).rows, read_build_log(source).rows)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no tactic timing in 0 lines"),
        (b"hello\n\xff\xfe\n", "in 2 lines"),
        (b"\xfd7zXZ\x00junk", "cut off or damaged"),
    ],
)
def test_files_that_are_no_build_log(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(content)
    with pytest.raises(TraceError, match=said):
        read_build_log(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="no such file"):
        read_build_log(tmp_path / "gone.log.xz")
    with pytest.raises(TraceError, match="is a folder"):
        read_build_log(tmp_path)


@pytest.mark.parametrize("log", OF_RTX, ids=lambda log: log.parent.name)
def test_a_log_of_tensorrt_rtx_holds_no_timings_and_says_so(log: Path) -> None:
    with pytest.raises(TraceError, match=r"no tactic timing in .* layers of the finished engine are listed"):
        read_build_log(log)


@pytest.mark.parametrize(
    ("limit", "found"), [("_MAX_ROWS", "more than 20 candidates"), ("_MAX_CHARACTERS", "more than 20 characters")]
)
def test_a_log_that_is_too_long_is_refused(limit: str, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_log, limit, 20)
    with pytest.raises(TraceError, match=found):
        read_build_log(INT8)
