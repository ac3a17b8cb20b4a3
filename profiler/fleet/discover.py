"""The traces in a folder and its subfolders."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from profiler.errors import ProfilerError, UsageError
from profiler.trace.files import REPORT_SUFFIXES, TRACE_SUFFIXES
from profiler.trace.manifest import read_manifest
from profiler.trace.nsys_export import find_nsys

_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Found:
    """What lies in a folder.

    Attributes:
        traces: files to read, relative to the folder with ``/``, in order.
        skipped: files that are not read, and why.
    """

    traces: tuple[str, ...]
    skipped: dict[str, str]


def find_traces(folder: Path) -> Found:
    """Search a folder and its subfolders for traces, and for run folders whose manifest names one.

    Hidden files and folders are left out. Symbolic links to folders are not followed, those to files only where they stay
    inside the folder. Of several files of one recording (``x.nsys-rep`` and its export ``x.sqlite``, plain or compressed) one is read:
    the plain export before a compressed one, and any export before the report.

    Raises:
        UsageError: not a folder, or it cannot be listed.
    """
    if not folder.is_dir():
        raise UsageError(
            f"{folder}: {'is a file' if folder.exists() else 'no such folder'}; expected a folder of traces.",
            "For a single trace use: python -m profiler kernels TRACE",
        )
    skipped: dict[str, str] = {}
    by_recording: dict[str, list[Path]] = {}
    for path in _files(folder, skipped):
        by_recording.setdefault(str(_stem(path)), []).append(path)
    has_nsys = find_nsys() is not None
    chosen: list[str] = []
    for paths in by_recording.values():
        first, *others = sorted(paths, key=lambda p: (_preference(p), p.name))
        for path in others:
            skipped[_relative(path, folder)] = f"{first.name} beside it is read instead"
        if _is_report(first) and not has_nsys:
            skipped[_relative(first, folder)] = (
                "a native report, and there is no nsys on this machine; export it where nsys is installed: "
                "nsys export --type sqlite REPORT"
            )
        else:
            chosen.append(_relative(first, folder))
    return Found(tuple(sorted(chosen)), dict(sorted(skipped.items())))


def _files(folder: Path, skipped: dict[str, str]) -> list[Path]:
    root = folder.resolve()

    def refuse(error: OSError) -> None:
        where = Path(str(error.filename))
        if where == folder:
            raise UsageError(f"{folder}: cannot be listed ({error.strerror}).", "Check the permissions.") from error
        skipped[_relative(where, folder)] = f"the folder cannot be listed ({error.strerror})"

    found: dict[Path, None] = {}
    links: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        here = Path(parent)
        for name in folders:
            if (here / name).is_symlink() and not name.startswith("."):
                skipped[_relative(here / name, folder)] = "a symbolic link to a folder, which is not followed"
        folders[:] = sorted(n for n in folders if not n.startswith("."))
        for name in sorted(names):
            path = here / name
            if name == _MANIFEST:
                path = _named_by(path) or path
            if name.startswith(".") or path.name == _MANIFEST or not (name == _MANIFEST or _is_trace(path)):
                continue
            if path.is_symlink():
                links.append(path)
            else:
                found[path] = None
    real = {path.resolve() for path in found}
    for path in links:
        target = path.resolve()
        if not target.is_relative_to(root):
            skipped[_relative(path, folder)] = "a symbolic link out of the folder, which is not followed: copy the file"
        elif target in real:
            skipped[_relative(path, folder)] = "a symbolic link to a file that is read already"
        else:
            real.add(target)
            found[path] = None
    return list(found)


def _named_by(manifest: Path) -> Path | None:
    """The trace that a run's manifest names: when it is missing, it is reported as a trace that cannot be read."""
    try:
        return manifest.with_name(read_manifest(manifest).trace)
    except ProfilerError:  # not a manifest of ours, or a broken one: the trace beside it, if there is one, tells
        return None


def _stem(path: Path) -> Path:
    name = path.name
    suffix = next((s for s in sorted(TRACE_SUFFIXES, key=len, reverse=True) if name.lower().endswith(s)), "")
    shorter = name[: len(name) - len(suffix)]
    # ".sqlite" and "..sqlite" are names of files, "" and "." are not
    return path.with_name(shorter) if shorter.strip(".") else path


def stem(name: str) -> str:
    """A relative path without the ending that makes it a trace."""
    return _stem(Path(name)).as_posix()


def _is_trace(path: Path) -> bool:
    return path.name.lower().endswith(TRACE_SUFFIXES)


def _is_report(path: Path) -> bool:
    return path.name.lower().endswith(REPORT_SUFFIXES)


def _preference(path: Path) -> int:
    return 2 if _is_report(path) else 0 if path.name.lower().endswith((".sqlite", ".db")) else 1


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
