#!/usr/bin/env python3
# ruff: noqa: PTH123, UP031, E501 - plain and quick to start
"""An interpreter that runs none of the project's modules but answers for them. Its behaviour comes from the environment:

FAKE_FAIL   MODULE=WHAT pairs separated by ";": that module prints WHAT and fails; WHAT "hang" waits for ever
FAKE_TRT    module and version of its TensorRT, such as "tensorrt_rtx 1.6.1.120"
FAKE_MISSING  packages that it lacks, separated by commas
FAKE_LOG    a file that gets one line of JSON a call
"""

import json
import os
import struct
import sys
import time

RESULT = {
    "format": "profiler-workload/1", "framework": "PyTorch", "framework_version": "2.11.0", "model": "resnet50",
    "weights": {"kind": "random", "label": "random (seed 0)", "seed": 0}, "gpu": {"name": "NVIDIA H200", "sm": 90},
    "latency_ms": None, "throughput": None, "telemetry": None, "warnings": [], "versions": {"torch": "2.11.0"},
}  # fmt: skip


def value(arguments, name, default=None):
    return arguments[arguments.index(name) + 1] if name in arguments else default


def save_npy(path, rows, columns, shift):
    """numpy may be missing where this runs: the format is simple enough to write."""
    header = ("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }" % (rows, columns)).ljust(117) + "\n"
    values = [float((i * 7 + j * 3) % 11) + shift * ((i + j) % 2) for i in range(rows) for j in range(columns)]
    with open(path, "wb") as file:
        file.write(
            b"\x93NUMPY\x01\x00"
            + struct.pack("<H", len(header))
            + header.encode()
            + struct.pack("<%df" % len(values), *values)
        )


def workload(module, arguments):
    result = dict(
        RESULT,
        precision=value(arguments, "--precision"),
        mode=value(arguments, "--mode"),
        batch=int(value(arguments, "--batch")),
    )
    result["input_shape"] = [result["batch"], 3, 224, 224]
    if "--bench" in arguments:
        latency = 4.0 if value(arguments, "--precision", "fp16") == "fp32" else 1.0
        result["latency_ms"] = {"p50": latency, "p90": latency * 1.1, "p99": latency * 1.2, "mean": latency, "n": 200}
        result["throughput"] = {"images_per_s": 1000 * result["batch"] / latency}
        result["telemetry"] = {"memory_used_bytes_process": 512 << 20, "power_w": {"mean": 300.0, "max": 400.0}}
    if "--nvtx-modules" in arguments:
        result["modules"] = [
            {"name": "conv1", "type": "Conv2d", "inputs": [[1, 3, 224, 224]], "outputs": [[1, 64, 112, 112]]}
        ]
    if "--save-outputs" in arguments:
        save_npy(value(arguments, "--save-outputs"), 4, 10, 0.5 if module.endswith("tensorrt") else 0.0)
    with open(value(arguments, "--output"), "w") as file:
        json.dump(result, file)


def build(arguments):
    plan = value(arguments, "--plan")
    with open(plan + ".layers.json", "w") as file:
        json.dump(
            {"Layers": [{"Name": "/layer1/layer1.0/conv1/Conv", "LayerType": "CaskConvolution"}], "Bindings": []}, file
        )
    with open(plan + ".build.json", "w") as file:
        json.dump({"format": "profiler-engine/1", "precision": value(arguments, "--precision"), "tensorrt_version": "8.5.3.1", "build_seconds": 12.5,
                   "onnx_export": {"model": "resnet50", "weights": {"kind": "random", "label": "random (seed 0)"}, "warnings": ["scales are meaningless"]}}, file)  # fmt: skip
    with open(plan, "wb") as file:
        file.write(b"plan")


def main():
    arguments = sys.argv[1:]
    if os.environ.get("FAKE_LOG"):
        with open(os.environ["FAKE_LOG"], "a") as log:
            log.write(json.dumps(arguments) + "\n")
    if arguments[:1] == ["-c"]:
        load, find = (part.split(",") for part in arguments[2:4])
        missing = [name for name in os.environ.get("FAKE_MISSING", "").split(",") if name in find]
        found = {"python": "3.10.1", "missing": missing, "versions": {}, "errors": {}}
        if "tensorrt" in load[0]:
            found["versions"] = dict([os.environ.get("FAKE_TRT", "tensorrt 8.5.3.1").split(" ")])
        print("PROBE" + json.dumps(found))
        return 0
    module = arguments[1]
    for pair in filter(None, os.environ.get("FAKE_FAIL", "").split(";")):
        name, _, what = pair.partition("=")
        if name in " ".join(arguments):
            if what == "hang":
                print("started", flush=True)
                time.sleep(600)
            print(what.replace("\\n", "\n"), file=sys.stderr)
            return 1
    if module.startswith("profiler.workloads."):
        workload(module, arguments[2:])
    elif module == "profiler.engine.export":
        with open(value(arguments, "--output"), "wb") as file:
            file.write(b"onnx")
    elif module == "profiler.engine.build":
        build(arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
