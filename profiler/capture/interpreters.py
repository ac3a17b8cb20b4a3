"""The two interpreters, asked before anything is started whether they have what is needed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from profiler.capture import process
from profiler.errors import MissingToolError
from profiler.runtime.trt_modules import MODULES, RTX
from profiler.tools import ask

TYPED_SINCE = 10
_TIMEOUT_S = 120.0
# Runs on any Python 3. Imports the first list (of "a|b" the one that is installed); looks for the second without importing.
_PROBE = """
import importlib.util, json, sys
load, find = ([name for name in argument.split(",") if name] for argument in sys.argv[1:3])
found = {"python": "%d.%d.%d" % sys.version_info[:3], "versions": {}, "errors": {}}
found["missing"] = [name for name in find if importlib.util.find_spec(name) is None]
for choice in load:
    names = choice.split("|")
    name = ([n for n in names if importlib.util.find_spec(n)] or names)[0]
    try:
        module = __import__(name)
        found["versions"][name] = str(getattr(module, "__version__", "found"))
        if name == "torch":
            found["cuda"] = module.version.cuda
            found["gpu"] = bool(module.cuda.is_available())
    except BaseException as error:
        found["errors"][name] = (type(error).__name__ + ": " + str(error))[:300]
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
    found = probe(python, "--trt-python", load=[module or "|".join(MODULES)], find=("numpy", "cuda"))
    for name, reason in found["errors"].items():
        raise MissingToolError(
            f"{python}: {name} cannot be imported ({reason}).",
            "Install it there (docs/engines.md says which), or name another interpreter with --trt-python or module with --trt-module.",
        )
    return TensorRT(*next(iter(found["versions"].items())))


def check_torch(python: str, exports: bool, models: Iterable[str]) -> None:
    """That an interpreter has what PyTorch runs need, and with ``exports`` the ONNX export.

    Raises:
        MissingToolError: not a Python that runs, or a package is not there.
    """
    named = any(":" not in model for model in models)
    packages = ("torch", *(("torchvision",) if named else ()), *(("onnx",) if exports else ()))
    probe(python, "--torch-python", find=packages)


def probe(python: str, option: str, load: Iterable[str] = (), find: Iterable[str] = ()) -> dict[str, Any]:
    """What an interpreter has.

    Args:
        option: the one that names it, for the errors.
        load: modules to import; of ``a|b`` the first that is installed.
        find: packages that it must have, which are not imported.

    Returns:
        ``python`` (its version), ``versions`` and ``errors`` of what was to be loaded, by name; for torch also ``cuda`` and ``gpu``.

    Raises:
        MissingToolError: not a Python that runs, or a package of ``find`` is not there.
    """
    hint = f"Correct {option}; `python -m profiler doctor` examines it."
    done = ask([python, "-c", _PROBE, ",".join(load), ",".join(find)], _TIMEOUT_S, hint, process.child_environment())
    line = next((part for part in done.stdout.splitlines() if part.startswith("PROBE{")), None)
    if line is None:
        said = " ".join((done.stdout + done.stderr).split())[-300:] or "nothing"
        raise MissingToolError(f"{python}: not a working Python interpreter; it said: {said}", hint)
    found: dict[str, Any] = json.loads(line[len("PROBE") :])
    if found["missing"]:
        names = ", ".join({"cuda": "cuda-python"}.get(name, name) for name in found["missing"])
        raise MissingToolError(
            f"{python}: lacks {names}.",
            f"Install it there (requirements-gpu.txt), or name another interpreter with {option}.",
        )
    return found
