"""Thousands of damaged files for every reader of a file; the suite runs fifty of each.

The cases are those of ``tests/fuzz``: flipped bits, cuts, values of another kind, keys, lines, columns, NaN. Each must
be read rightly or refused by the package, in 10 s and with 1 GiB beyond what the process has. Run by hand::

    python benchmarks/robustness/fuzz.py --cases 10000 --work runs/fuzz --out benchmarks/robustness/results/fuzz.md

``--readers`` is pytest's ``-k``. Counts lie in ``--work`` and add up over calls; a process that dies is counted as a
crash, and the readers after it go on in another one.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TEST = "tests/fuzz/test_readers.py::test_a_damaged_file_is_read_rightly_or_refused_by_name"
HEAD = (
    "| reader | cases | returned | refused | foreign | crashes | longest, s | memory grown, MB |",
    "|---|---|---|---|---|---|---|---|",
)


def run(arguments: argparse.Namespace, work: Path) -> None:
    """Run the tests once for all readers; where the process dies, the one it died in is noted and left out."""
    log = work / f"log-{int(time.time())}"
    log.mkdir(parents=True)
    environment = {
        **os.environ,
        "GENEMAMBA_FUZZ_CASES": str(arguments.cases),
        "GENEMAMBA_FUZZ_SEED": str(arguments.seed),
        "GENEMAMBA_FUZZ_LOG": str(log),
    }
    options = ["-q", "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib"]
    chosen = ["-k", arguments.readers] if arguments.readers else []
    command = [sys.executable, "-m", "pytest", "tests/fuzz", *options, *chosen]
    while subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode < 0:
        begun = sorted(log.glob("*.json"), key=lambda path: path.stat().st_mtime)
        counts = json.loads(begun[-1].read_text()) | {"crashes": 1}
        begun[-1].write_text(json.dumps(counts))
        command += [f"--deselect={TEST}[{json.loads(path.read_text())['name']}]" for path in begun]


def summed(work: Path) -> list[dict[str, Any]]:
    """Add up what each reader did over all calls."""
    rows: dict[str, dict[str, Any]] = defaultdict(lambda: defaultdict(float))
    for path in sorted(work.glob("log-*/*.json"), key=lambda path: path.stat().st_mtime):
        counts = json.loads(path.read_text())
        row = rows[counts["name"]]
        for key in ("cases", "returned", "refused"):
            row[key] += counts[key]
        row["foreign"] += sum(counts["foreign"].values())
        row["crashes"] += counts.get("crashes", 0)
        row["longest"] = max(row["longest"], counts["longest"])
        row["grown_mb"] = max(row["grown_mb"], counts["grown_mb"])
    return [{"name": name, **row} for name, row in rows.items()]


def table(rows: list[dict[str, Any]], command: str) -> str:
    """Write the counts as a table."""
    lines = [
        f"Damaged files by `{command}`, `tests/fuzz` says which. «Returned»: read, and right where the file cannot say",
        "something else; «refused»: an error of the package that names the file; «foreign»: any other error, or more",
        "than 10 s or 1 GiB. Memory: by how much the largest size of the process grew over all cases of the reader.",
        "",
        *HEAD,
    ]
    for row in rows:
        whole = " | ".join(f"{int(row[key]):,}" for key in ("cases", "returned", "refused", "foreign", "crashes"))
        lines.append(f"| {row['name']} | {whole} | {row['longest']:.2f} | {row['grown_mb']:.0f} |")
    total = " | ".join(f"{int(sum(row[key] for row in rows)):,}" for key in ("cases", "returned", "refused", "foreign"))
    crashes, longest = int(sum(row["crashes"] for row in rows)), max((row["longest"] for row in rows), default=0.0)
    return "\n".join([*lines, f"| all | {total} | {crashes} | {longest:.2f} | |"]) + "\n"


def main() -> None:
    """Run, add up, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000, help="of each reader (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all cases (default: %(default)s)")
    parser.add_argument("--readers", help="names of readers, as pytest's -k takes them (default: all)")
    parser.add_argument("--work", type=Path, default=Path("runs/fuzz"), help="for the counts (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="file for the table (default: stdout)")
    arguments = parser.parse_args()
    run(arguments, arguments.work.resolve())
    command = f"fuzz.py --cases {arguments.cases} --seed {arguments.seed}"
    text = table(summed(arguments.work), command)
    if arguments.out is None:
        print(text)
    else:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
