"""Compile the plugin library with nvcc: the kernels, and the plugin against the TensorRT headers of one major version.

The headers are NVIDIA's and not part of this project. They are in the Debian package libnvinfer-headers-dev and in the folder
include of the open-source release, https://github.com/NVIDIA/TensorRT (branches release/8.5, release/10.x, release/11.x).
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from profiler.errors import MissingToolError, OutputError, ProfilerError, UsageError
from profiler.files import atomic_file, make_parent, writing
from profiler.tools import ask

SOURCES = Path(__file__).parent / "src"
HEADERS_HINT = (
    "Give --tensorrt-include the folder that holds NvInferRuntime.h: from the package libnvinfer-headers-dev "
    "(/usr/include/x86_64-linux-gnu), or the folder include of https://github.com/NVIDIA/TensorRT at the branch of the TensorRT "
    "that is to run it, such as release/8.5."
)
SUPPORTED_MAJORS = (8, 10, 11)
_TIMEOUT_S = 900.0
_CUDA_PATHS = ("CUDA_HOME", "CUDA_PATH")


@dataclass(frozen=True)
class Headers:
    """TensorRT headers.

    Attributes:
        version: major, minor and patch, as NvInferVersion.h says.
    """

    folder: Path
    version: tuple[int, int, int]

    @property
    def text(self) -> str:
        return ".".join(map(str, self.version))


def find_nvcc(given: Path | None = None) -> Path:
    """The CUDA compiler: the one named, else from CUDA_HOME or CUDA_PATH, the PATH, or /usr/local/cuda.

    Raises:
        MissingToolError: there is none.
    """
    if given is not None:
        if given.is_file():
            return given
        raise MissingToolError(f"{given}: no such file; expected the CUDA compiler nvcc.", "Check --nvcc.")
    folders = [Path(os.environ[name]) / "bin" for name in _CUDA_PATHS if os.environ.get(name)]
    for folder in [*folders, None, Path("/usr/local/cuda/bin")]:
        found = shutil.which("nvcc", path=None if folder is None else str(folder))
        if found:
            return Path(found)
    raise MissingToolError(
        "nvcc, the CUDA compiler, was not found (CUDA_HOME, the PATH and /usr/local/cuda were searched).",
        "Install the CUDA toolkit, or name the compiler with --nvcc.",
    )


def read_headers(folder: Path) -> Headers:
    """Check a folder of TensorRT headers and read its version.

    Raises:
        ProfilerError: not such a folder, or of a version that the plugin has no interface for.
    """
    for name in ("NvInferRuntime.h", "NvInferVersion.h"):
        if not (folder / name).is_file():
            raise ProfilerError(f"{folder}: holds no {name}; expected TensorRT's headers.", HEADERS_HINT)
    text = (folder / "NvInferVersion.h").read_text("utf-8", errors="replace")
    defined: dict[str, str] = dict(re.findall(r"^\s*#\s*define\s+(\w+)\s+(\w+)", text, re.MULTILINE))

    def number(part: str) -> int:
        value = defined.get(f"NV_TENSORRT_{part}", "")
        value = defined.get(value, value)  # from 10.11 on it is another macro's name
        if not value.isdigit():
            raise ProfilerError(f"{folder / 'NvInferVersion.h'}: does not say NV_TENSORRT_{part}.", HEADERS_HINT)
        return int(value)

    version = number("MAJOR"), number("MINOR"), number("PATCH")
    if version[0] not in SUPPORTED_MAJORS or version < (8, 5):
        raise ProfilerError(
            f"{folder}: these are the headers of TensorRT {'.'.join(map(str, version))}; expected 8.5, 8.6, 10 or 11.",
            HEADERS_HINT,
        )
    return Headers(folder, version)


def architecture_flags(text: str) -> list[str]:
    """nvcc's options for ``all-major``, ``native``, or a list such as ``80,90``: code for each, and PTX of the last for newer GPUs.

    Raises:
        UsageError: something else.
    """
    if text in ("all-major", "native"):
        return [f"-arch={text}"]
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"\d{2,3}a?", part) for part in parts):
        raise UsageError(f"--arch {text}: expected all-major, native, or compute capabilities such as 80,90.")
    flags = [f"-gencode=arch=compute_{part},code=sm_{part}" for part in parts]
    return [*flags, f"-gencode=arch=compute_{parts[-1]},code=compute_{parts[-1]}"]


def command(nvcc: Path, target: Path, headers: Headers | None, architectures: str) -> list[str]:
    """The compiler's argv. The CUDA runtime is linked in, so that the library loads beside any other CUDA version's.

    Its symbols are bound within it (-Bsymbolic): two libraries, for two versions of TensorRT, may be loaded into one process.
    """
    host = "-fPIC,-fvisibility=hidden,-Wall,-Wno-deprecated-declarations"
    argv = [str(nvcc), "-O3", "-std=c++17", "-shared", "-cudart=static", "-Xlinker", "-Bsymbolic", "-Xcompiler", host]
    argv += architecture_flags(architectures)
    argv += ["-DPROFILER_NO_TENSORRT"] if headers is None else ["-isystem", str(headers.folder)]
    return [*argv, "-o", str(target), str(SOURCES / "quick_gelu.cu"), str(SOURCES / "plugin.cpp")]


def compile_library(
    target: Path, headers: Headers | None, nvcc: Path, architectures: str = "all-major", force: bool = False
) -> list[str]:
    """Compile the library, whole or not at all; returns the command that did it.

    Args:
        headers: of the TensorRT that is to load it; None: the kernels alone, for measuring.

    Raises:
        OutputError: the target exists, or cannot be written.
        ProfilerError: the compiler failed; the message holds what it said.
    """
    if target.exists() and not force:
        raise OutputError(f"{target}: exists already.", "Give --force to replace it, or another --output.")
    make_parent(target)
    with atomic_file(target) as partial, writing(target):
        _run(command(nvcc, partial, headers, architectures))
    return command(nvcc, target, headers, architectures)


def _run(argv: list[str]) -> None:
    done = ask(argv, _TIMEOUT_S, "Check --nvcc, and that this machine is not busy.")
    if done.returncode:
        output = done.stdout + done.stderr
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        wrong = [line for line in lines if "error" in line.lower()] or lines
        raise ProfilerError(
            f"nvcc could not compile the plugin: {' | '.join(wrong[:6]) or 'it said nothing'}.", _hint(output)
        )


def _hint(output: str) -> str:
    if "unsupported gpu architecture" in output.lower():
        return "This nvcc does not know the GPU: name an --arch that it knows (nvcc --list-gpu-arch), or take a newer CUDA toolkit."
    if "unsupported gnu version" in output.lower() or "host compiler" in output.lower():
        return "This nvcc does not work with this C++ compiler: install one that it supports, or another CUDA toolkit."
    if "No such file" in output:
        return f"A header is missing. {HEADERS_HINT}"
    return "The plugin is known to compile with CUDA 13.0 and the headers of TensorRT 8.5.3, 10.0, 10.16 and 11.1."
