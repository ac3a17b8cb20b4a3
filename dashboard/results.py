"""Results of ``python -m profiler fleet`` that can be looked at: in the chosen folder, or uploaded. Needs no Dask."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import streamlit as st

from dashboard.data import chosen_folder
from profiler.errors import ProfilerError
from profiler.fleet.results import DOCUMENT, FILES, FleetResult, read_fleet

UPLOAD_KEY = "upload"
_MAX_LISTED = 100
_MAX_DEPTH = 3
_MAX_UPLOAD_BYTES = 1 << 30
_CHUNK = 1 << 22


class Upload(Protocol):
    """A file as Streamlit hands it over."""

    name: str
    size: int

    def read_fleet(self, n: int = -1, /) -> bytes: ...


@dataclass(frozen=True)
class ResultSource:
    """A result that can be chosen. ``key`` stands in the address and never is a path of the machine."""

    key: str
    title: str
    path: Path


class UploadedResult:
    """One uploaded result of one browser session, in a private folder that goes when the session does."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="profiler-uploads-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self.version = 0

    @property
    def path(self) -> Path:
        return self._folder / f"result-{self.version}"

    def add(self, files: Iterable[Upload]) -> None:
        """Take the files of a result; they replace an earlier upload.

        Raises:
            ProfilerError: a file is missing, is none of a result, or all together are too large.
        """
        by_name = {Path(file.name).name: file for file in files}
        wanted = {DOCUMENT, *FILES.values()}
        foreign, missing = sorted(set(by_name) - wanted), sorted(wanted - set(by_name))
        if foreign or missing:
            said = [f"{n[:80]} is none of its files" for n in foreign[:3]] + [f"{n} is missing" for n in missing[:3]]
            raise ProfilerError(
                f"The upload is not a whole result of fleet: {'; '.join(said)}.",
                f"Choose all {len(wanted)} files of its folder together: {DOCUMENT} and the .parquet files.",
            )
        if sum(file.size for file in by_name.values()) > _MAX_UPLOAD_BYTES:
            raise ProfilerError(
                f"The upload is larger than {_MAX_UPLOAD_BYTES >> 20} MiB.",
                "Put the result into a folder on the machine that runs this dashboard.",
            )
        shutil.rmtree(self.path, ignore_errors=True)
        self.version += 1
        self.path.mkdir()
        for name, file in by_name.items():
            with (self.path / name).open("wb") as sink:
                while chunk := file.read(_CHUNK):
                    sink.write(chunk)


def uploaded() -> UploadedResult:
    """This session's uploaded result."""
    if "uploaded_result" not in st.session_state:
        st.session_state["uploaded_result"] = UploadedResult()
    kept: UploadedResult = st.session_state["uploaded_result"]
    return kept


def sources() -> dict[str, ResultSource]:
    """Everything that can be chosen, by key: only below the folder that was chosen, and the upload."""
    folder = chosen_folder()
    found = _in_folder(folder) if folder and Path(folder).is_dir() else []
    if uploaded().path.is_dir():
        found = [*found, ResultSource(UPLOAD_KEY, "uploaded result", uploaded().path)]
    return {source.key: source for source in found}


@st.cache_data(ttl=10, max_entries=20, show_spinner=False)
def _in_folder(folder: str) -> list[ResultSource]:
    root = Path(folder)
    found = []
    for parent, folders, names in os.walk(root):  # symbolic links to folders are not followed
        here = Path(parent).relative_to(root)
        folders[:] = sorted(f for f in folders if not f.startswith(".")) if len(here.parts) < _MAX_DEPTH else []
        if DOCUMENT in names and not (Path(parent) / DOCUMENT).is_symlink():
            title = here.as_posix() if here.parts else root.name
            found.append(ResultSource(f"folder/{here.as_posix()}", title, Path(parent)))
        if len(found) >= _MAX_LISTED:
            break
    return found


def load(source: ResultSource) -> FleetResult | ProfilerError:
    """Read a result, or say what is wrong with it."""
    try:
        stat = (source.path / DOCUMENT).stat()
        return _load(str(source.path), stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        return ProfilerError(f"{source.title}: {DOCUMENT} cannot be read ({error.strerror or error}).")
    except ProfilerError as error:
        return error


@st.cache_resource(max_entries=4, show_spinner="Reading the result…")
def _load(path: str, mtime_ns: int, size: int) -> FleetResult:
    del mtime_ns, size  # part of the cache key: a result that was made again is read again
    return read_fleet(Path(path))
