from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from profiler.analysis.names.verify import verify
from profiler.capture import ncu
from profiler.errors import MissingToolError, ProfilerError, TraceError

HEAD = '"ID","Process ID","Kernel Name","{}"\n"","","","inst"\n'
TOTAL, OTHER = f"{ncu.TOTAL}.sum", f"{ncu.NOT_MATRIX}.sum"
RAW = (
    "==PROF== Connected to process 1\n"
    f'"ID","Kernel Name","gpu__time_duration.sum","{TOTAL}","{ncu.TOTAL}.avg","{OTHER}"\n'
    '"","","ns","inst","inst","inst"\n'
    '"0","nvjet_sm90_hsh_64x64_64x13_4x2_h_bz_TNT","5,000","1,234","9","0"\n'
    '"1","void at::native::reduce_kernel<512>(float)","700","32,768","248","32,768"\n'
)
DETAILS = (
    '"ID","Kernel Name","Metric Name","Metric Unit","Metric Value"\n'
    f'"0","Kernel","{TOTAL}","inst","10"\n'
    f'"0","Kernel","{OTHER}","inst","0"\n'
    '"0","Kernel","gpu__time_duration.sum","ns","77"\n'
)


def test_raw_page_is_read_and_hfma2_is_no_matrix_instruction() -> None:
    product, reduction = ncu.parse_ncu_csv(RAW, "x")
    assert (product.matrix_instructions, product.uses_tensor_cores) == (1234, True)
    assert (reduction.counters[ncu.TOTAL], reduction.matrix_instructions, reduction.uses_tensor_cores) == (
        32768,
        0,
        False,
    )


def test_details_page_is_read() -> None:
    (kernel,) = ncu.parse_ncu_csv(DETAILS, "x")
    assert (kernel.name, kernel.matrix_instructions) == ("Kernel", 10)


@pytest.mark.parametrize("text", ["", "nothing here", '"ID","Kernel Name"\n"0","k"\n'])
def test_what_is_no_such_table_is_an_error(text: str) -> None:
    with pytest.raises(TraceError, match=r"x\.csv"):
        ncu.parse_ncu_csv(text, "x.csv")


def test_verdicts_are_held_against_counts() -> None:
    result = verify(
        [("nvjet_sm90_hsh_64x64_64x13_4x2_h_bz_TNT", True)] * 3
        + [("Kernel", True), ("cutlass_80_simt_sgemm_128x64", True)],
        90,
    )
    assert [(v.verdict, v.executions, v.agrees) for v in result.names] == [
        ("yes", 3, True),
        ("unknown", 1, None),
        ("no", 1, False),
    ]
    assert result.count(True) == (1, 3) and result.count(False) == (1, 1) and result.count(None) == (1, 1)


def _fake_ncu(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    fake = folder / "ncu"
    fake.write_text(f"#!{sys.executable}\nimport sys\nargs = sys.argv[1:]\n{body}\n")
    fake.chmod(0o755)
    monkeypatch.setenv(ncu.NCU_VARIABLE, str(fake))


QUERY = f'if "--query-metrics" in args: print("{ncu.TOTAL}   Counter  inst"); print("sm__other  Counter"); sys.exit()\n'


def test_program_runs_under_ncu_with_the_counters_of_this_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_ncu(tmp_path, monkeypatch, QUERY + "print(args)")
    printed = ncu.count_tensor_instructions(["python", "-c", "pass"], 30)
    assert (
        f"'--metrics', '{TOTAL}'" in printed and "application-only" in printed and "'python', '-c', 'pass'" in printed
    )


def test_failures_of_ncu_say_what_it_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_ncu(tmp_path, monkeypatch, QUERY + 'sys.stderr.write("==ERROR== ERR_NVGPUCTRPERM"); sys.exit(9)')
    with pytest.raises(ProfilerError, match=r"exit status 9.*ERR_NVGPUCTRPERM"):
        ncu.count_tensor_instructions(["true"], 30)
    _fake_ncu(tmp_path, monkeypatch, QUERY + "import time; time.sleep(60)")
    with pytest.raises(ProfilerError, match="still running"):
        ncu.count_tensor_instructions(["true"], 1)
    _fake_ncu(tmp_path, monkeypatch, QUERY + 'print("==WARNING== No kernels were profiled.")')
    with pytest.raises(ProfilerError, match="no kernel was profiled") as caught:
        ncu.count_tensor_instructions(["wrapper.sh"], 30)
    assert "--target-processes all" in (caught.value.hint or "")
    _fake_ncu(tmp_path, monkeypatch, "pass")
    with pytest.raises(ProfilerError, match="lists no counter"):
        ncu.count_tensor_instructions(["true"], 30)
    monkeypatch.setattr(ncu, "find_ncu", lambda: None)
    with pytest.raises(MissingToolError, match="Nsight Compute"):
        ncu.count_tensor_instructions(["true"], 30)


def _verb(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "profiler", "verify-tensor-cores", *args], capture_output=True, text=True, check=False
    )


def test_the_verb_scores_and_fails_on_a_wrong_verdict(tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text(RAW)
    done = _verb("--csv", str(path), "--sm", "90")
    assert done.returncode == 0 and "agree: 2 names, 2 executions" in done.stdout
    path.write_text(RAW.replace('"32,768"\n', '"0"\n'))
    assert _verb("--csv", str(path)).returncode == 1
    assert _verb().returncode == 2
    assert _verb("--csv", str(tmp_path / "missing.csv")).returncode == 1
