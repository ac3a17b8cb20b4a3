"""Drive targets with Atheris (``pip install atheris``; CPython 3.11 to 3.13 on Linux).

``python -m tests.fuzz.run names layers --seconds 600 --jobs 2`` runs each target (all, if none is named) for so much processor time, in
processes of their own, and prints for each how many inputs it ran and how many unexpected errors there were. An input that fails is kept
in the corpus folder, one for each place in the code; the run goes on. Replay one with ``--replay FILE``. Exit status: 1 if anything failed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

_LONGEST_S = 20
_ROOT = Path(__file__).resolve().parents[2]


class _Counting:
    """A target whose failures are counted and kept; ends the process when its time is up."""

    def __init__(self, target: Callable[[bytes], None], seconds: float, crashes: Path, result: Path) -> None:
        self._target, self._seconds, self._crashes, self._result = target, seconds, crashes, result
        self._runs, self._written = 0, 0.0
        self._errors: dict[str, dict[str, Any]] = {}

    def __call__(self, data: bytes) -> None:
        self._runs += 1
        try:
            self._target(data)
        except Exception as error:
            self._keep(error, data)
        spent = time.process_time()
        if spent > self._seconds or spent > self._written + 2:
            self._written = spent
            document = {"runs": self._runs, "cpu_s": round(spent), "errors": self._errors}
            self._result.write_text(json.dumps(document), "utf-8")
        if spent > self._seconds:
            sys.stderr.flush()
            os._exit(0)

    def _keep(self, error: Exception, data: bytes) -> None:
        last = traceback.extract_tb(error.__traceback__)[-1]
        kind = f"{type(error).__name__} in {Path(last.filename).name}:{last.lineno}"
        found = self._errors.setdefault(kind, {"count": 0, "said": str(error)[:200]})
        found["count"] += 1
        if "input" not in found:
            path = self._crashes.with_name(f"{self._crashes.name}-crash-{hashlib.sha1(data).hexdigest()}")
            path.write_bytes(data)
            found["input"] = str(path)
            traceback.print_exception(error)


def _fuzz(name: str, args: argparse.Namespace) -> None:
    """One target in this process, which ends with it."""
    import atheris  # noqa: PLC0415 - only here: it has no place in the process that starts others

    with atheris.instrument_imports(include=["profiler"], enable_loader_override=False):
        from tests.fuzz.targets import TARGETS, seeds  # noqa: PLC0415 - as above
    corpus = args.corpus / name
    corpus.mkdir(parents=True, exist_ok=True)
    for n, seed in enumerate(seeds(name)):
        (corpus / f"seed-{n}").write_bytes(seed)
    dictionary = Path(__file__).with_name(f"{name}.dict")
    target = _Counting(
        TARGETS[name], time.process_time() + args.seconds, args.corpus / name, _result(args.corpus, name)
    )
    atheris.Setup(
        [
            sys.argv[0], str(corpus), f"-max_len={args.max_len}", f"-timeout={_LONGEST_S}", "-rss_limit_mb=3000",
            f"-artifact_prefix={args.corpus}/{name}-", "-use_value_profile=1",
            *([f"-dict={dictionary}"] if dictionary.exists() else []),
        ],
        target,
    )  # fmt: skip
    atheris.Fuzz()


def _result(corpus: Path, name: str) -> Path:
    return corpus / f"{name}.result.json"


def _run(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """One target in a process of its own: what it found."""
    result = _result(args.corpus, name)
    result.unlink(missing_ok=True)
    options = ["--seconds", str(args.seconds), "--corpus", str(args.corpus), "--max-len", str(args.max_len)]
    with (args.corpus / f"{name}.log").open("wb") as log:
        command = [sys.executable, "-m", "tests.fuzz.run", name, "--here", *options]
        status = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, cwd=_ROOT, check=False).returncode
    found = json.loads(result.read_text("utf-8")) if result.exists() else {"runs": 0, "cpu_s": 0, "errors": {}}
    if status:  # libFuzzer ended it: too long or too much memory for one input
        said = f"see {args.corpus / name}.log"
        found["errors"][f"ended with status {status}"] = {"count": 1, "said": said}
    return {"target": name, **found}


def main() -> int:
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - under Atheris it is imported by _fuzz

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)} (default: all)")
    parser.add_argument("--seconds", type=float, default=600, help="processor time a target (default: 600)")
    parser.add_argument("--jobs", type=int, default=1, help="targets at the same time (default: 1)")
    parser.add_argument("--corpus", type=Path, default=Path("fuzz-corpus"), help="inputs and logs are kept here")
    parser.add_argument("--max-len", type=int, default=4096, help="bytes of the longest input (default: 4096)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run the one target on this input alone")
    args = parser.parse_args()
    args.corpus = args.corpus.absolute()
    unknown = [name for name in args.targets if name not in TARGETS]
    if unknown:
        parser.error(f"no target {unknown[0]!r}")
    names = list(dict.fromkeys(args.targets)) or list(TARGETS)
    if args.replay:
        TARGETS[names[0]](args.replay.read_bytes())
        return 0
    args.corpus.mkdir(parents=True, exist_ok=True)
    errors = 0
    with ThreadPoolExecutor(args.jobs) as pool:
        for found in pool.map(lambda name: _run(name, args), names):
            count = sum(e["count"] for e in found["errors"].values())
            errors += count
            print(
                f"{found['target']}: {found['runs']:,} runs, {found['cpu_s']:,} s, unexpected errors: {count:,}",
                flush=True,
            )
            for kind, e in found["errors"].items():
                print(f"  {e['count']:,}× {kind}: {e['said']}  {e.get('input', '')}", flush=True)
    print(f"unexpected errors: {errors:,}")
    return 1 if errors else 0


def _child() -> None:
    """``NAME --here …``: what :func:`_run` starts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("--here", action="store_true")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--max-len", type=int)
    args = parser.parse_args()
    _fuzz(args.target, args)


if __name__ == "__main__":
    if "--here" in sys.argv:
        _child()
    else:
        sys.exit(main())
