from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the export needs PyTorch")
onnx = pytest.importorskip("onnx", reason="the export needs onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="calibration needs onnxruntime")

from profiler.engine import calibration, export, onnx_graph, qdq, torch_export  # noqa: E402
from profiler.errors import OutputError, ProfilerError, UsageError  # noqa: E402
from tests.support import small_network  # noqa: E402 - after the check that torch is here

SHAPE = ["--model", "tests.support.small_network:make", "--input-shape", "3,32,32"]


def exported(folder: Path, *argv: str) -> tuple[Any, dict[str, Any]]:
    target = folder / "m.onnx"
    export.main([*SHAPE, "--output", str(target), "--force", *argv])
    return onnx.load(target), json.loads((folder / "m.onnx.json").read_text())


def run(model: Any, images: Any, optimised: bool = True) -> Any:
    options = onnxruntime.SessionOptions()
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})[0]


def sqnr_db(reference: Any, other: Any) -> float:
    return float(10 * np.log10((reference**2).sum() / ((reference - other) ** 2).sum()))


@pytest.fixture(scope="module")
def images() -> Any:
    return np.random.default_rng(5).standard_normal((32, 3, 32, 32), dtype=np.float32)


@pytest.fixture(scope="module")
def reference(images: Any) -> Any:
    with torch.no_grad():
        return small_network.make()[0](torch.from_numpy(images)).numpy()


def test_fp32_is_folded_and_named_by_module(tmp_path: Path, images: Any, reference: Any) -> None:
    model, record = exported(tmp_path)
    kinds = Counter(node.op_type for node in model.graph.node)
    assert kinds == {"Conv": 10, "Relu": 9, "Add": 4, "MaxPool": 1, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}
    names = {node.name for node in model.graph.node}
    assert {"/conv1/Conv", "/layer2/layer2.0/downsample/downsample.0/Conv", "/layer1/layer1.1/conv2/Conv"} <= names
    assert onnx_graph.opset(model) == 17
    batch = model.graph.input[0].type.tensor_type.shape.dim[0]
    assert batch.dim_param == "batch"
    np.testing.assert_allclose(run(model, images), reference, rtol=1e-4, atol=1e-5)
    assert record["format"] == "profiler-onnx/1" and record["batch_norms_folded"] == 10
    assert record["weights"]["kind"] == "random" and record["quantisation"] is None


def test_equal_constants_are_no_identity_nodes(tmp_path: Path) -> None:
    model, record = exported(tmp_path, "--model", "tests.support.small_network:make_plain")
    assert record["identities_folded"] > 0
    assert not any(node.op_type == "Identity" for node in model.graph.node)
    constants = onnx_graph.initialisers(model)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert all(name in constants for node in convolutions for name in node.input[1:])
    # the biases are now one constant, which must not be taken for the place where a residual block begins
    placement = qdq.place(model)
    assert dict(placement.skips)["/layer2/layer2.0/Add"].endswith("downsample.0/Conv_output_0")


def test_fp16_with_fp32_io(tmp_path: Path, images: Any, reference: Any) -> None:
    model, record = exported(tmp_path, "--precision", "fp16")
    half, full = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    assert {tensor.data_type for tensor in model.graph.initializer} == {half}
    ends = [*model.graph.input, *model.graph.output]
    assert [value.type.tensor_type.elem_type for value in ends] == [full, full]
    assert [node.name for node in model.graph.node if node.op_type == "Cast"] == ["input_Cast", "logits_Cast"]
    assert record["precision"] == "fp16" and record["io"] == "fp32"
    assert sqnr_db(reference, run(model, images)) > 45
    model, _ = exported(tmp_path, "--precision", "fp16", "--io", "fp16", "--batch", "4")
    assert model.graph.input[0].type.tensor_type.elem_type == half
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 4


def test_where_pairs_go(tmp_path: Path) -> None:
    model, _ = exported(tmp_path)
    found = qdq.place(model)
    assert len(found.weights) == 11 and {axis for _, axis in found.weights} == {0}
    assert dict(found.skips) == {
        "/layer1/layer1.0/Add": "/maxpool/MaxPool_output_0",
        "/layer1/layer1.1/Add": "/layer1/layer1.0/relu_1/Relu_output_0",
        "/layer2/layer2.0/Add": "/layer2/layer2.0/downsample/downsample.0/Conv_output_0",
        "/layer2/layer2.1/Add": "/layer2/layer2.0/relu_1/Relu_output_0",
    }
    assert {"input", "/relu/Relu_output_0", "/Flatten_output_0", "/layer2/layer2.1/relu_1/Relu_output_0"} <= set(
        found.activations
    )
    # the trunk of a block runs into its Add unquantised, so that TensorRT can fuse the Add into it
    assert "/layer2/layer2.0/conv2/Conv_output_0" not in found.activations
    assert found.same_scale == (("/maxpool/MaxPool_output_0", "/relu/Relu_output_0"),)
    assert found.left_alone == ()


@pytest.mark.parametrize("method", ["max", "entropy"])
def test_int8_computes_what_fp32_does(tmp_path: Path, images: Any, reference: Any, method: str) -> None:
    np.save(tmp_path / "c.npy", images)
    argv = ["--int8", "--calibration", str(tmp_path / "c.npy"), "--calibrator", method]
    model, record = exported(tmp_path, *argv)
    assert sqnr_db(reference, run(model, images)) > (25 if method == "max" else 15)
    quantisation = record["quantisation"]
    assert quantisation["activation_pairs"] == 13 and quantisation["weight_pairs"] == 11
    assert quantisation["data"] == {"kind": "file", "label": "c.npy", "images": 32}
    assert "at least 500 are advised" in quantisation["warning"] and record["precision"] == "int8"


def test_the_quantised_graph_is_what_8_5_parses(tmp_path: Path) -> None:
    model, record = exported(tmp_path, "--int8", "--calibration", "random")
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    quantised = Counter(node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear")
    assert set(quantised.values()) == {1}  # one pair per tensor
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            scale, zero = constants[node.input[1]], constants[node.input[2]]
            assert scale.dtype == np.float32 and (scale > 0).all()
            assert zero.dtype == np.int8 and not zero.any() and zero.shape == scale.shape
        if node.op_type in ("Conv", "Gemm"):
            assert node.input[0].endswith("_dq") and node.input[1].endswith("_dq")
        if node.op_type in qdq.POOLS:
            assert node.input[0].endswith("_dq")
        if node.op_type == "Add":
            assert sum(name.endswith("_dq") for name in node.input) == 1
    weight = next(n for n in model.graph.node if n.name.startswith("conv1.weight") and n.op_type == "QuantizeLinear")
    assert constants[weight.input[1]].shape == (16,)
    assert constants["/maxpool/MaxPool_output_0_scale"] == constants["/relu/Relu_output_0_scale"]
    assert "says nothing about accuracy" in record["quantisation"]["warning"]
    assert [v.type.tensor_type.elem_type for v in model.graph.output] == [onnx.TensorProto.FLOAT]
    with pytest.raises(ProfilerError, match="already"):
        qdq.place(model)


def test_calibration_from_a_folder_of_images(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="images need Pillow")
    generator = np.random.default_rng(0)
    for label in ("n01", "n02"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for index in range(3):
            pixels = generator.integers(0, 256, (50, 40, 3), dtype=np.uint8)
            image.fromarray(pixels).save(tmp_path / "images" / label / f"{index}.png")
    data = calibration.open_data(str(tmp_path / "images"), (3, 32, 32), 4, 0)
    assert (data.kind, data.label, data.images) == ("folder", "images", 4)
    parts = list(data.batches(3))
    assert [part.shape for part in parts] == [(3, 3, 32, 32), (1, 3, 32, 32)]
    assert -3 < parts[0].mean() < 3
    _, record = exported(tmp_path, "--int8", "--calibration", str(tmp_path / "images"), "--calibrator", "max")
    assert record["quantisation"]["data"]["images"] == 6
    with pytest.raises(UsageError, match="square"):
        calibration.open_data(str(tmp_path / "images"), (3, 32, 16), 4, 0)


def test_max_calibration_finds_the_extremes(tmp_path: Path, images: Any) -> None:
    model, _ = exported(tmp_path)
    np.save(tmp_path / "c.npy", images)
    data = calibration.open_data(str(tmp_path / "c.npy"), (3, 32, 32), 512, 0)
    low, high = calibration.collect_ranges(model, ["input"], data, "max", 8)["input"]
    assert max(-low, high) == pytest.approx(np.abs(images).max())


@pytest.mark.parametrize(
    ("argv", "error", "said"),
    [
        (["--int8"], UsageError, "no --calibration was given"),
        (["--calibration", "random"], UsageError, "for INT8 and FP8 only"),
        (["--int8", "--calibration", "random", "--precision", "fp16"], UsageError, "float32 model"),
        (["--io", "fp16"], UsageError, "only with --precision fp16"),
        (["--int8", "--calibration", "/nowhere"], UsageError, "no such file or folder"),
        (["--model", "tests.support.small_network:gone"], UsageError, "has no gone"),
        (["--model", "gone:make"], UsageError, "cannot be imported"),
        (["--model", "os:getcwd"], UsageError, "a tuple"),
        (["--output", "/nowhere/m.onnx"], OutputError, "cannot be written"),
    ],
)
def test_what_is_refused(tmp_path: Path, argv: list[str], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        exported(tmp_path, *argv)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_model_is_kept(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists already"):
        export.main([*SHAPE, "--output", str(tmp_path / "m.onnx")])
    assert (tmp_path / "m.onnx").read_bytes() == b"mine"


def test_calibration_images_of_another_shape(tmp_path: Path) -> None:
    np.save(tmp_path / "c.npy", np.zeros((2, 3, 8, 8), np.float32))
    with pytest.raises(ProfilerError, match="was expected"):
        calibration.open_data(str(tmp_path / "c.npy"), (3, 32, 32), 4, 0)


def test_scales() -> None:
    with pytest.raises(ProfilerError, match=r"the range 0\.0 to inf") as caught:
        qdq.scale_of(0.0, float("inf"))
    assert "infinities or NaN" in (caught.value.hint or "")
    assert qdq.scale_of(0.0, 0.0) == pytest.approx(1 / 127)
    assert qdq.scale_of(-3.0, 2.0) == pytest.approx(3 / 127)


def test_batch_norms_that_cannot_be_folded_are_put_back() -> None:
    module, example = small_network.make_unfoldable()
    with torch.no_grad():
        before = module(example)
        assert torch_export.fold_batch_norms(torch, module, example) == 0
        assert torch.equal(module(example), before)
    assert isinstance(module.bn, torch.nn.BatchNorm2d)


def test_nothing_to_quantise() -> None:
    node = onnx.helper.make_node("Relu", ["a"], ["b"], name="r")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph([node], "g", [value("a", 1, [1])], [value("b", 1, [1])])
    with pytest.raises(ProfilerError, match="nothing can be quantised"):
        qdq.place(onnx.helper.make_model(graph))


def test_gemm_and_matmul_weights_per_output_channel() -> None:
    value, make = onnx.helper.make_tensor_value_info, onnx.helper.make_node
    weights = onnx.numpy_helper.from_array(np.ones((4, 6), np.float32), "w")
    for kind, extra, axis in (("Gemm", {}, 1), ("Gemm", {"transB": 1}, 0), ("MatMul", {}, 1)):
        node = make(kind, ["a", "w"], ["b"], name="n", **extra)
        graph = onnx.helper.make_graph([node], "g", [value("a", 1, [2, 4])], [value("b", 1, [2, 6])], [weights])
        assert qdq.place(onnx.helper.make_model(graph)).weights == (("w", axis),)
    scales = qdq.weight_scales(np.array([[1.0, -254.0], [0.0, 0.0]], np.float32), 0)
    assert scales.tolist() == pytest.approx([2.0, 1 / 127])


def test_badly_placed_pairs_for_comparison(tmp_path: Path) -> None:
    model, _ = exported(tmp_path)
    found = qdq.place(model, style=qdq.BOTH_INPUTS)
    adds = [add for add, _ in found.skips]
    assert len(adds) == 8 and len(set(adds)) == 4  # both inputs of each
    assert "/layer2/layer2.0/conv2/Conv_output_0" in found.activations and found.same_scale == ()
    assert "/layer2/layer2.1/relu_1/Relu_output_0" not in found.activations  # the last pooling's input


def test_fp8_pairs(tmp_path: Path, images: Any, reference: Any) -> None:
    np.save(tmp_path / "c.npy", images)
    argv = ["--fp8", "--opset", "19", "--calibration", str(tmp_path / "c.npy"), "--calibrator", "max"]
    model, record = exported(tmp_path, *argv)
    zeros = [t for t in model.graph.initializer if t.name.endswith("_zero_point")]
    assert zeros and {t.data_type for t in zeros} == {onnx.TensorProto.FLOAT8E4M3FN}
    assert record["precision"] == "fp8" and record["opset"] == 19
    # 3 bits of mantissa; ONNX Runtime's optimiser takes FP8 pairs for INT8 and computes something else
    assert sqnr_db(reference, run(model, images, optimised=False)) > 15
    with pytest.raises(UsageError, match="FP8 pairs need opset 19"):
        exported(tmp_path, "--fp8", "--calibration", str(tmp_path / "c.npy"))
