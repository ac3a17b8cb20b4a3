"""Drive a target with Atheris (``pip install atheris``; CPython 3.11 to 3.13 on Linux).

``python -m tests.fuzz.run names --seconds 600 --corpus folder`` runs until the time is up or an input fails; the failing
input is left in the corpus folder as ``crash-…``, ``timeout-…`` or ``oom-…``. Replay one with ``--replay FILE``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["profiler"], enable_loader_override=False):
    from tests.fuzz.targets import TARGETS, seeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--corpus", type=Path, default=Path("fuzz-corpus"))
    parser.add_argument("--max-len", type=int, default=4096)
    parser.add_argument("--replay", type=Path)
    args = parser.parse_args()
    if args.replay:
        TARGETS[args.target](args.replay.read_bytes())
        return
    corpus = args.corpus / args.target
    corpus.mkdir(parents=True, exist_ok=True)
    for n, seed in enumerate(seeds(args.target)):
        (corpus / f"seed-{n}").write_bytes(seed)
    dictionary = Path(__file__).with_name(f"{args.target}.dict")
    atheris.Setup(
        [
            sys.argv[0], str(corpus), f"-max_total_time={args.seconds}", f"-max_len={args.max_len}", "-timeout=20", "-rss_limit_mb=3000",
            "-print_final_stats=1", f"-artifact_prefix={args.corpus}/{args.target}-", "-use_value_profile=1",
            *([f"-dict={dictionary}"] if dictionary.exists() else []),
        ],
        TARGETS[args.target],
    )  # fmt: skip
    atheris.Fuzz()


if __name__ == "__main__":
    main()
