from __future__ import annotations

from collections.abc import Iterator

import pytest

from profiler.trace import arrays


@pytest.fixture(scope="module")
def small_pieces() -> Iterator[None]:
    """Columns of a few rows are worked on in pieces and in threads, as those of large traces are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "PIECE", 5)
        yield
