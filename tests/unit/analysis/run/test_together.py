"""Two runs at the same time, or one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from profiler.analysis.run.run import Run
from profiler.analysis.run.together import for_each_run
from profiler.lazy import cached_property
from profiler.trace import Trace
from tests.support.make_trace import TraceMaker, simple

Open = Callable[[TraceMaker], Trace]


def test_runs_are_computed_at_the_same_time_unless_one_is_very_large(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [Run(opened(simple())) for _ in range(2)]
    both, threads = threading.Barrier(2, timeout=20), []

    def meet(run: Run, name: str) -> None:
        both.wait()
        threads.append((run, name))

    for_each_run(meet, runs, ("a", "b"))
    assert set(threads) == {(runs[0], "a"), (runs[1], "b")}
    monkeypatch.setitem(runs[1].trace.__dict__, "is_large", True)
    called = []
    for_each_run(lambda run: called.append((run, threading.current_thread())), runs)
    assert called == [(run, threading.main_thread()) for run in runs]


def test_the_first_runs_error_is_raised_when_both_are_done(opened: Open) -> None:
    runs, done = [Run(opened(simple())) for _ in range(2)], []

    def fail(run: Run, name: str) -> None:
        done.append(name)
        raise ValueError(name)

    with pytest.raises(ValueError, match="first"):
        for_each_run(fail, runs, ("first", "second"))
    assert sorted(done) == ["first", "second"]


def test_properties_of_two_objects_are_computed_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=20)

    class Slow:
        @cached_property
        def value(self) -> object:
            """What it is."""
            both.wait()
            return object()

    objects = [Slow(), Slow()]
    threads = [threading.Thread(target=lambda o=one: o.value) for one in objects]  # type: ignore[misc]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert objects[0].value is objects[0].value is not objects[1].value
    assert isinstance(Slow.value, cached_property) and Slow.value.__doc__ == "What it is."
