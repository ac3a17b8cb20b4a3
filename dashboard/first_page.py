"""What the first page needs, made while the browser opens."""

from __future__ import annotations

import contextlib

from dashboard import data, settings, sources
from dashboard.labelled import study_beside
from profiler.errors import ProfilerError


def prepare() -> None:
    """Import the pages, and analyse the bundled pair that a session opens with unless the server was started with other traces.

    What goes wrong here goes wrong again where it is shown.
    """
    import dashboard.app  # noqa: F401, PLC0415 - takes half a second, and is what this is for

    if settings.folder() is not None:
        return
    with contextlib.suppress(ProfilerError, OSError):
        before, after = sources.opening_pair(data.bundled_sources())
        if before is not None and after is not None:
            made = data.evidence_with(data.load(before), data.load(after), study_beside(before, after, None))
            if made is not None:
                data.story_of(made)
