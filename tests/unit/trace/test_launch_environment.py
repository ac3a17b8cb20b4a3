"""Rank and node from the environment that nsys recorded."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from profiler.trace import Trace
from profiler.trace.launch_environment import recorded_node, recorded_rank
from tests.support.make_trace import SCHEMA, TraceMaker, simple


def _maker(*variables: str) -> TraceMaker:
    maker = simple()
    for text in variables:
        maker.add("META_DATA_CAPTURE", name="PROCESS_0:ENVIRONMENT_VARIABLE", value=text)
    return maker


@pytest.mark.parametrize(
    ("variables", "rank", "node"),
    [
        (['RANK="3"', 'SLURM_PROCID="1"', 'SLURMD_NODENAME="gpu-17"'], 3, "gpu-17"),
        (["OMPI_COMM_WORLD_RANK=12", "HOSTNAME=login.example"], 12, "login.example"),
        (["RANK=", "SLURM_PROCID=0"], 0, None),
        (["RANK=-1", "MY_RANK=4", "PMI_RANK=99999999999"], None, None),
        (['HOSTNAME="<script>"', "RANKS=2"], None, None),
        ([], None, None),
    ],
)
def test_rank_and_node(
    opened: Callable[[TraceMaker], Trace], variables: list[str], rank: int | None, node: str | None
) -> None:
    database = opened(_maker(*variables)).database
    assert (recorded_rank(database), recorded_node(database)) == (rank, node)


def test_other_metadata_is_no_environment(opened: Callable[[TraceMaker], Trace]) -> None:
    maker = simple()
    maker.add("META_DATA_CAPTURE", name="COLLECT_CUDA", value="RANK=3")
    assert recorded_rank(opened(maker).database) is None


def test_host_name_of_the_system(opened: Callable[[TraceMaker], Trace], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        SCHEMA, "TARGET_INFO_SYSTEM_ENV", "globalVid INTEGER, devStateName TEXT, name TEXT NOT NULL, value TEXT"
    )
    maker = simple()
    maker.add("TARGET_INFO_SYSTEM_ENV", name="Hostname", value="node-5")
    assert recorded_node(opened(maker).database) == "node-5"
