"""The score on labelled names, and the table of truth that it reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from profiler.analysis.names import score as classify_score
from profiler.errors import TraceError, UsageError
from profiler.report.documents import score_document

DEV = Path(__file__).parents[3] / "data" / "kernel_names" / "dev.tsv.xz"


@pytest.fixture(scope="module")
def dev_report() -> classify_score.ScoreReport:
    return classify_score.score(DEV)


def test_verdicts_on_the_labelled_names(dev_report: classify_score.ScoreReport) -> None:
    overall = dev_report.overall
    assert overall.names > 18_000
    assert (overall.yes_precision or 0) >= 0.999
    assert (overall.no_precision or 0) >= 0.999
    assert (overall.unknown_share or 0) <= 0.01


def test_verdicts_where_the_label_turns_on_the_gpu(dev_report: classify_score.ScoreReport) -> None:
    conflicting = dev_report.conflicting
    assert conflicting.names > 1_000
    assert (conflicting.yes_precision or 0) >= 0.99
    assert (conflicting.no_precision or 0) >= 0.99


def test_the_report_is_a_table(dev_report: classify_score.ScoreReport) -> None:
    text = classify_score.render(dev_report)
    assert "cublasLt" in text
    assert "all, label same on every GPU" in text
    assert sum(one.names for one in dev_report.by_library.values()) == dev_report.overall.names


HEADER = "\t".join(classify_score.COLUMNS)


def _table(path: Path, *rows: tuple[str, ...]) -> Path:
    path.write_text("\n".join([HEADER, *("\t".join(row) for row in rows)]) + "\n", encoding="utf-8")
    return path


def test_a_wrong_name_is_reported_with_its_rule(tmp_path: Path) -> None:
    path = _table(
        tmp_path / "names.tsv",
        ("lib", "1", "90", "ampere_sgemm_128x64_nn", "", "1", "HMMA", "0"),
        ("lib", "1", "90", "ampere_sgemm_64x64_nn", "", "0", "", "0"),
        ("lib", "1", "90", "mystery", "", "1", "HMMA", "1"),
    )
    report = classify_score.score(path)
    assert [one.rule for one in report.wrong] == ["tc.legacy-gemm-cuda-cores"]
    assert report.overall.no_precision == 0.5
    assert report.overall.yes_precision is None
    assert report.conflicting.unknown_share == 1.0
    assert "tc.legacy-gemm-cuda-cores" in classify_score.render(report)
    plain = json.loads(json.dumps(score_document(report)))
    assert plain["overall"]["names"] == 2
    assert plain["by_library"]["lib"]["no_precision"] == 0.5
    assert plain["wrong"][0]["truth"] == "yes"


def test_an_empty_table_scores_nothing(tmp_path: Path) -> None:
    report = classify_score.score(_table(tmp_path / "names.tsv"))
    assert report.overall.names == 0
    assert report.overall.unknown_share is None
    assert "none" in classify_score.render(report)


def test_bad_tables_are_refused_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"missing\.tsv"):
        classify_score.score(tmp_path / "missing.tsv")
    headless = tmp_path / "headless.tsv"
    headless.write_text("a\tb\n", encoding="utf-8")
    with pytest.raises(UsageError, match="lacks library"):
        classify_score.score(headless)
    with pytest.raises(TraceError, match="line 2"):
        classify_score.score(_table(tmp_path / "short.tsv", ("lib", "1")))
    broken = tmp_path / "broken.tsv.xz"
    broken.write_bytes(b"not xz at all")
    with pytest.raises(TraceError, match="cannot be read"):
        classify_score.score(broken)
    binary = tmp_path / "binary.tsv"
    binary.write_bytes(HEADER.encode() + b"\n\xff\xfe\n")
    with pytest.raises(TraceError, match="cannot be read"):
        classify_score.score(binary)
