from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.errors import TraceError
from profiler.trace.engine_file import (
    MAX_DESCRIPTION_CHARACTERS,
    data_type,
    onnx_layers,
    parse_layer,
    parse_payloads,
    read_engine_file,
)
from tests.support.traces import run_folder

FILES = Path(__file__).parents[2] / "data" / "engine_files"


def test_inspector_json_of_8_5() -> None:
    layers = read_engine_file(run_folder("trt-int8-b8") / "layers.json")
    assert len(layers) == 57
    conv = layers[2]
    assert (conv.kind, conv.precision) == ("CaskConvolution", "int8")
    assert conv.min_bytes == 8 * 64 * 56 * 56 * 2 + 4096 + 64 * 4  # input and output in INT8, weights, FP32 bias


def test_split_format_and_type_of_11() -> None:
    layer = parse_layer(
        {
            "Name": "conv",
            "LayerType": "CaskConvolution",
            "Inputs": [{"Name": "x", "Dimensions": [1, 2, 3], "Format": "Linear", "Datatype": "Half"}],
            "Outputs": [{"Name": "y", "Dimensions": [1, 4], "Format": "Linear", "Datatype": "BFloat16"}],
            "Metadata": "[ONNX Layer: /conv/Conv]",
        }
    )
    assert layer is not None
    assert [t.dtype for t in (*layer.inputs, *layer.outputs)] == ["fp16", "bf16"]
    assert layer.min_bytes == 12 + 8


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Row major linear FP32", "fp32"),
        ("Thirty-two wide channel vectorized row major Int8 format", "int8"),
        ("Channel major FP16 format where channel % 8 == 0", "fp16"),
        ("BFloat16", "bf16"),
        ("N/A due to dynamic shapes", None),
    ],
)
def test_types_in_descriptions(text: str, expected: str | None) -> None:
    assert data_type(text) == expected


def test_names_only_and_profiles(tmp_path: Path) -> None:
    path = tmp_path / "names.json"
    path.write_text(json.dumps({"Layers": ["/conv1/Conv", "/fc/Gemm"], "Bindings": []}))
    assert [(la.name, la.min_bytes) for la in read_engine_file(path)] == [("/conv1/Conv", None), ("/fc/Gemm", None)]
    path.write_text(json.dumps([{"count": 10}, {"name": "/conv1/Conv", "timeMs": 3.0, "averageMs": 0.3}]))
    assert [la.name for la in read_engine_file(path)] == ["/conv1/Conv"]


def test_bad_files_are_errors(tmp_path: Path) -> None:
    for content in ("", "{", "[]", '{"Layers": []}', '{"Layers": 5}', "5"):
        path = tmp_path / "bad.json"
        path.write_text(content)
        with pytest.raises(TraceError, match=r"bad\.json"):
            read_engine_file(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Name", "LayerType", "Inputs", "Outputs", "Dimensions", "Weights", "Count", "Type"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_json_is_a_layer_or_none(document: object) -> None:
    layer = parse_layer(document)
    if layer is not None:
        assert isinstance(layer.name, str)
        assert layer.min_bytes is None or isinstance(layer.min_bytes, int)


@given(st.text(max_size=50))
def test_any_text_is_a_payload_or_none(text: str) -> None:
    parse_payloads({1: text})


@pytest.mark.parametrize("name", ["trt-8.6.0-fp16.layers.json", "rtx-1.6.1-fp16.layers.json"])
def test_raw_control_characters(name: str) -> None:
    """TensorRT writes U+001E and U+001F as they are; the same layer comes out of a file and out of a payload."""
    text = (FILES / name).read_text("utf-8")
    with pytest.raises(ValueError, match="control character"):
        json.loads(text)
    layers = read_engine_file(FILES / name)
    assert len(layers) == 9
    named = next(layer for layer in layers if "/conv1/Conv" in layer.name and "Reformatting" not in layer.name)
    assert onnx_layers(named.metadata or "") == ("/conv1/Conv", "/relu/Relu")
    raw = json.dumps(named.raw).replace("\\u001e", "\x1e").replace("\\u001f", "\x1f")
    assert parse_payloads({7: raw, 8: "{not JSON", 9: "text"}) == {7: named}


def test_layers_of_tensorrt_rtx() -> None:
    first, conv, pool, *_, last = read_engine_file(FILES / "rtx-1.6.1-fp16.layers.json")
    assert [first.kind, conv.kind, pool.kind, last.kind] == ["kgen", "correlation", "maxpool", "runtime_fusion"]
    assert (first.precision, conv.precision) == ("fp32", "fp16")
    # 64 filters of 4×7×7 and 64 biases in FP16, two FP32 scalars; input 8×4×224×224, output 8×64×112×112, both in FP16
    assert conv.weight_bytes == (64 * 4 * 7 * 7 + 64) * 2 + 2 * 4
    assert conv.min_bytes == conv.weight_bytes + 8 * 4 * 224 * 224 * 2 + 8 * 64 * 112 * 112 * 2
    assert pool.weight_bytes == 0


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ("", ()),
        ("[ONNX Layer: /a/Conv]", ("/a/Conv",)),
        ("[ONNX Layer: a]\x1e[ONNX Layer: b]\x1f[ONNX Layer: a]", ("a", "b")),
        ("[ONNX Layer: (Unnamed Layer* 6) [Shuffle]]\x1e[ONNX Layer: b]", ("(Unnamed Layer* 6) [Shuffle]", "b")),
        ("[ONNX Layer: a][ONNX Layer: b]", ("a", "b")),  # the separators were lost on the way
        ("[RELU]-[aten_ops.relu.default]-[/relu]", ()),
    ],
)
def test_onnx_layers(metadata: str, expected: tuple[str, ...]) -> None:
    layer = parse_layer({"Name": "x", "Metadata": metadata})
    assert layer is not None and onnx_layers(metadata) == expected and layer.metadata == (metadata or None)


def test_files_of_other_tools() -> None:
    names = [layer.name for layer in read_engine_file(FILES / "names-only.json")]
    assert len(names) == 6 and names[-1] == "/fc/Gemm"
    assert [layer.name for layer in read_engine_file(FILES / "export-profile.json")] == names
    detailed = read_engine_file(FILES / "trt-10-detailed.json")
    assert [layer.name for layer in detailed] == names
    text = read_engine_file(FILES / "polygraphy.txt")
    assert [(layer.name, layer.kind) for layer in text] == [(name, "Cask") for name in names]
    assert read_engine_file(FILES / "dla-profile.json")[1].name.startswith("{ForeignNode[")


def test_only_the_first_profile_is_read(tmp_path: Path) -> None:
    layers = read_engine_file(FILES / "two-profiles.json")
    assert [layer.name for layer in layers] == [layer.name for layer in read_engine_file(FILES / "names-only.json")]
    other = parse_layer("/fc/Gemm [profile 1]")
    assert other is not None and other.profile == 1
    path = tmp_path / "polygraphy.txt"
    path.write_text(
        "[I] ==== TensorRT Engine ====\n    - Profile: 0\n        Layer 0    | node_of_Y [Op: Reformat]\n"
        "    - Profile: 1\n        Layer 0    | node_of_Y [profile 1] [Op: MyelinReformat]\n"
    )
    assert [(layer.name, layer.kind) for layer in read_engine_file(path)] == [("node_of_Y", "Reformat")]


def test_utf16_and_byte_order_marks(tmp_path: Path) -> None:
    path = tmp_path / "layers.json"
    for encoding in ("utf-16", "utf-8-sig"):
        path.write_text(json.dumps({"Layers": ["é"]}, ensure_ascii=False), encoding=encoding)
        assert [layer.name for layer in read_engine_file(path)] == ["é"]


def test_descriptions_that_are_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "layers.json"
    with path.open("wb") as file:  # sparse: no disk is used
        file.truncate(MAX_DESCRIPTION_CHARACTERS + 1)
    with pytest.raises(TraceError, match="larger than 50,331,648 bytes"):
        read_engine_file(path)
    monkeypatch.setattr("profiler.trace.engine_file.MAX_DESCRIPTION_CHARACTERS", 40)
    with pytest.raises(TraceError, match=r"payloads hold 60 characters.*up to 40"):
        parse_payloads({1: "{" * 30, 2: "{" * 30})


def test_impossible_sizes_are_unknown() -> None:
    huge = {"Name": "x", "Dimensions": [1 << 62, 1 << 62], "Format/Datatype": "Half"}
    layer = parse_layer(
        {"Name": "x", "LayerType": "y", "Inputs": [huge], "Weights": {"Type": "Half", "Count": 10**400}}
    )
    assert (
        layer is not None and layer.inputs[0].bytes is None and layer.weight_bytes is None and layer.min_bytes is None
    )
