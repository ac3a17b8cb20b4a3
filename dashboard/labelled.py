"""Studies with labelled images: the bundled one, and the reader's."""

from __future__ import annotations

import contextlib
from pathlib import Path

import streamlit as st

from dashboard import sources
from dashboard.sources import Source
from profiler.report.accuracy import AccuracyStudy, read_study


@st.cache_resource(ttl=30, max_entries=8, show_spinner=False)
def accuracy_study(folder: str) -> AccuracyStudy | None:
    """The runs on labelled images in a folder; None where there are none."""
    with contextlib.suppress(OSError):
        return read_study(Path(folder))
    return None


def study_beside(before: Source, after: Source, folder: Path | None) -> AccuracyStudy | None:
    """What is handed over with two traces: the study in the reader's folder; with two bundled runs the bundled one, if of their model."""
    study = accuracy_study(str(folder)) if folder else None
    if study is not None or {before.origin, after.origin} != {"bundled"}:
        return study
    study = accuracy_study(str(sources.BUNDLED_ACCURACY))
    models = {side.manifest.model for side in (before, after) if side.manifest}
    return study if study is not None and models == {study.runs[0].model} else None
