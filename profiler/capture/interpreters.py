"""The two interpreters, asked before anything is started whether they have what is needed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from profiler.capture import process
from profiler.errors import MissingToolError
from profiler.runtime.trt_modules import RTX

TYPED_SINCE = 10
_TIMEOUT_S = 120.0
# runs on any Python 3; looks for packages without importing them (torch takes seconds), but imports TensorRT, whose libraries may not load
_PROBE = """
import importlib.util, json, sys
trt, wanted = sys.argv[1], sys.argv[2:]
found = {"missing": [n for n in wanted if importlib.util.find_spec(n) is None], "python": "%d.%d" % sys.version_info[:2]}
if trt:
    names = [trt] if trt != "any" else [n for n in ("tensorrt", "tensorrt_rtx") if importlib.util.find_spec(n)] or ["tensorrt"]
    found["module"] = names[0]
    try:
        found["version"] = str(__import__(names[0]).__version__)
    except BaseException as error:
        found["error"] = (type(error).__name__ + ": " + str(error))[:300]
print("PROBE" + json.dumps(found))
"""


@dataclass(frozen=True)
class TensorRT:
    """What an interpreter has.

    Attributes:
        module: ``tensorrt`` or ``tensorrt_rtx``.
        version: as the module says it.
    """

    module: str
    version: str

    @property
    def is_rtx(self) -> bool:
        return self.module == RTX

    @property
    def typed_networks(self) -> bool:
        """Whether it takes precisions from the model's types (TensorRT 10 and later, TensorRT-RTX)."""
        major = self.version.split(".")[0]
        return self.is_rtx or (major.isdigit() and int(major) >= TYPED_SINCE)


def find_tensorrt(python: str, module: str | None = None) -> TensorRT:
    """The TensorRT of an interpreter, and that it has what engines need.

    Args:
        module: the one asked for; None: ``tensorrt``, or ``tensorrt_rtx`` where it is the only one.

    Raises:
        MissingToolError: not a Python that runs, or a package is not there or does not load.
    """
    found = _ask(python, module or "any", ("numpy", "cuda"), "--trt-python")
    if "version" not in found:
        raise MissingToolError(
            f"{python}: {found['module']} cannot be imported ({found.get('error') or 'no reason was given'}).",
            "Install it there (docs/engines.md says which), or name another interpreter with --trt-python or module with --trt-module.",
        )
    return TensorRT(str(found["module"]), str(found["version"]))


def check_torch(python: str, exports: bool, models: Iterable[str]) -> None:
    """That an interpreter has what PyTorch runs need, and with ``exports`` the ONNX export.

    Raises:
        MissingToolError: not a Python that runs, or a package is not there.
    """
    named = any(":" not in model for model in models)
    packages = ("torch", *(("torchvision",) if named else ()), *(("onnx",) if exports else ()))
    _ask(python, "", packages, "--torch-python")


def _ask(python: str, trt: str, packages: tuple[str, ...], option: str) -> dict[str, object]:
    done = process.run([python, "-c", _PROBE, trt, *packages], process.child_environment(), timeout_s=_TIMEOUT_S)
    line = next((part for part in done.output.splitlines() if part.startswith("PROBE{")), None)
    if line is None:
        raise MissingToolError(
            f"{python}: is not a Python interpreter that works ({done.how}); it said: {done.last_lines(3)[-300:]}",
            f"Correct {option}; `python -m profiler doctor` examines it.",
        )
    found: dict[str, object] = json.loads(line[len("PROBE") :])
    missing = found["missing"]
    if missing and isinstance(missing, list):
        names = ", ".join({"cuda": "cuda-python"}.get(str(name), str(name)) for name in missing)
        raise MissingToolError(
            f"{python}: lacks {names}.",
            f"Install it there (requirements-gpu.txt), or name another interpreter with {option}.",
        )
    return found
