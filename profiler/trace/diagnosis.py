"""What a reader of the figures should know about a trace: warnings, and why it holds no kernels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from profiler.trace.database import Database
from profiler.trace.nvtx import KINDS
from profiler.trace.schema import API_CALLS, GRAPHS, KERNELS, MEMCPY, NVTX
from profiler.trace.session import Session

_MAX_DIAGNOSTICS = 5


@dataclass(frozen=True)
class TraceWarning:
    """Something in the file that a reader of the figures should know."""

    id: str
    message: str


def graph_level_message(label: str, launches: int) -> str:
    """What it means that CUDA graphs were recorded whole."""
    return (
        f"{label}: {launches:,} CUDA graph launches were recorded as single events "
        "(--cuda-graph-trace=graph): the kernels inside them are not in the trace, so they cannot be counted. "
        "Record again with: nsys profile --cuda-graph-trace=node …"
    )


def no_kernels_reason(database: Database, session: Session, label: str) -> str | None:
    """Why there is no kernel in a trace; None when there is one."""
    if not database.is_empty(KERNELS):
        return None
    if not database.is_empty(GRAPHS):
        return graph_level_message(label, database.count(GRAPHS))
    for diagnostic in session.diagnostics:
        if "protected memory" in diagnostic.text.lower():
            return (
                f"{label}: no kernels: nsys reported “{' '.join(diagnostic.text.split())[:200]}”. In that mode (confidential "
                "computing) the GPU does not let CUPTI record kernels; trace on a machine without it."
            )
    calls, copies = database.count(API_CALLS), database.count(MEMCPY)
    kinds = f"eventType IN ({','.join(map(str, KINDS))})" if database.has(NVTX, "eventType") else ""
    ranges = database.count(NVTX, kinds) if kinds else database.count(NVTX)
    reported = [d.text for d in session.diagnostics if d.severity in ("error", "warning")][:_MAX_DIAGNOSTICS]
    quoted = "; ".join(f"“{' '.join(text.split())[:200]}”" for text in reported)
    said = f" nsys reported {quoted}." if quoted else ""
    if copies:
        return (
            f"{label}: no kernels: {copies:,} memory copies were recorded, but no kernel ran while nsys was collecting. "
            "Widen the capture range."
        )
    if calls:
        return (
            f"{label}: no kernels: {calls:,} CUDA API calls were recorded, but no kernel. Either none was launched in the "
            f"capture range, or CUPTI could not record.{said or ' nsys reported no warning or error.'}"
        )
    if session.options.get("COLLECT_CUDA_TRACE") == "false":
        return f"{label}: no kernels: CUDA was not traced. Record again with: nsys profile -t cuda,nvtx …"
    if ranges:
        return (
            f"{label}: no kernels: only NVTX ranges were recorded ({ranges:,}). Record again with -t cuda,nvtx, and "
            f"check that the program really ran on a GPU.{said}"
        )
    return (
        f"{label}: no kernels and no CUDA calls: the program did not use a GPU while nsys was collecting, or CUDA was "
        f"not traced (-t cuda).{said}"
    )


def collect(
    noticed: Mapping[str, str], session: Session, excerpt: str | None, no_kernels: str | None, graph_level: str | None
) -> tuple[TraceWarning, ...]:
    """The warnings of a trace.

    Args:
        noticed: what was found while events were read, by id.
        excerpt: which part of the trace was read, if not all of it.
        no_kernels, graph_level: see :func:`no_kernels_reason` and :func:`graph_level_message`.
    """
    found = [TraceWarning(key, message) for key, message in noticed.items()]
    if excerpt is not None:
        found.append(TraceWarning("excerpt", excerpt))
    if no_kernels is not None:
        found.append(TraceWarning("no-kernels", no_kernels))
    elif graph_level is not None:
        found.append(TraceWarning("graph-level", graph_level))
    if session.holds_environment:
        message = (
            "The trace holds the environment or the command line of the traced program; mind that before you share it."
        )
        found.append(TraceWarning("environment", message))
    reported = [d.text for d in session.diagnostics if d.severity == "error" or "dropped" in d.text.lower()]
    found += [
        TraceWarning("nsys", f"nsys reported: {' '.join(text.split())[:300]}") for text in reported[:_MAX_DIAGNOSTICS]
    ]
    return tuple(found)
