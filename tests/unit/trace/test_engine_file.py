from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.errors import TraceError
from profiler.trace.engine_file import data_type, parse_layer, parse_layer_text, read_engine_file
from tests.conftest import TRACES


def test_inspector_json_of_8_5() -> None:
    layers = read_engine_file(TRACES / "trt-int8-b8" / "layers.json")
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
    parse_layer_text(text)
