"""The machine a table was measured on: one line that belongs to every table of speed."""

import os
import platform
import time
from pathlib import Path
from statistics import median

import torch

_SIZE = 2048


def machine_line(threads: int) -> str:
    """Processor, cores, threads, and how many GFLOP/s a matrix product of 2048³ reaches on them, measured now.

    torch's number of threads is as before afterwards.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        rate = sgemm_rate()
    finally:
        torch.set_num_threads(before)
    return (
        f"{_processor()}, {cores()} cores, {threads} thread(s), sgemm {rate:.0f} GFLOP/s, load {_load()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )


def sgemm_rate(repeats: int = 7) -> float:
    """Median GFLOP/s of a product of two matrices of 2048 × 2048, float32, on torch's threads."""
    a, b = torch.rand(_SIZE, _SIZE), torch.rand(_SIZE, _SIZE)
    out = torch.empty(_SIZE, _SIZE)
    torch.mm(a, b, out=out)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        torch.mm(a, b, out=out)
        seconds.append(time.perf_counter() - start)
    return 2 * _SIZE**3 / median(seconds) / 1e9


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
