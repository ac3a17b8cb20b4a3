"""Compiling the library: compilers and headers that are missing, wrong or right; and what a compiled library says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from profiler.errors import MissingToolError, OutputError, ProfilerError, UsageError
from profiler.plugins import compile as compiling
from profiler.plugins import library

REPOSITORY = Path(__file__).parents[3]
INCLUDES = [Path(p) for p in os.environ.get("PROFILER_TENSORRT_INCLUDES", "").split(os.pathsep) if p]
"""Folders of TensorRT headers, one a version: the compile checks run for each."""


def headers(folder: Path, major: str = "8", minor: str = "5", patch: str = "3", indirect: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "NvInferRuntime.h").write_text("// pretended\n")
    lines = []
    for part, value in (("MAJOR", major), ("MINOR", minor), ("PATCH", patch)):
        if indirect:
            lines.append(f"#define TRT_{part}_ENTERPRISE {value}")
        lines.append(f"#define NV_TENSORRT_{part} {f'TRT_{part}_ENTERPRISE' if indirect else value} //!< version")
    (folder / "NvInferVersion.h").write_text("\n".join(lines))
    return folder


def nvcc() -> Path:
    try:
        return compiling.find_nvcc()
    except MissingToolError as error:
        pytest.skip(error.message)


def fake_nvcc(folder: Path, script: str) -> Path:
    path = folder / "nvcc"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("indirect", [False, True])
def test_the_headers_version(tmp_path: Path, indirect: bool) -> None:
    assert compiling.read_headers(headers(tmp_path / "h", "10", "16", "1", indirect)).text == "10.16.1"


@pytest.mark.parametrize("version", [("7", "2", "3"), ("8", "4", "3"), ("9", "3", "0"), ("12", "0", "0")])
def test_headers_of_a_version_without_an_interface(tmp_path: Path, version: tuple[str, str, str]) -> None:
    with pytest.raises(ProfilerError, match=f"TensorRT {re.escape('.'.join(version))};"):
        compiling.read_headers(headers(tmp_path / "h", *version))


def test_a_folder_without_headers_says_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(ProfilerError) as caught:
        compiling.read_headers(tmp_path)
    assert "libnvinfer-headers-dev" in (caught.value.hint or "") and "NvInferRuntime.h" in caught.value.message


def test_a_version_header_that_does_not_tell(tmp_path: Path) -> None:
    folder = headers(tmp_path / "h")
    (folder / "NvInferVersion.h").write_text("#define NV_TENSORRT_MAJOR SOMETHING\n")
    with pytest.raises(ProfilerError, match="does not say NV_TENSORRT_MAJOR"):
        compiling.read_headers(folder)


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("all-major", ["-arch=all-major"]),
        (
            "80, 90",
            [
                "-gencode=arch=compute_80,code=sm_80",
                "-gencode=arch=compute_90,code=sm_90",
                "-gencode=arch=compute_90,code=compute_90",
            ],
        ),
    ],
)
def test_architectures(text: str, flags: list[str]) -> None:
    assert compiling.architecture_flags(text) == flags


@pytest.mark.parametrize("text", ["", "sm_90", "9", "90;rm -rf", "80,,90"])
def test_architectures_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="--arch"):
        compiling.architecture_flags(text)


def test_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingToolError, match="no such file"):
        compiling.find_nvcc(tmp_path / "nvcc")
    monkeypatch.setattr(compiling.shutil, "which", lambda *_a, **_k: None)
    with pytest.raises(MissingToolError, match="was not found"):
        compiling.find_nvcc()


@pytest.mark.parametrize(
    ("script", "said", "hinted"),
    [
        ("echo 'nvcc fatal   : Unsupported gpu architecture compute_999'; echo error: x; exit 1", "error: x", "--arch"),
        ("echo 'plugin.cpp:1: error: Foo.h: No such file or directory'; exit 1", "Foo.h", "--tensorrt-include"),
        ("echo '#error -- unsupported GNU version'; exit 1", "GNU", "C\\+\\+ compiler"),
        ("exit 3", "said nothing", "known to compile"),
    ],
)
def test_a_compiler_that_fails_leaves_nothing(tmp_path: Path, script: str, said: str, hinted: str) -> None:
    target = tmp_path / "out" / "p.so"
    with pytest.raises(ProfilerError, match=said) as caught:
        compiling.compile_library(target, None, fake_nvcc(tmp_path, script))
    assert re.search(hinted, caught.value.hint or "")
    assert list(target.parent.iterdir()) == []


def test_an_existing_library_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "p.so"
    target.write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        compiling.compile_library(target, None, fake_nvcc(tmp_path, "exit 0"))
    assert target.read_text() == "mine"


def test_the_kernels_compile_and_refuse_what_they_cannot_do(tmp_path: Path) -> None:
    """Needs nvcc and no GPU: what is refused here is refused before CUDA is asked."""
    target = tmp_path / "kernels.so"
    compiling.compile_library(target, None, nvcc(), "90")
    assert library.compiled_for(library.load(target)) == ""
    kernels = library.Kernels(target)
    kernels.launch("fp32", 0, 0, 0, 1.702)  # nothing to do is no error
    for arguments in (("fp32", 16, 16, 4, -1.0), ("fp32", 0, 16, 4, 1.702), ("fp16", 16, 16, -1, 1.702)):
        with pytest.raises(ProfilerError, match="could not be started"):
            kernels.launch(*arguments)  # type: ignore[arg-type]
    for scales in ((0.0, 0.1), (0.1, -1.0), (float("nan"), 0.1), (float("inf"), 0.1)):
        with pytest.raises(ProfilerError, match="two scales above 0"):
            kernels.launch("int8", 16, 16, 4, 1.702, scales)


@pytest.mark.parametrize("folder", INCLUDES, ids=str)
def test_the_plugin_compiles_against_real_headers(folder: Path, tmp_path: Path) -> None:
    found = compiling.read_headers(folder)
    target = tmp_path / "plugin.so"
    compiling.compile_library(target, found, nvcc(), "90")
    loaded = library.load(target)
    assert library.compiled_for(loaded) == found.text
    # this process has no TensorRT, and the library says so instead of failing to load
    assert library.status(loaded) == "TensorRT is not loaded in this process"


def test_real_headers_are_given() -> None:
    if not INCLUDES:
        pytest.skip(
            "PROFILER_TENSORRT_INCLUDES names no folder of TensorRT headers: the plugin's compile check did not run"
        )


def test_libraries_that_are_not_ours(tmp_path: Path) -> None:
    with pytest.raises(ProfilerError, match="no such file"):
        library.load(tmp_path / "none.so")
    text = tmp_path / "text.so"
    text.write_text("not a library")
    with pytest.raises(ProfilerError, match="does not load"):
        library.load(text)


def test_the_command_without_headers_says_where_to_get_them(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "profiler", "plugin", "build", "-o", str(tmp_path / "p.so")]
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "TensorRT headers are missing" in done.stderr and "github.com/NVIDIA/TensorRT" in done.stderr
