"""Lets the tests here import the helpers that lie beside them, and the stand-in for TensorRT."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "engine")]
