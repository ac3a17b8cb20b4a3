"""A file that is replaced, swapped, deleted or rewritten while it is read: the figures of one state, or an error; never of two."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from profiler.errors import TraceError
from profiler.trace import Trace, bulk, database, open_trace
from tests.support.make_trace import TraceMaker

_KEPT = ("kernels", "memcpys", "api_calls", "nvtx_ranges")


def _trace(path: Path, name: str, duration: int) -> Path:
    """Traces of which every column differs, and the number of rows does not."""
    maker = TraceMaker()
    for n in range(40):
        maker.range(f"{name} {n}", 1000 * n, 1000 * n + 900)
        correlation = maker.launch(1000 * n + 1, name=f"cuda{name}")
        maker.kernel(1000 * n + 10, duration, name=f"{name}_{n}", correlation=correlation)
        maker.add(
            "CUPTI_ACTIVITY_KIND_MEMCPY",
            start=1000 * n + 500,
            end=1000 * n + 500 + duration,
            bytes=duration,
            copyKind=1,
        )
    return maker.write(path)


def _figures(trace: Trace) -> str:
    return "\n".join(getattr(trace, name).to_csv() for name in _KEPT)


def _replace(path: Path, other: Path) -> Callable[[], None]:
    other.replace(path)
    return lambda: None


def _swap_and_back(path: Path, other: Path) -> Callable[[], None]:
    aside = path.with_name("aside")
    path.replace(aside)
    other.replace(path)

    def back() -> None:
        path.replace(other)
        aside.replace(path)

    return back


def _delete(path: Path, _: Path) -> Callable[[], None]:
    path.unlink()
    return lambda: None


def _rewrite(path: Path, other: Path) -> Callable[[], None]:
    shutil.copyfile(other, path)
    return lambda: None


@pytest.mark.parametrize("at", range(5))
@pytest.mark.parametrize("change", [_replace, _swap_and_back, _delete, _rewrite])
def test_figures_are_of_one_state(
    change: Callable[[Path, Path], Callable[[], None]], at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = _trace(tmp_path / "a.sqlite", "First", 7), _trace(tmp_path / "b.sqlite", "Second", 300)
    monkeypatch.setattr(database, "_LARGE_TABLE", 0)
    with open_trace(path) as trace:
        expected = _figures(trace)
    calls = iter(range(100))

    def hooked(reading: Callable[..., Any]) -> Callable[..., Any]:
        def read(*args: Any) -> Any:
            if next(calls) != at:
                return reading(*args)
            back = change(path, other)
            try:
                return reading(*args)
            finally:
                back()

        return read

    monkeypatch.setattr(bulk, "integers", hooked(bulk.integers))
    monkeypatch.setattr(bulk, "texts", hooked(bulk.texts))
    with open_trace(path) as trace:
        if change is _rewrite:
            with pytest.raises(TraceError, match="was changed while it was being read"):
                _figures(trace)
        else:
            assert _figures(trace) == expected
    assert next(calls) > at


def test_a_file_that_is_replaced_while_it_is_opened_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = _trace(tmp_path / "a.sqlite", "First", 7), _trace(tmp_path / "b.sqlite", "Second", 300)
    harden = database.harden

    def late(*args: Any) -> Any:
        other.replace(path)
        return harden(*args)

    monkeypatch.setattr(database, "harden", late)
    with pytest.raises(TraceError, match="was replaced by another file"):
        open_trace(path)
