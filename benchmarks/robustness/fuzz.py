"""Thousands of damaged files for every reader of a file; the suite runs fifty of each.

The cases are those of ``tests/fuzz``: flipped bits, cuts, values of another kind, keys, lines, columns, NaN. Each must
be read rightly or refused by the package, in 10 s of the processor and with 1 GiB beyond what the process has. Run by
hand::

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
    "| reader | cases | returned | refused | foreign | process ended | longest, s | memory grown, MB |",
    "|---|---|---|---|---|---|---|---|",
)


def run(arguments: argparse.Namespace, work: Path) -> None:
    """Run the tests; where the process dies, the reader that it died in goes on with another seed, at most thrice."""
    log = work / f"log-{int(time.time())}"
    log.mkdir(parents=True)
    options = ["-q", "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib"]
    chosen = ["-k", arguments.readers] if arguments.readers else []
    command = [sys.executable, "-m", "pytest", "tests/fuzz", *options, *chosen]
    for seed in range(arguments.seed, arguments.seed + 100):
        environment = {
            **os.environ,
            "GENEMAMBA_FUZZ_CASES": str(arguments.cases),
            "GENEMAMBA_FUZZ_SEED": str(seed),
            "GENEMAMBA_FUZZ_LOG": str(log),
        }
        subprocess.run([*command, *left_out(log)], cwd=ROOT, env=environment, check=False)
        if not note_death(log):
            return


def left_out(log: Path) -> list[str]:
    """Options for the readers that are done, or that the process died in three times."""
    ends = defaultdict(list)
    for counts in (json.loads(path.read_text()) for path in log.glob("*.json")):
        ends[counts["name"]].append(counts["finished"])
    return [f"--deselect={TEST}[{name}]" for name, found in ends.items() if any(found) or len(found) >= 3]


def note_death(log: Path) -> bool:
    """Note where a process ended before its reader did."""
    last = max(log.glob("*.json"), key=lambda path: path.stat().st_mtime, default=None)
    counts = {"finished": True} if last is None else json.loads(last.read_text())
    if last is None or counts["finished"] or "crashes" in counts:  # a death that is noted is not one of this run
        return False
    last.write_text(json.dumps(counts | {"crashes": 1}))
    return True


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
        "than 10 s of the processor or 1 GiB; «process ended»: a library crashed, or did not come back in two minutes.",
        "Memory: by how much the largest size of the process grew over all cases of the reader, with what the tests",
        "keep of them.",
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
