"""The benchmark's scripts import one another as the interpreter finds them beside the script that runs."""

import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path[:0] = [str(BENCHMARKS / room) for room in ("annotation", "integration", "pretraining", "robustness", "speed")]
