"""What the code uses of TensorRT, read from its syntax trees, and whether a version's bindings have it.

By convention a TensorRT object is held in a variable (or attribute) of one of the names in ``RECEIVERS``, and the module in ``trt``. A
function whose name ends in ``_v8`` or ``_v10`` is for that major version (``_v10``: 10 and later), the file ``rtx.py`` is for TensorRT-RTX;
the rest is for all.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECEIVERS = {
    "builder": "Builder",
    "config": "IBuilderConfig",
    "network": "INetworkDefinition",
    "onnx_parser": "OnnxParser",
    "parser_error": "ParserError",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "engine_inspector": "EngineInspector",
    "cache": "ITimingCache",
    "runtime_config": "IRuntimeConfig",
    "runtime_cache": "IRuntimeCache",
    "profile": "IOptimizationProfile",
    "tensor": "ITensor",
    "layer": "ILayer",
}


@dataclass(frozen=True)
class Use:
    """One use: ``owner`` is a class (None: the module itself), ``positional`` is None where it is not called."""

    where: str
    versions: str
    owner: str | None
    name: str
    positional: int | None = None
    keywords: tuple[str, ...] = ()
    stored: bool = False


def uses_in(path: Path) -> list[Use]:
    """All uses in a source file that mentions ``trt``."""
    source = path.read_text("utf-8")
    if not re.search(r"\btrt\b", source):
        return []
    finder = _Finder(path.name)
    finder.visit(ast.parse(source))
    return finder.uses


class _Finder(ast.NodeVisitor):
    def __init__(self, label: str) -> None:
        self.label, self.uses = label, []
        self.functions: list[str] = []
        self.aliases: dict[str, str] = {}

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.functions.append(node.name)
        outer = dict(self.aliases)
        self.generic_visit(node)
        self.aliases = outer
        self.functions.pop()

    def visit_Assign(self, node: ast.Assign) -> None:
        chain = _chain(node.value)
        if chain and chain[0] == "trt" and len(chain) == 2 and isinstance(node.targets[0], ast.Name):
            self.aliases[node.targets[0].id] = chain[1]
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute):
            keywords = tuple(k.arg for k in node.keywords if k.arg)
            starred = any(isinstance(a, ast.Starred) for a in node.args)
            self._note(node.func, None if starred else len(node.args), keywords)
            self.visit(node.func.value)
        else:
            self.visit(node.func)
        for argument in [*node.args, *(k.value for k in node.keywords)]:
            self.visit(argument)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._note(node, None, ())
        self.generic_visit(node)

    def _note(self, node: ast.Attribute, positional: int | None, keywords: tuple[str, ...]) -> None:
        chain = _chain(node)
        if len(chain) < 2 or chain[-1] == "__version__":
            return
        stored = isinstance(node.ctx, ast.Store)
        owner: str | None
        name = chain[-1]
        if chain[0] == "trt":
            if len(chain) == 2:
                owner = None
            elif len(chain) == 3 and name not in ("__members__", "__init__"):
                owner = chain[1]
            else:
                return
        elif chain[0] in self.aliases and len(chain) == 2:
            owner = self.aliases[chain[0]]
        else:
            holder = chain[-2].lstrip("_")
            held = len(chain) == 2 or (chain[0] in ("self", "runner") and len(chain) == 3)
            if not held or holder not in RECEIVERS:
                return
            owner = RECEIVERS[holder]
        place = f"{self.label}:{node.lineno}"
        tag = next((f.rsplit("_", 1)[1] for f in reversed(self.functions) if f.endswith(("_v8", "_v10"))), "")
        tag = "rtx" if self.label == "rtx.py" else tag
        self.uses.append(Use(place, tag, owner, name, positional, keywords, stored))


def _chain(node: ast.AST) -> list[str]:
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return [node.id, *reversed(names)] if isinstance(node, ast.Name) else []


def problems(uses: list[Use], names: dict[str, Any], major: int, rtx: bool = False) -> list[str]:
    """What the bindings of one version lack, or take otherwise than the code calls it."""
    found = []
    for use in uses:
        if (
            (use.versions == "v8" and major >= 10)
            or (use.versions == "v10" and major < 10)
            or (use.versions == "rtx" and not rtx)
        ):
            continue
        label = f"{use.where}: {use.owner + '.' if use.owner else ''}{use.name}"
        scope = names if use.owner is None else names.get(use.owner)
        if scope is None or use.name not in scope:
            found.append(f"{label} does not exist")
            continue
        entry = scope[use.name]
        if use.owner is None and isinstance(entry, dict) and use.positional is not None:
            entry = entry["__init__"]
        if use.stored and entry != "rw":
            found.append(f"{label} cannot be set ({entry})")
        if use.positional is not None and isinstance(entry, list) and entry:
            if not any(_accepts(signature, use) for signature in entry):
                found.append(f"{label} is called with {use.positional} arguments {use.keywords}; it takes {entry}")
        elif use.positional is not None and not isinstance(entry, list):
            found.append(f"{label} is called, and is no function ({entry})")
    return found


def _accepts(signature: str, use: Use) -> bool:
    """Whether a pybind signature, ``name(self: T, a: X, b: Y = 1) -> R``, takes a call."""
    inside = signature[signature.index("(") + 1 : signature.rindex(")")]
    if " -> " in signature:
        inside = signature[signature.index("(") + 1 : signature.rindex(") -> ")]
    parameters, depth, current = [], 0, ""
    for character in inside + ",":
        depth += (character in "[(<{") - (character in "])>}")
        if character == "," and depth == 0:
            if current.strip():
                parameters.append(current.strip())
            current = ""
        else:
            current += character
    parameters = [p for p in parameters if p.split(":")[0].strip() != "self"]
    names = [re.split(r"[:=]", p)[0].strip() for p in parameters]
    required = sum("=" not in re.sub(r"<[^>]*>", "", p) and " = " not in p for p in parameters)
    given = (use.positional or 0) + len(use.keywords)
    return required <= given <= len(parameters) and all(k in names for k in use.keywords)
