"""Results of ``python -m profiler fleet`` that can be looked at: in the chosen folder, or uploaded. Needs no Dask."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import streamlit as st

from dashboard.caching import HASH
from dashboard.data import chosen_folder
from profiler.errors import ProfilerError
from profiler.fleet.results import DOCUMENT, NAMES, FleetResult, read_files, read_fleet

UPLOAD_KEY = "upload"
_MAX_LISTED = 100
_MAX_DEPTH = 3
_MAX_UPLOAD_BYTES = 256 << 20
_UPLOADED = "uploaded_fleet_result"


class Upload(Protocol):
    """A file as Streamlit hands it over."""

    name: str
    size: int

    def read(self, n: int = -1, /) -> bytes: ...


@dataclass(frozen=True)
class ResultSource:
    """A result that can be chosen.

    Attributes:
        key: what stands in the address; never a path of the machine.
        files: its files, or their contents, by name.
    """

    key: str
    title: str
    files: Mapping[str, Path | bytes]

    def content(self, name: str) -> bytes:
        """One of its files, for a download."""
        file = self.files[name]
        return file.read_bytes() if isinstance(file, Path) else file


@dataclass(frozen=True)
class Uploaded:
    """A result that was uploaded in this browser session; it is kept in memory and goes with the session."""

    files: Mapping[str, bytes]
    result: FleetResult


def take_upload(files: Iterable[Upload]) -> Uploaded:
    """Check and read the files of a result.

    Raises:
        ProfilerError: a file is missing, is none of a result, is damaged, or all together are too large.
    """
    by_name = {Path(file.name).name: file for file in files}
    foreign, missing = sorted(set(by_name) - set(NAMES)), sorted(set(NAMES) - set(by_name))
    if foreign or missing:
        said = [f"{n[:80]} is not part of it" for n in foreign[:3]] + [f"{n} is missing" for n in missing[:3]]
        raise ProfilerError(
            f"The upload is not a complete fleet result: {'; '.join(said)}.",
            f"Choose all {len(NAMES)} files of its folder together: {DOCUMENT} and the .parquet files.",
        )
    if sum(file.size for file in by_name.values()) > _MAX_UPLOAD_BYTES:
        raise ProfilerError(
            f"The upload is larger than {_MAX_UPLOAD_BYTES >> 20} MiB.",
            "Put the result into a folder on the machine that runs this dashboard.",
        )
    contents = {name: file.read() for name, file in by_name.items()}
    return Uploaded(contents, read_files(contents, "the upload"))


def keep_upload(upload: Uploaded) -> None:
    """Offer it in this session; it replaces an earlier one."""
    st.session_state[_UPLOADED] = upload


def sources() -> dict[str, ResultSource]:
    """Everything that can be chosen, by key: only below the folder that was chosen, and the upload."""
    folder = chosen_folder()
    found = _in_folder(str(folder)) if folder else []
    upload: Uploaded | None = st.session_state.get(_UPLOADED)
    if upload is not None:
        found = [*found, ResultSource(UPLOAD_KEY, "uploaded result", upload.files)]
    return {source.key: source for source in found}


@st.cache_data(ttl=10, max_entries=20, show_spinner=False, hash_funcs=HASH)
def _in_folder(folder: str) -> list[ResultSource]:
    root = Path(folder)
    found = []
    for parent, folders, names in os.walk(root):  # symbolic links to folders are not followed
        here = Path(parent).relative_to(root)
        folders[:] = sorted(f for f in folders if not f.startswith(".")) if len(here.parts) < _MAX_DEPTH else []
        if DOCUMENT in names and not (Path(parent) / DOCUMENT).is_symlink():
            title = here.as_posix() if here.parts else root.name
            files = {name: Path(parent) / name for name in NAMES}
            found.append(ResultSource(f"folder/{here.as_posix()}", title, files))
        if len(found) >= _MAX_LISTED:
            break
    return found


def load(source: ResultSource) -> FleetResult | ProfilerError:
    """Read a result, or say what is wrong with it."""
    document = source.files[DOCUMENT]
    if not isinstance(document, Path):
        upload: Uploaded = st.session_state[_UPLOADED]
        return upload.result
    try:
        stat = document.stat()
        return _load(str(document.parent), stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        return ProfilerError(f"{source.title}: {DOCUMENT} cannot be read ({error.strerror or error}).")
    except ProfilerError as error:
        return error


@st.cache_resource(max_entries=4, show_spinner="Reading the result…", hash_funcs=HASH)
def _load(path: str, mtime_ns: int, size: int) -> FleetResult:
    del mtime_ns, size  # part of the cache key: a result that was made again is read again
    return read_fleet(Path(path))
