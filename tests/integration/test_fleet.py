"""``fleet`` as a process: a folder of ranks with a slow one and a broken one, on local workers and on an existing cluster."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from profiler.analysis.compare import compare
from profiler.analysis.run.finding import find_inferences
from profiler.analysis.run.kernels import summarise_kernels
from profiler.analysis.run.run import Run
from profiler.errors import ProfilerError
from profiler.fleet import cluster
from profiler.fleet.identity import identify
from profiler.fleet.measure import Task
from profiler.fleet.results import FILES, read_fleet
from profiler.fleet.tables import SCHEMAS
from profiler.trace import open_trace
from tests.support.commands import called
from tests.support.fleet_folder import FACTOR, SLOWED, fleet_folder, rank_trace
from tests.support.traces import BUNDLED, ROOT, TRACES

RANKS, SLOW = 8, 5


def fleet(*args: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "profiler", "fleet", *map(str, args)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        timeout=300,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fleet_folder(tmp_path_factory.mktemp("fleet") / "traces", RANKS, SLOW)


@pytest.fixture(scope="module")
def done(folder: Path) -> tuple[subprocess.CompletedProcess[str], Path]:
    target = folder.parent / "result"
    return fleet(folder, "-o", target, "--workers", 2), target


@pytest.fixture(scope="module")
def tables(done: tuple[subprocess.CompletedProcess[str], Path]) -> dict[str, pd.DataFrame]:
    return {name: pd.read_parquet(done[1] / file) for name, file in FILES.items()}


def test_one_broken_file_does_not_stop_the_rest(
    done: tuple[subprocess.CompletedProcess[str], Path], tables: dict[str, pd.DataFrame]
) -> None:
    process, target = done
    assert process.returncode == 0, process.stderr
    assert len(tables["traces"]) == RANKS
    (error,) = tables["errors"].to_dict("records")
    assert error["trace"] == f"node00/rank{RANKS}.sqlite" and error["kind"] == "TraceError"
    assert "not an nsys trace" in error["message"] and error["hint"]
    assert str(target.parent) not in error["message"]
    progress = [line for line in process.stderr.splitlines() if line.startswith("[")]
    assert len(progress) == RANKS + 1 and progress[-1].startswith(f"[{RANKS + 1}/{RANKS + 1}]")
    assert "1 of 9 traces could not be read" in process.stderr
    assert "Not read" in process.stdout and "not an nsys trace" in process.stdout


def test_the_result_is_whole(done: tuple[subprocess.CompletedProcess[str], Path], folder: Path) -> None:
    target = done[1]
    assert {p.name for p in target.iterdir()} == {"fleet.json", *FILES.values()}
    assert {p.name for p in folder.parent.iterdir()} == {"traces", "result"}
    result = read_fleet(target)
    assert {n: t.num_rows for n, t in result.tables.items()} == {
        n: f["rows"] for n, f in result.document["files"].items()
    }
    document = result.document
    assert (document["format"], document["folder"], document["traces"], document["broken"]) == (
        "profiler-fleet/1",
        "traces",
        8,
        1,
    )
    assert document["how"]["cluster"] == "local" and document["how"]["workers"] == 2
    assert document["settings"]["threshold"] == 3.5 and "Iglewicz" in document["score"]
    assert str(folder.parent) not in json.dumps(document)  # a result can be passed on
    assert all(result.frame(n).columns.tolist() == SCHEMAS[n].names for n in SCHEMAS)


def test_the_slow_rank_is_found_and_explained(
    done: tuple[subprocess.CompletedProcess[str], Path], tables: dict[str, pd.DataFrame]
) -> None:
    slow = f"node01/rank{SLOW}.sqlite"
    stragglers = tables["outliers"][tables["outliers"]["straggler"]]
    assert set(stragglers["trace"]) == {slow}
    kernels = tables["excess"][tables["excess"]["level"] == "kernel"].sort_values("excess_ns", ascending=False)
    assert kernels["name"].iloc[0] == SLOWED and kernels["share_pct"].iloc[0] > 95
    usual = kernels["median_ns"].iloc[0]
    assert kernels["value_ns"].iloc[0] == pytest.approx(FACTOR * usual, rel=0.05)
    merged = tables["merged"][tables["merged"]["name"] == SLOWED].iloc[0]
    assert merged["slowest_trace"] == slow and merged["time_cv_pct"] > 20
    assert merged["time_max_ns"] == pytest.approx(FACTOR * merged["time_median_ns"], rel=0.05)
    assert f"{slow} (node node01, rank {SLOW})" in done[0].stdout and SLOWED in done[0].stdout


def test_every_figure_is_the_one_of_the_single_trace(folder: Path, tables: dict[str, pd.DataFrame]) -> None:
    for row in tables["traces"].to_dict("records"):
        with open_trace(folder / row["trace"]) as trace:
            side = Run(trace)
            metrics = {m.id: m.before for m in compare(side, side).metrics}
            summary = summarise_kernels(trace, find_inferences(trace))
        assert row["latency_p50_ns"] * 1e-6 == pytest.approx(metrics["latency"])
        assert row["kernels_per_inference"] == metrics["kernels_per_inference"]
        assert row["launches_per_inference"] == metrics["launches_per_inference"]
        assert row["gpu_busy_pct"] == pytest.approx(metrics["gpu_busy"])
        assert row["tensor_cores_unknown_pct"] == metrics["tensor_cores_unknown"]
        assert (row["kernels"], row["kernel_time_ns"], row["wall_ns"]) == (
            summary.count,
            summary.total_ns,
            summary.wall_ns,
        )
        mine = tables["kernels"][tables["kernels"]["trace"] == row["trace"]].reset_index(drop=True)
        columns = [c for c in summary.by_name.columns if c in mine.columns]
        pd.testing.assert_frame_equal(mine[columns], summary.by_name[columns], check_dtype=False)
        assert mine["time_ns"].sum() == pytest.approx(row["kernel_time_mean_ns"])


def test_figures_equal_plain_sql(folder: Path, tables: dict[str, pd.DataFrame]) -> None:
    totals = dict.fromkeys(tables["traces"]["trace"], 0)
    for trace in totals:
        connection = sqlite3.connect(folder / trace)
        (totals[trace],) = connection.execute("SELECT sum(end - start) FROM CUPTI_ACTIVITY_KIND_KERNEL").fetchone()
        durations = [d for (d,) in connection.execute("SELECT end - start FROM NVTX_EVENTS WHERE eventType = 59")]
        connection.close()
        mine = tables["inferences"].loc[tables["inferences"]["trace"] == trace, "latency_ns"]
        assert sorted(mine) == sorted(durations)
        row = tables["traces"][tables["traces"]["trace"] == trace].iloc[0]
        assert row["latency_p50_ns"] == statistics.median(durations)
        assert row["kernel_time_ns"] == totals[trace]
    kernels = tables["merged"][tables["merged"]["level"] == "kernel"]
    assert kernels["total_ns"].sum() == sum(totals.values()) == tables["groups"]["kernel_time_ns"].sum()
    categories = tables["merged"][tables["merged"]["level"] == "category"]
    assert categories["total_ns"].sum() == sum(totals.values())


def test_nothing_is_replaced_unasked(done: tuple[subprocess.CompletedProcess[str], Path], folder: Path) -> None:
    before = (done[1] / "fleet.json").read_text()
    again = called("fleet", str(folder), "-o", str(done[1]))
    assert again.returncode == 2 and "--force" in again.stderr and (done[1] / "fleet.json").read_text() == before
    foreign = called("fleet", str(folder), "-o", str(folder), "--force")
    assert foreign.returncode == 2 and "not part of a fleet result" in foreign.stderr
    assert fleet(folder, "-o", done[1], "--force").returncode == 0
    assert (done[1] / "fleet.json").read_text() != before


def test_exit_status(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    nothing = called("fleet", str(tmp_path / "none"), "-o", str(tmp_path / "out"))
    assert nothing.returncode == 2 and "contains no readable trace" in nothing.stderr
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.sqlite").write_bytes(b"")
    broken = fleet(tmp_path / "bad", "-o", tmp_path / "out", "--format", "json", "--workers", 1)
    assert broken.returncode == 1 and json.loads(broken.stdout)["errors"][0]["trace"] == "x.sqlite"
    rank_trace(0).write(tmp_path / "bad" / "good.sqlite")
    # that it is 0 without --strict: test_one_broken_file_does_not_stop_the_rest
    strict = fleet(tmp_path / "bad", "-o", tmp_path / "out", "--force", "--strict", "--format", "csv", "--workers", 1)
    assert strict.returncode == 1 and strict.stdout.splitlines()[0].startswith("group,trace,run,node,rank")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--group-by", "colour"], "cannot be grouped by"),
        (["--identity", "("], "not a regular expression"),
        (["--memory-limit", "lots"], "expected a size"),
        (["--memory-limit", "1MB"], "at least 256 MiB"),
        (["--scheduler", "tcp://127.0.0.1:1", "--workers", "2"], "cannot be combined with --scheduler"),
        (["--workers", "0"], "whole number above zero"),
    ],
)
def test_wrong_usage(folder: Path, tmp_path: Path, args: list[str], said: str) -> None:
    process = called("fleet", str(folder), "-o", str(tmp_path / "out"), *args)
    assert process.returncode == 2 and said in process.stderr and not (tmp_path / "out").exists()


def test_the_bundled_runs(tmp_path: Path) -> None:
    """Unlike programs: all are read, and none is called a straggler of another."""
    process = fleet(TRACES, "-o", tmp_path / "out")
    assert process.returncode == 0, process.stderr
    result = read_fleet(tmp_path / "out")
    traces = result.frame("traces")
    assert sorted(t.split("/")[0] for t in traces["trace"]) == BUNDLED and not result.document["errors"]
    assert result.document["outliers"] == []
    for _, group in traces.groupby("group"):
        assert group[["framework", "model", "precision", "mode", "batch", "onnx"]].drop_duplicates().shape[0] == 1
    hidden = traces[traces["trace"].str.contains("graphlevel")].iloc[0]
    assert pd.isna(hidden["kernels_per_inference"]) and "--cuda-graph-trace=node" in hidden["no_kernels_reason"]
    assert pd.isna(hidden["gpu_idle_mean_ns"]) and hidden["latency_p50_ns"] > 0


def _family(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


@pytest.fixture
def many(tmp_path: Path) -> Path:
    return fleet_folder(tmp_path / "traces", 24, None, broken=False)


@pytest.mark.parametrize(("number", "to_all"), [(signal.SIGINT, True), (signal.SIGINT, False), (signal.SIGTERM, False)])
def test_an_interrupt_leaves_nothing_behind(many: Path, tmp_path: Path, number: signal.Signals, to_all: bool) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "profiler", "fleet", str(many), "-o", str(tmp_path / "out"), "--workers", "1"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True,
        env={**os.environ, "TMPDIR": str(scratch)},
    )  # fmt: skip
    assert process.stderr is not None
    assert process.stderr.readline().startswith("[1/24]")
    family = _family(process.pid)
    addresses = [c.laddr.ip for p in family for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    (os.killpg if to_all else os.kill)(process.pid, number)  # the terminal sends Ctrl-C to all of them
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and out == ""
    assert [line for line in err.splitlines() if not line.startswith("[")] == ["interrupted"]
    assert len(family) > 1 and addresses and set(addresses) == {"127.0.0.1"}
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]
    assert {p.name for p in tmp_path.iterdir()} == {"traces", "scratch"} and not list(scratch.iterdir())


def test_what_a_killed_fleet_unpacked_goes_at_the_next_start(many: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {**os.environ, "TMPDIR": str(scratch)}
    process = subprocess.Popen(
        [sys.executable, "-m", "profiler", "fleet", str(many), "-o", str(tmp_path / "out"), "--workers", "1"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment,
    )  # fmt: skip
    assert process.stderr is not None
    assert process.stderr.readline().startswith("[1/24]")
    family = _family(process.pid)
    for one in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()
    process.stderr.close()
    psutil.wait_procs(family[1:], timeout=10)
    (left,) = scratch.iterdir()
    assert left.name.startswith("profiler-fleet-")
    trace = ROOT / "traces" / "trt-fp16-stream-b8" / "trace.sqlite.xz"
    command = [sys.executable, "-m", "profiler", "info", str(trace)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env=environment)
    assert not list(scratch.iterdir())


def test_an_interrupt_ends_the_nsys_that_a_worker_started(tmp_path: Path) -> None:
    (tmp_path / "traces").mkdir()
    (tmp_path / "traces" / "rank0.nsys-rep").write_bytes(b"a report")
    nsys = tmp_path / "nsys"
    nsys.write_text(
        f"#!/bin/sh\necho $$ > {tmp_path}/pid.new && mv {tmp_path}/pid.new {tmp_path}/pid\nexec sleep 300\n"
    )
    nsys.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-m", "profiler", "fleet", str(tmp_path / "traces"), "-o", str(tmp_path / "out")],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT, env={**os.environ, "PROFILER_NSYS": str(nsys)},
    )  # fmt: skip
    for _ in range(600):
        if (tmp_path / "pid").exists():
            break
        time.sleep(0.1)
    pid = int((tmp_path / "pid").read_text())
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_trace_that_needs_too_much_memory_is_reported(tmp_path: Path) -> None:
    folder = fleet_folder(tmp_path / "traces", 3, None, broken=False)
    connection = sqlite3.connect(folder / "node00" / "rank1.sqlite")
    with connection:
        connection.execute(
            "INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL (start, end, deviceId, correlationId, globalPid, demangledName, shortName) "
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500000) SELECT i, i + 1, 0, i, 1, 1, 1 FROM n"
        )
    connection.close()
    process = fleet(folder, "-o", tmp_path / "out", "--workers", 2, "--memory-limit", "256MiB")
    assert process.returncode == 0, process.stderr
    result = read_fleet(tmp_path / "out")
    assert [(e["trace"], e["kind"]) for e in result.document["errors"]] == [("node00/rank1.sqlite", "MemoryError")]
    assert "--memory-limit" in result.document["errors"][0]["hint"]
    assert len(result.frame("traces")) == 2
    assert "Traceback" not in process.stderr and "distributed" not in process.stderr


# -- an existing cluster ---------------------------------------------------------------------------------------------


@pytest.fixture
def start_cluster(tmp_path: Path) -> Iterator[Any]:
    """Start a scheduler and one worker as processes; returns the scheduler file."""
    started: list[subprocess.Popen[bytes]] = []

    def start(worker_cwd: Path = ROOT, worker_path: str | None = None) -> Path:
        file = tmp_path / f"scheduler{len(started)}.json"
        common = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
        local = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0", "--no-dashboard"]
        scheduler = [
            sys.executable,
            "-m",
            "distributed.cli.dask_scheduler",
            "--port",
            "0",
            "--scheduler-file",
            str(file),
            *local,
        ]
        started.append(subprocess.Popen(scheduler, cwd=tmp_path, **common))  # type: ignore[call-overload]
        worker = [
            sys.executable,
            "-m",
            "distributed.cli.dask_worker",
            "--scheduler-file",
            str(file),
            "--nworkers",
            "1",
            "--nthreads",
            "1",
        ]
        worker += ["--local-directory", str(tmp_path / "scratch"), "--no-nanny", *local]
        environment = {**os.environ, "PYTHONPATH": worker_path or str(ROOT)}
        started.append(subprocess.Popen(worker, cwd=worker_cwd, env=environment, **common))  # type: ignore[call-overload]
        for _ in range(300):
            if file.exists() and file.read_text():  # it is created first and written then
                return file
            time.sleep(0.1)
        pytest.fail("the scheduler did not start")

    yield start
    for process in reversed(started):  # the worker first: it says goodbye to its scheduler
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def test_on_an_existing_cluster(
    start_cluster: Any, folder: Path, tmp_path: Path, tables: dict[str, pd.DataFrame]
) -> None:
    file = start_cluster()
    address = json.loads(file.read_text())["address"]
    process = fleet(folder, "-o", tmp_path / "out", "--scheduler", address)
    assert process.returncode == 0, process.stderr
    result = read_fleet(tmp_path / "out")
    assert result.document["how"] == {"cluster": "existing", "workers": 1, "threads": 1}
    for name, table in tables.items():
        pd.testing.assert_frame_equal(
            result.frame(name).drop(columns=["read_s"], errors="ignore"),
            table.drop(columns=["read_s"], errors="ignore"),
        )
    assert (
        fleet(folder, "-o", tmp_path / "again", "--scheduler", file).returncode == 0
    )  # by scheduler file; it is still there


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("tcp://127.0.0.1:9", "cannot connect"),
        ("nonsense://", "cannot connect"),
        ("none.json", "no such scheduler file"),
    ],
)
def test_no_scheduler_there(address: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_CONNECT_S", 1.0)
    with pytest.raises(ProfilerError, match=f"--scheduler {address}: {said}"), cluster.existing(address, Path(), []):
        pass


def test_workers_that_do_not_see_the_files(
    start_cluster: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/proc/self/cwd is another folder in every process, as a path is on a machine without the shared file system."""
    file = start_cluster(worker_cwd=tmp_path)
    monkeypatch.chdir(folder)
    here = Path("/proc/self/cwd")
    tasks = [Task(str(here), name, i) for name, i in identify(["node00/rank0.sqlite", "node00/rank1.sqlite"]).items()]
    said = "does not see 2 of 2 files under /proc/self/cwd, such as node00/rank0"
    with pytest.raises(ProfilerError, match=said) as error, cluster.existing(str(file), here, tasks):
        pass
    assert "same path" in str(error.value.hint)


@pytest.mark.parametrize(
    ("change", "said"), [("other", "another version of this project"), ("absent", "cannot import this project")]
)
def test_workers_with_another_version(start_cluster: Any, folder: Path, tmp_path: Path, change: str, said: str) -> None:
    library = tmp_path / "library"
    if change == "other":
        shutil.copytree(ROOT / "profiler", library / "profiler", ignore=shutil.ignore_patterns("__pycache__"))
        with (library / "profiler" / "errors.py").open("a") as source:
            source.write("# changed\n")
    else:
        library.mkdir()
        (library / "profiler.py").write_text("")  # another package of the same name
    file = start_cluster(tmp_path, str(library))
    process = fleet(folder, "-o", tmp_path / "out", "--scheduler", file)
    assert process.returncode == 1 and said in process.stderr and not (tmp_path / "out").exists()


def test_the_local_cluster_of_a_program(folder: Path) -> None:
    """In a process of its own: what other tests did to this one is not what is tested."""
    code = f"""
from profiler.fleet import cluster

from profiler.fleet.identity import identify
from profiler.fleet.measure import TraceFigures, Task
names = identify(["node00/rank0.sqlite", "node00/rank1.sqlite", "node00/rank2.sqlite"])
tasks = [Task({str(folder)!r}, name, i) for name, i in names.items()]
with cluster.local(len(tasks), 8, None) as where:
    assert where.at_once == 3 and where.how["workers"] == 3, where  # no more processes than traces
    outcomes = list(cluster.read_all(where, tasks))
assert sorted(o.name for o in outcomes if isinstance(o, TraceFigures)) == sorted(names), outcomes
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


# -- without Dask ----------------------------------------------------------------------------------------------------


def test_without_dask_the_verb_says_how_to_get_it(folder: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['distributed'] = None; from profiler.cli.main import main; "
        f"sys.exit(main(['fleet', {str(folder)!r}, '-o', {str(tmp_path / 'out')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and f"Install it into this environment: {cluster.INSTALL}" in done.stderr


def test_the_dashboard_needs_no_dask() -> None:
    code = "import sys; sys.modules['dask'] = sys.modules['distributed'] = None; import dashboard.views, dashboard.fleet_results"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
