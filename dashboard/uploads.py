"""What people drop on the page: traces, and what belongs to them, as single files or as a run's folder in a .zip.

Files are told apart by what they hold, not by their names. Each trace gets a private folder, and what belongs to it (manifest, engine
description, build log) is put beside it there, so that it is found as in a run's folder. No Streamlit here.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import threading
import weakref
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from dashboard.sources import Source
from profiler.errors import ProfilerError, TraceError
from profiler.files import atomic_file, make_private_folder, remove_private_folder, write_file
from profiler.text import plural
from profiler.trace.archive import ZIP_MAGIC, extract_zip
from profiler.trace.build_log import read_build_log
from profiler.trace.engine_file import read_engine_file, read_engine_json
from profiler.trace.files import SQLITE_MAGIC, TRACE_SUFFIXES
from profiler.trace.manifest import FORMAT, find_manifest, manifest_of, read_manifest
from profiler.trace.streams import chunks

LEAVE_AFTER_S = 180.0
"""How long uploads outlive a lost connection: somewhat longer than Streamlit keeps the session itself (120 s)."""
_MAX_UPLOAD_BYTES = 8 << 30
_SPARE_BYTES = 1 << 29
_EXPECTED = (
    "Expected a trace (.sqlite, also .xz, .zst, .gz, or .nsys-rep), a run's folder as .zip, or what belongs to a trace: manifest.json, "
    "the engine inspector's JSON, a verbose TensorRT build log."
)
_KINDS = {"layers": "engine description", "build_log": "build log"}


@dataclass
class Drop:
    """What became of the files that were dropped together.

    Attributes:
        sources: the traces, in the order in which they were dropped.
        notes: what was put beside which trace.
        errors: a file that is of no use here does not keep the others from being opened.
    """

    sources: list[Source] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    errors: list[ProfilerError] = field(default_factory=list)


class Uploads:
    """Uploaded traces of one browser session, in a private folder that goes when the session does."""

    def __init__(self, on_remove: Callable[[Path], None] = lambda _path: None) -> None:
        """``on_remove`` is called with each trace that goes, so that nothing that was read of it is kept either."""
        self._on_remove = on_remove
        self._home: Path | None = None
        self._going: threading.Timer | None = None
        self._lock = threading.Lock()
        self._drops = 0
        self.sources: dict[str, Source] = {}

    def receive(
        self, files: Iterable[tuple[str, BinaryIO]], progress: Callable[[str, int], None] = lambda _name, _bytes: None
    ) -> Drop:
        """Take the files of one drop.

        Args:
            files: names and contents.
            progress: called with a file's name and how many of its bytes are stored.
        """
        drop = Drop()
        self._drops += 1
        folder = self._folder() / f"drop{self._drops}"
        traces: list[tuple[str, Path]] = []
        others: list[tuple[str, Path, str]] = []
        for number, (name, stream) in enumerate(files):
            place = folder / str(number)
            place.mkdir(parents=True)
            try:
                path = _store(name, stream, place, progress)
                kind = _kind(path)
                if kind == "zip":
                    traces += self._unpack(name, path)
                elif kind == "trace":
                    traces.append((path.name, path))
                else:
                    others.append((name[:200], path, kind))
            except ProfilerError as error:
                shutil.rmtree(place, ignore_errors=True)
                drop.errors.append(error)
        # those that say themselves to which trace they belong come first
        for name, path, kind in sorted(others, key=lambda other: other[2] != "manifest"):
            try:
                owner = self._owner(path, kind, [p for _, p in traces])
                drop.notes.append(_put_beside(path, kind, owner, name))
            except ProfilerError as error:
                drop.errors.append(error)
            shutil.rmtree(path.parent, ignore_errors=True)
        labels: list[str] = []
        for label, path in traces:
            labels.append(label)
            same = labels.count(label)  # the traces of two runs' folders are often called alike
            try:
                source = _source(f"{label}-{same}" if same > 1 else label, path)
            except ProfilerError as error:
                drop.errors.append(error)
                continue
            self.remove(source.key)  # a file of the same name is replaced
            self.sources[source.key] = source
            drop.sources.append(source)
        return drop

    def _unpack(self, name: str, path: Path) -> list[tuple[str, Path]]:
        into = path.parent / "unpacked"
        into.mkdir()
        try:
            found = extract_zip(path, into)
        finally:
            path.unlink(missing_ok=True)
        traces = [p for p in found if p.name.lower().endswith(TRACE_SUFFIXES)]
        if not traces:
            raise TraceError(
                f"{name[:200]}: holds {plural(len(found), 'file')} and no trace.",
                f"Expected a run's folder, with a file ending in {', '.join(TRACE_SUFFIXES)}.",
            )
        stem = Path(name).stem
        return [(f"{_safe(stem)}/{p.relative_to(into).as_posix()}", p) for p in traces]

    def _owner(self, path: Path, kind: str, traces: Sequence[Path]) -> Path:
        """The trace that a file belongs to: the one that a manifest names, else the only one, else the one that lacks such a file."""
        candidates = list(traces) or [s.path for s in reversed(self.sources.values())][:1]
        if kind == "manifest":
            named = [t for t in candidates if t.name == read_manifest(path).trace]
            if named:
                return named[0]
        elif len(candidates) > 1:
            candidates = [t for t in candidates if _framework(t) != "PyTorch" and not _extra(t).get(kind)]
        if len(candidates) == 1:
            return candidates[0]
        what = "the manifest" if kind == "manifest" else f"the {_KINDS[kind]}"
        raise TraceError(
            f"{path.name}: {what} fits {'none' if not candidates else 'several'} of the traces here.",
            "Upload it together with its trace only, or upload the run's folder as .zip.",
        )

    def remove(self, key: str) -> None:
        source = self.sources.pop(key, None)
        if source is None:
            return
        self._on_remove(source.path)
        source.path.unlink(missing_ok=True)
        if not any(other.path.parent == source.path.parent for other in self.sources.values()):
            shutil.rmtree(source.path.parent, ignore_errors=True)

    def _folder(self) -> Path:
        if self._home is None:
            self._home = make_private_folder("uploads")
            weakref.finalize(self, remove_private_folder, self._home)
            (self._home / "files").mkdir()
        return self._home / "files"

    def stay(self) -> None:
        """The session is there (again)."""
        with self._lock:
            if self._going is not None:
                self._going.cancel()
                self._going = None

    def leave(self) -> None:
        """The session is gone. A browser that only lost its connection for a moment finds its uploads again."""
        with self._lock:
            if self._going is None:
                self._going = threading.Timer(LEAVE_AFTER_S, self.discard)
                self._going.daemon = True
                self._going.start()

    def discard(self) -> None:
        """Remove everything that was uploaded."""
        for source in self.sources.values():
            self._on_remove(source.path)
        self.sources.clear()
        if self._home is not None:
            remove_private_folder(self._home)
            self._home = None


def _store(name: str, stream: BinaryIO, folder: Path, progress: Callable[[str, int], None]) -> Path:
    """Copy an upload to disk, piece by piece.

    Raises:
        TraceError: it is larger than uploads may be, or than the disk can spare.
    """
    target = folder / _safe(Path(name).name)
    most = min(_MAX_UPLOAD_BYTES, shutil.disk_usage(folder).free - _SPARE_BYTES)
    too_large = TraceError(
        f"{name[:200]}: larger than the {max(most, 0):,} bytes that can be stored here.",
        "Enter its folder below instead, or free space on the disk that holds temporary files.",
    )
    written = 0
    try:
        with atomic_file(target) as partial, partial.open("wb") as sink:
            for chunk in chunks(stream, most, too_large):
                sink.write(chunk)
                written += len(chunk)
                progress(name, written)
    except OSError as error:
        raise TraceError(f"{name[:200]}: could not be stored ({error.strerror or error}).") from error
    return target


def _safe(name: str) -> str:
    return re.sub(r"[^\w.+-]", "_", name)[-120:].lstrip(".") or "trace"


def _kind(path: Path) -> str:
    """ "trace", "zip", "manifest", "layers" or "build_log", by what the file holds.

    Raises:
        TraceError: none of them; the message says what the file is not.
    """
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith(ZIP_MAGIC):
        return "zip"
    if head.startswith(SQLITE_MAGIC) or path.name.lower().endswith(TRACE_SUFFIXES):
        return "trace"
    if re.match(rb"\s*(\{|\[\s*[\[{\"\]])", head.removeprefix(BOM_UTF8)):  # the lines of a log begin with [ as well
        return _kind_of_json(path)
    for kind, read in (("build_log", read_build_log), ("layers", read_engine_file)):
        with contextlib.suppress(ProfilerError):
            read(path)
            return kind
    raise TraceError(f"{path.name}: neither a trace nor a file that belongs to one.", _EXPECTED)


def _kind_of_json(path: Path) -> str:
    try:
        document = read_engine_json(path)
    except TraceError as error:
        raise TraceError(error.message.replace(str(path), path.name), _EXPECTED) from error
    if isinstance(document, dict) and document.get("format") == FORMAT:
        read_manifest(path)
        return "manifest"
    try:
        if read_engine_file(path):
            return "layers"
    except ProfilerError as error:
        raise TraceError(f"{path.name}: JSON, but neither a manifest nor an engine description.", _EXPECTED) from error
    raise TraceError(f"{path.name}: an engine description that lists no layers.", _EXPECTED)


def _put_beside(path: Path, kind: str, trace: Path, name: str) -> str:
    """Put a file beside a trace; returns what was done. The trace's manifest (a copy of ours) names it."""
    if kind == "manifest":
        document = {**_extra(trace), **json.loads(path.read_text("utf-8"))}
    else:
        target = trace.with_name(f"{kind}-{path.name}")
        path.replace(target)
        document = {"format": FORMAT, **_extra(trace), kind: target.name}
    text = json.dumps({**document, "trace": trace.name})
    write_file(find_manifest(trace) or trace.with_name("manifest.json"), text)
    return f"{name} was taken as the {'manifest' if kind == 'manifest' else _KINDS[kind]} of {trace.name}"


def _extra(trace: Path) -> dict[str, Any]:
    manifest = manifest_of(trace)
    return manifest.extra if manifest else {}


def _framework(trace: Path) -> str | None:
    """What the manifest says, else what the name hints at: enough to tell an engine's trace from a model's."""
    manifest = manifest_of(trace)
    if manifest and manifest.framework:
        return manifest.framework
    return "PyTorch" if re.search(r"torch|eager|baseline|before", trace.name.lower()) else None


def _source(label: str, path: Path) -> Source:
    manifest = manifest_of(path)
    key = f"upload/{label}"
    return Source(key, (manifest.title if manifest else None) or label, path, "upload", manifest)
