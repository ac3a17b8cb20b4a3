"""QuickGELU in PyTorch, in ONNX as one node, as stock operators, and in INT8 between Q and DQ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from profiler.engine import calibration, custom_node, export, onnx_graph, qdq, torch_export
from profiler.errors import ProfilerError, UsageError
from profiler.plugins import activation
from profiler.plugins.names import DOMAIN, OP_TYPE

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

ALPHA = float(np.float32(1.702))


def custom_nodes(model: Any) -> list[Any]:
    return [node for node in model.graph.node if custom_node.is_custom(node)]


class Block(torch.nn.Module):  # type: ignore[misc]
    """A residual block whose one ReLU module runs twice."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = torch.nn.Conv2d(channels, channels, 3, padding=1)
        self.relu = torch.nn.ReLU(inplace=True)

    def forward(self, x: Any) -> Any:
        return self.relu(self.conv2(self.relu(self.conv1(x))) + x)


class Net(torch.nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 8, 3)
        self.relu = torch.nn.ReLU()
        self.pool = torch.nn.MaxPool2d(2)
        self.layer1 = torch.nn.Sequential(Block(8), Block(8))
        self.fc = torch.nn.Linear(8, 5)

    def forward(self, x: Any) -> Any:
        x = self.layer1(self.pool(self.relu(self.stem(x))))
        return self.fc(x.mean((2, 3)))


def net(as_node: bool = False) -> Any:
    torch.manual_seed(0)
    model = Net().eval()
    assert activation.replace_relus(torch, model, "quickgelu", as_node) == 3
    return model


def images(count: int = 2) -> Any:
    return torch.randn((count, 3, 16, 16), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def custom() -> Any:
    model = torch_export.export(torch, net(as_node=True), images(), 17, True, (DOMAIN,))
    onnx_graph.fold_identities(model)
    onnx.checker.check_model(model)
    return model


def run(model: Any, x: Any) -> Any:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]


def test_the_module_is_the_function() -> None:
    module = activation.quick_gelu_class(torch)()
    x = torch.linspace(-20, 20, 4001)
    exact = x.double() / (1 + torch.exp(-ALPHA * x.double()))
    torch.testing.assert_close(module(x).double(), exact, rtol=1e-6, atol=1e-9)
    assert module(x.half()).dtype == torch.float16
    assert float(module(torch.zeros(1))) == 0.0  # padding of vectorised layouts stays zero


def test_names_stay_and_a_shared_relu_stays_one_module() -> None:
    model = net()
    kinds = {name: type(module).__name__ for name, module in model.named_modules()}
    assert kinds["relu"] == kinds["layer1.0.relu"] == kinds["layer1.1.relu"] == "QuickGELU"
    assert "ReLU" not in kinds.values()


def test_what_cannot_be_replaced() -> None:
    with pytest.raises(ProfilerError, match="no ReLU module"):
        activation.replace_relus(torch, torch.nn.Linear(2, 2), "quickgelu")
    with pytest.raises(UsageError, match="expected quickgelu"):
        activation.replace_relus(torch, Net(), "mish")


def test_one_custom_node_a_call_named_by_its_module(custom: Any) -> None:
    nodes = custom_nodes(custom)
    assert [node.name for node in nodes] == [
        "/relu/ProfilerQuickGelu",
        "/layer1/layer1.0/relu/ProfilerQuickGelu",
        "/layer1/layer1.0/relu_1/ProfilerQuickGelu",
        "/layer1/layer1.1/relu/ProfilerQuickGelu",
        "/layer1/layer1.1/relu_1/ProfilerQuickGelu",
    ]
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in nodes[0].attribute}
    assert attributes == {"alpha": ALPHA, "plugin_version": b"1", "plugin_namespace": b""}
    assert {entry.domain: entry.version for entry in custom.opset_import} == {"": 17, "profiler": 1}


def test_without_as_node_the_exporter_sees_operators() -> None:
    model = torch_export.export(torch, net(), images(), 17, True)
    assert not custom_nodes(model)
    assert sum(node.op_type == "Sigmoid" for node in model.graph.node) == 5


def test_stock_operators_compute_the_same(custom: Any) -> None:
    stock = custom_node.to_stock_operators(custom)
    onnx.checker.check_model(stock, full_check=True)
    assert [entry.domain for entry in stock.opset_import] == [""]
    assert [n.op_type for n in stock.graph.node if n.name.startswith("/relu/")] == ["Mul", "Sigmoid", "Mul"]
    expected = net()(images()).detach().numpy()
    np.testing.assert_allclose(run(stock, images()), expected, rtol=1e-4, atol=1e-5)
    assert custom_nodes(custom), "the model given is not changed"


def test_stock_operators_in_fp16() -> None:
    model = torch_export.export(torch, net(as_node=True).half(), images().half(), 17, True, (DOMAIN,))
    stock = custom_node.to_stock_operators(model)
    onnx.checker.check_model(stock, full_check=True)
    alpha = next(t for t in stock.graph.initializer if t.name.startswith("quick_gelu_alpha"))
    assert alpha.data_type == onnx.TensorProto.FLOAT16


def quantised(custom: Any, in_int8: bool) -> tuple[Any, Any]:
    data = calibration.open_data("random", (3, 16, 16), 16, 0)
    return export.quantise(custom, data, "max", 8, in_int8)


def test_int8_nodes_stand_between_q_and_dq(custom: Any) -> None:
    pytest.importorskip("onnxruntime")
    model, record = quantised(custom, True)
    onnx.checker.check_model(model)
    assert record["quantised_activations"] == 5
    made, read = onnx_graph.producers(model), onnx_graph.readers(model)
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    for node in custom_nodes(model):
        before = made[node.input[0]]
        assert before.op_type == "QuantizeLinear" and before.input[0] not in constants
        after = {reader.op_type for reader, _ in read[node.output[0]]}
        assert after == {"DequantizeLinear"}
        scales = {a.name: a.f for a in node.attribute if a.name.endswith("_scale")}
        assert scales["input_scale"] == float(constants[before.input[1]])
        (dequantise, _), *others = read[node.output[0]]
        assert not others and scales["output_scale"] == float(constants[dequantise.input[1]])
    # every tensor that is read is made, before it is read, and nothing is made for nobody
    known = set(constants) | {model.graph.input[0].name}
    for node in model.graph.node:
        assert set(node.input) <= known, node.name
        known |= set(node.output)
        assert all(name in read or name == model.graph.output[0].name for name in node.output), node.name


def test_int8_nodes_compute_what_the_float_model_computes(custom: Any) -> None:
    """Each INT8 node is written out as DQ, the function, Q; the whole is then close to the float model."""
    model, _ = quantised(custom, True)
    helper, nodes, path = onnx.helper, [], 0
    for node in model.graph.node:
        if not custom_node.is_custom(node):
            nodes.append(node)
            continue
        scales = {a.name: a.f for a in node.attribute if a.name.endswith("_scale")}
        path += 1
        names = {key: f"written_{path}_{key}" for key in ("s", "t", "z", "x", "y")}
        for key, value in (("s", scales["input_scale"]), ("t", scales["output_scale"])):
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(value), names[key]))
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.int8(0), names["z"]))
        nodes.append(helper.make_node("DequantizeLinear", [node.input[0], names["s"], names["z"]], [names["x"]]))
        nodes.append(helper.make_node(OP_TYPE, [names["x"]], [names["y"]], name=f"/n{path}/Q", domain="profiler"))
        nodes.append(helper.make_node("QuantizeLinear", [names["y"], names["t"], names["z"]], [node.output[0]]))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    found = run(custom_node.to_stock_operators(model), images(8))
    expected = net()(images(8)).detach().numpy()
    noise = np.square(found - expected).sum() / np.square(expected).sum()
    assert noise < 0.01, noise


def test_int8_model_with_the_activation_in_float(custom: Any) -> None:
    model, record = quantised(custom, False)
    assert record["quantised_activations"] == 0
    for node in custom_nodes(model):
        assert not any(a.name.endswith("_scale") for a in node.attribute)
        assert node.input[0].endswith("output_0")


def test_an_activation_that_is_the_models_output_stays_in_float() -> None:
    torch.manual_seed(0)
    last = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()).eval()
    activation.replace_relus(torch, last, "quickgelu", as_node=True)
    model = torch_export.export(torch, last, images(), 17, True, (DOMAIN,))
    assert qdq.place(model).custom == ()
