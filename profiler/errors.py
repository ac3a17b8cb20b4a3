"""The one error type that users meet, and its kinds.

Every message names the file or option concerned, what was found, and what was expected; the hint says what to
do about it. Only the command line (``profiler.cli``) and the dashboard catch these.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_GATE_FAILED = 3  # report --fail-if: a figure is out of bounds
EXIT_GATE_UNKNOWN = 4  # no gate failed, but one could not be decided


class ProfilerError(Exception):
    """Something a user can act on.

    Args:
        message: what was found and what was expected, naming the file.
        hint: what to do about it; shown on a line of its own.
    """

    exit_code = EXIT_FAILED

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class UsageError(ProfilerError):
    """The command was called with arguments that do not fit (exit code 2)."""

    exit_code = EXIT_USAGE


class TraceError(ProfilerError):
    """A trace cannot be read, or does not hold what was asked of it."""


class NotComparableError(ProfilerError):
    """Two traces cannot be compared in the way that was asked."""


class MissingToolError(ProfilerError):
    """A program or library that this step needs is not here."""


class OutputError(ProfilerError):
    """A result cannot be written where it was asked for."""
