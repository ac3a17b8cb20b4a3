"""Reading a stream that may be larger than it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from profiler.errors import ProfilerError

_CHUNK = 1 << 20


def chunks(stream: IO[bytes], most: int, too_large: ProfilerError) -> Iterator[bytes]:
    """The pieces of a stream.

    Raises:
        ProfilerError: ``too_large``, before a piece that would make it more than ``most`` bytes.
    """
    read = 0
    while chunk := stream.read(_CHUNK):
        read += len(chunk)
        if read > most:
            raise too_large
        yield chunk
