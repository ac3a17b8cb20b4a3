"""Print, as JSON, the public surface of the TensorRT bindings that this interpreter has (CPython 3.9 and later).

    PYTHON bindings_surface.py [MODULE]      MODULE: tensorrt (the default) or tensorrt_bindings

Classes with their members: a method as its signatures, a property as "r" or "rw", anything else as "value".
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys


def signatures(name, function):
    lines = [line.strip() for line in (function.__doc__ or "").splitlines()]
    found = [re.sub(r"^\d+\. ", "", line) for line in lines if re.match(rf"(\d+\. )?{re.escape(name)}\(", line)]
    found = [line for line in found if not line.endswith("(*args, **kwargs)")]
    if found:
        return found
    try:
        return [f"{name}{inspect.signature(function)}"]
    except (TypeError, ValueError):
        return []


def member(owner, name):
    raw = inspect.getattr_static(owner, name)
    if isinstance(raw, property):
        return "rw" if raw.fset is not None else "r"
    value = getattr(owner, name)
    return signatures(name, value) if callable(value) and not isinstance(value, type) else "value"


def surface(module):
    result = {}
    for name in dir(module):
        value = getattr(module, name)
        if name.startswith("_"):
            continue
        if isinstance(value, type):
            names = [n for n in dir(value) if not n.startswith("_") or n == "__init__"]
            result[name] = {n: member(value, n) for n in names}
        elif callable(value):
            result[name] = signatures(name, value)
        elif not inspect.ismodule(value):
            result[name] = "value"
    return result


if __name__ == "__main__":
    bindings = importlib.import_module(sys.argv[1] if len(sys.argv) > 1 else "tensorrt")
    json.dump({"version": bindings.__version__, "names": surface(bindings)}, sys.stdout, indent=0, sort_keys=True)
