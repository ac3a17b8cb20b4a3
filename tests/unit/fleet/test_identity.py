"""Rank, node, run, and which traces belong together."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from profiler.errors import UsageError
from profiler.fleet.identity import ALL, Identity, check_keys, group_label, group_values, identify, refine


@pytest.mark.parametrize(
    ("name", "run", "node", "rank"),
    [
        ("rank0.sqlite", ".", None, 0),
        ("job/rank_12.sqlite.xz", "job", None, 12),
        ("resnet_r12_fp16.sqlite", "resnet__fp16", None, 12),
        ("global_rank-3.sqlite.zst", ".", None, 3),
        ("node03.7.sqlite", ".", "node03", 7),
        ("jobA/node03/rank7.sqlite", "jobA", "node03", 7),
        ("jobA/node03/gpu1/trace.sqlite", "jobA/trace", "node03", 1),
        ("host-4_proc2.nsys-rep", ".", "host-4", 2),
        ("trt-fp16-b8/trace.sqlite.xz", "trt-fp16-b8/trace", None, None),
        ("resnet50.sqlite", "resnet50", None, None),
        ("report1.sqlite", "report1", None, None),
        ("prank3.sqlite", "prank3", None, None),
        ("rank3x.sqlite", "rank3x", None, None),
    ],
)
def test_from_the_file_name(name: str, run: str, node: str | None, rank: int | None) -> None:
    found = identify([name])[name]
    assert (found.run, found.node, found.rank) == (run, node, rank)
    assert set(found.origin) == {k for k, v in (("node", node), ("rank", rank)) if v is not None}


def test_bare_numbers_are_ranks_only_from_zero_without_a_hole() -> None:
    ranks = [f"job/trace_{n}.sqlite" for n in range(12)]
    assert [identify(ranks)[r].rank for r in ranks] == list(range(12))
    assert {identify(ranks)[r].run for r in ranks} == {"job/trace"}
    for numbers in ([1, 2, 3], [1, 2, 4, 8], [0, 2], [0]):
        names = [f"b{n}.sqlite" for n in numbers]
        found = identify(names)
        assert all(i.rank is None for i in found.values())
        assert len({i.run for i in found.values()}) == len(numbers)


def test_a_pattern_wins() -> None:
    found = identify(["n1/p3.sqlite", "rank9.sqlite"], r"(?P<node>n\d)/p(?P<rank>\d+)(?P<zone>x?)")
    assert found["n1/p3.sqlite"] == Identity(
        "n1/p3", "n1", 3, {"zone": ""}, {"node": "--identity", "rank": "--identity"}
    )
    assert found["rank9.sqlite"].rank == 9  # what the pattern does not find is left to the names


@pytest.mark.parametrize(
    ("pattern", "said"),
    [("(", "not a regular expression"), ("rank", "no named group"), ("(?P<rank>[a-z]+)", "a number")],
)
def test_bad_patterns(pattern: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        identify(["abc.sqlite"], pattern)


def test_manifest_before_trace_before_name() -> None:
    by_name = identify(["node1/rank1.sqlite"])["node1/rank1.sqlite"]
    found = refine(by_name, {"rank": 5, "run": 17, "node": ["odd"]}, rank=3, node="machine")
    assert (found.rank, found.node, found.run) == (5, "machine", "17")
    assert found.origin == {"rank": "manifest", "node": "trace", "run": "manifest"}
    given_by_user = identify(["a1.sqlite"], r"a(?P<rank>\d)")["a1.sqlite"]
    assert refine(given_by_user, {"rank": 5}, rank=3, node=None).rank == 1


def test_odd_ranks_in_a_manifest_are_ignored() -> None:
    for odd in (True, -1, "3", 2.0, 10**9, None):
        assert refine(Identity("x"), {"rank": odd}, None, None).rank is None


_ROW = {
    "framework": "TensorRT",
    "precision": "fp16",
    "batch": 8,
    "gpu": "H200",
    "run": "a",
    "basis": "inference",
    "node": None,
    "rank": 1,
}


def _row(**changes: object) -> dict:
    keys = ("framework_version", "model", "onnx", "mode", "input_shape")
    return {**dict.fromkeys(keys), **_ROW, "has_manifest": True, **changes}


def test_groups_hold_equal_programs_only() -> None:
    base = group_values(_row(), None)
    assert group_values(_row(rank=2, node="n"), None) == base
    for changes in ({"precision": "fp32"}, {"batch": 1}, {"gpu": "H100"}, {"onnx": "abc"}, {"basis": "trace"}):
        assert group_values(_row(**changes), None) != base
    assert group_values(_row(run="b"), None) == base  # the manifest says that it is the same program
    assert group_values(_row(run="b", has_manifest=False), None) != group_values(_row(has_manifest=False), None)


def test_group_by() -> None:
    assert group_values(_row(), [ALL]) == {"basis": "inference"}
    assert group_values(_row(fields={"zone": "z"}), ["zone", "node"]) == {
        "zone": "z",
        "node": None,
        "basis": "inference",
    }
    check_keys(["model", "zone"], "(?P<zone>z)")
    with pytest.raises(UsageError, match="colour cannot be grouped by"):
        check_keys(["model", "colour"], None)


def test_labels() -> None:
    assert group_label(group_values(_row(), None)) == "TensorRT, fp16, batch 8, H200"
    assert group_label({"basis": "trace"}) == "whole traces"
    assert group_label({"basis": "inference"}) == "all traces"


@example(["."])
@example(["..sqlite", "...sqlite", ".sqlite", "a/..sqlite"])
@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20),
        max_size=8,
        unique=True,
    )
)
def test_any_names(names: list[str]) -> None:
    found = identify(names)
    assert list(found) == names
    assert all(i.run and (i.rank is None or i.rank >= 0) for i in found.values())
