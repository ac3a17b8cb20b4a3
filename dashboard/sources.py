"""Where traces come from: the runs that ship with the project, and folders. Which two of them are opened first. No Streamlit here."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import quote

from dashboard import settings
from profiler.errors import ProfilerError
from profiler.resources import bundled_traces
from profiler.text import visible
from profiler.trace.files import TRACE_SUFFIXES
from profiler.trace.manifest import Manifest, manifest_of, read_manifest

BUNDLED = bundled_traces()
BUNDLED_ACCURACY = BUNDLED  # the runs among them that were given labelled images
SIDES = ("before", "after")
MAX_LISTED = 500
OPENING = ("torch-fp16-eager-b8", "trt86-fp16-stream-b8")
"""The bundled pair that is shown first: the same model in the same precision, so that fusion alone differs."""
LADDER = ("torch-fp32-eager-b8", "trt86-fp32-stream-b8", "trt86-fp16-stream-b8", "trt86-int8-stream-b8")
"""Bundled runs from PyTorch to INT8 in steps that change one thing each: TensorRT, then FP16, then INT8."""


@dataclass(frozen=True)
class Source:
    """A trace that can be chosen.

    Attributes:
        key: what stands in the address; never a path of the machine.
        title: what the reader sees.
        path: the file.
        origin: "bundled", "folder" or "upload".
        manifest: of the run, where there is a readable one.
    """

    key: str
    title: str
    path: Path
    origin: str
    manifest: Manifest | None = None

    @property
    def recorded(self) -> datetime:
        """When it was recorded by its manifest, else when the file was last changed."""
        stated = self.manifest.recorded if self.manifest else None
        try:
            found = datetime.fromisoformat((stated or "").replace("Z", "+00:00"))
            return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
        except ValueError:
            pass
        try:
            return datetime.fromtimestamp(self.path.stat().st_mtime, timezone.utc)
        except (OSError, ValueError, OverflowError):
            return datetime.fromtimestamp(0, timezone.utc)


@dataclass(frozen=True)
class Listing:
    """The traces of a folder, and what of it was left out and why."""

    sources: tuple[Source, ...]
    notes: tuple[str, ...] = ()


def bundled() -> list[Source]:
    """The runs that ship with the project."""
    found = []
    for path in sorted(BUNDLED.glob("*/manifest.json")):
        try:
            manifest = read_manifest(path)
        except ProfilerError:
            continue  # one broken folder does not hide the others
        trace = path.parent / manifest.trace
        if trace.is_file():
            found.append(Source(path.parent.name, manifest.title or path.parent.name, trace, "bundled", manifest))
    return found


def in_folder(folder: Path) -> Listing:
    """Traces in a folder and its direct subfolders (a run's folder holds ``manifest.json`` and its trace).

    What cannot be read, or is a link that leads out of the folders that the server was started with, is named in the notes.
    """
    found: list[Source] = []
    notes: list[str] = []
    for path in _files(folder, notes):
        if not path.name.lower().endswith(TRACE_SUFFIXES):
            continue
        relative = path.relative_to(folder)
        name = visible(str(relative))
        try:
            if not path.is_file():
                continue
            if not settings.is_readable_from(path):
                notes.append(
                    f"{name} is a link that leads outside the folders this dashboard can read, and was skipped."
                )
                continue
        except (OSError, ValueError) as error:
            notes.append(f"{name} cannot be read ({_reason(error)}).")
            continue
        if len(found) == MAX_LISTED:
            notes.append(f"More than {MAX_LISTED} traces were found; the first {MAX_LISTED} by name are listed.")
            break
        manifest = None
        try:
            manifest = manifest_of(path)
        except (ProfilerError, OSError, ValueError) as error:
            notes.append(f"The manifest of {name} was skipped: {visible(str(error))[:300]}")
        title = visible(manifest.title)[:200] if manifest and manifest.title else name
        found.append(Source(f"folder/{_key(relative)}", title, path, "folder", manifest))
    return Listing(tuple(found), tuple(notes))


def _files(folder: Path, notes: list[str]) -> Iterator[Path]:
    entries = _entries(folder, folder, notes)
    for path in entries:
        try:
            is_folder = path.is_dir()
        except OSError:
            continue
        if not is_folder:
            yield path
        elif settings.is_readable_from(path):
            yield from _entries(path, folder, notes)
        else:
            notes.append(
                f"{visible(path.name)} is a link that leads outside the folders this dashboard can read, and was skipped."
            )


def _entries(folder: Path, root: Path, notes: list[str]) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        notes.append(f"The folder {visible(str(folder.relative_to(root)))} cannot be listed ({_reason(error)}).")
        return []


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _key(relative: Path) -> str:
    """A path as it stands in an address; a name that is not UTF-8 is written by its bytes."""
    text = relative.as_posix()
    try:
        text.encode("utf-8")
        return text
    except UnicodeEncodeError:
        return quote(text.encode("utf-8", "surrogateescape"))


def titles(sources: Mapping[str, Source]) -> dict[str, str]:
    """Key → what a list shows. Equal titles are told apart by their folder and date, and where that is not enough by their key."""
    shown = {key: source.title for key, source in sources.items()}
    steps: tuple[Callable[[Source], str], ...] = (
        lambda s: f"{s.title} ({visible(s.path.parent.name)}, {s.recorded:%Y-%m-%d %H:%M})",
        lambda s: f"{s.title} ({s.key})",
    )
    for longer in steps:
        counts: dict[str, int] = {}
        for title in shown.values():
            counts[title] = counts.get(title, 0) + 1
        shown = {key: longer(sources[key]) if counts[title] > 1 else title for key, title in shown.items()}
    return shown


def opening_pair(sources: Collection[Source]) -> tuple[Source | None, Source | None]:
    """Which traces a list opens with: :data:`OPENING`, else the newest engine and the newest run of the same model that is none, else
    two whose names say "before" and "after"; else none, which leaves it to whoever has looked into the traces."""
    bundled_runs = {s.key: s for s in sources if s.origin == "bundled"}
    if all(key in bundled_runs for key in OPENING):
        return bundled_runs[OPENING[0]], bundled_runs[OPENING[1]]
    newest = sorted(sources, key=lambda s: s.recorded, reverse=True)
    for after in newest:
        if _framework(after) != "TensorRT":
            continue
        for before in newest:
            if _framework(before) not in (None, "TensorRT") and _same_work(before, after):
                return before, after
    by_name = {side: next((s for s in newest if side_in_name(s.path.name) == side), None) for side in SIDES}
    return (by_name["before"], by_name["after"]) if all(by_name.values()) else (None, None)


def _framework(source: Source) -> str | None:
    return source.manifest.framework if source.manifest else None


def _same_work(first: Source, second: Source) -> bool:
    a, b = first.manifest, second.manifest
    return a is not None and b is not None and (a.model_label, a.batch) == (b.model_label, b.batch)


@dataclass(frozen=True)
class Candidate:
    """One of two traces of which one came before: what the guess is made from; None where not known."""

    name: str
    framework: str | None
    latency_ns: float | None


def order(first: Candidate, second: Candidate) -> tuple[bool, str]:
    """Whether the first of two is "before", and why.

    What is not TensorRT comes before what is; else what the names say; else the slower one; else the first that was given.
    """
    frameworks = (first.framework, second.framework)
    if frameworks.count("TensorRT") == 1:
        other = next(name for name in frameworks if name != "TensorRT")
        why = f"the other is TensorRT, and this one {f'is {other}' if other else 'is not'}"
        return frameworks[1] == "TensorRT", why
    named = [side_in_name(c.name) for c in (first, second)]
    if set(named) == {"before", "after"} or (None in named and any(named)):
        return named[0] == "before" or named[1] == "after", "as the file names say"
    if first.latency_ns is not None and second.latency_ns is not None and first.latency_ns != second.latency_ns:
        return (
            first.latency_ns > second.latency_ns,
            "it is slower" if first.latency_ns > second.latency_ns else "the other one is slower",
        )
    return True, "it was given first"


def side_in_name(name: str) -> str | None:
    """ "before" or "after" where a file's name says so."""
    words = set(re.split(r"[^a-z]+", name.lower()))
    before, after = words & {"before", "baseline", "old", "base"}, words & {"after", "optimised", "optimized", "new"}
    return "before" if before and not after else "after" if after and not before else None


def without_demo(chosen: Sequence[Source | None]) -> list[Source | None]:
    """The choice without bundled runs where the reader's own upload is chosen, too: a trace is never compared with the demo."""
    origins = {s.origin for s in chosen if s is not None}
    return [None if s is not None and s.origin == "bundled" and "upload" in origins else s for s in chosen]


def by_key(sources: Iterable[Source]) -> dict[str, Source]:
    return {source.key: source for source in sources}
