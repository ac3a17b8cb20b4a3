from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.analysis.fusion.layer_names import module_of_scope, parse_layer_name, resolve_calls


def operations(name: str, metadata: str | None = None) -> list[tuple[str | None, str | None]]:
    return [(n.op, n.module) for n in parse_layer_name(name, metadata).operations]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("/conv1/Conv + /relu/Relu", [("Conv", "conv1"), ("Relu", "relu")]),
        (
            "/layer1/layer1.0/downsample/downsample.0/Conv + /layer1/layer1.0/Add + /layer1/layer1.0/relu_2/Relu",
            [("Conv", "layer1.0.downsample.0"), ("Add", "layer1.0"), ("Relu", "layer1.0.relu_2")],
        ),
        ("/a/Conv || /b/Conv", [("Conv", "a"), ("Conv", "b")]),
        (
            "PWN(PWN(/features/features.1/block/block.0/block.0.2/Sigmoid), /features/features.1/block/block.0/block.0.2/Mul)",
            [("Sigmoid", "features.1.block.0.2"), ("Mul", "features.1.block.0.2")],
        ),
        ("/a/Conv + PWN(/b/Relu) [profile 1]", [("Conv", "a"), ("Relu", "b")]),
        ("Conv_0 + Relu_1", [("Conv", None), ("Relu", None)]),
        ("/Add_1", [("Add", "")]),
    ],
)
def test_fused_names_come_apart(name: str, expected: list[tuple[str, str]]) -> None:
    assert operations(name) == expected


def test_constants_and_quantisation_are_no_operations() -> None:
    for name in (
        "onnx::Conv_500 + node_of_onnx::Conv_500_q + /layer1/layer1.0/conv1/Conv + /layer1/layer1.0/relu/Relu",
        "layer1.0.conv1.weight + layer1.0.conv1.weight_QuantizeLinear + /layer1/layer1.0/conv1/Conv + /layer1/layer1.0/relu/Relu",
    ):
        parsed = parse_layer_name(name)
        assert [n.kind for n in parsed.nodes] == ["constant", "quantize", "operation", "operation"]


def test_reformats_say_whom_they_serve() -> None:
    parsed = parse_layer_name("Reformatting CopyNode for Input Tensor 0 to /conv1/Conv + /relu/Relu")
    assert (parsed.nodes, parsed.reformat_for) == ((), "/conv1/Conv + /relu/Relu")


def test_regions_keep_their_ends() -> None:
    parsed = parse_layer_name("{ForeignNode[/a/Conv.../b/Add]}")
    assert parsed.region == ("/a/Conv", "/b/Add")
    assert operations("{ForeignNode[/a/Conv.../b/Add]}") == [("Conv", "a"), ("Add", "b")]


def test_helpers_around_a_node_are_not_the_node() -> None:
    parsed = parse_layer_name("reshape_after_/fc/Gemm")
    assert [(n.kind, n.module) for n in parsed.nodes] == [("helper", "fc")]
    long = "fc.weight + transpose_before_/fc/Gemm + /fc/Gemm + (Unnamed Layer* 512) [Shuffle] + unsqueeze_node_after_fc.bias"
    assert operations(long) == [("Gemm", "fc")]


def test_metadata_is_preferred() -> None:
    metadata = "[ONNX Layer: /conv1/Conv]\x1e[ONNX Layer: /relu/Relu]\x1f"
    assert operations("__mye1234_myl0_0", metadata) == [("Conv", "conv1"), ("Relu", "relu")]


def test_scope_of_a_sequential_repeats_its_name() -> None:
    assert module_of_scope(["features", "features.3", "conv", "conv.0", "conv.0.1"]) == "features.3.conv.0.1"
    assert module_of_scope(["layer1", "layer1.0", "conv1"]) == "layer1.0.conv1"


def test_repeated_calls_are_told_from_numbered_modules() -> None:
    nodes = [n for name in ("/b/relu/Relu", "/b/relu_1/Relu", "/b/relu_2/Relu") for n in parse_layer_name(name).nodes]
    resolved = resolve_calls(nodes, frozenset({"b.relu"}))
    assert [(resolved[n].module, resolved[n].call) for n in nodes] == [("b.relu", 0), ("b.relu", 1), ("b.relu", 2)]
    resolved = resolve_calls(nodes, frozenset({"b.relu", "b.relu_1", "b.relu_2"}))
    assert [resolved[n].call for n in nodes] == [0, 0, 0]
    resolved = resolve_calls(nodes, frozenset())  # no other side: the base name occurs
    assert [resolved[n].call for n in nodes] == [0, 1, 2]


def test_a_repeated_block_is_resolved_inside_the_path() -> None:
    (node,) = parse_layer_name("/block_1/conv/Conv").nodes
    assert resolve_calls([node], frozenset({"block.conv"}))[node].module == "block.conv"


@given(st.text(max_size=200))
def test_any_name_is_parsed(name: str) -> None:
    parsed = parse_layer_name(name)
    assert all(n.name for n in parsed.nodes)


@given(
    st.lists(st.sampled_from(["/a/Conv", "/b/b.0/Relu", "PWN(/c/Mul)", "(", "]", "{x", "onnx::Conv_1"]), max_size=8),
    st.sampled_from([" + ", " || "]),
)
def test_joined_names_lose_no_operation(parts: list[str], separator: str) -> None:
    parsed = parse_layer_name(separator.join(parts))
    balanced = not any(p in ("(", "]", "{x") for p in parts)
    if balanced:
        assert {n.name for n in parsed.operations} == {
            p.removeprefix("PWN(").removesuffix(")") for p in parts if "/" in p
        }


def test_a_huge_name_is_no_problem() -> None:
    assert parse_layer_name("(" * 100_000).nodes
    assert len(parse_layer_name(" + ".join(f"/m{i}/Conv" for i in range(5_000))).operations) > 1_000
