"""Times of several functions, called in turn, so that what disturbs the machine disturbs them alike."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Seconds:
    """Median seconds of one function: on the wall, and of this process's processors."""

    wall: float
    cpu: float


def in_turn(functions: dict[str, Callable[[], object]], repeats: int = 5) -> dict[str, Seconds]:
    """Call every function once unmeasured, then all of them ``repeats`` times in turn; the medians."""
    for function in functions.values():
        function()
    wall: dict[str, list[float]] = {name: [] for name in functions}
    cpu: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            function()
            cpu[name].append(time.process_time() - start_cpu)
            wall[name].append(time.perf_counter() - start)
    return {name: Seconds(median(wall[name]), median(cpu[name])) for name in functions}


def markdown(header: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    """A table as benchmarks/README.md shows it."""
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
