"""A study with labels, made up: what ``study --images`` and the sensitivity workload write, small."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLASSES = ("cat", "dog")


def run(
    title: str, framework: str, precision: str, mode: str, p50: float, top1: float, difference: float, **more: Any
) -> dict[str, Any]:
    """A bench document; the interval of the difference is one point wide."""
    half = more.pop("half", 0.2)
    lost = more.pop("lost", 3)
    return {
        "format": "profiler-bench/1",
        "title": title,
        "framework": framework,
        "precision": precision,
        "mode": mode,
        "batch": 8,
        "model": "resnet50",
        "gpu": "NVIDIA Test",
        "complete": True,
        "bench": {
            "latency_ms": {"p50": p50, "p99": 1.1 * p50, "mean": p50, "min": p50, "n": 100},
            "memory": {"weights_bytes": more.pop("weights", 100 << 20), "activations_bytes": 50 << 20},
            "telemetry": {"memory_used_bytes_process": 900 << 20},
        },
        "engine": {"onnx_export": {"quantisation": more.pop("quantisation", None)}},
        "accuracy": {
            "agreement": {"sqnr_db": 30.0, "top1_agreement_pct": 99.0},
            "accuracy": {
                "images": 1000,
                "top1_pct": top1,
                "top1_interval_pct": [top1 - 0.7, top1 + 0.5],
                "classes": [
                    {"class": "cat", "images": 500, "right": 495},
                    {"class": "dog", "images": 500, "right": round(10 * top1) - 495},
                ],
                "against_fp32": {
                    "difference_points": difference,
                    "interval_points": [difference - half, difference + half],
                    "only_reference_right": lost,
                    "only_this_right": 2,
                    "disagree": lost + 2,
                    "images": [
                        {"image": f"cat/{i}.png", "label": "cat", "reference": "cat", "this": "dog"}
                        for i in range(lost)
                    ],
                },
            },
        },
        **more,
    }


def write_study(folder: Path, images: bool = False) -> Path:
    """PyTorch FP32, TensorRT FP16, and INT8 in three ways, of which one loses too much and one cannot be told."""
    entropy = {"placement": "fused", "calibrator": "entropy", "data": {"images": 512}}
    runs = {
        "torch-fp32-eager-b8": run("PyTorch FP32, eager, batch 8", "PyTorch", "fp32", "eager", 4.0, 99.0, 0.0, half=0.0, lost=0),
        "trt-fp16-graph-b8": run("TensorRT FP16, CUDA graph, batch 8", "TensorRT", "fp16", "graph", 0.5, 99.0, 0.0),
        "trt-int8-graph-b8": run(
            "TensorRT INT8, CUDA graph, batch 8", "TensorRT", "int8", "graph", 0.4, 98.9, -0.1, quantisation=entropy, weights=25 << 20
        ),
        "trt-int8-max-graph-b8": run("TensorRT INT8 (max), CUDA graph, batch 8", "TensorRT", "int8", "graph", 0.4, 97.0, -2.0, lost=22),
        "trt-int8-16-images-graph-b8": run(
            "TensorRT INT8 (16-images), CUDA graph, batch 8", "TensorRT", "int8", "graph", 0.4, 98.7, -0.3, half=0.6
        ),
    }  # fmt: skip
    (folder / "bench").mkdir(parents=True)
    for name, document in runs.items():
        (folder / "bench" / f"{name}.json").write_text(json.dumps(document))
    figures = {"sqnr_db": 30.0, "top1_pct": 99.0, "top1_agreement_pct": 99.5}
    layers = [
        {"layer": "/conv1/Conv", "operator": "Conv", "alone": {**figures, "sqnr_db": 20.0}, "all_but": figures},
        {"layer": "/fc/Gemm", "operator": "Gemm", "alone": figures, "all_but": {**figures, "sqnr_db": 18.5}},
    ]
    (folder / "sensitivity.json").write_text(
        json.dumps(
            {"images": 1000, "float": {"top1_pct": 99.0}, "models": [{**figures, "sqnr_db": 18.0}], "layers": layers}
        )
    )
    (folder / "training.json").write_text(
        json.dumps(
            {
                "model": "resnet50",
                "data": "drawings",
                "epochs": 3,
                "images": {"train": 600, "calibration": 100, "test": 1000},
            }
        )
    )
    if images:
        for i in range(3):
            (folder / "images" / "cat").mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((28, 28), 80 * i, dtype=np.uint8)).save(folder / "images" / "cat" / f"{i}.png")
    return folder
