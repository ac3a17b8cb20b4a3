"""The Python plugin against TensorRT's real bindings of 10 and 11: registered, described, offered, and its launches evaluated.

TensorRT's part is played by trt_host.py: from Python over null stubs, and, where PROFILER_TENSORRT_INCLUDES names headers of the same
major version, from C++ through the bindings' own classes (trt_host.cpp). TensorRT itself is not there, and nothing runs on a GPU.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from profiler.errors import MissingToolError
from profiler.plugins import compile as compiling
from profiler.plugins import python_route
from tests.support.trt_bindings import VERSIONS, stub_libraries, unpacked_wheel

REPOSITORY = Path(__file__).parents[3]
HOST = Path(__file__).with_name("trt_host.cpp")
INCLUDES = [Path(p) for p in os.environ.get("PROFILER_TENSORRT_INCLUDES", "").split(os.pathsep) if p]
PTX = "// stands for the PTX: .entry αβγ"
ALPHA, SCALES = 1.702, (0.05, 0.1)
BATCHES = [1, 8, 70_000]

# (channels a vector, which dimension they are), from TensorRT's documentation of TensorFormat; None: no padding
LAYOUTS = {
    "FLOAT": {"LINEAR": None, "HWC": None},
    "HALF": {"LINEAR": None, "CHW2": (2, -3), "HWC8": (8, -3), "HWC16": (16, -3), "DHWC8": (8, -4)},
    "INT8": {"LINEAR": None, "CHW4": (4, -3), "CHW32": (32, -3), "CDHW32": (32, -4)},
}
SIZES = {"FLOAT": 4, "HALF": 2, "INT8": 1}
KERNELS = {"FLOAT": "fp32", "HALF": "fp16", "INT8": "int8"}
SHAPES = ([8, 64, 56, 56], [4, 3, 7, 5], [2, 33, 3, 5, 9], [5, 7], [3, 2, 9], [6])


def attributes(alpha: float = ALPHA, scales: tuple[float, float] = (0.0, 0.0)) -> dict[str, float]:
    """In another order than the plugin's: the parser goes by names."""
    return {"output_scale": scales[1], "alpha": alpha, "input_scale": scales[0]}


GOOD = [
    {"type": kind, "attributes": attributes(scales=SCALES if kind == "INT8" else (0.0, 0.0)), "dims": shape}
    for kind in LAYOUTS
    for shape in SHAPES
]
BAD = [
    ({"type": "HALF", "attributes": attributes(-1.0)}, "alpha is -1, and a number above 0 was expected"),
    ({"type": "HALF", "attributes": attributes(math.nan)}, "alpha is nan"),
    ({"type": "HALF", "attributes": attributes(scales=SCALES)}, "its input is FP16, and INT8 (it has scales)"),
    ({"type": "INT8", "attributes": attributes()}, "its input is INT8, and FP32 or FP16"),
    ({"type": "INT8", "attributes": attributes(scales=(0.1, 0.0))}, "both were expected above 0, or both 0"),
    ({"type": "BF16", "attributes": attributes()}, "its input is BF16"),
    ({"type": "INT32", "attributes": attributes()}, "its input is INT32"),
    ({"type": "HALF", "attributes": {"alpha": ALPHA}}, "export the model with --activation-as python-plugin"),
]


def bindings_library(version: str, host: str, folder: Path) -> Path | None:
    """TensorRT's libraries, as the bindings load them; the one that plays TensorRT from C++, if it is to."""
    major = version.split(".", maxsplit=1)[0]
    if host == "python":
        stub_libraries(folder, major)
        return None
    fitting = [
        p
        for p in INCLUDES
        if (p / "impl/NvInferPythonPlugin.h").is_file() and compiling.read_headers(p).text.startswith(f"{major}.")
    ]
    if not fitting:
        pytest.skip(f"PROFILER_TENSORRT_INCLUDES names no headers of TensorRT {major} with NvInferPythonPlugin.h")
    try:
        nvcc = compiling.find_nvcc()
    except MissingToolError as error:
        pytest.skip(error.message)
    stub_libraries(folder, major, ("nvinfer_plugin", "nvonnxparser"))
    target = folder / f"libnvinfer.so.{major}"
    argv = [str(nvcc), "-std=c++17", "-shared", "-cudart=none", "-Xcompiler", "-fPIC,-Wno-deprecated-declarations"]
    argv += ["-Xlinker", f"-soname={target.name}", "-isystem", str(fitting[0]), "-o", str(target), str(HOST)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return target


@pytest.fixture(
    params=[(v, h) for v in VERSIONS for h in ("python", "c++")], ids=lambda p: f"{p[0]} {p[1]}", scope="module"
)
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    version, host = request.param
    folder = tmp_path_factory.mktemp("bindings")
    library = bindings_library(version, host, folder)
    # the wheel's module is called tensorrt_bindings, and imports itself as tensorrt, the package that a user installs
    (folder / "tensorrt").symlink_to(unpacked_wheel(version) / "tensorrt_bindings")
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(folder), str(REPOSITORY)])
    argv = [sys.executable, str(HOST.with_suffix(".py")), *([str(library)] if library else [])]
    types = {"FLOAT": 0, "HALF": 1, "INT8": 2, "INT32": 3, "BF16": 7}
    cases = [{"dims": [8, 4, 6, 6], **case} for case in (*GOOD, *(case for case, _ in BAD))]
    given = {"ptx": PTX, "cases": [{**case, "type": types[case["type"]], "batches": BATCHES} for case in cases]}
    done = subprocess.run(
        argv, input=json.dumps(given), env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    document: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert document["version"] == version
    assert {name: document["enums"]["types"][name] for name in types} == types
    return document


def elements(dims: list[int], padding: tuple[int, int] | None) -> int:
    sizes = np.array(dims)
    if padding:
        vector, axis = padding
        sizes[axis] = (sizes[axis] + vector - 1) // vector * vector
    return int(np.prod(sizes, dtype=np.int64))


def test_what_is_offered_and_launched(played: dict[str, Any]) -> None:
    formats = {value: name for name, value in played["enums"]["formats"].items()}
    for case, found in zip(GOOD, played["results"]):
        kind, dims = case["type"], case["dims"]
        code = played["enums"]["types"][kind]
        assert "failed" not in found, found
        assert found["log"] == [] and found["same_kernel"] is True
        assert found["output_type"] == code and found["output_dims"] == dims
        offered = {
            name: padding
            for name, padding in LAYOUTS[kind].items()
            if name == "LINEAR" or len(dims) >= (4 if name in ("DHWC8", "CDHW32") else 3)
        }
        tactics = (1, 4) if kind == "INT8" else (0,)
        kernels = found["kernels"]
        assert sorted((formats[k["formats"][0]], k["tactic"]) for k in kernels) == sorted(
            (name, tactic) for name in offered for tactic in tactics
        )
        floats = np.array([ALPHA, *(SCALES if kind == "INT8" else ())], np.float32).view(np.int32)
        for kernel in kernels:
            assert kernel["types"] == [code, code] and kernel["formats"][0] == kernel["formats"][1]
            assert kernel["name"] == f"quick_gelu_plugin_aot_{KERNELS[kind]}"
            assert kernel["argument_types"] == [played["enums"]["int32"]] * (2 + len(floats))
            assert [each["batch"] for each in kernel["launches"]] == BATCHES
            for each in kernel["launches"]:
                count = elements([each["batch"], *dims[1:]], offered[formats[kernel["formats"][0]]])
                lanes = 16 // SIZES[kind]
                vectors = count // lanes
                assert each["extra"] == [vectors, count - vectors * lanes, *floats.tolist()]
                blocks = max(1, math.ceil(vectors / (256 * max(kernel["tactic"], 1))))
                assert each["launch"] == [blocks, 1, 1, 256, 1, 1, 0]


def test_what_is_refused_and_why(played: dict[str, Any]) -> None:
    for (case, said), found in zip(BAD, played["results"][len(GOOD) :], strict=True):
        assert found["failed"] == "getOutputDataTypes", (case, found)
        assert len(found["log"]) == 1 and said in found["log"][0], (case, found)
        assert found["log"][0].startswith("ProfilerQuickGelu: ")


def test_every_layout_was_seen(played: dict[str, Any]) -> None:
    """Guards the test above: shapes of all ranks, and layouts that pad."""
    seen = {
        (kernel["types"][0], kernel["formats"][0]) for found in played["results"] for kernel in found.get("kernels", [])
    }
    assert len(seen) == sum(len(layouts) for layouts in python_route.FORMATS.values())
    largest = max(
        each["extra"][0]
        for found in played["results"]
        for kernel in found.get("kernels", [])
        for each in kernel["launches"]
    )
    assert largest * 4 > 2**31, "no tensor had more elements than a 32-bit integer counts"


def test_real_headers_are_given() -> None:
    if not any((p / "impl/NvInferPythonPlugin.h").is_file() for p in INCLUDES):
        pytest.skip("PROFILER_TENSORRT_INCLUDES names no headers of TensorRT 10.9 or later: no calls from C++")
