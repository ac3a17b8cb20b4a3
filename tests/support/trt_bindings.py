"""TensorRT's Python bindings without TensorRT: wheels from PyPI, over stub libraries whose few functions return null.

PROFILER_TENSORRT_BINDINGS names folders that hold unpacked wheels (tensorrt_bindings/ and its .dist-info), separated by colons: these are
taken instead of downloading, and tested beside the versions below if they are of others.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

PACKAGES = {
    "10.9.0.34": "tensorrt-cu12-bindings",  # the first with ahead-of-time plugins
    "10.13.3.9": "tensorrt-cu13-bindings",
    "10.16.1.11": "tensorrt-cu13-bindings",
    "11.4.0.106": "tensorrt-cu13-bindings",
}
GIVEN = {
    info.name.removesuffix(".dist-info").split("-")[1]: folder
    for folder in map(Path, filter(None, os.environ.get("PROFILER_TENSORRT_BINDINGS", "").split(os.pathsep)))
    for info in folder.glob("tensorrt_*bindings-*.dist-info")
}
VERSIONS = tuple(dict.fromkeys((*PACKAGES, *GIVEN)))
STUB = "void *{name}(void) {{ return 0; }}\n"
LIBRARIES = {
    "nvinfer": (
        "createInferBuilder_INTERNAL",
        "createInferRefitter_INTERNAL",
        "createInferRuntime_INTERNAL",
        "getBuilderPluginRegistry",
        "getPluginRegistry",
    ),
    "nvinfer_plugin": ("initLibNvInferPlugins",),
    "nvonnxparser": ("createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getNvOnnxParserVersion"),
}
"""The functions that the bindings need of each library."""


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tensorrt-evidence" / "bindings"


def unpacked_wheel(version: str) -> Path:
    """The folder that holds tensorrt_bindings/ of a version; skips the test where it cannot be had."""
    if version in GIVEN:
        return GIVEN[version]
    package = PACKAGES[version]
    folder = cache_folder() / f"{version}-cp{sys.version_info[0]}{sys.version_info[1]}"
    if not (folder / "tensorrt_bindings" / "__init__.py").is_file():
        partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        try:
            done = subprocess.run(
                [*argv, "--dest", str(partial), f"{package}=={version}"],
                capture_output=True,
                text=True,
                timeout=180,
                check=False,
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"{package} {version} could not be downloaded within 180 s")
        wheels = list(partial.glob("*.whl"))
        if done.returncode or not wheels:
            shutil.rmtree(partial, ignore_errors=True)
            pytest.skip(f"{package} {version} cannot be had for this Python: {done.stderr.strip()[-300:]}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            wheel.extractall(partial)
        wheels[0].unlink()
        try:
            partial.rename(folder)
        except OSError:  # another test process was faster
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def stub_libraries(folder: Path, major: str, libraries: Iterable[str] = LIBRARIES) -> None:
    """Compile stand-ins for TensorRT's libraries of a major version into a folder."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for the stub libraries")
    for library in libraries:
        source = folder / f"{library}.c"
        source.write_text("".join(STUB.format(name=name) for name in LIBRARIES[library]))
        name = f"lib{library}.so.{major}"
        argv = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(folder / name), str(source)]
        subprocess.run(argv, check=True, capture_output=True, timeout=60)
