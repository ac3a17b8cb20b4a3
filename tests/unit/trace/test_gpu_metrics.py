from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.errors import TraceError
from profiler.trace import Trace, gpu_metrics, guard
from tests.support.make_trace import TraceMaker, simple

Open = Callable[[TraceMaker], Trace]
SAMPLES = [(0, 10), (100, 20), (200, 60)]


def test_both_storage_forms_give_the_same_samples(opened: Open) -> None:
    new, old = simple(), simple()
    new.metric("Tensor Active [Throughput %]", SAMPLES)
    for when, value in SAMPLES:
        data = json.dumps({"SM Issue": "3", "Tensor Active": str(value), "DRAM Read Throughput": "7"})
        old.add("GENERIC_EVENTS", rawTimestamp=when, timestamp=when, typeId=(1 << 40) + 0, data=data)
    newer, older = opened(new).gpu_metrics, opened(old).gpu_metrics
    assert (newer.storage, older.storage) == ("GPU_METRICS", "GENERIC_EVENTS")
    for metrics in (newer, older):
        series = metrics.tensor_active()
        assert series is not None
        assert list(zip(series.timestamps_ns, series.values)) == SAMPLES
        assert series.frequency_hz == 1e7
    read = older.dram_read()
    assert read is not None and read.values.tolist() == [7, 7, 7]


def test_the_usual_metrics_in_one_pass_are_those_read_one_by_one(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def made() -> TraceMaker:
        maker = simple()
        maker.metric("Tensor Active [Throughput %]", SAMPLES)
        maker.metric("DRAM Read Bandwidth [Throughput %]", [(300, 5), (100, 7)], metric_id=6)
        maker.metric("SMs Active [Throughput %]", [(0, 99)], metric_id=7)
        maker.metric("DRAM Write Bandwidth [Throughput %]", [(100, 8)], metric_id=8)
        return maker

    one_by_one, together = opened(made()).gpu_metrics, opened(made()).gpu_metrics
    together.read_usual()
    reads: list[str] = []
    monkeypatch.setattr(type(together), "_load", lambda self, gpu, name: reads.append(name))
    found = (together.tensor_active(), together.dram_read(), together.dram_write())
    monkeypatch.undo()
    assert not reads
    for ours, theirs in zip(found, (one_by_one.tensor_active(), one_by_one.dram_read(), one_by_one.dram_write())):
        assert ours is not None and theirs is not None
        assert (
            ours.timestamps_ns.tolist() == theirs.timestamps_ns.tolist()
            and ours.values.tolist() == theirs.values.tolist()
        )


def test_turing_counter_is_found_under_its_own_name(opened: Open) -> None:
    maker = simple()
    maker.metric("Tensor Active / FP16 Active [Throughput %]", SAMPLES)
    series = opened(maker).gpu_metrics.tensor_active()
    assert series is not None and series.name.startswith("Tensor Active / FP16 Active")


def test_gpus_are_told_apart_by_the_low_bits_of_the_type(opened: Open) -> None:
    maker = simple()
    maker.metric("Tensor Active [Throughput %]", SAMPLES, type_id=0x1000)
    maker.metric("Tensor Active [Throughput %]", [(0, 99)], type_id=0x1001)
    metrics = opened(maker).gpu_metrics
    assert sorted(metrics.names) == [0, 1]
    second = metrics.tensor_active(1)
    assert second is not None and second.values.tolist() == [99]


def test_names_without_samples_are_no_metrics(opened: Open) -> None:
    maker = simple()
    maker.metric("Tensor Active [Throughput %]", [])
    maker.rows["GPU_METRICS"] = []
    metrics = opened(maker).gpu_metrics
    assert metrics.storage is None and metrics.tensor_active() is None


def test_broken_json_samples_are_passed_over(opened: Open) -> None:
    maker = simple()
    for data in (
        '{"Tensor Active": "x"',
        '["Tensor Active"]',
        '{"Tensor Active": "nan"}',
        '{"Tensor Active": "5"}',
        None,
    ):
        maker.add("GENERIC_EVENTS", rawTimestamp=1, timestamp=1, typeId=0, data=data)
    series = opened(maker).gpu_metrics.tensor_active()
    assert series is not None and series.values.tolist() == [5]


def test_samples_in_json_are_read_in_parts(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a minute of them holds more text than one query may give."""
    maker = simple()
    for when in (70, *range(0, 60, 10), 60):
        data = {"Tensor Active": str(when), "SM Issue": "3"} if when != 30 else {"SM Active": 1}
        maker.add("GENERIC_EVENTS", rawTimestamp=when, timestamp=when, typeId=0, data=json.dumps(data))
    trace = opened(maker)
    monkeypatch.setattr(guard, "_MAX_TEXTS", 200)
    with pytest.raises(TraceError, match="more than 200 bytes"):
        _ = trace.gpu_metrics
    monkeypatch.setattr(gpu_metrics, "_ROWS_A_QUERY", 3)
    metrics = trace.gpu_metrics
    assert metrics.names == {0: ("Tensor Active", "SM Issue")}
    series = metrics.tensor_active()
    assert series is not None
    assert series.timestamps_ns.tolist() == series.values.tolist() == [0, 10, 20, 40, 50, 60, 70]


def test_more_metrics_than_nsys_has_are_refused(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_metrics, "_MAX_METRICS", 2)
    maker = simple()
    data = json.dumps({"Tensor Active": 1, "SM Active": 2, "SM Issue": 3})
    maker.add("GENERIC_EVENTS", rawTimestamp=1, timestamp=1, typeId=0, data=data)
    with pytest.raises(TraceError, match="more than 2 GPU metrics"):
        _ = opened(maker).gpu_metrics


@given(st.lists(st.one_of(st.integers(0, 9), st.integers(-(2**40), 2**40)), min_size=1, max_size=30))
def test_the_median_is_that_of_numpy(values: list[int]) -> None:
    assert gpu_metrics._median(np.asarray(values)) == np.median(values)
