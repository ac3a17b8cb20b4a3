"""The ledger on engines of TensorRT 8.6 and of TensorRT-RTX (the generation of TensorRT 11), recorded on an H200."""

from __future__ import annotations

import pytest

import profiler
from tests.support.traces import bundled

CONVOLUTION_ENDS = ("conv1", "conv2", "conv3", "downsample.0")


def _is_features(label: str) -> bool:
    """A convolution of MobileNetV2: the numbers of the others in its Sequentials are those of norms and activations."""
    return label.startswith("features.") and label.endswith((".conv.0.0", ".conv.1.0", "features.0.0", "features.18.0"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("torch-fp16-eager-b8", "trt86-fp16-stream-b8"),
        ("torch-fp16-eager-b8", "trt86-fp16-graph-b8"),
        ("torch-fp16-eager-b8", "trt86-int8-stream-b8"),
        ("torch-fp16-eager-b8", "trt86-int8-graph-b8"),
        ("torch-fp32-eager-b8", "trt86-fp32-stream-b8"),
        ("torch-tf32-eager-b8", "trt86-tf32-stream-b8"),
        ("torch-fp16-eager-b8", "rtx-fp16-stream-b8"),
        ("torch-fp16-eager-b8", "rtx-fp16-graph-b8"),
        ("torch-tf32-eager-b8", "rtx-fp32-stream-b8"),
        ("mobilenet_v2-torch-fp32-eager-b8", "mobilenet_v2-rtx-fp16-stream-b8"),
        ("mobilenet_v2-torch-fp16-eager-b8", "mobilenet_v2-trt86-fp16-stream-b8"),
    ],
)
def test_every_convolution_has_its_kernel_and_all_time_is_in_rows(before: str, after: str) -> None:
    with profiler.open_run(bundled(before)) as first, profiler.open_run(bundled(after)) as second:
        ledger = profiler.fusion(first, second)
        n = second.inferences.count
        rows = [row for row in ledger.rows if row.unit is not None]
        convolutions = [
            r for r in rows if r.before is not None and (r.label.endswith(CONVOLUTION_ENDS) or _is_features(r.label))
        ]
        assert {r.status for r in convolutions} == {"kept"}
        assert all(r.after is not None and r.after.kernels >= n for r in convolutions)
        assert ledger.coverage("after").time_pct == pytest.approx(100.0)
        assert sum(r.after.kernels for r in ledger.rows if r.after is not None) == int(
            (second.inferences.of_kernel >= 0).sum()
        )


def test_squeeze_and_excitation_of_tensorrt_rtx() -> None:
    """EfficientNet-B0: each of 16 blocks keeps its two small products; 49 batch norms are absorbed; one SiLU stays unexplained."""
    with (
        profiler.open_run(bundled("efficientnet_b0-torch-fp16-eager-b8")) as before,
        profiler.open_run(bundled("efficientnet_b0-rtx-fp16-stream-b8")) as after,
    ):
        ledger = profiler.fusion(before, after)
        products = [r for r in ledger.rows if r.label.endswith((".fc1", ".fc2"))]
        assert len(products) == 32 and {r.status for r in products} == {"kept"}
        assert all(r.after is not None and r.after.kernels >= after.inferences.count for r in products)
        norms = [r for r in ledger.rows if r.status == "absorbed" and r.before is not None and r.before.kernels]
        assert len(norms) == 49
        assert [r.label for r in ledger.rows if r.status == "unexplained"] == ["features.8.2"]
        assert ledger.coverage("after").time_pct == pytest.approx(100.0)


def test_a_vision_transformer_of_tensorrt_rtx() -> None:
    """12 layers, each with two products of the perceptron and an attention that has kernels of its own."""
    with (
        profiler.open_run(bundled("vit_b_16-torch-fp16-eager-b8")) as before,
        profiler.open_run(bundled("vit_b_16-rtx-fp16-stream-b8")) as after,
    ):
        ledger = profiler.fusion(before, after)
        by_label = {row.label: row for row in ledger.rows}
        for k in range(12):
            layer = f"encoder.layers.encoder_layer_{k}"
            for part in ("self_attention", "mlp.0", "mlp.3"):
                row = by_label[f"{layer}.{part}"]
                assert row.status == "kept" and row.after is not None and row.after.kernels >= after.inferences.count
            assert by_label[f"{layer}.mlp.1"].status == "fused"
        assert ledger.coverage("after").time_pct is not None and ledger.coverage("after").time_pct > 99.5
        assert ledger.coverage("after").time_pct < 100  # one gather is claimed for nothing
