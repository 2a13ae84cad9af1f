"""Seconds until the package can be used, and until the command line answers.

python benchmarks/speed/import_time.py --out benchmarks/speed/results/import.md --old ../old/src

``--old`` names the ``src`` folder of an older commit (``git worktree add ../old e0e9d22``): then the start of a process
of ``genemamba tokenize`` is timed with both in turn, and their ratio is printed.

Every row is a fresh interpreter; all rows in turn, medians. Imports beyond ``scvi`` are timed within the process, after
``import scvi``; CPU seconds are those of the process.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from _machine import machine_line
from _timing import markdown

TIMED = """
import time
{before}
wall, cpu = time.perf_counter(), time.process_time()
{measured}
print(time.perf_counter() - wall, time.process_time() - cpu)
"""
# Name of the row: what stands before the clock starts, and what is timed.
IMPORTS = {
    "import scvi": ("", "import scvi"),
    "import genemamba_sc": ("", "import genemamba_sc"),
    "import genemamba_sc, after scvi": ("import scvi", "import genemamba_sc"),
    "GeneMambaModel, after scvi": ("import scvi", "from genemamba_sc import GeneMambaModel"),
}
COMMANDS = {
    "genemamba --help": ["--help"],
    "genemamba --version": ["--version"],
    "genemamba embed --help": ["embed", "--help"],
}


# What a spawned process of ``genemamba tokenize`` imports to unpickle its work.
WORKER = "import genemamba_sc.corpus._pieces"


def import_seconds(before: str, measured: str, source: Path | None = None) -> tuple[float, float]:
    """Wall and CPU seconds of one import in a new interpreter; ``source`` is the package to take."""
    code = TIMED.format(before=before, measured=measured)
    environment = os.environ if source is None else {**os.environ, "PYTHONPATH": str(source)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    wall, cpu = done.stdout.split()[-2:]
    return float(wall), float(cpu)


def command_seconds(arguments: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of one command, interpreter included."""
    before, start = _children(), time.perf_counter()
    subprocess.run([sys.executable, "-m", "genemamba_sc", *arguments], capture_output=True, check=True)
    return time.perf_counter() - start, _children() - before


def _children() -> float:
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def worker_text(old: Path, repeats: int) -> str:
    """Start of a worker with the old and the new package, in turn, and their ratio."""
    new = Path(__file__).resolve().parents[2] / "src"
    for source in (old, new):  # files are read, bytecode is written
        import_seconds("", WORKER, source)
    pairs = [[import_seconds("", WORKER, source)[1] for source in (old, new)] for _ in range(repeats)]
    before, now, ratio = median(a for a, _ in pairs), median(b for _, b in pairs), median(b / a for a, b in pairs)
    return (
        f"\nA process of `genemamba tokenize` starts in {now:.2f} s of the processor, {before:.2f} s with the older "
        f"package: {ratio:.2f} of it (medians of {repeats} pairs).\n"
    )


def main() -> None:
    """Print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--old", type=Path, help="src of an older commit, to compare the start of a worker with")
    args = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in (*IMPORTS, *COMMANDS)}
    for before, measured in IMPORTS.values():  # files are read, bytecode is written
        import_seconds(before, measured)
    for _ in range(args.repeats):
        for name, (before, measured) in IMPORTS.items():
            found[name].append(import_seconds(before, measured))
        for name, arguments in COMMANDS.items():
            found[name].append(command_seconds(arguments))
    rows: list[tuple[object, ...]] = [
        (f"`{name}`", f"{median(wall for wall, _ in times):.2f}", f"{median(cpu for _, cpu in times):.2f}")
        for name, times in found.items()
    ]
    table = markdown(("what", "wall, s", "CPU, s"), rows)
    text = f"# Import time\n\nMachine: {machine_line(1)}\n\nMedians of {args.repeats}, in turn.\n\n{table}\n"
    text += worker_text(args.old, args.repeats) if args.old is not None else ""
    print(text)
    if args.out is not None:
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
