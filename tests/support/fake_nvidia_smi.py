#!/usr/bin/env python3
"""Answers ``nvidia-smi --query-gpu=… --format=csv,noheader,nounits``; FAKE_SM is the compute capability ("9.0")."""

import os
import sys

VALUES = {
    "index": "0", "name": "NVIDIA H200", "driver_version": "580.159.04", "compute_cap": os.environ.get("FAKE_SM", "9.0"),
    "memory.total": "143771", "memory.used": "4", "mig.mode.current": "Disabled",
}  # fmt: skip

fields = next(a.split("=", 1)[1] for a in sys.argv if a.startswith("--query-gpu=")).split(",")
if os.environ.get("FAKE_SM") == "old" and "compute_cap" in fields:
    print('Field "compute_cap" is not a valid field to query.')
    sys.exit(2)
print(", ".join(VALUES[f] for f in fields))
