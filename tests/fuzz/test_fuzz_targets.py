"""The fuzz targets for a second each, on random input and on every seed; hours of it: ``python -m tests.fuzz.run``."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, seeds

SLOW = ("sqlite_bytes", "sqlite_raw", "sqlite_rows")


@pytest.mark.parametrize("target", TARGETS)
def test_seeds(target: str) -> None:
    for seed in seeds(target):
        TARGETS[target](seed)


@pytest.mark.parametrize("target", TARGETS)
def test_random_input(target: str) -> None:
    run = TARGETS[target]

    @settings(
        max_examples=20 if target in SLOW else 150,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(st.binary(max_size=1_000) | st.text(max_size=400).map(lambda text: text.encode("utf-8", "replace")))
    @example(b"")
    def check(data: bytes) -> None:
        run(data)

    check()
