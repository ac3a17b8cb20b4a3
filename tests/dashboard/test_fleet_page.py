"""The Fleet page: results are found, shown, explained; nothing else can be opened through it."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import fleet_results, settings
from dashboard.views import fleet as fleet_view
from profiler.errors import ProfilerError
from profiler.fleet.results import DOCUMENT, FILES, read_fleet
from tests.support.fleet_folder import SLOWED, fleet_folder, make_result, rank_trace
from tests.support.hostile import ATTACKS
from tests.support.pages import app, text


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fleet")
    make_result(fleet_folder(root / "traces"), root / "results" / "monday")
    return root / "results"


@pytest.fixture(autouse=True)
def no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(settings.FOLDER_VARIABLE, raising=False)
    fleet_results._in_folder.clear()
    fleet_results._load.clear()


@pytest.fixture
def page(made: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv(settings.FOLDER_VARIABLE, str(made))
    return app("fleet").run()


def test_without_a_result_the_command_is_given() -> None:
    test = app("fleet").run()
    assert not test.exception and not test.error
    assert "No fleet result was found" in text(test)
    assert "python -m profiler fleet traces -o fleet-result" in test.code[0].value


def test_the_straggler_is_named_and_explained(page: AppTest) -> None:
    assert not page.exception and not page.error
    values = {m.label: m.value for m in page.metric}
    assert values == {"Traces read": "8", "Not read": "1", "Groups of equal runs": "1", "Stragglers": "1"}
    assert page.selectbox(key="fleet_straggler").value == "node01/rank5.sqlite"
    assert "kernel void kernel3" in text(page).replace("\\", "")
    assert "Iglewicz and Hoaglin" in text(page) and "clocks of different nodes cannot be compared" in text(page)
    charts = [json.loads(c.proto.spec) for c in page.get("plotly_chart")]
    assert charts[0]["layout"]["title"]["text"] == "Kernel time without communication of each"
    assert charts[0]["layout"]["title"]["subtitle"]["text"].startswith("<b>trace")
    by_name = {t["name"]: t for t in charts[0]["data"]}
    assert by_name["straggler"]["hovertext"] == ["node01 rank 5"] and len(by_name["like the others"]["hovertext"]) == 7
    assert SLOWED.replace("<", "&lt;").replace(">", "&gt;") in charts[-1]["layout"]["yaxis"]["ticktext"]


def test_tables_show_what_the_result_holds(page: AppTest, made: Path) -> None:
    result = read_fleet(made / "monday")
    frames = {tuple(d.value.columns[:1]): d.value for d in page.dataframe}
    kernels = frames["kernel",]
    assert kernels["executions"].sum() == result.frame("traces")["kernels"].sum()
    (error,) = [d.value for d in page.dataframe if "message" in d.value.columns]
    assert error["trace"].tolist() == ["node00/rank8.sqlite"] and "not an nsys trace" in error["message"][0]
    assert {b.label for b in page.get("download_button")} == {DOCUMENT, *FILES.values()}


def test_a_small_group_is_shown_and_not_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_result(fleet_folder(tmp_path / "traces", 3, 1, broken=False), tmp_path / "result")
    monkeypatch.setenv(settings.FOLDER_VARIABLE, str(tmp_path / "result"))  # the result itself may be named, too
    test = app("fleet").run()
    assert not test.exception and "3 traces are too few" in text(test)
    assert {m.label: m.value for m in test.metric}["Stragglers"] == "0"


def test_a_result_in_which_nothing_could_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "traces").mkdir()
    (tmp_path / "traces" / "x.sqlite").write_bytes(b"")
    make_result(tmp_path / "traces", tmp_path / "result")
    monkeypatch.setenv(settings.FOLDER_VARIABLE, str(tmp_path))
    test = app("fleet").run()
    assert not test.exception and "x.sqlite" in test.dataframe[0].value["trace"].tolist()


def test_names_are_shown_and_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for rank in range(6):
        maker = rank_trace(rank)
        for begin in range(1_000, 61_000, 10_000):  # in each inference
            for i, name in enumerate(ATTACKS):
                maker.kernel(begin + 1_000 + i * 200, (900 if rank == 3 else 90), name, launched=begin + 50 + i)
        maker.write(tmp_path / f"[x](javascript:alert(1))<b> rank{rank}.sqlite".replace("/", ""))
    make_result(tmp_path, tmp_path / "result")
    monkeypatch.setenv(settings.FOLDER_VARIABLE, str(tmp_path))
    test = app("fleet").run()
    assert not test.exception and {m.label: m.value for m in test.metric}["Stragglers"] == "1"
    for part in (*test.markdown, *test.caption):
        assert not re.search(r"(?<!\\)<script|(?<!\\)\]\(javascript", part.value) and not part.allow_html
    for chart in test.get("plotly_chart"):
        assert "<script" not in chart.proto.spec and "<img" not in chart.proto.spec


@pytest.mark.parametrize("key", ["folder/../../etc", "/etc", "folder/elsewhere", "upload"])
def test_the_address_opens_nothing_else(made: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv(settings.FOLDER_VARIABLE, str(made))
    test = app("fleet", result=key).run()
    assert not test.exception and "The link refers to a result that is not available" in text(test)
    assert test.selectbox(key="fleet_result").value == "folder/monday"


def test_links_in_the_folder_are_not_followed(made: Path, tmp_path: Path) -> None:
    (tmp_path / "away").symlink_to(made / "monday", target_is_directory=True)
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / DOCUMENT).symlink_to(made / "monday" / DOCUMENT)
    assert fleet_results._in_folder(str(tmp_path)) == []


@pytest.mark.parametrize("damage", ["missing", "truncated", "other columns", "other format", "no json", "nested"])
def test_damaged_results_say_so(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    target = tmp_path / "bad"
    target.mkdir()
    for file in (made / "monday").iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    if damage == "missing":
        (target / FILES["merged"]).unlink()
    elif damage == "truncated":
        (target / FILES["merged"]).write_bytes((target / FILES["merged"]).read_bytes()[:-100])
    elif damage == "other columns":
        (target / FILES["merged"]).write_bytes((target / FILES["errors"]).read_bytes())
    else:
        (target / DOCUMENT).write_text({"other format": "{}", "no json": "{", "nested": "[" * 100_000}[damage])
    monkeypatch.setenv(settings.FOLDER_VARIABLE, str(tmp_path))
    test = app("fleet").run()
    assert not test.exception and len(test.error) == 1
    assert (DOCUMENT if damage in ("other format", "no json", "nested") else FILES["merged"]) in test.error[
        0
    ].value.replace("\\", "")


class _File(io.BytesIO):
    def __init__(self, name: str, content: bytes) -> None:
        super().__init__(content)
        self.name, self.size = name, len(content)


def _files(result: Path) -> dict[str, _File]:
    return {p.name: _File(p.name, p.read_bytes()) for p in result.iterdir()}


def test_an_uploaded_result_is_shown(made: Path) -> None:
    upload = fleet_results.take_upload(_files(made / "monday").values())
    assert upload.result.document == read_fleet(made / "monday").document
    test = app("fleet")
    test.session_state["uploaded_fleet_result"] = upload
    test.run()
    assert not test.exception and not test.error
    assert test.selectbox(key="fleet_result").value == fleet_results.UPLOAD_KEY
    assert {m.label: m.value for m in test.metric}["Stragglers"] == "1"
    source = fleet_results.ResultSource("upload", "x", upload.files)
    assert source.content(DOCUMENT) == (made / "monday" / DOCUMENT).read_bytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("missing", "merged.parquet is missing"),
        ("foreign", "x.parquet is not part of it"),
        ("damaged", "merged.parquet cannot be read"),
    ],
)
def test_an_upload_that_is_no_result(made: Path, change: str, said: str) -> None:
    files = _files(made / "monday")
    if change == "missing":
        del files["merged.parquet"]
    elif change == "foreign":
        files["x.parquet"] = _File("../../x.parquet", b"")
    else:
        files["merged.parquet"] = _File("merged.parquet", b"PAR1" * 100)
    with pytest.raises(ProfilerError, match=said):
        fleet_results.take_upload(files.values())


def test_an_upload_has_a_limit(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_results, "_MAX_UPLOAD_BYTES", 1000)
    with pytest.raises(ProfilerError, match="larger than"):
        fleet_results.take_upload(_files(made / "monday").values())


def test_absent_packages_are_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_view, "find_spec", lambda name: None if name == "distributed" else object())
    test = app("fleet").run()
    assert not test.exception
    assert 'pip install "tensorrt-evidence[fleet]"' in "".join(w.value for w in test.warning)
