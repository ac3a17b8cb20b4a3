"""Patterns for NVTX ranges that come from the pages or the address."""

from __future__ import annotations

import fnmatch

from profiler.errors import UsageError
from profiler.trace import Trace

MAX_PATTERN = 200


def check_pattern(trace: Trace, pattern: str) -> None:
    """Patterns of the pages are shell patterns: an address can hold one, and a regular expression can take for ever.

    Raises:
        UsageError: no range matches it, or it is too long.
    """
    if len(pattern) > MAX_PATTERN:
        raise UsageError(
            f"The pattern for NVTX ranges is longer than {MAX_PATTERN} characters.",
            "Use a shorter one, such as iter*.",
        )
    texts = trace.nvtx_ranges["text"].cat.categories
    if not any(fnmatch.fnmatchcase(str(text), pattern) for text in texts):
        known = ", ".join(dict.fromkeys(str(text) for text in texts[:20]))[:300] or "none"
        raise UsageError(
            f"No NVTX range of this trace matches the pattern {pattern!r}.",
            f"Use a shell pattern such as iter*. Ranges in the trace: {known}",
        )
