"""Who a trace is among many: its run, node and rank; and which traces may be compared."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from profiler.errors import UsageError
from profiler.fleet.discover import stem
from profiler.trace.manifest import JsonPart

PROGRAM_KEYS = ("framework", "framework_version", "model", "onnx", "precision", "mode", "batch", "input_shape", "gpu")
"""What makes two traces the same program, from the manifest or the trace itself."""
PLACE_KEYS = ("run", "node", "rank")
ALL = "all"
"""As ``--group-by``: one group of everything."""

_START, _END = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"
_NODE = re.compile(
    rf"{_START}((?:node|host|nid|worker|compute|cn)[-_]?\d+)(?:\.(?P<rank>\d{{1,6}}))?{_END}", re.IGNORECASE
)
_RANK = re.compile(
    rf"{_START}(?:(?:global|world|local|mpi)[-_]?)?(?:rank|procid|proc|r|pe|gpu)[-_.=]?(\d{{1,6}}){_END}", re.IGNORECASE
)
_LAST_NUMBER = re.compile(r"(\d{1,6})$")
_MAX_RANK = 10**7
_MAX_NAME = 200
_HERE = "."  # the run of a file of which nothing is left without its node and rank


@dataclass(frozen=True)
class Identity:
    """Where a trace is from.

    Attributes:
        run: what the traces of one recording share: the path without the parts that name a node or a rank.
        node, rank: None where nothing tells.
        fields: further named groups of ``--identity``.
        origin: per field, who says so: "--identity", "manifest", "trace" (the environment that nsys recorded) or "file name".
    """

    run: str
    node: str | None = None
    rank: int | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    origin: Mapping[str, str] = field(default_factory=dict)


def identify(traces: Sequence[str], pattern: str | None = None) -> dict[str, Identity]:
    """Identities from relative file names alone.

    ``rank3``, ``r12``, ``gpu0``, ``proc7`` between separators are ranks, ``node03`` and ``host-4`` nodes, and ``node03.7`` is
    rank 7 of node03. A bare number at the end (``trace_12``, as ``nsys profile -o trace_%q{SLURM_PROCID}`` makes it) is a rank
    only when the files of that name are numbered from 0 without a hole: ``report1``, ``report2`` are nsys's own names for
    unlike recordings, and ``b1``, ``b8`` batches.

    Args:
        pattern: a regular expression that is searched in the relative path; its named groups ``run``, ``node`` and ``rank``
            win over everything else, further ones can be used to group.

    Raises:
        UsageError: the pattern is not a regular expression, has no named group, or finds a rank that is no number.
    """
    found = {trace: _from_name(trace) for trace in traces}
    found |= _numbered(found)
    if pattern is not None:
        compiled = _compiled(pattern)
        found = {trace: _from_pattern(trace, known, compiled) for trace, known in found.items()}
    return found


def refine(identity: Identity, manifest: Mapping[str, Any], rank: int | None, node: str | None) -> Identity:
    """Add what the manifest and the trace say; a pattern that the user gave wins over both, both win over the file name."""
    part = JsonPart(manifest)
    number = part.whole("run", minimum=0)
    stated = {
        "rank": _whole(manifest.get("rank")),
        "node": part.text("node", _MAX_NAME),
        "run": part.text("run", _MAX_NAME) if number is None else str(number),
    }
    recorded = {"rank": rank, "node": node}
    values: dict[str, Any] = {"run": identity.run, "node": identity.node, "rank": identity.rank}
    origin = dict(identity.origin)
    for name in PLACE_KEYS:
        if origin.get(name) == "--identity":
            continue
        for where, source in (("manifest", stated), ("trace", recorded)):
            if source.get(name) is not None:
                values[name], origin[name] = source[name], where
                break
    return replace(identity, **values, origin=origin)


def check_keys(keys: Sequence[str], pattern: str | None) -> None:
    """Refuse keys of ``--group-by`` that do not exist.

    Raises:
        UsageError: with those that do.
    """
    named = tuple(_compiled(pattern).groupindex) if pattern is not None else ()
    known = (*PROGRAM_KEYS, *PLACE_KEYS, *(n for n in named if n not in PLACE_KEYS))
    unknown = [k for k in keys if k not in known]
    if unknown and list(keys) != [ALL]:
        raise UsageError(
            f"--group-by: {', '.join(unknown)} cannot be grouped by.",
            f"Expected names from: {', '.join(known)}; or {ALL} alone. Named groups of --identity can be used too.",
        )


def group_values(row: Mapping[str, Any], keys: Sequence[str] | None) -> dict[str, Any]:
    """What the traces of one group share.

    Args:
        row: a row of the table of traces.
        keys: of ``--group-by``. None: the program (:data:`PROGRAM_KEYS`), and for a trace without a manifest, of which too little
            is known to tell programs apart, its run as well.
    """
    if keys is None:
        keys = PROGRAM_KEYS if row["has_manifest"] else (*PROGRAM_KEYS, "run")
    elif list(keys) == [ALL]:
        keys = ()
    fields = row.get("fields") or {}
    # per inference and per whole trace are never compared
    return {**{k: row[k] if k in row else fields.get(k) for k in keys}, "basis": row["basis"]}


def group_label(values: Mapping[str, Any]) -> str:
    """A group in words: what is known of it."""
    versioned = " ".join(str(values[k]) for k in ("framework", "framework_version") if values.get(k) is not None)
    parts = [versioned] if versioned else []
    for key, value in values.items():
        if value is None or key in ("framework", "framework_version", "basis") or (key, value) == ("run", _HERE):
            continue
        named = key in ("run", "node", "rank", "batch", "onnx") or key not in PROGRAM_KEYS
        parts.append(f"{key} {value}" if named else str(value))
    if values.get("basis") == "trace":
        parts.append("whole traces")
    return ", ".join(parts) or "all traces"


def _from_name(trace: str) -> Identity:
    node = rank = None
    origin: dict[str, str] = {}
    kept = []
    for part in reversed(stem(trace).split("/")):
        at_node = _NODE.search(part) if node is None else None
        if at_node is not None:
            node, origin["node"] = at_node[1], "file name"
            if at_node["rank"] is not None and rank is None:
                rank, origin["rank"] = int(at_node["rank"]), "file name"
            part = part[: at_node.start()] + part[at_node.end() :]  # noqa: PLW2901 - the rest of the part
        at_rank = _RANK.search(part) if rank is None else None
        if at_rank is not None:
            rank, origin["rank"] = int(at_rank[1]), "file name"
            part = part[: at_rank.start()] + part[at_rank.end() :]  # noqa: PLW2901 - the rest of the part
        kept.append(part.strip("._- "))
    return Identity("/".join(p for p in reversed(kept) if p) or _HERE, node, rank, {}, origin)


def _numbered(found: Mapping[str, Identity]) -> dict[str, Identity]:
    """Those that a bare number at the end of the name ranks."""
    families: dict[tuple[str, str | None], dict[int, list[tuple[str, str]]]] = defaultdict(lambda: defaultdict(list))
    for trace, identity in found.items():
        number = _LAST_NUMBER.search(identity.run)
        if identity.rank is None and number is not None:
            rest = identity.run[: number.start()]
            families[rest, identity.node][int(number[1])].append((trace, rest.strip("._- /") or _HERE))
    ranked = {}
    for numbers in families.values():
        if (
            len(numbers) < 2
            or sorted(numbers) != list(range(len(numbers)))
            or any(len(m) > 1 for m in numbers.values())
        ):
            continue
        for rank, ((trace, run),) in numbers.items():
            origin = {**found[trace].origin, "rank": "file name"}
            ranked[trace] = replace(found[trace], run=run, rank=rank, origin=origin)
    return ranked


def _from_pattern(trace: str, known: Identity, pattern: re.Pattern[str]) -> Identity:
    match = pattern.search(trace)
    if match is None:
        return known
    named = {k: v for k, v in match.groupdict().items() if v is not None}
    values: dict[str, Any] = {k: named.pop(k) for k in PLACE_KEYS if k in named}
    origin = {**known.origin, **dict.fromkeys(values, "--identity")}
    if "rank" in values:
        rank = _whole(int(values["rank"])) if values["rank"].isascii() and values["rank"].isdigit() else None
        if rank is None:
            raise UsageError(f"--identity: the group rank finds {values['rank'][:60]!r} in {trace}; expected a number.")
        values["rank"] = rank
    return replace(known, **values, fields=named, origin=origin)


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--identity {pattern!r}: not a regular expression ({error}).") from error
    if not compiled.groupindex:
        raise UsageError(
            f"--identity {pattern!r}: has no named group.",
            "Name what it finds, for example: --identity '(?P<node>n\\d+)/p(?P<rank>\\d+)'",
        )
    return compiled


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_RANK else None
