#!/usr/bin/env python3
# ruff: noqa: PTH123 - plain and quick to start
"""A program that answers like nsys. Its behaviour comes from the environment:

FAKE_NSYS_REPORT   the SQLite file that a recording yields
FAKE_NSYS_FAIL     "no-report", "export", "metrics" (gives up while metrics are asked for) or "denied" (its help says so)
FAKE_NSYS_LOG      a file that gets one line of JSON a call
"""

import json
import os
import shutil
import subprocess
import sys

HELP = """
\t-c, --capture-range=
\t--capture-range-end=
\t--cpuctxsw=
\t--cuda-graph-trace=<granularity>
\t--gpu-metrics-devices=
\t--gpu-metrics-frequency=
\t-o, --output=
\t-s, --sample=
\t--session-new=
\t-t, --trace=

\t   Possible values are 'cuda', 'nvtx', 'cublas', 'osrt' or 'none'.
\t   Select the API(s) to trace.
"""


def option(arguments, name):
    return next((a.split("=", 1)[1] for a in arguments if a.startswith("--" + name + "=")), None)


def main():
    arguments = sys.argv[1:]
    fail = os.environ.get("FAKE_NSYS_FAIL", "")
    if os.environ.get("FAKE_NSYS_LOG"):
        with open(os.environ["FAKE_NSYS_LOG"], "a") as log:
            log.write(json.dumps(arguments) + "\n")
    if arguments == ["--version"]:
        print("NVIDIA Nsight Systems version 2025.3.2.474-253236389321v0")
    elif arguments == ["profile", "--help"]:
        print(HELP)
    elif arguments[:1] == ["profile"] and option(arguments, "gpu-metrics-devices") == "help":
        print(
            "Insufficient privilege, see ERR_NVGPUCTRPERM"
            if fail == "denied"
            else "Possible values are:\n\t0: NVIDIA H200 PCI[0000:00:00.0]\n\tall: Select all"
        )
    elif arguments[:1] == ["profile"]:
        program = arguments[next(i for i, a in enumerate(arguments) if i and not a.startswith("-")) :]
        if fail == "metrics" and option(arguments, "gpu-metrics-devices"):
            print("Illegal --gpu-metrics-devices argument: the GPU metrics could not be sampled")
            return 1
        status = subprocess.call(program)
        if fail != "no-report":
            shutil.copyfile(os.environ["FAKE_NSYS_REPORT"], option(arguments, "output") + ".nsys-rep")
        return status
    elif arguments[:1] == ["export"]:
        if fail == "export":
            print("the report could not be read", file=sys.stderr)
            return 1
        shutil.copyfile(arguments[-1], arguments[arguments.index("--output") + 1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
