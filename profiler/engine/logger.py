"""TensorRT's messages: all of them into a compressed log, the errors also where an error message can quote them."""

from __future__ import annotations

import lzma
import re
import threading
from pathlib import Path
from typing import Any

_MARKS = {"VERBOSE": "V", "INFO": "I", "WARNING": "W", "ERROR": "E", "INTERNAL_ERROR": "F"}
_KEPT = 50
_TIMING = "Timing Runner: "
_MEMORY = re.compile(r"Total (Host Persistent|Device Persistent|Scratch|Activation|Weights) Memory: (\d+)")


class BuildLog:
    """A log file, ``[V] message`` a line, xz-compressed; and counts for a progress line.

    Args:
        path: where to write; None to keep only the errors and warnings.
        hidden: a path that must not get into the log, which may be handed on; the file's name stands there instead.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path | None, hidden: Path | None = None) -> None:
        self._file = lzma.open(path, "wt", encoding="utf-8", preset=2) if path else None  # noqa: SIM115 - closed in close()
        self._hidden = hidden
        self._lock = threading.Lock()  # the builder logs from several threads
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.lines = 0
        self.timed = 0
        self.memory_bytes: dict[str, int] = {}  # what TensorRT says of the engine; the last word counts
        self.layer = ""
        self.failure: OSError | None = None

    def add(self, severity: str, message: str) -> None:
        """Take one message. Never raises: it is called from C++, where an exception would end the process."""
        with self._lock:
            self.lines += 1
            if _TIMING in message:
                self.timed += 1
                self.layer = message.split(_TIMING, 1)[1].rsplit(" (", 1)[0]
            elif severity == "INFO" and (found := _MEMORY.match(message)):
                self.memory_bytes[found[1].lower().replace(" ", "_")] = int(found[2])
            if severity in ("ERROR", "INTERNAL_ERROR") and len(self.errors) < _KEPT:
                self.errors.append(message)
            elif severity == "WARNING" and len(self.warnings) < _KEPT:
                self.warnings.append(message)
            if self._file is None or self.failure is not None:
                return
            if self._hidden is not None:
                message = message.replace(str(self._hidden), self._hidden.name)
            try:
                self._file.write(f"[{_MARKS.get(severity, '?')}] {message}\n")
            except OSError as error:  # a full disk: reported when the log is closed
                self.failure = error

    def close(self) -> None:
        """Finish the file.

        Raises:
            OSError: something could not be written, now or before.
        """
        with self._lock:
            if self._file is not None:
                try:
                    self._file.close()
                finally:
                    self._file = None
            if self.failure is not None:
                raise self.failure


def make_logger(trt: Any, log: BuildLog | None = None) -> Any:
    """A ``trt.ILogger`` that writes into ``log``; it also has ``errors`` and ``last_error()``."""
    kept = log if log is not None else BuildLog(None)

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors = kept.errors

        def log(self, severity: Any, message: str) -> None:
            kept.add(str(severity).rsplit(".", maxsplit=1)[-1], str(message))

        def last_error(self) -> str:
            return " ".join(kept.errors[-1].split())[:500] if kept.errors else "TensorRT gave no reason"

    return Logger()
